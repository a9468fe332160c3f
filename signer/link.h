/*
 * The registry's end of the signing service: requests over its Unix socket.
 *
 * Small length-prefixed messages (see signer/protocol.h). Each call is one request on a connection
 * of its own, with a time-out; thread-safe for one const link. The service verifies for itself
 * whatever is passed here; the caller must treat its answers as signed data from a peer of its own
 * system.
 */
#ifndef BULLA_SIGNER_LINK_H
#define BULLA_SIGNER_LINK_H

#include "base/bytes.h"
#include "tuf/accept.h"

#define SIGNER_IDENTITY_MAX 40
#define SIGNER_HASH_MAX     72
#define SIGNER_PAGE         500u /* collections in one answer about changes */

struct signer_link;

/* socket_path is copied. Does not connect. */
int signer_link_new(const char *socket_path, struct signer_link **out,
                    struct error *err) MUST_CHECK;
void signer_link_free(struct signer_link *link);
void signer_link_cleanup(struct signer_link **link);

/* The service's public key of a collection and role (TUF_SNAPSHOT or TUF_TIMESTAMP) as TUF key
 * object JSON; made on first request. E_NETWORK: the service is not running. */
int signer_link_key(const struct signer_link *link, const char *collection, enum tuf_type role,
                    struct bytes *json, struct error *err) MUST_CHECK;

/* The public key that the collection's next root is to list for the role: made by the first such
 * request, the same for every further one until a root lists it; `another` replaces one that is
 * waiting. It signs once a root lists it. */
struct signer_new_key {
    enum tuf_type role;
    bool another;
};
int signer_link_new_key(const struct signer_link *link, const char *collection,
                        const struct signer_new_key *wanted, struct bytes *json,
                        struct error *err) MUST_CHECK;

/* A complete set as the service last signed it. Strings and bytes are owned by the set. */
struct signer_set {
    struct signer_set_file {
        char *role; /* "root", "targets", delegated…, "snapshot", "timestamp" */
        int64_t version;
        struct bytes data;
    } * files;
    size_t n_files;
};
void signer_set_done(struct signer_set *set);

/* Asks the service to take `changes` on top of what it signed last and to sign the new snapshot and
 * timestamp. *out receives all files in force afterwards, of which root, snapshot and timestamp
 * have their content; the others are those that the snapshot names (signer_link_files). The same
 * changes again give the same bytes. Codes of tuf_accept, E_NETWORK, E_BUSY. */
int signer_link_publish(const struct signer_link *link, const char *collection,
                        const struct tuf_file *changes, size_t n, struct signer_set *out,
                        struct error *err) MUST_CHECK;
/* The current set, as of signer_link_publish, with a timestamp that has at least half its life left
 * (signed anew if needed). E_NOTFOUND: the service knows no such collection. */
int signer_link_refresh(const struct signer_link *link, const char *collection,
                        struct signer_set *out, struct error *err) MUST_CHECK;

/* Content of files in force, as many of the n named as fit one answer, in their order; those that
 * are not in force are left out. E_NOTFOUND: it knows no such collection. */
int signer_link_files(const struct signer_link *link, const char *collection,
                      const char *const *names, size_t n, struct signer_set *out,
                      struct error *err) MUST_CHECK;

/* The collection's roots after version `since`, in order, as many as fit one answer; none where
 * there is no newer one. The service verified each against the one before. Roots from before it
 * kept them may be missing at the beginning. E_NOTFOUND: it knows no such collection. */
int signer_link_roots(const struct signer_link *link, const char *collection, int64_t since,
                      struct signer_set *out, struct error *err) MUST_CHECK;

/* What the service says of itself. */
struct signer_status {
    char identity[SIGNER_IDENTITY_MAX]; /* of its database; another one is another memory */
    int64_t number;                     /* of the last record of its log */
    char hash[SIGNER_HASH_MAX];         /* of that record */
    int64_t n_doubted;                  /* collections it does not sign for: it was restored */
    bool doubted;                       /* …nor for new ones */
    bool token_failing;                 /* nor for those whose keys are on its token */
    struct bytes metrics;               /* Prometheus text; bytes_done */
};
void signer_status_done(struct signer_status *status);
/* timeout_ms: for the whole question. */
int signer_link_status(const struct signer_link *link, int64_t timeout_ms,
                       struct signer_status *out, struct error *err) MUST_CHECK;

/* A page of the collections whose last change has a number above `since`, in that order. */
struct signer_changes {
    char identity[SIGNER_IDENTITY_MAX];
    int64_t number; /* where the next page begins; with `whole`: the last number there is */
    int64_t last;   /* the last number there is */
    char hash[SIGNER_HASH_MAX];       /* of record `number`; "": not kept any more */
    char since_hash[SIGNER_HASH_MAX]; /* of record `since` */
    bool whole;                       /* nothing is behind this page */
    struct signer_change {
        char *collection;
        int64_t number, root, timestamp; /* versions */
    } * items;
    size_t n;
};
void signer_changes_done(struct signer_changes *changes);
int signer_link_changed(const struct signer_link *link, int64_t since, struct signer_changes *out,
                        struct error *err) MUST_CHECK;

/* Shows the service what is published here: all roots in order and all files in force. *adopted: it
 * had forgotten that and has taken it over, as its admin stated. E_STALE: it had forgotten and
 * waits for its admin. */
int signer_link_show(const struct signer_link *link, const char *collection,
                     const struct tuf_file *files, size_t n, bool *adopted,
                     struct error *err) MUST_CHECK;

#endif
