#include "signer/service_token.h"

#include "base/clock.h"
#include "base/log.h"

#include <fnmatch.h>
#include <string.h>

/* In front of what is stored: an encrypted key begins differently. */
#define PREFIX "bulla token key 1\n"

/* The service does one thing after the other: a token that hangs must not stop the collections
 * whose keys are elsewhere. A touch is not waited for. */
#define PATIENCE_MS 5000

/* A real card takes a second to list its keys. */
#define WATCH_MS         (300 * 1000)
#define WATCH_FAILING_MS (60 * 1000)

/* What secret_source asks of this object. */
struct pin_source {
    struct secret_source source;
    struct service_token *token;
};

struct service_token {
    struct token_host *host;
    struct pin_source pins;
    struct secret pin;
    char *label, *module, *collections;
    bool refused;    /* the PIN was not taken */
    bool failing;    /* said in the log */
    int64_t seen_ms; /* when something came of it last; 0: never */
};

static int give_pin(struct secret_source *self, const char *prompt, bool confirm,
                    struct secret *out, struct error *err)
{
    const struct service_token *token = ((struct pin_source *)self)->token;
    (void)prompt;
    (void)confirm;
    if (!token->pin.len)
        return fail(err, E_PASSPHRASE,
                    "token '%s' wants a PIN: name its file as signer.tokenPinFile", token->label);
    return secret_copy(token->pin.data, token->pin.len, out, err);
}

static struct token_terms terms_of(struct service_token *token)
{
    return (struct token_terms){.module = token->module,
                                .pins = &token->pins.source,
                                .host = token->host,
                                .patience_ms = PATIENCE_MS};
}

int service_token_new(const struct service_token_options *options, struct service_token **out,
                      struct error *err)
{
    CLEANUP(secret_done) struct secret pin = secret_take(options->pin);
    CLEANUP(service_token_cleanup) struct service_token *token = calloc(1, sizeof *token);
    if (!token)
        return fail_nomem(err);
    token->label = strdup(options->label);
    token->module = strdup(options->module ? options->module : "");
    token->collections = options->collections ? strdup(options->collections) : NULL;
    if (!token->label || !token->module || (options->collections && !token->collections))
        return fail_nomem(err);
    token->pin = secret_take(&pin);
    token->pins = (struct pin_source){.source = {.ask = give_pin}, .token = token};
    token->host = options->host;
    *out = TAKE_PTR(token);
    return OK;
}

void service_token_free(struct service_token *token)
{
    if (!token)
        return;
    token_host_stop(token->host);
    secret_done(&token->pin);
    free(token->label);
    free(token->module);
    free(token->collections);
    free(token);
}

void service_token_cleanup(struct service_token **token)
{
    service_token_free(*token);
    *token = NULL;
}

bool service_token_serves(const struct service_token *token, const char *collection)
{
    return token &&
           (!token->collections || fnmatch(token->collections, collection, FNM_NOESCAPE) == 0);
}

/* --- what is stored of a key --- */

static int write_record(const struct token_key *key, const struct public_key *half,
                        struct bytes *record, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    CLEANUP(js_cleanup) struct js *tuf = NULL;
    int rc = object ? public_key_to_tuf(half, &tuf, err) : fail_nomem(err);
    if (!rc)
        rc = js_set(object, "uri", js_text_new(key->uri), err);
    if (!rc)
        rc = js_set(object, "key", TAKE_PTR(tuf), err);
    if (!rc)
        rc = bytes_append_text(record, PREFIX, err);
    return rc ? rc : js_write(object, false, record, err);
}

bool service_token_is_record(const struct bytes *stored)
{
    return stored->len >= strlen(PREFIX) && memcmp(stored->data, PREFIX, strlen(PREFIX)) == 0;
}

static int parse_record(const struct bytes *record, struct js **out, struct error *err)
{
    size_t skip = strlen(PREFIX);
    int rc = service_token_is_record(record)
                 ? js_parse(record->data + skip, record->len - skip, out, err)
                 : fail(err, E_TAMPERED, "no record of a key on a token");
    if (!rc && !js_text(js_get(*out, "uri")))
        return fail(err, E_TAMPERED, "a record of a key on a token without its name");
    return rc;
}

int service_token_public(const struct bytes *record, struct public_key **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    int rc = parse_record(record, &object, err);
    return rc ? rc : public_key_from_tuf(js_get(object, "key"), out, err);
}

/* --- the token --- */

static int open_uri(struct service_token *token, const char *uri, struct signing_key **out,
                    struct error *err)
{
    const struct token_terms terms = terms_of(token);
    int rc = token_open_on(&terms, uri, out, err);
    /* Not there is not "no such collection". */
    return rc == E_NOTFOUND ? fail(err, E_TOKEN, "%s", err ? err->message : "") : rc;
}

static int record_key(struct service_token *token, const struct token_key *key,
                      struct bytes *record, struct error *err)
{
    CLEANUP(signing_key_cleanup) struct signing_key *opened = NULL;
    int rc = open_uri(token, key->uri, &opened, err);
    return rc ? rc : write_record(key, signing_key_public(opened), record, err);
}

int service_token_take(struct service_token *token, const struct service_token_taken *taken,
                       struct bytes *record, struct key_id *id, struct error *err)
{
    CLEANUP(cleanup_free) struct token_key *keys = NULL;
    const struct token_terms terms = terms_of(token);
    size_t n = 0, on_it = 0;
    int rc = token_list_on(&terms, &keys, &n, err);
    service_token_note(token, rc, err);
    for (size_t i = 0; !rc && i < n; i++) {
        bool used = false;
        if (strcmp(keys[i].token, token->label) != 0)
            continue;
        on_it++;
        rc = taken->taken(taken->context, &keys[i].id, &used, err);
        if (!rc && !used) {
            *id = keys[i].id;
            return record_key(token, &keys[i], record, err);
        }
    }
    if (rc)
        return rc;
    return fail(err, E_TOKEN,
                "token '%s' has no key left for this: %zu keys, all used; make another one on it",
                token->label, on_it);
}

int service_token_each(struct service_token *token,
                       int (*each)(void *context, const struct key_id *id, struct error *err),
                       void *context, struct error *err)
{
    CLEANUP(cleanup_free) struct token_key *keys = NULL;
    const struct token_terms terms = terms_of(token);
    size_t n = 0, on_it = 0;
    int rc = token_list_on(&terms, &keys, &n, err);
    service_token_note(token, rc, err);
    for (size_t i = 0; !rc && i < n; i++)
        if (strcmp(keys[i].token, token->label) == 0) {
            on_it++;
            rc = each(context, &keys[i].id, err);
        }
    return rc || on_it
               ? rc
               : fail(err, E_TOKEN, "token '%s' is not there, or has no keys", token->label);
}

int service_token_open(struct service_token *token, const struct bytes *record,
                       struct signing_key **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    CLEANUP(public_key_cleanup) struct public_key *half = NULL;
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    int rc = parse_record(record, &object, err);
    if (!rc)
        rc = service_token_public(record, &half, err);
    if (rc)
        return rc;
    const char *uri = js_text(js_get(object, "uri"));
    if (!token)
        return fail(err, E_TOKEN, "the key is on a token (%s), but signer.token names none", uri);
    if (token->refused)
        return fail(err, E_PASSPHRASE,
                    "token '%s' refused the PIN; it is not sent again before a restart",
                    token->label);
    rc = open_uri(token, uri, &key, err);
    if (!rc && !public_key_equal(signing_key_public(key), half))
        rc = fail(err, E_TOKEN, "another key lies where the service's key was (%s)", uri);
    service_token_note(token, rc, err);
    if (!rc)
        *out = TAKE_PTR(key);
    return rc;
}

void service_token_note(struct service_token *token, int rc, const struct error *err)
{
    if (!token)
        return;
    token->seen_ms = clock_monotonic_ms();
    token->refused = token->refused || rc == E_PASSPHRASE;
    bool failing = rc == E_TOKEN || rc == E_PASSPHRASE;
    if (failing && !token->failing)
        log_error("token '%s': %s: what its keys sign cannot be signed until this is put right",
                  token->label, err ? err->message : "");
    if (!failing && !rc && token->failing)
        log_info("token '%s' works again", token->label);
    token->failing = failing || (rc && token->failing);
}

/* E_TOKEN where no key of the token can be seen. */
static int look_for_keys(struct service_token *token, struct error *err)
{
    CLEANUP(cleanup_free) struct token_key *keys = NULL;
    const struct token_terms terms = terms_of(token);
    size_t n = 0;
    int rc = token_list_on(&terms, &keys, &n, err);
    for (size_t i = 0; !rc && i < n; i++)
        if (strcmp(keys[i].token, token->label) == 0)
            return OK;
    return rc ? rc : fail(err, E_TOKEN, "it is not there, or has no keys");
}

void service_token_watch(struct service_token *token)
{
    struct error err = ERROR_INIT;
    /* A refused PIN stays refused; the token itself was there. */
    if (!token || token->refused)
        return;
    int64_t every_ms = token->failing ? WATCH_FAILING_MS : WATCH_MS;
    if (token->seen_ms && clock_monotonic_ms() - token->seen_ms < every_ms)
        return;
    int rc = look_for_keys(token, &err);
    service_token_note(token, rc, &err);
}

bool service_token_failing(const struct service_token *token)
{
    return token && token->failing;
}
