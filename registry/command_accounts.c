#include "registry/command_accounts.h"

#include "base/args.h"
#include "base/clock.h"
#include "keys/secret.h"
#include "registry/access.h"
#include "registry/audit_command.h"
#include "registry/deployment.h"
#include "registry/password.h"

#include <stdarg.h>
#include <string.h>

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
        rc = deployment_check_initialised(config, err);
    if (rc == 0)
        rc = index_open(config->data_dir, out, err);
    if (rc == 0)
        rc = index_start(*out, err);
    return rc;
}

int command_write(const char *config_file, const struct command_change *change, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(index_cleanup) struct index *ix = NULL;
    int rc = command_open_index(config_file, &config, &ix, err);
    if (rc != 0)
        return rc;
    return command_record(&config, ix, change, err);
}

int command_record(const struct server_config *config, struct index *ix,
                   const struct command_change *change, struct error *err)
{
    const struct audit_command c = {
        .data_dir = config->data_dir,
        .index = ix,
        .event = change->event,
        .object = change->object,
        .repository = change->repository,
        .detail = change->detail,
        .work = change->work,
        .arg = change->arg,
    };
    return audit_command(&c, err);
}

int command_dispatch(const char *noun, const struct command_word *words, char **args,
                     struct error *err)
{
    for (const struct command_word *w = words; args[0] && w->name; w++)
        if (strcmp(w->name, args[0]) == 0)
            return w->run(args + 1, err);
    if (!args[0])
        return fail(err, E_USAGE, "'%s' needs a second word, see bulla-registry %s --help", noun,
                    noun);
    return fail(err, E_USAGE, "'%s %s': no such command, see bulla-registry %s --help", noun,
                args[0], noun);
}

int command_check_user(const char *name, struct error *err)
{
    bool is_user = false;
    int rc = access_subject_check(name, &is_user, err);
    if (rc == 0 && !is_user)
        return fail(err, E_USAGE, "'%s' stands for callers without credentials", name);
    return rc;
}

/* --- lists --- */

int command_print(struct error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vprintf(format, args);
    va_end(args);
    return n < 0 ? fail_sys(err, errno, "write") : 0;
}

static int read_list(const char *config_file, command_work *work, struct command_list *list,
                     struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(index_cleanup) struct index *ix = NULL;
    struct index_tx *tx = NULL;
    int rc = command_open_index(config_file, &config, &ix, err);
    if (rc == 0)
        rc = index_read_begin(ix, &tx, err);
    if (rc == 0)
        rc = work(tx, list, err);
    if (tx)
        index_read_end(ix, tx);
    return rc;
}

int command_list(char **args, command_work *work, struct error *err)
{
    const char *config = NULL;
    bool json = false;
    const struct args_option options[] = {
        {"--config", &config, NULL}, {"--json", NULL, &json}, {NULL, NULL, NULL}};
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc != 0)
        return rc;
    CLEANUP(js_cleanup) struct js *array = json ? js_array_new() : NULL;
    struct command_list list = {array};
    if (json && !array)
        return fail_nomem(err);
    rc = read_list(config, work, &list, err);
    if (rc == 0 && json)
        rc = js_write(array, true, &text, err);
    return rc == 0 && json ? command_print(err, "%s", bytes_text(&text)) : rc;
}

int command_list_push(struct command_list *list, struct js *object, struct error *err)
{
    return js_push(list->array, object, err);
}

int command_set_time(struct js *object, const char *key, int64_t time_s, struct error *err)
{
    char text[CLOCK_TEXT_MAX];
    return js_set(object, key, js_text_new(clock_format(time_s, text)), err);
}

int command_set_actions(struct js *object, int64_t actions, struct error *err)
{
    char text[ACCESS_ACTIONS_TEXT_MAX];
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int rc = list ? 0 : fail_nomem(err);
    for (unsigned bit = 1; rc == 0 && bit <= ACCESS_ALL; bit <<= 1)
        if (actions & bit)
            rc = js_push(list, js_text_new(access_actions_format(bit, text)), err);
    return rc == 0 ? js_set(object, "actions", TAKE_PTR(list), err) : rc;
}
