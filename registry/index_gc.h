/*
 * Leases and garbage in the index.
 *
 * Table gc_candidate says what to look at, and from when: a row (repository, digest) for a blob
 * that was linked to a repository, asked for by somebody who may push there, or lost a manifest
 * that needed it; a row (0, digest) for a blob that lost a repository. Triggers add rows, so a run
 * looks at what may be garbage and never at the rest. `touched_s` is when a lease began (0: none):
 * a row is due when that is a lease's length ago, and until then nothing of it is removed.
 *
 * What holds a link: a manifest of the same repository that names the digest. What holds a blob:
 * any link, any manifest. Functions that change something need a transaction from index_write.
 */
#ifndef BULLA_REGISTRY_INDEX_GC_H
#define BULLA_REGISTRY_INDEX_GC_H

#include "registry/index.h"

/* --- leases --- */

/* Whether the lease on `d` was begun at since_s or later; false where there is none. */
int index_lease_is_fresh(struct index_tx *tx, const char *repository, const struct digest *d,
                         int64_t since_s, bool *fresh, struct error *err) MUST_CHECK;
/* A lease from now_s on what the repository holds. E_NOTFOUND: it holds no such blob or manifest
 * (any more). */
int index_lease_begin(struct index_tx *tx, const char *repository, const struct digest *d,
                      int64_t now_s, struct error *err) MUST_CHECK;

/* --- candidates --- */

struct index_candidate {
    int64_t repository; /* 0: the blob itself */
    struct digest digest;
};
/* At most `max` candidates that were touched at due_s or before; *n: how many. */
int index_gc_due(struct index_tx *tx, int64_t due_s, struct index_candidate *out, size_t max,
                 size_t *n, struct error *err) MUST_CHECK;
/* It was looked at: no candidate any more. */
int index_gc_done(struct index_tx *tx, const struct index_candidate *c,
                  struct error *err) MUST_CHECK;
/* A file of which nobody knows whether the index has a row for it: looked at by the next run. */
int index_gc_suspect(struct index_tx *tx, const struct digest *d, struct error *err) MUST_CHECK;
/* Leases that begin in the future (the clock was wrong) begin now. */
int index_gc_fix_clock(struct index_tx *tx, int64_t now_s, struct error *err) MUST_CHECK;
/* Removes the link unless a manifest of the repository needs it. *size: of the blob. */
int index_gc_unlink(struct index_tx *tx, const struct index_candidate *c, bool *removed,
                    int64_t *size, struct error *err) MUST_CHECK;
/* Whether any repository has the digest as a blob or as a manifest. */
int index_gc_is_held(struct index_tx *tx, const struct digest *d, bool *held,
                     struct error *err) MUST_CHECK;
/* Whether the index knows the blob, held or not. */
int index_gc_is_known(struct index_tx *tx, const struct digest *d, bool *known,
                      struct error *err) MUST_CHECK;
/* The row of a blob that nothing holds. *size: 0 where there was no row. */
int index_gc_forget(struct index_tx *tx, const struct digest *d, int64_t *size,
                    struct error *err) MUST_CHECK;

/* --- what would be removed, and what holds a digest --- */

struct index_gc_preview {
    const char *repository; /* NULL: the blob itself */
    const char *digest;
    int64_t size;
};
struct index_gc_visitor {
    int (*preview)(void *context, const struct index_gc_preview *p, struct error *err);
    void *context;
};
/* Every link, then every blob that a run would remove whose leases ended at due_s. */
int index_gc_preview(struct index_tx *tx, int64_t due_s, const struct index_gc_visitor *visitor,
                     struct error *err) MUST_CHECK;

struct index_reason {
    const char *repository;
    const char *kind;   /* "tag", "signed", "referrer", "untagged", "lease", "publication" */
    const char *name;   /* tag, target, subject; "" for the others */
    const char *digest; /* what the root names: the digest itself, or what needs it */
    int64_t begun_s;    /* lease: its begin; publication: its end; else 0 */
};
struct index_reason_visitor {
    int (*visit)(void *context, const struct index_reason *reason, struct error *err);
    void *context;
};
/* Every root that holds the digest, by repository. due_s: leases begun before are over. */
int index_gc_why(struct index_tx *tx, const struct digest *d, int64_t due_s,
                 const struct index_reason_visitor *visitor, struct error *err) MUST_CHECK;

#endif
