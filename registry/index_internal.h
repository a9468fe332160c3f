/*
 * What the nouns of the index share: statements that are compiled once per connection.
 *
 * Statements keep to what SQLite and PostgreSQL have in common (parameters ?1 and $1 are the only
 * difference): RETURNING instead of row ids, ON CONFLICT with its columns, no functions on JSON,
 * and text that is compared byte by byte. Types and triggers belong to the schema, of which every
 * database has its own.
 */
#ifndef BULLA_REGISTRY_INDEX_INTERNAL_H
#define BULLA_REGISTRY_INDEX_INTERNAL_H

#include "base/db.h"
#include "registry/index.h"

/*
 * Compiles `sql` (static storage: it is the key of the cache) or takes it from the cache, and binds
 * one argument per letter of `types`: 't' const char *, 'i' int64_t, 'd' const struct digest *,
 * 'b' const struct bytes *. Statements are borrowed; end with db_reset.
 */
int index_query(struct index_tx *tx, const char *sql, struct db_stmt **out, struct error *err,
                const char *types, ...) MUST_CHECK;
/* The same for a statement without results; *n_changed (may be NULL). */
int index_change(struct index_tx *tx, const char *sql, int64_t *n_changed, struct error *err,
                 const char *types, ...) MUST_CHECK;
/* Digest from a text column. E_TAMPERED where it is none: the file was damaged or edited. */
int index_column_digest(struct db_stmt *stmt, int column, struct digest *out,
                        struct error *err) MUST_CHECK;

/* For tests: how the database goes about each statement that this transaction's connection has
 * compiled so far, one call per step ("SEARCH tag USING PRIMARY KEY …"). */
int index_plans_each(struct index_tx *tx,
                     int (*visit)(void *context, const char *sql, const char *step,
                                  struct error *err),
                     void *context, struct error *err) MUST_CHECK;

#endif
