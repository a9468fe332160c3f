/* bulla-registry user …, grant …: changes to a running or stopped registry's index. */
#include "registry/access.h"
#include "registry/args.h"
#include "registry/audit_command.h"
#include "registry/commands.h"
#include "registry/index_accounts.h"
#include "registry/password.h"

#include "keys/secret.h"

#include <string.h>

/* --- what these commands share --- */

static int password_from_stdin(struct secret *out, struct error *err)
{
    char line[PASSWORD_MAX + 2];
    if (!fgets(line, sizeof line, stdin))
        return fail(err, E_USAGE, "no password on standard input");
    size_t len = strcspn(line, "\r\n");
    bool whole = line[len] != '\0' || feof(stdin);
    int rc = whole ? secret_copy(line, len, out, err)
                   : fail(err, E_USAGE, "a password has %d bytes at most", PASSWORD_MAX);
    secret_wipe(line, sizeof line);
    return rc;
}

int command_read_password(const char *user, bool from_stdin, char *out, struct error *err)
{
    struct secret password = SECRET_INIT;
    int rc = password_init(err);
    if (rc != 0)
        return rc;
    if (from_stdin) {
        rc = password_from_stdin(&password, err);
    } else {
        char prompt[USER_NAME_MAX + 32];
        struct secret_source source;
        snprintf(prompt, sizeof prompt, "new password for '%s'", user);
        secret_source_init(&source, NULL);
        rc = source.ask(&source, prompt, true, &password, err);
    }
    if (rc == 0)
        rc = password_hash((const char *)password.data, password.len, out, err);
    secret_done(&password);
    return rc;
}

int command_open_index(const char *file, struct server_config *config, struct index **out,
                       struct error *err)
{
    int rc = server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, config, err);
    if (rc == 0)
        rc = index_open(config->data_dir, out, err);
    if (rc == 0)
        rc = index_start(*out, err);
    return rc;
}

struct account_change {
    const char *event, *name, *hash;
    struct index_grant grant;
    int (*apply)(struct index_tx *tx, const struct account_change *change, struct error *err);
};

static int apply_change(struct index_tx *tx, void *arg, struct error *err)
{
    const struct account_change *change = arg;
    return change->apply(tx, change, err);
}

static int write_change(const char *config_file, struct account_change *change, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(index_cleanup) struct index *ix = NULL;
    int rc = command_open_index(config_file, &config, &ix, err);
    if (rc != 0)
        return rc;
    char actions[ACCESS_ACTIONS_TEXT_MAX];
    bool grant = change->grant.subject != NULL;
    const struct audit_command c = {
        .data_dir = config.data_dir,
        .index = ix,
        .event = change->event,
        .object = grant ? change->grant.subject : change->name,
        .repository = change->grant.pattern,
        .detail = grant ? access_actions_format((unsigned)change->grant.actions, actions) : NULL,
        .work = apply_change,
        .arg = change,
    };
    return audit_command(&c, err);
}

struct command {
    const char *name;
    int (*run)(char **args, struct error *err);
};

static int dispatch(const char *noun, const struct command *commands, char **args,
                    struct error *err)
{
    for (const struct command *c = commands; args[0] && c->name; c++)
        if (strcmp(c->name, args[0]) == 0)
            return c->run(args + 1, err);
    return fail(err, E_USAGE, "'%s %s': no such command, see bulla-registry --help", noun,
                args[0] ? args[0] : "");
}

/* --- user --- */

static int check_user_name(const char *name, struct error *err)
{
    bool is_user = false;
    int rc = access_subject_check(name, &is_user, err);
    if (rc == 0 && !is_user)
        return fail(err, E_USAGE, "'%s' stands for callers without credentials", name);
    return rc;
}

static int apply_add(struct index_tx *tx, const struct account_change *change, struct error *err)
{
    return index_user_add(tx, change->name, change->hash, err);
}

static int apply_password(struct index_tx *tx, const struct account_change *change,
                          struct error *err)
{
    return index_user_set_password(tx, change->name, change->hash, err);
}

static int apply_remove(struct index_tx *tx, const struct account_change *change, struct error *err)
{
    return index_user_remove(tx, change->name, err);
}

static int change_password(char **args, const char *event,
                           int (*apply)(struct index_tx *tx, const struct account_change *change,
                                        struct error *err),
                           struct error *err)
{
    const char *config = NULL, *name = NULL;
    bool from_stdin = false;
    char hash[PASSWORD_HASH_MAX];
    const struct args_option options[] = {
        {"--config", &config, NULL}, {"--password-stdin", NULL, &from_stdin}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, &name, 1, err);
    if (rc == 0)
        rc = check_user_name(name, err);
    if (rc == 0)
        rc = command_read_password(name, from_stdin, hash, err);
    if (rc != 0)
        return rc;
    struct account_change change = {.event = event, .name = name, .hash = hash, .apply = apply};
    rc = write_change(config, &change, err);
    secret_wipe(hash, sizeof hash);
    return rc;
}

static int user_add(char **args, struct error *err)
{
    return change_password(args, "user.add", apply_add, err);
}

static int user_passwd(char **args, struct error *err)
{
    return change_password(args, "user.passwd", apply_password, err);
}

static int user_remove(char **args, struct error *err)
{
    const char *config = NULL, *name = NULL;
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, &name, 1, err);
    struct account_change change = {.event = "user.remove", .name = name, .apply = apply_remove};
    return rc == 0 ? write_change(config, &change, err) : rc;
}

static int print_name(void *context, const char *name, struct error *err)
{
    (void)context;
    return puts(name) < 0 ? fail_sys(err, errno, "write") : 0;
}

static int user_list(char **args, struct error *err)
{
    const char *config_file = NULL;
    const struct args_option options[] = {{"--config", &config_file, NULL}, {NULL, NULL, NULL}};
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(index_cleanup) struct index *ix = NULL;
    struct index_tx *tx = NULL;
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc == 0)
        rc = command_open_index(config_file, &config, &ix, err);
    if (rc == 0)
        rc = index_read_begin(ix, &tx, err);
    if (rc == 0)
        rc = index_users_each(tx, print_name, NULL, err);
    if (tx)
        index_read_end(ix, tx);
    return rc;
}

int command_user(char **args, struct error *err)
{
    static const struct command commands[] = {{"add", user_add},
                                              {"list", user_list},
                                              {"passwd", user_passwd},
                                              {"remove", user_remove},
                                              {NULL, NULL}};
    return dispatch("user", commands, args, err);
}

/* --- grant --- */

static int apply_grant_add(struct index_tx *tx, const struct account_change *change,
                           struct error *err)
{
    bool is_user = false;
    char hash[PASSWORD_HASH_MAX];
    int rc = access_subject_check(change->grant.subject, &is_user, err);
    if (rc == 0 && is_user) /* a misspelt name must not wait for a user of that name */
        rc = index_user_find(tx, change->grant.subject, hash, err);
    return rc == 0 ? index_grant_add(tx, &change->grant, err) : rc;
}

static int apply_grant_remove(struct index_tx *tx, const struct account_change *change,
                              struct error *err)
{
    return index_grant_remove(tx, &change->grant, err);
}

static int change_grant(char **args, const char *event,
                        int (*apply)(struct index_tx *tx, const struct account_change *change,
                                     struct error *err),
                        struct error *err)
{
    const char *config = NULL, *words[3] = {NULL, NULL, NULL};
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    unsigned actions = 0;
    int rc = args_parse(args, options, words, 3, err);
    if (rc == 0)
        rc = access_pattern_check(words[1], err);
    if (rc == 0)
        rc = access_actions_parse(words[2], &actions, err);
    struct account_change change = {
        .event = event, .grant = {words[0], words[1], actions}, .apply = apply};
    return rc == 0 ? write_change(config, &change, err) : rc;
}

static int grant_add(char **args, struct error *err)
{
    return change_grant(args, "grant.add", apply_grant_add, err);
}

static int grant_remove(char **args, struct error *err)
{
    return change_grant(args, "grant.remove", apply_grant_remove, err);
}

static int print_grant(void *context, const struct index_grant *grant, struct error *err)
{
    (void)context;
    char actions[ACCESS_ACTIONS_TEXT_MAX];
    int n = printf("%-16s %-32s %s\n", grant->subject, grant->pattern,
                   access_actions_format((unsigned)grant->actions, actions));
    return n < 0 ? fail_sys(err, errno, "write") : 0;
}

static int grant_list(char **args, struct error *err)
{
    const char *config_file = NULL;
    const struct args_option options[] = {{"--config", &config_file, NULL}, {NULL, NULL, NULL}};
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(index_cleanup) struct index *ix = NULL;
    struct index_tx *tx = NULL;
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc == 0)
        rc = command_open_index(config_file, &config, &ix, err);
    if (rc == 0)
        rc = index_read_begin(ix, &tx, err);
    if (rc == 0)
        rc = index_grants_each(tx, NULL, print_grant, NULL, err);
    if (tx)
        index_read_end(ix, tx);
    return rc;
}

int command_grant(char **args, struct error *err)
{
    static const struct command commands[] = {
        {"add", grant_add}, {"list", grant_list}, {"remove", grant_remove}, {NULL, NULL}};
    return dispatch("grant", commands, args, err);
}
