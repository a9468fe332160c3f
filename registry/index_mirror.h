/*
 * Which repositories hold proofs that were signed elsewhere, and of which collection.
 *
 * Functions that change something need a transaction from index_write; the others work in any.
 */
#ifndef BULLA_REGISTRY_INDEX_MIRROR_H
#define BULLA_REGISTRY_INDEX_MIRROR_H

#include "registry/index.h"

/* Appends the collection's name to out (may be NULL). E_NOTFOUND: it is no mirror. */
int index_mirror_find(struct index_tx *tx, const char *repository, struct bytes *out,
                      struct error *err) MUST_CHECK;
/* E_CONFLICT where it is a mirror: only its origin can sign. */
int index_mirror_check_none(struct index_tx *tx, const char *repository,
                            struct error *err) MUST_CHECK;
/* From now on it is one, and nothing renews its timestamp here. */
int index_mirror_put(struct index_tx *tx, int64_t repository, const char *collection,
                     struct error *err) MUST_CHECK;
/* All metadata of it goes: a new anchor starts anew. */
int index_mirror_clear(struct index_tx *tx, int64_t repository, struct error *err) MUST_CHECK;
/* A version that is stored is in force (again). E_NOTFOUND. */
int index_mirror_keep(struct index_tx *tx, int64_t repository, const char *role, int64_t version,
                      struct error *err) MUST_CHECK;

#define INDEX_SCHEMA_MIRROR                                                                        \
    "CREATE TABLE trust_mirror(repository INTEGER NOT NULL PRIMARY KEY"                            \
    "  REFERENCES repository(id), collection TEXT NOT NULL) STRICT;"

#endif
