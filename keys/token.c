#include "base/digest.h"
#include "keys/helper_process.h"
#include "keys/libcrypto.h"
#include "keys/signing_key_kind.h"
#include "keys/token_host.h"

#include <string.h>

/* Listing a real card makes it attest up to 25 keys. */
#define LIST_WAIT_MS 60000
/* A touch is waited for 15 s by the card; OpenSC asks up to eight times. */
#define SIGN_WAIT_MS 150000
#define MAX_KEYS     256u
#define KEY_ID_MAX   64 /* bytes of CKA_ID that the protocol lets through */
/* A login and one prompt for a key that wants its PIN for every signature, and one in reserve. */
#define MAX_PIN_QUESTIONS 3

/* An open connection to a helper, perhaps with one key chosen. */
struct token {
    struct helper_process process;
    struct secret_source *pins; /* borrowed; NULL: nobody to ask */
    struct secret pin;          /* kept so that a person is asked once */
    int patience_ms;            /* the longest wait for one answer; 0: as each kind needs */
    bool refused;               /* the token did not take the PIN: never try again on our own */
};

static void free_token(void *state)
{
    struct token *token = state;
    if (!token)
        return;
    helper_process_stop(&token->process);
    secret_done(&token->pin);
    free(token);
}

static void token_cleanup(struct token **token)
{
    free_token(*token);
    *token = NULL;
}

static int start(const struct token_terms *terms, struct token **out, struct error *err)
{
    CLEANUP(token_cleanup) struct token *token = calloc(1, sizeof *token);
    if (!token)
        return fail_nomem(err);
    *token = (struct token){.process = HELPER_PROCESS_INIT,
                            .pins = terms->pins,
                            .pin = SECRET_INIT,
                            .patience_ms = terms->patience_ms};
    int rc = helper_process_start(terms->host, &token->process, err);
    if (!rc)
        *out = TAKE_PTR(token);
    return rc;
}

/* The module the user chose: its name ("" for p11-kit's proxy). */
static const char *module_or_default(const char *module)
{
    if (!module)
        module = getenv("BULLA_PKCS11_MODULE");
    return module ? module : "";
}

/* --- conversation --- */

static int request(struct token *token, const struct pkcs11_message *message, struct error *err)
{
    struct error why = ERROR_INIT;
    if (token->process.pid <= 0)
        return fail(err, E_TOKEN, "the connection to the token was lost; start again");
    int rc = pkcs11_channel_send(&token->process.channel, message, &why);
    if (rc == E_LIMIT)
        return fail(err, E_USAGE, "%s", why.message);
    return rc ? helper_process_fail(&token->process, why.message, err) : OK;
}

/* A code from the helper: only those it has reason to use. */
static int fail_as_told(const struct pkcs11_message *message, struct error *err)
{
    static const int usual[] = {E_TOKEN, E_PASSPHRASE,  E_NOTFOUND, E_USAGE,
                                E_NOMEM, E_UNSUPPORTED, E_LIMIT};
    char text[ERROR_MESSAGE_MAX];
    int code = E_TOKEN;
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (message->number == usual[i])
            code = usual[i];
    return fail(err, code, "%s", pkcs11_field_show(&message->field[0], text, sizeof text));
}

/* The next answer, FAILED turned into a code. */
static int answer(struct token *token, int timeout_ms, struct pkcs11_message *out,
                  struct error *err)
{
    struct error why = ERROR_INIT;
    if (token->patience_ms && token->patience_ms < timeout_ms)
        timeout_ms = token->patience_ms;
    if (pkcs11_channel_receive(&token->process.channel, timeout_ms, out, &why))
        return helper_process_fail(&token->process, why.message, err);
    return out->type == PKCS11_FAILED ? fail_as_told(out, err) : OK;
}

static int unexpected(struct token *token, struct error *err)
{
    return helper_process_fail(&token->process, "unexpected answer", err);
}

/* --- keys --- */

/* What a KEY message says, checked. *public_half is the caller's. */
static int read_key(const struct pkcs11_message *message, struct token_key *out,
                    struct public_key **public_half, struct error *err)
{
    struct token_key key = {.uri = ""};
    CLEANUP(public_key_cleanup) struct public_key *made = NULL;
    if (message->number != KEY_ECDSA_P256 && message->number != KEY_RSA)
        return fail(err, E_TOKEN, "PKCS#11 helper named an unknown key type");
    key.type = (enum key_type)message->number;
    const struct pkcs11_field *spki = &message->field[3];
    int rc = public_key_from_bytes(key.type, spki->data, spki->len, &made, err);
    if (!rc)
        rc = public_key_id(made, &key.id, err);
    if (rc)
        return rc;
    (void)pkcs11_field_show(&message->field[0], key.uri, sizeof key.uri);
    (void)pkcs11_field_show(&message->field[1], key.token, sizeof key.token);
    (void)pkcs11_field_show(&message->field[2], key.label, sizeof key.label);
    *out = key;
    *public_half = TAKE_PTR(made);
    return OK;
}

static int append_key(const struct pkcs11_message *message, struct token_key **keys, size_t *n,
                      struct error *err)
{
    CLEANUP(public_key_cleanup) struct public_key *public_half = NULL;
    struct token_key key;
    int rc = read_key(message, &key, &public_half, err);
    if (rc)
        return rc;
    if (*n == MAX_KEYS)
        return fail(err, E_LIMIT, "more than %u keys on the tokens", MAX_KEYS);
    struct token_key *more = reallocarray(*keys, *n + 1, sizeof *more);
    if (!more)
        return fail_nomem(err);
    more[(*n)++] = key;
    *keys = more;
    return OK;
}

int token_list_on(const struct token_terms *terms, struct token_key **out, size_t *n,
                  struct error *err)
{
    CLEANUP(token_cleanup) struct token *token = NULL;
    CLEANUP(cleanup_free) struct token_key *keys = NULL;
    size_t found = 0;
    struct pkcs11_message message = {
        .type = PKCS11_LIST, .field = {pkcs11_field_of_text(module_or_default(terms->module))}};
    int rc = start(terms, &token, err);
    if (!rc)
        rc = request(token, &message, err);
    while (!rc) {
        rc = answer(token, LIST_WAIT_MS, &message, err);
        if (rc || message.type == PKCS11_DONE)
            break;
        rc = message.type == PKCS11_KEY ? append_key(&message, &keys, &found, err)
                                        : unexpected(token, err);
    }
    if (rc)
        return rc;
    *out = TAKE_PTR(keys);
    *n = found;
    return OK;
}

int token_list(const char *module, struct token_key **out, size_t *n, struct error *err)
{
    const struct token_terms terms = {.module = module};
    return token_list_on(&terms, out, n, err);
}

/* --- signing --- */

static int get_pin(struct token *token, const struct pkcs11_message *question, struct error *err)
{
    char name[64], prompt[128];
    if (token->pin.data)
        return OK;
    (void)pkcs11_field_show(&question->field[0], name, sizeof name);
    if (!token->pins)
        return fail(err, E_PASSPHRASE, "no PIN for token '%s'", name);
    (void)snprintf(prompt, sizeof prompt, "PIN for token '%s'", name);
    int rc = token->pins->ask(token->pins, prompt, false, &token->pin, err);
    if (rc)
        return rc;
    if (token->pin.len == 0 || token->pin.len > PKCS11_PIN_MAX) {
        secret_done(&token->pin);
        return fail(err, E_PASSPHRASE, "a PIN has 1 to %d characters", PKCS11_PIN_MAX);
    }
    return OK;
}

/* Answers a PIN_NEEDED. *asked keeps the reason why there was no PIN. */
static int send_pin(struct token *token, const struct pkcs11_message *question, struct error *asked,
                    struct error *err)
{
    struct pkcs11_message reply = {.type = PKCS11_NO_PIN};
    if (get_pin(token, question, asked) == OK) {
        reply.type = PKCS11_PIN;
        reply.field[0] = (struct pkcs11_field){token->pin.data, token->pin.len};
    }
    return request(token, &reply, err);
}

/* Until the helper has something other than questions for the PIN. */
static int converse(struct token *token, struct pkcs11_message *out, struct error *err)
{
    struct error asked = ERROR_INIT;
    int questions = 0;
    for (;;) {
        int rc = answer(token, SIGN_WAIT_MS, out, err);
        if (rc && asked.code) {
            if (err)
                *err = asked;
            return asked.code;
        }
        if (rc || out->type != PKCS11_PIN_NEEDED)
            return rc;
        if (++questions > MAX_PIN_QUESTIONS)
            return unexpected(token, err);
        rc = send_pin(token, out, &asked, err);
        if (rc)
            return rc;
    }
}

static int append_signature(const struct pkcs11_field *sig, enum key_type type, struct bytes *out,
                            struct error *err)
{
    if (type == KEY_RSA)
        return bytes_append(out, sig->data, sig->len, err);
    if (sig->len != P256_RAW_LEN)
        return fail(err, E_TOKEN, "the token gave a signature of %zu bytes", sig->len);
    int rc = libcrypto_p256_signature_der(sig->data, out, err);
    return rc == E_INVALID ? fail(err, E_TOKEN, "the token gave a signature of zero") : rc;
}

static int sign(void *state, const struct public_key *public_half, const struct bytes *msg,
                struct bytes *out, struct error *err)
{
    struct token *token = state;
    struct digest digest = {.alg = DIGEST_NONE};
    if (token->refused)
        return fail(err, E_PASSPHRASE, "the token refused the PIN before; it is not tried again");
    int rc = digest_of(DIGEST_SHA256, msg->data, msg->len, &digest, err);
    if (rc)
        return rc;
    struct pkcs11_message message = {.type = PKCS11_SIGN,
                                     .field = {{digest.bytes, digest_len(DIGEST_SHA256)}}};
    rc = request(token, &message, err);
    if (!rc)
        rc = converse(token, &message, err);
    if (rc == E_PASSPHRASE && token->pin.data) {
        token->refused = true;
        secret_done(&token->pin);
    }
    if (rc)
        return rc;
    if (message.type != PKCS11_SIGNATURE)
        return unexpected(token, err);
    return append_signature(&message.field[0], public_key_type(public_half), out, err);
}

static const struct signing_key_kind token_kind = {
    .sign = sign, .free = free_token, .mismatch = E_TOKEN, .on_token = true};

static int choose(struct token *token, const char *module, const char *uri,
                  struct pkcs11_message *out, struct error *err)
{
    struct pkcs11_message message = {
        .type = PKCS11_OPEN,
        .field = {pkcs11_field_of_text(module_or_default(module)), pkcs11_field_of_text(uri)}};
    int rc = request(token, &message, err);
    if (!rc)
        rc = answer(token, LIST_WAIT_MS, out, err);
    if (!rc && out->type != PKCS11_KEY)
        rc = unexpected(token, err);
    return rc;
}

int token_open_on(const struct token_terms *terms, const char *uri, struct signing_key **out,
                  struct error *err)
{
    CLEANUP(token_cleanup) struct token *token = NULL;
    struct pkcs11_message message;
    struct public_key *public_half = NULL;
    struct token_key key;
    char id[2 * KEY_ID_MAX + 1], label[256];
    int rc = start(terms, &token, err);
    if (!rc)
        rc = choose(token, terms->module, uri, &message, err);
    if (!rc)
        rc = read_key(&message, &key, &public_half, err);
    if (rc)
        return rc;
    hex_encode(message.field[4].data, message.field[4].len, id);
    (void)snprintf(label, sizeof label, "token '%s', id %s", key.token, id);
    return signing_key_new(&token_kind, TAKE_PTR(token), public_half, label, out, err);
}

int token_open(const char *module, const char *uri, struct secret_source *pins,
               struct signing_key **out, struct error *err)
{
    const struct token_terms terms = {.module = module, .pins = pins};
    return token_open_on(&terms, uri, out, err);
}
