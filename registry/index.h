/*
 * The registry's index: who may do what, and what every repository holds.
 *
 * Everything but the bytes of blobs. Reading happens in a read transaction on a connection taken
 * from a pool; writing happens on one writer thread that commits waiting requests together, so a
 * change is durable when index_write returns 0 and costs one fsync per group, not per request.
 * Thread-safe; one struct index_tx belongs to the thread that began it.
 *
 * The nouns (index_content.h, index_trust.h, …) are written once, against this header and
 * index_internal.h; what a database needs beside that is here: schema, connections, transactions.
 * The embedded one is SQLite. One with several writers (PostgreSQL, serializable transactions)
 * fits, because a piece of work may be run again after it was undone.
 *
 * A digest is in a repository only through a link (blobs) or a row (manifests) of that repository:
 * storage shared by all never shows what was pushed elsewhere.
 */
#ifndef BULLA_REGISTRY_INDEX_H
#define BULLA_REGISTRY_INDEX_H

#include "base/bytes.h"
#include "base/digest.h"

#define INDEX_FILE_NAME "index.db"

struct index;
struct index_tx;

/* Opens (makes, migrates) DATA_DIR/index.db; starts no thread. E_UNSUPPORTED: made by a newer
 * version. */
int index_open(const char *data_dir, struct index **out, struct error *err) MUST_CHECK;
/* A consistent copy of the running index as a new file `path`. E_EXISTS. */
int index_copy_to(struct index *ix, const char *path, struct error *err) MUST_CHECK;
/* Which registry this is: 32 hex digits, made with the index and kept by copies. */
int index_identity(struct index_tx *tx, char out[33], struct error *err) MUST_CHECK;
/* Starts the writer. To be called after the process confined itself. */
int index_start(struct index *ix, struct error *err) MUST_CHECK;
/* Waiting writes are finished first. NULL is fine. */
void index_close(struct index *ix);
void index_cleanup(struct index **ix);

/*
 * Runs work(tx, arg, err) on the writer thread; when it fails, what it changed is undone and its
 * code is returned. Blocks until durable. `work` may run while the caller's locks are held, so it
 * must take none of them.
 *
 * `work` may run more than once, each time as if for the first: it changes nothing but through tx,
 * and what it writes to arg it writes afresh in every run. Where transactions of several writers
 * collide, the loser is undone and run again. Debug builds undo and repeat every piece of work, and
 * say E_INTERNAL where the second run ends differently.
 */
int index_write(struct index *ix, int (*work)(struct index_tx *tx, void *arg, struct error *err),
                void *arg, struct error *err) MUST_CHECK;
/* Whether work is undone and repeated from now on: for tests. Before index_start. */
void index_set_rehearsal(struct index *ix, bool on);

/* A consistent view until index_read_end. */
int index_read_begin(struct index *ix, struct index_tx **out, struct error *err) MUST_CHECK;
void index_read_end(struct index *ix, struct index_tx *tx);

#endif
