/*
 * What the commands that change accounts share: words, transactions, lists.
 *
 * Changes go to the index of a running or stopped registry alike. Not thread-safe.
 */
#ifndef BULLA_REGISTRY_COMMAND_ACCOUNTS_H
#define BULLA_REGISTRY_COMMAND_ACCOUNTS_H

#include "base/json.h"
#include "registry/commands.h"

struct command_word {
    const char *name;
    int (*run)(char **args, struct error *err);
};
/* words end with name NULL. E_USAGE names what was not found. */
int command_dispatch(const char *noun, const struct command_word *words, char **args,
                     struct error *err) MUST_CHECK;

typedef int command_work(struct index_tx *tx, void *arg, struct error *err);
/* One change, and what the audit log says of it. */
struct command_change {
    const char *event;                        /* "user.add" */
    const char *object, *repository, *detail; /* may be NULL */
    command_work *work;
    void *arg;
};
/* In a transaction of the configured index (config_file NULL: the default place), recorded. */
int command_write(const char *config_file, const struct command_change *change,
                  struct error *err) MUST_CHECK;
/* The same with an index that is open. */
int command_record(const struct server_config *config, struct index *ix,
                   const struct command_change *change, struct error *err) MUST_CHECK;

/* A user's name, and no other subject. E_USAGE. */
int command_check_user(const char *name, struct error *err) MUST_CHECK;

/* A list: lines, or an array of objects with --json. */
struct command_list {
    struct js *array; /* NULL: lines */
};
/* Parses --config and --json, then runs work(tx, list) in a read transaction and prints. */
int command_list(char **args, command_work *work, struct error *err) MUST_CHECK;
/* A line to standard output; E_SYS. */
int command_print(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
/* Takes the object over. */
int command_list_push(struct command_list *list, struct js *object, struct error *err) MUST_CHECK;
/* "2026-01-02T03:04:05Z" as a member. */
int command_set_time(struct js *object, const char *key, int64_t time_s,
                     struct error *err) MUST_CHECK;
/* ["pull","push"] as a member. */
int command_set_actions(struct js *object, int64_t actions, struct error *err) MUST_CHECK;

#endif
