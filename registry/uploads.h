/*
 * Upload sessions: which uploads are under way, whose they are, and who works on one now.
 *
 * An upload belongs to one repository and one user; to everybody else it does not exist. While a
 * request works on it (taken), other requests for it are refused. After a restart a session is
 * found again by its id. Thread-safe.
 */
#ifndef BULLA_REGISTRY_UPLOADS_H
#define BULLA_REGISTRY_UPLOADS_H

#include "registry/blobs.h"

struct uploads;
struct upload_owner {
    const char *repository, *user;
};

/* blobs must outlive it. per_user: sessions one user may have open. */
int uploads_new(struct blobs *blobs, unsigned per_user, struct uploads **out,
                struct error *err) MUST_CHECK;
/* Sessions stay on disk. */
void uploads_free(struct uploads *u);

/* A new session; id: BLOB_UPLOAD_ID_LEN + 1 bytes. E_BUSY: the user has too many. */
int uploads_begin(struct uploads *u, const struct upload_owner *owner, char *id,
                  struct error *err) MUST_CHECK;
/* Takes the session for one request. E_NOTFOUND: none of that id, repository and user; E_CONFLICT:
 * another request has it. Give it back with uploads_return or uploads_drop. */
int uploads_take(struct uploads *u, const char *id, const struct upload_owner *owner,
                 struct blob_upload **out, struct error *err) MUST_CHECK;
void uploads_return(struct uploads *u, struct blob_upload *upload);
/* The session is over. cancel: its bytes are removed, too (after a commit there are none). */
void uploads_drop(struct uploads *u, struct blob_upload *upload, bool cancel);
/* Forgets sessions, and removes files, that nobody touched for age_s. */
void uploads_sweep(struct uploads *u, int64_t age_s);

#endif
