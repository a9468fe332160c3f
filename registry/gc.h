/*
 * Garbage collection beside running pushes, and beside other collectors.
 *
 * How nothing that was acknowledged can be lost:
 *
 * - Write transactions of the index follow one another, over all threads and processes. A blob is
 *   collected in one: nothing holds it → its file is moved aside → its row goes → commit. Only then
 *   is the file removed.
 * - A push makes its file visible first and records it in a write transaction of its own, in which
 *   it asks for the file (gc_reclaim): where a collector moved it aside in between, it is fetched
 *   back. A push that is recorded before the collector's transaction makes the blob held.
 * - What lies aside is removed only after every push of this process that made a file visible
 * before has been recorded (gate_drain). Another process (the command beside a server) removes
 * nothing.
 * - What a crash or a failed commit left aside is judged again by its row (gc_recover): with a row
 *   it goes back, without it is removed.
 * - A blob loses its last link in one transaction and its file in a later one: whoever sees a link
 *   finds the file.
 * - A file that was made visible and never recorded (a crash, a refused push) has no row: a walk
 *   over all files finds it (gc_find_strays) and makes it a candidate like any other.
 */
#ifndef BULLA_REGISTRY_GC_H
#define BULLA_REGISTRY_GC_H

#include "registry/blobs.h"
#include "registry/gate.h"
#include "registry/index.h"

#include <stdatomic.h>
#include <stdbool.h>

struct gc {
    struct index *index; /* started */
    struct blobs *blobs;
    struct gate *gate;      /* pushes of this process; NULL: it has none */
    bool discard;           /* no other process pushes: what lies aside may be removed */
    int64_t lease_s;        /* length of leases */
    const atomic_bool *end; /* true: stop after the batch under way; may be NULL */
};

struct gc_report {
    uint64_t examined, links, blobs; /* candidates looked at, links and blobs removed */
    int64_t bytes;                   /* of these blobs */
};

/* Everything that is due, in small transactions with pauses between them. *report is added to, also
 * when it fails. */
int gc_run(const struct gc *gc, struct gc_report *report, struct error *err) MUST_CHECK;
/* Puts back or removes what lies aside; at start, before anything is served. */
int gc_recover(const struct gc *gc, struct error *err) MUST_CHECK;
/* Walks over all files, at most `rate` a second (0: any), and makes those that were stored before
 * this hour and have no row candidates. *n: how many. */
int gc_find_strays(const struct gc *gc, unsigned rate, size_t *n, struct error *err) MUST_CHECK;

/* In the write transaction that records the blob: its file is in place, fetched back if need be.
 * E_INTERRUPTED: it was removed, it must be pushed again. */
int gc_reclaim(struct blobs *blobs, const struct digest *d, struct error *err) MUST_CHECK;
/* A file that was made visible could not be recorded: the next run looks at it. */
void gc_suspect(struct index *index, const struct digest *d);

#endif
