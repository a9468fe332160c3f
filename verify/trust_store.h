/*
 * Trust state on disk: what a client remembers of one collection, and pinned roots.
 *
 * HOME/trust/state/<anchor id>/<collection>/_/ holds root.json, timestamp.json, snapshot.json,
 * <role>.json (exact bytes, each replaced atomically), roots/<N>.json (the chain), last-success and
 * published.
 * State is keyed by (anchor, collection), never by name alone. An open store holds a lock: two
 * processes refresh one after the other.
 */
#ifndef BULLA_VERIFY_TRUST_STORE_H
#define BULLA_VERIFY_TRUST_STORE_H

#include "base/bytes.h"

struct trust_store;

/* home: HOME folder. anchor_id: hex text. Makes what is missing; waits up to 30 s for the lock
 * (E_BUSY). */
int trust_store_open(const char *home, const char *anchor_id, const char *collection,
                     struct trust_store **out, struct error *err) MUST_CHECK;
/* The same on one given folder (conformance front). */
int trust_store_open_folder(const char *path, struct trust_store **out,
                            struct error *err) MUST_CHECK;
void trust_store_close(struct trust_store *s);
void trust_store_cleanup(struct trust_store **s);

/* Role names are percent-encoded in file names. E_NOTFOUND where nothing is stored. */
int trust_store_read(struct trust_store *s, const char *role, size_t max, struct bytes *out,
                     struct error *err) MUST_CHECK;
int trust_store_write(struct trust_store *s, const char *role, const struct bytes *data,
                      struct error *err) MUST_CHECK;
/* Missing is fine. */
int trust_store_remove(struct trust_store *s, const char *role, struct error *err) MUST_CHECK;
/* A root that became trusted: kept in the chain, then as root.json. */
int trust_store_write_root(struct trust_store *s, int64_t version, const struct bytes *data,
                           struct error *err) MUST_CHECK;
/* Time of the last complete refresh, 0 where there was none. */
int64_t trust_store_last_success(struct trust_store *s);
int trust_store_note_success(struct trust_store *s, int64_t now_s, struct error *err) MUST_CHECK;
/* That this machine has published in the collection: its state is then more than what a registry
 * once said. */
bool trust_store_was_published(struct trust_store *s);
int trust_store_note_published(struct trust_store *s, struct error *err) MUST_CHECK;

/* Pinned root of a location (host/repository). E_NOTFOUND: none. */
int trust_pin_read(const char *home, const char *host, const char *repository, struct bytes *out,
                   struct error *err) MUST_CHECK;
/* Replaces whatever is pinned. */
int trust_pin_write(const char *home, const char *host, const char *repository,
                    const struct bytes *root, struct error *err) MUST_CHECK;
/* Only where nothing is pinned, or this very root: whoever comes second of two at once gets
 * E_CONFLICT, and the first one's pin stays. */
int trust_pin_add(const char *home, const char *host, const char *repository,
                  const struct bytes *root, struct error *err) MUST_CHECK;

#endif
