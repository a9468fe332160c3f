/*
 * Credentials of registries: containers-auth.json, shared with podman, skopeo and docker.
 *
 * Writing is atomic, 0600 and keeps every other entry; writers of Bulla take turns by a lock.
 * Passwords never appear in messages. Thread-safe. The writing half is declared in
 * client/remote.h. Source: containers-auth.json(5).
 */
#ifndef BULLA_CLIENT_AUTH_H
#define BULLA_CLIENT_AUTH_H

#include "base/bytes.h"

#define AUTH_FILE_MAX     (1u << 20)
#define AUTH_PASSWORD_MAX (16u << 10) /* cloud registries use tokens of several KiB */

/* Heap text, wiped when freed. */
struct credentials {
    char *user, *password; /* both NULL: none are known */
};
void credentials_done(struct credentials *c);

/*
 * The entry for host ("registry.example.com:5443"). file NULL: the usual files in their order, the
 * first with an entry decides; a missing file has no entries. Finding nothing is success with both
 * NULL. E_INVALID (the file is malformed), E_UNSUPPORTED (the entry is in a credential helper or is
 * an identity token), E_SYS.
 */
int auth_find(const char *file, const char *host, struct credentials *out,
              struct error *err) MUST_CHECK;
/* The same for the bytes of one file. */
int auth_parse(const void *data, size_t len, const char *host, struct credentials *out,
               struct error *err) MUST_CHECK;
/* "Basic …" for user and password, appended to out. E_USAGE: empty user, or one with ':'. */
int auth_basic(const char *user, const char *password, struct bytes *out,
               struct error *err) MUST_CHECK;
/* Overwrites content and memory behind it, then frees. */
void auth_wipe(struct bytes *b);
void auth_wipe_text(char **text);

#endif
