#include "keys/pkcs11_service.h"

#include <pkcs11-helper-1.0/pkcs11h-certificate.h>
#include <pkcs11-helper-1.0/pkcs11h-token.h>
#include <string.h>

/* p11-kit's library is its own proxy module: the file p11-kit-proxy.so is a link to it, which
 * Debian ships in another package. */
#define PROXY_MODULE "libp11-kit.so.0"
#define PROVIDER     "bulla"
#define MAX_KEYS     256u

/* What happened while one signature was made; tells apart the many ways to say "cancelled". */
struct attempt {
    unsigned user_pins; /* PINs given for the login */
    bool no_pin;        /* there was none to give */
    bool again;         /* the login was asked for a second time, and refused */
    bool absent;        /* the token is not there */
};

struct pkcs11_service {
    struct pkcs11_pin_hook hook;
    struct attempt attempt;
    pkcs11h_certificate_t chosen;
    enum key_type type;
    char token[33]; /* label of the chosen key's token */
};

/* --- results of PKCS#11 as ours --- */

static int fail_pin(const struct pkcs11_service *service, CK_RV rv, struct error *err)
{
    if (rv == CKR_PIN_LOCKED)
        return fail(err, E_PASSPHRASE, "the PIN of token '%s' is locked; unblock it with its PUK",
                    service->token);
    return fail(err, E_PASSPHRASE, "wrong PIN for token '%s'", service->token);
}

static bool is_pin_failure(const struct pkcs11_service *service, CK_RV rv)
{
    switch (rv) {
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_LOCKED:
        return true;
    case CKR_ARGUMENTS_BAD:
        /* libykcs11 2.2 says so for PINs that are not 6 to 8 characters long. */
        return service->attempt.user_pins > 0;
    default:
        return false;
    }
}

static bool is_removal(const struct pkcs11_service *service, CK_RV rv)
{
    return service->attempt.absent || rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_DEVICE_REMOVED ||
           rv == CKR_SLOT_ID_INVALID || rv == CKR_TOKEN_NOT_RECOGNIZED;
}

static int fail_sign(const struct pkcs11_service *service, CK_RV rv, struct error *err)
{
    const struct attempt *attempt = &service->attempt;
    if (is_pin_failure(service, rv))
        return fail_pin(service, rv, err);
    if (is_removal(service, rv))
        return fail(err, E_TOKEN, "token '%s' is not there any more", service->token);
    if (attempt->no_pin)
        return fail(err, E_PASSPHRASE, "no PIN for token '%s'", service->token);
    if (attempt->again || (rv == CKR_USER_NOT_LOGGED_IN && attempt->user_pins))
        return fail(err, E_TOKEN, "token '%s' took the PIN but did not sign: was it touched?",
                    service->token);
    return fail(err, E_TOKEN, "token '%s' did not sign: %s", service->token,
                pkcs11h_getMessage(rv));
}

/* --- hooks that pkcs11-helper calls --- */

static PKCS11H_BOOL give_pin(struct pkcs11_service *service, char *pin, size_t pin_max)
{
    if (service->hook.ask(service->hook.self, service->token, pin, pin_max)) {
        service->attempt.no_pin = true;
        return FALSE;
    }
    return TRUE;
}

/* A login takes one PIN per signature: a wrong one sent twice is two of the three tries that a card
 * has. */
static PKCS11H_BOOL on_pin(void *const global, void *const user, const pkcs11h_token_id_t token,
                           const unsigned retry, char *const pin, const size_t pin_max)
{
    struct pkcs11_service *service = global;
    (void)user;
    (void)token;
    if (retry > 0 || service->attempt.user_pins > 0) {
        service->attempt.again = true;
        return FALSE;
    }
    if (!give_pin(service, pin, pin_max))
        return FALSE;
    service->attempt.user_pins++;
    return TRUE;
}

/* Keys that want the PIN for each signature ask here, after the login has accepted it. */
static PKCS11H_BOOL on_key(void *const global, void *const user, const pkcs11h_token_id_t token,
                           const char *const label, const unsigned retry, char *const pin,
                           const size_t pin_max)
{
    (void)user;
    (void)token;
    (void)label;
    if (retry > 0) {
        ((struct pkcs11_service *)global)->attempt.again = true;
        return FALSE;
    }
    return give_pin(global, pin, pin_max);
}

static PKCS11H_BOOL on_token(void *const global, void *const user, const pkcs11h_token_id_t token,
                             const unsigned retry)
{
    (void)user;
    (void)token;
    (void)retry;
    ((struct pkcs11_service *)global)->attempt.absent = true;
    return FALSE;
}

/* --- loading a module --- */

static CK_RV set_hooks(struct pkcs11_service *service)
{
    const pkcs11h_hook_key_prompt_t key_hook = on_key;
    void *const data = service;
    CK_RV rv = pkcs11h_setPINPromptHook(on_pin, service);
    if (rv == CKR_OK)
        rv = pkcs11h_setTokenPromptHook(on_token, service);
    if (rv == CKR_OK)
        rv = pkcs11h_setProperty(PKCS11H_PROPERTY_KEY_PROMPT_HOOK, &key_hook, sizeof key_hook);
    if (rv == CKR_OK)
        rv = pkcs11h_setProperty(PKCS11H_PROPERTY_KEY_PROMPT_HOOK_DATA, &data, sizeof data);
    if (rv == CKR_OK)
        rv = pkcs11h_setMaxLoginRetries(1);
    return rv;
}

int pkcs11_service_open(const char *module, struct pkcs11_pin_hook hook,
                        struct pkcs11_service **out, struct error *err)
{
    const char *path = *module ? module : PROXY_MODULE;
    struct pkcs11_service *service = calloc(1, sizeof *service);
    if (!service)
        return fail_nomem(err);
    service->hook = hook;
    CK_RV rv = pkcs11h_initialize();
    if (rv != CKR_OK) {
        free(service);
        return fail(err, E_TOKEN, "pkcs11-helper did not start: %s", pkcs11h_getMessage(rv));
    }
    pkcs11h_setLogLevel(PKCS11H_LOG_QUIET);
    rv = set_hooks(service);
    if (rv == CKR_OK)
        rv = pkcs11h_addProvider(PROVIDER, path, FALSE, PKCS11H_PRIVATEMODE_MASK_AUTO,
                                 PKCS11H_SLOTEVENT_METHOD_AUTO, 0, FALSE);
    if (rv != CKR_OK) {
        pkcs11_service_close(service);
        return fail(err, E_TOKEN, "PKCS#11 module '%s' cannot be used: %s", path,
                    pkcs11h_getMessage(rv));
    }
    *out = service;
    return OK;
}

void pkcs11_service_close(struct pkcs11_service *service)
{
    if (!service)
        return;
    if (service->chosen)
        (void)pkcs11h_certificate_freeCertificate(service->chosen);
    (void)pkcs11h_terminate();
    free(service);
}

/* --- keys --- */

static void list_cleanup(pkcs11h_certificate_id_list_t *list)
{
    if (*list)
        (void)pkcs11h_certificate_freeCertificateIdList(*list);
}

static void copy_text(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

/* False: not a key that Bulla can use; the others on the token may still be. */
static bool read_key(const pkcs11h_certificate_id_t from, struct pkcs11_key *out)
{
    struct libcrypto_certificate certificate;
    if (from->attrCKA_ID_size == 0 || from->attrCKA_ID_size > TOKEN_ID_MAX ||
        !from->certificate_blob || !from->token_id ||
        libcrypto_certificate_parse(from->certificate_blob, from->certificate_blob_size,
                                    &certificate, NULL))
        return false;
    memset(out, 0, sizeof *out);
    copy_text(out->name.label, sizeof out->name.label, from->token_id->label);
    copy_text(out->name.manufacturer, sizeof out->name.manufacturer,
              from->token_id->manufacturerID);
    copy_text(out->name.model, sizeof out->name.model, from->token_id->model);
    copy_text(out->name.serial, sizeof out->name.serial, from->token_id->serialNumber);
    memcpy(out->name.id, from->attrCKA_ID, from->attrCKA_ID_size);
    out->name.id_len = from->attrCKA_ID_size;
    copy_text(out->subject, sizeof out->subject, certificate.subject);
    out->type = certificate.type == LIBCRYPTO_RSA ? KEY_RSA : KEY_ECDSA_P256;
    memcpy(out->spki, certificate.spki, certificate.spki_len);
    out->spki_len = certificate.spki_len;
    return true;
}

static bool same_key(const struct pkcs11_key *a, const struct pkcs11_key *b)
{
    return strcmp(a->name.label, b->name.label) == 0 &&
           strcmp(a->name.serial, b->name.serial) == 0 &&
           strcmp(a->name.manufacturer, b->name.manufacturer) == 0 &&
           strcmp(a->name.model, b->name.model) == 0 &&
           bytes_equal(a->name.id, a->name.id_len, b->name.id, b->name.id_len);
}

/* libykcs11 shows each key under its certificate and once more under one that the card makes up. */
static bool is_made_up(const struct pkcs11_key *key)
{
    return strstr(key->subject, "YubiKey PIV Attestation") != NULL;
}

struct key_array {
    struct pkcs11_key *keys;
    size_t n;
};

static int add_key(struct key_array *array, const struct pkcs11_key *key, struct error *err)
{
    for (size_t i = 0; i < array->n; i++)
        if (same_key(&array->keys[i], key)) {
            if (is_made_up(&array->keys[i]))
                array->keys[i] = *key;
            return OK;
        }
    if (array->n == MAX_KEYS)
        return fail(err, E_LIMIT, "more than %u keys on the tokens", MAX_KEYS);
    struct pkcs11_key *more = reallocarray(array->keys, array->n + 1, sizeof *more);
    if (!more)
        return fail_nomem(err);
    more[array->n++] = *key;
    array->keys = more;
    return OK;
}

/* Certificates that issued others on the same token come separately: those are left out of lists
 * (a YubiKey's attestation key among them), since nothing says that they have a private key. */
static int enumerate(pkcs11h_certificate_id_list_t *issuers, pkcs11h_certificate_id_list_t *ends,
                     struct error *err)
{
    CK_RV rv =
        pkcs11h_certificate_enumCertificateIds(PKCS11H_ENUM_METHOD_RELOAD, NULL, 0, issuers, ends);
    if (rv != CKR_OK)
        return fail(err, E_TOKEN, "the tokens cannot be listed: %s", pkcs11h_getMessage(rv));
    return OK;
}

int pkcs11_service_list(struct pkcs11_service *service, struct pkcs11_key **out, size_t *n,
                        struct error *err)
{
    CLEANUP(list_cleanup) pkcs11h_certificate_id_list_t issuers = NULL;
    CLEANUP(list_cleanup) pkcs11h_certificate_id_list_t ends = NULL;
    struct key_array array = {NULL, 0};
    struct pkcs11_key key;
    (void)service;
    int rc = enumerate(&issuers, &ends, err);
    for (pkcs11h_certificate_id_list_t at = ends; !rc && at; at = at->next)
        if (read_key(at->certificate_id, &key))
            rc = add_key(&array, &key, err);
    if (rc) {
        free(array.keys);
        return rc;
    }
    *out = array.keys;
    *n = array.n;
    return OK;
}

/* The match and how often it was found under different names. */
struct search {
    struct token_uri *uri;
    pkcs11h_certificate_id_t found;
    struct pkcs11_key key;
    unsigned n;
};

static void search_list(struct search *search, pkcs11h_certificate_id_list_t list)
{
    struct pkcs11_key key;
    for (; list; list = list->next) {
        if (!read_key(list->certificate_id, &key) || !token_uri_matches(search->uri, &key.name))
            continue;
        bool again = search->n > 0 && same_key(&search->key, &key);
        if (again && !is_made_up(&search->key))
            continue;
        search->found = list->certificate_id;
        search->key = key;
        search->n += !again;
    }
}

int pkcs11_service_choose(struct pkcs11_service *service, struct token_uri *uri,
                          struct pkcs11_key *out, struct error *err)
{
    CLEANUP(list_cleanup) pkcs11h_certificate_id_list_t issuers = NULL;
    CLEANUP(list_cleanup) pkcs11h_certificate_id_list_t ends = NULL;
    struct search search = {.uri = uri};
    int rc = enumerate(&issuers, &ends, err);
    if (rc)
        return rc;
    search_list(&search, ends);
    if (search.n == 0)
        search_list(&search, issuers);
    if (search.n == 0)
        return fail(err, E_NOTFOUND, "no key on a token matches this URI: is the token there?");
    if (search.n > 1)
        return fail(err, E_USAGE, "%u keys match this URI; add token, serial or id", search.n);
    pkcs11h_certificate_t chosen = NULL;
    CK_RV rv = pkcs11h_certificate_create(search.found, NULL, PKCS11H_PROMPT_MASK_ALLOW_ALL,
                                          PKCS11H_PIN_CACHE_INFINITE, &chosen);
    if (rv != CKR_OK)
        return fail(err, E_TOKEN, "key cannot be opened: %s", pkcs11h_getMessage(rv));
    if (service->chosen)
        (void)pkcs11h_certificate_freeCertificate(service->chosen);
    service->chosen = chosen;
    service->type = search.key.type;
    copy_text(service->token, sizeof service->token, search.key.name.label);
    *out = search.key;
    return OK;
}

/* signAny, not sign: only that one sees keys that want their PIN for every signature. */
static CK_RV sign_with(const struct pkcs11_service *service, const uint8_t *digest, uint8_t *out,
                       size_t *len)
{
    CK_RSA_PKCS_PSS_PARAMS pss = {
        .hashAlg = CKM_SHA256, .mgf = CKG_MGF1_SHA256, .sLen = LIBCRYPTO_DIGEST_LEN};
    CK_MECHANISM ecdsa = {.mechanism = CKM_ECDSA};
    CK_MECHANISM rsa = {CKM_RSA_PKCS_PSS, &pss, sizeof pss};
    return pkcs11h_certificate_signAny_ex(service->chosen, service->type == KEY_RSA ? &rsa : &ecdsa,
                                          digest, LIBCRYPTO_DIGEST_LEN, out, len);
}

int pkcs11_service_sign(struct pkcs11_service *service,
                        const uint8_t digest[static LIBCRYPTO_DIGEST_LEN], struct bytes *out,
                        struct error *err)
{
    uint8_t sig[RSA_BITS_MAX / 8];
    size_t len = sizeof sig;
    if (!service->chosen)
        return fail(err, E_INTERNAL, "no key was opened");
    service->attempt = (struct attempt){.user_pins = 0};
    CK_RV rv = pkcs11h_certificate_lockSession(service->chosen);
    if (rv == CKR_OK) {
        rv = sign_with(service, digest, sig, &len);
        (void)pkcs11h_certificate_releaseSession(service->chosen);
    }
    if (rv != CKR_OK)
        return fail_sign(service, rv, err);
    return bytes_append(out, sig, len, err);
}
