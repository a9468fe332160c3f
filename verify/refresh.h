/*
 * Refreshing trust in one collection: TUF's client workflow fed from a source of bytes and the
 * trust store.
 *
 * The decisions are tuf_trusted's; this file fetches, stores what was accepted, and says how fresh
 * the result is. One thread per view.
 * Source: TUF specification 1.0.34, section 5; design "Freshness".
 */
#ifndef BULLA_VERIFY_REFRESH_H
#define BULLA_VERIFY_REFRESH_H

#include "tuf/trusted.h"
#include "verify/trust_store.h"

/* Where metadata files come from. `name` is "timestamp.json", "3.root.json", …; max bounds the
 * bytes appended to out. E_NOTFOUND only where the source says that there is none. */
struct trust_source {
    int (*get)(struct trust_source *self, const char *name, size_t max, struct bytes *out,
               struct error *err);
    /* Two at once; NULL: one after the other. rc[i] and errs[i] belong to names[i]. */
    void (*get_two)(struct trust_source *self, const char *const names[2], const size_t max[2],
                    struct bytes *out[2], int rc[2], struct error errs[2]);
};

enum freshness {
    FRESH_ONLINE, /* asked just now */
    FRESH_RECENT, /* asked less than `reuse_s` ago, not asked again */
    FRESH_CACHED, /* the source cannot be reached, or is older than what is stored; stored metadata
                     has not expired (or is in grace) */
    FRESH_BUNDLE, /* the source is a bundle: as fresh as its timestamp was when it was issued */
    FRESH_MIRROR, /* likewise, a mirror's: the registry itself could not be asked */
};

struct refresh_options {
    int64_t now_s;
    const char *collection;   /* NULL: conformance front */
    const struct bytes *root; /* anchor root, used where the store has none */
    int64_t reuse_s;          /* 0: always ask */
    int64_t max_age_s;        /* -1: none. Limit of FRESH_CACHED and FRESH_RECENT */
    int64_t grace_s;          /* offlineGrace of an expired timestamp */
    bool bundle;        /* the source is a file: nothing is said of now, and it may be older than
                           what is stored */
    const char *mirror; /* with bundle: the source is this mirror of the registry; NULL: a file */
    bool must_ask;      /* never fall back to what is stored (conformance front, owners) */
    bool ignore_expiry; /* owners only: what has expired is renewed from this view */
};

struct trust_view {
    struct tuf_trusted *trusted;
    enum freshness freshness;
    int64_t age_s; /* since the last complete refresh, or since the bundle's timestamp was issued;
                      0 when online */
    struct error offline; /* why the source was not reached or used (FRESH_CACHED) */
    bool store_is_online; /* roles may still be fetched */
};

/*
 * Brings the store up to date and opens a view on it. E_NO_TRUST: the source has no metadata.
 * Everything the source serves itself that is bad, older or expired: the codes of tuf/trusted.h.
 * E_NETWORK, E_TLS with nothing usable stored; E_STALE: stored metadata, or a bundle, is too old;
 * E_CLOCK.
 */
int trust_refresh(const struct refresh_options *options, struct trust_store *store,
                  struct trust_source *source, struct trust_view *out,
                  struct error *err) MUST_CHECK;
void trust_view_done(struct trust_view *view);

/* "<version>.<role>.json", the role's name percent-encoded. */
void trust_file_name(char *out, size_t size, int64_t version, const char *role);

/* Finds the role that vouches for target `name`, fetching delegated roles as needed. E_UNSIGNED. */
int trust_find(struct trust_view *view, struct trust_store *store, struct trust_source *source,
               const char *name, struct tuf_found *out, struct error *err) MUST_CHECK;
/* Makes sure that `role`, delegated by `delegator`, is in the view. */
int trust_need_role(struct trust_view *view, struct trust_store *store, struct trust_source *source,
                    const char *role, const char *delegator, struct error *err) MUST_CHECK;

#endif
