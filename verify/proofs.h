/*
 * A collection's proofs as a set of files: chain of roots, timestamp, snapshot, every role and bin.
 *
 * For whoever takes them elsewhere (a mirror). What the other place has already is left out: of a
 * large collection little is sent when little changed. Files have the names they are served under.
 * One thread per object.
 */
#ifndef BULLA_VERIFY_PROOFS_H
#define BULLA_VERIFY_PROOFS_H

#include "verify/verdict.h"

#define PROOFS_MAX_BYTES (29u << 20) /* what a registry's mirror endpoint takes, less its form */
#define PROOFS_MAX_FILES 4608

struct proofs {
    struct remote_file *files; /* their names are owned, their bytes too */
    size_t n, bytes;
    bool same; /* the other place has this very timestamp: nothing to bring */
};

/* Everything in the session's view that can be reached, fetched where it is not stored yet. `to`
 * (its repository `there`) is asked what it has; nothing it says is believed beyond leaving out
 * what it says to have. The view is not good for a verdict afterwards. E_LIMIT: too large for a
 * mirror; else what fetching fails with. *out is for proofs_done in any case. */
int proofs_collect(struct trust_session *s, struct remote *to, const char *there,
                   struct proofs *out, struct error *err) MUST_CHECK;
void proofs_done(struct proofs *p);

#endif
