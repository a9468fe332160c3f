/*
 * What the index knows of the audit log: a record of each chain that must be there, and up to which
 * record it was shortened on purpose. A log cut off at its end is noticed by it.
 *
 * Functions that change something need a transaction from index_write; the others work in any.
 */
#ifndef BULLA_REGISTRY_INDEX_AUDIT_H
#define BULLA_REGISTRY_INDEX_AUDIT_H

#include "registry/audit_file.h"
#include "registry/index.h"

struct index_audit_anchor {
    struct audit_place head; /* seq 0: nothing yet */
    struct audit_link base;  /* removed up to here; seq 0: nothing */
};

/* E_NOTFOUND: the index has never heard of this log. */
int index_audit_get(struct index_tx *tx, enum audit_chain chain, struct index_audit_anchor *out,
                    struct error *err) MUST_CHECK;
/* Of two writers the one with the later head wins; force: whatever is there is replaced. */
int index_audit_set(struct index_tx *tx, enum audit_chain chain,
                    const struct index_audit_anchor *anchor, bool force,
                    struct error *err) MUST_CHECK;
int index_audit_set_base(struct index_tx *tx, enum audit_chain chain, const struct audit_link *base,
                         struct error *err) MUST_CHECK;

#endif
