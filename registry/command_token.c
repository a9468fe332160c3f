/* bulla-registry api-token …, token-key …: passwords for programs, and what signs logins. */
#include "base/args.h"
#include "registry/access.h"
#include "registry/api_token.h"
#include "registry/command_accounts.h"
#include "registry/deployment.h"
#include "registry/password.h"
#include "registry/token.h"

#include "base/clock.h"
#include "keys/secret.h"

#include <inttypes.h>
#include <string.h>

/* --- api-token --- */

static int apply_create(struct index_tx *tx, void *arg, struct error *err)
{
    return index_api_token_add(tx, arg, err);
}

static int apply_revoke(struct index_tx *tx, void *arg, struct error *err)
{
    return index_api_token_remove(tx, arg, err);
}

struct wish {
    const char *config, *user, *expires, *pattern, *actions;
    bool json;
};

static int parse_wish(char **args, struct wish *wish, struct index_api_token *token,
                      struct error *err)
{
    const struct args_option options[] = {
        {"--config", &wish->config, NULL},      {"--expires", &wish->expires, NULL},
        {"--repository", &wish->pattern, NULL}, {"--actions", &wish->actions, NULL},
        {"--json", NULL, &wish->json},          {NULL, NULL, NULL}};
    unsigned actions = ACCESS_ALL;
    int rc = args_parse(args, options, &wish->user, 1, err);
    if (rc == 0)
        rc = command_check_user(wish->user, err);
    if (rc == 0 && wish->pattern)
        rc = access_pattern_check(wish->pattern, err);
    if (rc == 0 && wish->actions)
        rc = access_actions_parse(wish->actions, &actions, err);
    if (rc != 0)
        return rc;
    *token = (struct index_api_token){.actions = actions};
    snprintf(token->user, sizeof token->user, "%s", wish->user);
    snprintf(token->pattern, sizeof token->pattern, "%s", wish->pattern ? wish->pattern : "*");
    return 0;
}

/* For as long as is asked, and never longer than the configuration allows. */
static int set_expiry(const struct wish *wish, const struct server_config *config,
                      struct index_api_token *token, struct error *err)
{
    int64_t most = config->access.api_token_max_lifetime_s, lifetime = most;
    int rc = wish->expires ? text_to_duration(wish->expires, &lifetime, err) : 0;
    if (rc != 0)
        return fail(err, E_USAGE, "--expires '%s' is no duration: 90s, 15m, 24h, 30d",
                    wish->expires);
    if (lifetime <= 0)
        return fail(err, E_USAGE, "an API token must last for a second at least");
    if (lifetime > most)
        return fail(err, E_USAGE,
                    "an API token may last for %" PRId64
                    " %s at most: access.apiTokenMaxLifetime says so",
                    most % 86400 ? most : most / 86400, most % 86400 ? "seconds" : "days");
    token->created_s = clock_now_s();
    token->expires_s = token->created_s + lifetime;
    return 0;
}

static int show_token(const struct index_api_token *token, const char *text, bool json,
                      struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    if (!json)
        return command_print(err, "%s\n", text);
    int rc = js_set(object, "id", js_text_new(token->id), err);
    if (rc == 0)
        rc = js_set(object, "token", js_text_new(text), err);
    if (rc == 0)
        rc = command_set_time(object, "expires", token->expires_s, err);
    if (rc == 0)
        rc = js_write(object, true, &out, err);
    return rc == 0 ? command_print(err, "%s", bytes_text(&out)) : rc;
}

static int api_token_create(char **args, struct error *err)
{
    struct wish wish = {.config = NULL};
    struct index_api_token token;
    char text[API_TOKEN_TEXT_LEN + 1];
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(index_cleanup) struct index *ix = NULL;
    int rc = parse_wish(args, &wish, &token, err);
    if (rc == 0)
        rc = password_init(err);
    if (rc == 0)
        rc = command_open_index(wish.config, &config, &ix, err);
    if (rc == 0)
        rc = set_expiry(&wish, &config, &token, err);
    if (rc != 0)
        return rc;
    api_token_make(&token, text);
    const struct command_change c = {.event = "api-token.create",
                                     .object = token.user,
                                     .repository = token.pattern,
                                     .detail = token.id,
                                     .work = apply_create,
                                     .arg = &token};
    rc = command_record(&config, ix, &c, err);
    if (rc == 0)
        rc = show_token(&token, text, wish.json, err);
    secret_wipe(text, sizeof text);
    return rc;
}

static int api_token_revoke(char **args, struct error *err)
{
    const char *config = NULL, *id = NULL;
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    char copy[API_TOKEN_ID_LEN + 1];
    int rc = args_parse(args, options, &id, 1, err);
    if (rc != 0)
        return rc;
    if (strlen(id) != API_TOKEN_ID_LEN)
        return fail(err, E_USAGE, "'%.80s' is no id: 'api-token list' shows them", id);
    memcpy(copy, id, sizeof copy);
    const struct command_change c = {
        .event = "api-token.revoke", .object = copy, .work = apply_revoke, .arg = copy};
    return command_write(config, &c, err);
}

static int token_json(const struct index_api_token *token, struct js *object, struct error *err)
{
    int rc = js_set(object, "id", js_text_new(token->id), err);
    if (rc == 0)
        rc = js_set(object, "user", js_text_new(token->user), err);
    if (rc == 0)
        rc = js_set(object, "repository", js_text_new(token->pattern), err);
    if (rc == 0)
        rc = command_set_actions(object, token->actions, err);
    if (rc == 0)
        rc = command_set_time(object, "created", token->created_s, err);
    return rc == 0 ? command_set_time(object, "expires", token->expires_s, err) : rc;
}

static int print_token(void *context, const struct index_api_token *token, struct error *err)
{
    struct command_list *list = context;
    char actions[ACCESS_ACTIONS_TEXT_MAX], expires[CLOCK_TEXT_MAX];
    if (!list->array)
        return command_print(err, "%s %-16s %-24s %s %s%s\n", token->id, token->user,
                             token->pattern, clock_format(token->expires_s, expires),
                             access_actions_format((unsigned)token->actions, actions),
                             token->expires_s <= clock_now_s() ? " (expired)" : "");
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    int rc = object ? token_json(token, object, err) : fail_nomem(err);
    return rc == 0 ? command_list_push(list, TAKE_PTR(object), err) : rc;
}

static int list_tokens(struct index_tx *tx, void *list, struct error *err)
{
    return index_api_tokens_each(tx, print_token, list, err);
}

static int api_token_list(char **args, struct error *err)
{
    return command_list(args, list_tokens, err);
}

int command_api_token(char **args, struct error *err)
{
    static const struct command_word words[] = {{"create", api_token_create},
                                                {"list", api_token_list},
                                                {"revoke", api_token_revoke},
                                                {NULL, NULL}};
    return command_dispatch("api-token", words, args, err);
}

/* --- token-key --- */

static int load_config(char **args, struct server_config *config, bool *json, struct error *err)
{
    const char *file = NULL;
    const struct args_option options[] = {
        {"--config", &file, NULL}, {"--json", NULL, json}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc == 0)
        rc = password_init(err);
    if (rc == 0)
        rc = server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, config, err);
    return rc == 0 ? deployment_check_initialised(config, err) : rc;
}

struct rotation {
    const char *data_dir;
    char id[TOKEN_KEY_ID_LEN + 1];
};

/* Changes no row, but is recorded like what does. */
static int apply_rotate(struct index_tx *tx, void *arg, struct error *err)
{
    (void)tx;
    struct rotation *r = arg;
    return token_keys_rotate(r->data_dir, r->id, err);
}

static int token_key_rotate(char **args, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(index_cleanup) struct index *ix = NULL;
    const char *file = NULL;
    bool json = false;
    const struct args_option options[] = {
        {"--config", &file, NULL}, {"--json", NULL, &json}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc == 0)
        rc = password_init(err);
    if (rc == 0)
        rc = command_open_index(file, &config, &ix, err);
    if (rc != 0)
        return rc;
    struct rotation rotation = {.data_dir = config.data_dir};
    const struct command_change c = {
        .event = "token-key.rotate", .work = apply_rotate, .arg = &rotation};
    rc = command_record(&config, ix, &c, err);
    if (rc != 0)
        return rc;
    return command_print(err, json ? "{\"key\":\"%s\"}\n" : "new tokens are signed by %s\n",
                         rotation.id);
}

static int print_key(void *context, const char *id, int64_t created_s, struct error *err)
{
    struct command_list *list = context;
    char created[CLOCK_TEXT_MAX];
    if (!list->array)
        return command_print(err, "%s %s\n", id, clock_format(created_s, created));
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    int rc = js_set(object, "key", js_text_new(id), err);
    if (rc == 0)
        rc = command_set_time(object, "created", created_s, err);
    return rc == 0 ? command_list_push(list, TAKE_PTR(object), err) : rc;
}

static int token_key_list(char **args, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    bool json = false;
    int rc = load_config(args, &config, &json, err);
    if (rc != 0)
        return rc;
    CLEANUP(js_cleanup) struct js *array = json ? js_array_new() : NULL;
    struct command_list list = {array};
    rc = token_keys_list(config.data_dir, print_key, &list, err);
    if (rc == 0 && json)
        rc = js_write(array, true, &text, err);
    return rc == 0 && json ? command_print(err, "%s", bytes_text(&text)) : rc;
}

int command_token_key(char **args, struct error *err)
{
    static const struct command_word words[] = {
        {"list", token_key_list}, {"rotate", token_key_rotate}, {NULL, NULL}};
    return command_dispatch("token-key", words, args, err);
}
