/*
 * Resolving where trust starts for one reference: policy's anchor, a pin, or (asked for) first use.
 */
#ifndef BULLA_VERIFY_ANCHOR_H
#define BULLA_VERIFY_ANCHOR_H

#include "verify/policy.h"
#include "verify/refresh.h"

enum anchor_origin { ANCHOR_POLICY, ANCHOR_PIN, ANCHOR_TOFU };

struct resolved_anchor {
    enum anchor_origin origin;
    struct bytes root;         /* empty for an anchor of key ids until anchor_fetch_root */
    const struct anchor *keys; /* not NULL: key ids, borrowed from the policy */
    char id[33];               /* keys the trust store */
};

/* anchor: from policy, NULL: none. Falls back to the pin of ref's location; E_NO_TRUST says how to
 * get one. With tofu a missing pin gives origin ANCHOR_TOFU and an empty root. */
int anchor_resolve(const struct anchor *anchor, const char *home, const struct reference *ref,
                   bool tofu, struct resolved_anchor *out, struct error *err) MUST_CHECK;
void anchor_done(struct resolved_anchor *a);

/* Fills a->root from the source where it is empty: <minVersion>.root.json, accepted only where a
 * threshold of the pinned keys, policy's and its own, signed it (key ids) or unchecked beyond
 * itself (first use; the id is set then). */
int anchor_fetch_root(struct resolved_anchor *a, struct trust_source *source,
                      const char *collection, struct error *err) MUST_CHECK;

/* The root file that policy names, parsed: E_NO_TRUST where it cannot be read, else the parser's.
 */
int policy_root_read(const struct anchor *anchor, struct tuf_metadata **out,
                     struct error *err) MUST_CHECK;

#endif
