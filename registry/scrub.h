/*
 * Reading every stored blob again, to find those that have not the bytes their digests promise.
 *
 * A blob with other bytes goes to quarantine: from then on the registry answers that it is not
 * there, and a new push heals it. One without a file is only marked. What could not be read (an I/O
 * error) is neither: it is reported and looked at again in the next round. A round that was
 * interrupted goes on where it was, also after a restart. Memory is one buffer. One round at a time
 * per data folder, over all processes.
 */
#ifndef BULLA_REGISTRY_SCRUB_H
#define BULLA_REGISTRY_SCRUB_H

#include "registry/audit.h"
#include "registry/blobs.h"
#include "registry/index.h"

#include <stdatomic.h>

enum scrub_state { SCRUB_DAMAGED, SCRUB_MISSING, SCRUB_UNREADABLE };

struct scrub_finding {
    enum scrub_state state;
    struct digest digest;
    uint64_t size;   /* as recorded */
    const char *why; /* borrowed */
};

struct scrub {
    const char *data_dir;
    struct index *index; /* started */
    struct blobs *blobs;
    struct audit *audit;    /* NULL: findings are not recorded */
    uint64_t rate_bytes_s;  /* 0: as fast as it goes */
    const atomic_bool *end; /* true: stop soon; may be NULL */
    /* NULL, or called for each finding. */
    int (*found)(void *context, const struct scrub_finding *finding, struct error *err);
    void *context;
};

struct scrub_report {
    uint64_t blobs, bytes; /* read in this run */
    uint64_t damaged, missing, unreadable;
    bool whole; /* the round came to its end */
};

/* Goes on with the round under way, or begins one. 0 whatever is found. E_BUSY: another one runs.
 */
int scrub_run(const struct scrub *s, struct scrub_report *out, struct error *err) MUST_CHECK;
/* Whether a round is under way, or the last one ended interval_s ago. */
int scrub_is_due(struct index *index, int64_t interval_s, bool *due, struct error *err) MUST_CHECK;

/* What serving has noticed by itself: sets the blob into quarantine and marks it, unless its bytes
 * turn out to be right. */
void scrub_damaged(const struct scrub *s, const struct digest *d);

#endif
