/*
 * Changing trees of `signed` that exist already: what owners do to published metadata.
 *
 * Pure. Members that Bulla does not know stay as they are. Key tables lose the keys that nothing
 * lists any more. A failed call may leave the tree half-changed: throw it away.
 */
#ifndef BULLA_TUF_EDIT_H
#define BULLA_TUF_EDIT_H

#include "tuf/compose.h"

/* Replaces the keys and the threshold of a top-level role in a root. */
int tuf_edit_root_role(struct js *signed_root, enum tuf_type role,
                       const struct tuf_compose_role *keys, struct error *err) MUST_CHECK;
/* Replaces the keys and the threshold of a delegated role, or of the bins where `role` is NULL.
 * E_NOTFOUND. */
int tuf_edit_delegation_keys(struct js *signed_targets, const char *role,
                             const struct tuf_compose_role *keys, struct error *err) MUST_CHECK;
/* E_NOTFOUND. */
int tuf_edit_remove_delegation(struct js *signed_targets, const char *role,
                               struct error *err) MUST_CHECK;
/* Moves the delegation before all others: it is asked first. E_NOTFOUND. */
int tuf_edit_delegation_first(struct js *signed_targets, const char *role,
                              struct error *err) MUST_CHECK;
/* Adds a path pattern to a delegation that has it not. E_NOTFOUND. */
int tuf_edit_add_path(struct js *signed_targets, const char *role, const char *path,
                      struct error *err) MUST_CHECK;
/* Adds the digest to x-bulla-banned; a second time changes nothing. E_LIMIT. */
int tuf_edit_ban(struct js *signed_targets, const struct digest *d, struct error *err) MUST_CHECK;

#endif
