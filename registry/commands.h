/*
 * The commands of bulla-registry. Each gets the arguments behind its own name, NULL-terminated,
 * writes to standard output and returns 0 or a code.
 */
#ifndef BULLA_REGISTRY_COMMANDS_H
#define BULLA_REGISTRY_COMMANDS_H

#include "base/config.h"
#include "base/error.h"
#include "registry/index.h"

#define COMMAND_DEFAULT_CONFIG "/etc/bulla/registry.yaml"

int command_init(char **args, struct error *err) MUST_CHECK;
int command_serve(char **args, struct error *err) MUST_CHECK;
int command_config(char **args, struct error *err) MUST_CHECK;
int command_retention(char **args, struct error *err) MUST_CHECK;
int command_gc(char **args, struct error *err) MUST_CHECK;
int command_user(char **args, struct error *err) MUST_CHECK;
int command_grant(char **args, struct error *err) MUST_CHECK;
int command_audit(char **args, struct error *err) MUST_CHECK;
int command_scrub(char **args, struct error *err) MUST_CHECK;
int command_backup(char **args, struct error *err) MUST_CHECK;
int command_restore(char **args, struct error *err) MUST_CHECK;
int command_group(char **args, struct error *err) MUST_CHECK;
int command_api_token(char **args, struct error *err) MUST_CHECK;
int command_token_key(char **args, struct error *err) MUST_CHECK;

/* The configuration that `--config FILE`, the only argument, names. */
int command_load_config(char **args, struct server_config *config, struct error *err) MUST_CHECK;
/* Hash of a new password, from the first line of standard input or asked for twice. out has
 * PASSWORD_HASH_MAX bytes. */
int command_read_password(const char *user, bool from_stdin, char *out,
                          struct error *err) MUST_CHECK;
/* Started as root: goes on as the configured user, or as the data folder's owner, so that nothing
 * it leaves there is root's. */
int command_become_owner(const struct server_config *config, struct error *err) MUST_CHECK;
/* The configuration (file NULL: the default place) and its index, started. */
int command_open_index(const char *file, struct server_config *config, struct index **out,
                       struct error *err) MUST_CHECK;

#endif
