#include "keys/token_uri.h"

#include <p11-kit/uri.h>
#include <string.h>

struct token_uri {
    P11KitUri *inner;
};

static int refuse_leftovers(P11KitUri *uri, struct error *err)
{
    /* Attributes of the library and the slot that are set do not match empty ones. */
    const CK_INFO no_library = {.flags = 0};
    const CK_SLOT_INFO no_slot = {.flags = 0};
    if (p11_kit_uri_get_pin_value(uri) || p11_kit_uri_get_pin_source(uri))
        return fail(err, E_USAGE, "a PIN does not belong into a pkcs11 URI; use a PIN file");
    if (p11_kit_uri_any_unrecognized(uri))
        return fail(err, E_USAGE, "pkcs11 URI has attributes that are not known");
    if (p11_kit_uri_get_attribute(uri, CKA_LABEL))
        return fail(err, E_USAGE, "pkcs11 URI names an object; name its id instead");
    if (p11_kit_uri_get_module_name(uri) || !p11_kit_uri_match_module_info(uri, &no_library))
        return fail(err, E_USAGE, "pkcs11 URI names a library; use module-path");
    if (p11_kit_uri_get_slot_id(uri) != (CK_SLOT_ID)-1 ||
        !p11_kit_uri_match_slot_info(uri, &no_slot))
        return fail(err, E_USAGE, "pkcs11 URI names a slot; name the token instead");
    return OK;
}

static int check_type(P11KitUri *uri, struct error *err)
{
    CK_ATTRIBUTE *type = p11_kit_uri_get_attribute(uri, CKA_CLASS);
    if (!type)
        return OK;
    CK_OBJECT_CLASS value = 0;
    if (type->ulValueLen != sizeof value)
        return fail(err, E_USAGE, "pkcs11 URI has a type of no known kind");
    memcpy(&value, type->pValue, sizeof value);
    /* `type` says what object is meant; all three stand for the same key here. */
    if (value != CKO_PRIVATE_KEY && value != CKO_PUBLIC_KEY && value != CKO_CERTIFICATE)
        return fail(err, E_USAGE, "pkcs11 URI does not name a key");
    return OK;
}

int token_uri_parse(const char *text, struct token_uri **out, struct error *err)
{
    /* p11-kit also takes PKCS11: and the like; one spelling is enough. */
    if (!text_starts(text, "pkcs11:"))
        return fail(err, E_USAGE, "'%.80s' is no pkcs11 URI", text);
    CLEANUP(token_uri_cleanup) struct token_uri *uri = calloc(1, sizeof *uri);
    if (!uri)
        return fail_nomem(err);
    uri->inner = p11_kit_uri_new();
    if (!uri->inner)
        return fail_nomem(err);
    int rv = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri->inner);
    if (rv != P11_KIT_URI_OK)
        return fail(err, E_USAGE, "'%.200s' is no pkcs11 URI: %s", text, p11_kit_uri_message(rv));
    int rc = refuse_leftovers(uri->inner, err);
    if (!rc)
        rc = check_type(uri->inner, err);
    if (!rc)
        *out = TAKE_PTR(uri);
    return rc;
}

void token_uri_free(struct token_uri *uri)
{
    if (!uri)
        return;
    p11_kit_uri_free(uri->inner);
    free(uri);
}

void token_uri_cleanup(struct token_uri **uri)
{
    token_uri_free(*uri);
    *uri = NULL;
}

/* PKCS#11 texts fill their field with blanks. */
static void pad(unsigned char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size);
    memset(out, ' ', size);
    memcpy(out, text, len);
}

static void fill_token(CK_TOKEN_INFO *out, const struct token_name *name)
{
    pad(out->label, sizeof out->label, name->label);
    pad(out->serialNumber, sizeof out->serialNumber, name->serial);
}

bool token_uri_matches(struct token_uri *uri, const struct token_name *name)
{
    CK_TOKEN_INFO token = {.flags = 0};
    fill_token(&token, name);
    pad(token.manufacturerID, sizeof token.manufacturerID, name->manufacturer);
    pad(token.model, sizeof token.model, name->model);
    const CK_ATTRIBUTE *id = p11_kit_uri_get_attribute(uri->inner, CKA_ID);
    if (id && !bytes_equal(id->pValue, id->ulValueLen, name->id, name->id_len))
        return false;
    return p11_kit_uri_match_token_info(uri->inner, &token) == 1;
}

const char *token_uri_module(const struct token_uri *uri)
{
    return p11_kit_uri_get_module_path(uri->inner);
}

int token_uri_format(const struct token_name *name, char *out, size_t size, struct error *err)
{
    uint8_t id[TOKEN_ID_MAX];
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    memcpy(id, name->id, name->id_len);
    CK_ATTRIBUTE attributes[] = {{CKA_ID, id, name->id_len}, {CKA_CLASS, &class, sizeof class}};
    P11KitUri *uri = p11_kit_uri_new();
    char *text = NULL;
    if (!uri)
        return fail_nomem(err);
    fill_token(p11_kit_uri_get_token_info(uri), name);
    int rv = p11_kit_uri_set_attributes(uri, attributes, 2);
    if (rv == P11_KIT_URI_OK)
        rv = p11_kit_uri_format(uri, P11_KIT_URI_FOR_OBJECT_ON_TOKEN, &text);
    p11_kit_uri_free(uri);
    if (rv != P11_KIT_URI_OK)
        return fail(err, E_TOKEN, "no pkcs11 URI for this key: %s", p11_kit_uri_message(rv));
    int rc = strlen(text) < size ? OK : fail(err, E_LIMIT, "pkcs11 URI is too long");
    if (!rc)
        memcpy(out, text, strlen(text) + 1);
    free(text);
    return rc;
}
