/*
 * Who the command runs as: the `User` of an image's config or -u, looked up in the image.
 *
 * Strict on purpose: nothing ever becomes root because it could not be understood. The image's
 * /etc/passwd and /etc/group are hostile input: opened inside the root, regular files only, at most
 * 1 MiB, the entry that is used must be well-formed and its ids must exist in the container.
 * Thread-safe.
 */
#ifndef BULLA_RUNNER_USER_H
#define BULLA_RUNNER_USER_H

#include "base/error.h"

#include <stddef.h>
#include <sys/types.h>

#define USER_MAX_ID     65535 /* a container's ids are 0–65535 */
#define USER_MAX_GROUPS 64
#define USER_MAX_HOME   256

struct run_user {
    uid_t uid;
    gid_t gid;
    gid_t groups[USER_MAX_GROUPS]; /* supplementary */
    size_t n_groups;
    char home[USER_MAX_HOME]; /* absolute */
};

/*
 * text: "" (root), USER, USER:GROUP, each a decimal id or a name. Digits are always an id, never a
 * name. Without GROUP the primary and supplementary groups come from the image; with it there are
 * no supplementary ones; an id without an entry gets the group of the same number. root_fd: the
 * container's root. E_INVALID (malformed text or entry), E_NOTFOUND (name not in the image),
 * E_LIMIT, E_SYS. *out is written only on success.
 * Source: OCI image-spec 1.1, config.md "User".
 */
int user_lookup(int root_fd, const char *text, struct run_user *out, struct error *err) MUST_CHECK;

#endif
