/*
 * What a local admin does with the signing service: its memory, its log, its numbers.
 *
 * Each works on the database itself, beside a running service or without one; what changes it never
 * comes over the service's socket. As root they become the service's user first, so that no file
 * of its changes hands. They write to standard output; args ends with NULL.
 */
#ifndef BULLA_SIGNER_SERVICE_COMMANDS_H
#define BULLA_SIGNER_SERVICE_COMMANDS_H

#include "base/error.h"

/* [--json] --config FILE */
int service_command_state(char **args, struct error *err) MUST_CHECK;
/* REPOSITORY --snapshot-version N --timestamp-version N [--set-lost], or --all [--ahead N]. */
int service_command_resume(char **args, struct error *err) MUST_CHECK;
/* verify [--head HASH] [--json] | export */
int service_command_audit(char **args, struct error *err) MUST_CHECK;
/* Asks the running service. */
int service_command_metrics(char **args, struct error *err) MUST_CHECK;
/* FILE: a copy of the database of this moment. */
int service_command_backup(char **args, struct error *err) MUST_CHECK;
/* FILE: the database that `backup` wrote becomes the service's; there must be none. */
int service_command_restore(char **args, struct error *err) MUST_CHECK;

#endif
