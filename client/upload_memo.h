/*
 * What is remembered of an upload that may break off: where the registry wanted its bytes.
 *
 * One small file per blob and repository in the store's folder "uploads", held by a lock while the
 * upload is under way, so that two processes never feed one session. It is a hint: nothing in it is
 * believed before the registry has said that the session lives and how much it has. Not synced: a
 * lost one costs a fresh start. One thread per memo.
 */
#ifndef BULLA_CLIENT_UPLOAD_MEMO_H
#define BULLA_CLIENT_UPLOAD_MEMO_H

#include "base/digest.h"
#include "oci/store.h"

#define UPLOAD_MEMO_KEEP_S (24 * 3600) /* registries forget sessions sooner or not much later */

struct upload_memo {
    int dir_fd, fd; /* -1: nothing is remembered */
    char name[80];
    char *key; /* what the file must begin with */
};
#define UPLOAD_MEMO_INIT                                                                           \
    {                                                                                              \
        -1, -1, "", NULL                                                                           \
    }

/* Opens (makes, locks) the memo of a blob. E_BUSY: another process uploads it now. */
int upload_memo_open(struct store *s, const char *authority, const char *repository,
                     const struct digest *d, struct upload_memo *out, struct error *err) MUST_CHECK;
/* The remembered Location, appended to out; nothing where there is none. Unchecked text. */
int upload_memo_read(const struct upload_memo *m, struct bytes *out, struct error *err) MUST_CHECK;
int upload_memo_write(const struct upload_memo *m, const char *location,
                      struct error *err) MUST_CHECK;
/* The upload is over: the file goes. */
void upload_memo_forget(struct upload_memo *m);
/* Closes; the file stays. The empty value is fine. */
void upload_memo_done(struct upload_memo *m);
/* Removes what is older than UPLOAD_MEMO_KEEP_S. */
void upload_memo_sweep(struct store *s);

#endif
