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

/* Heap text, wiped when freed. Either user and password, or an identity token (the OAuth2 refresh
 * token that docker stores), or nothing: no credentials are known. */
struct credentials {
    char *user, *password;
    char *identity;
};
#define CREDENTIALS_INIT                                                                           \
    {                                                                                              \
        NULL, NULL, NULL                                                                           \
    }
void credentials_done(struct credentials *c);

/*
 * The credentials for host ("registry.example.com:5443") and, where repository is not NULL, for the
 * longest "host/namespace" above it that has an entry. file NULL: the usual files in their order,
 * the first with an entry decides; a missing file has no entries. Where the entry is in a
 * credential helper, that is asked. Finding nothing is success with all NULL. E_INVALID (the file
 * is malformed), E_SYS, and what helper_get fails with.
 */
int auth_find(const char *file, const char *host, const char *repository, struct credentials *out,
              struct error *err) MUST_CHECK;

/* What the bytes of one file say: credentials, or the helper that has them. */
struct auth_entry {
    struct credentials credentials;
    char *helper; /* heap; NULL: none */
};
void auth_entry_done(struct auth_entry *e);
int auth_parse(const void *data, size_t len, const char *host, const char *repository,
               struct auth_entry *out, struct error *err) MUST_CHECK;
/* "Basic …" for user and password, appended to out. E_USAGE: empty user, or one with ':'. */
int auth_basic(const char *user, const char *password, struct bytes *out,
               struct error *err) MUST_CHECK;
/* A copy of an identity token, appended to out in one piece. E_LIMIT, E_INVALID (not text). */
int auth_identity(const char *token, struct bytes *out, struct error *err) MUST_CHECK;
/* Overwrites content and memory behind it, then frees. */
void auth_wipe(struct bytes *b);
void auth_wipe_text(char **text);

#endif
