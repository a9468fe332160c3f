/* bulla key …: keys in encrypted files and on tokens. */
#include "cli/command.h"

#include <string.h>

static int parse_type(const char *text, enum key_type *out, struct error *err)
{
    if (!text || strcmp(text, "ed25519") == 0)
        *out = KEY_ED25519;
    else if (strcmp(text, "ecdsa-p256") == 0)
        *out = KEY_ECDSA_P256;
    else
        return fail(err, E_USAGE, "unknown key type '%s' (ed25519 or ecdsa-p256)", text);
    return OK;
}

int describe_key(struct context *ctx, const struct key_entry *e, struct error *err)
{
    int rc = result_text(ctx, "name", e->name, err);
    if (!rc)
        rc = result_text(ctx, "type", key_type_name(e->type), err);
    return rc ? rc : result_text(ctx, "keyid", e->id.text, err);
}

int command_key_generate(struct context *ctx, struct error *err)
{
    struct keystore *ks;
    struct key_entry entry;
    enum key_type type;
    int rc = parse_type(option_text(&ctx->options, "type"), &type, err);
    if (!rc)
        rc = context_keystore(ctx, &ks, err);
    if (!rc)
        rc = keystore_generate(ks, ctx->options.args[0], type, &ctx->passphrases, &entry, err);
    if (rc)
        return rc;
    say(ctx, "made %s key '%s'", key_type_name(type), entry.name);
    say(ctx, "key id %s", entry.id.text);
    return describe_key(ctx, &entry, err);
}

static int entry_to_js(const struct key_entry *e, struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "name", js_text_new(e->name), err) : fail_nomem(err);
    if (!rc)
        rc = js_set(o, "type", js_text_new(key_type_name(e->type)), err);
    if (!rc)
        rc = js_set(o, "keyid", js_text_new(e->id.text), err);
    if (!rc)
        rc = js_set(o, "publicOnly", js_bool_new(e->public_only), err);
    if (!rc)
        *out = TAKE_PTR(o);
    return rc;
}

int command_key_list(struct context *ctx, struct error *err)
{
    struct keystore *ks;
    CLEANUP(cleanup_free) struct key_entry *entries = NULL;
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    size_t n = 0;
    int rc = list ? context_keystore(ctx, &ks, err) : fail_nomem(err);
    if (!rc)
        rc = keystore_list(ks, &entries, &n, err);
    if (!rc && n == 0)
        say(ctx, "no keys; 'bulla key generate NAME' makes one");
    for (size_t i = 0; !rc && i < n; i++) {
        struct js *one = NULL;
        say(ctx, "%-20s %-11s %s%s", entries[i].name, key_type_name(entries[i].type),
            entries[i].id.text, entries[i].public_only ? "  (public half only)" : "");
        rc = entry_to_js(&entries[i], &one, err);
        if (!rc)
            rc = js_push(list, one, err);
    }
    return rc ? rc : result_set(ctx, "keys", TAKE_PTR(list), err);
}

int command_key_show(struct context *ctx, struct error *err)
{
    struct keystore *ks;
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct js *object = NULL;
    struct key_id id;
    int rc = context_keystore(ctx, &ks, err);
    if (!rc)
        rc = public_key_open(ks, ctx->options.args[0], &key, err);
    if (!rc)
        rc = public_key_id(key, &id, err);
    if (!rc)
        rc = public_key_to_tuf(key, &object, err);
    if (rc)
        return rc;
    rc = js_canonical(object, &text, err);
    if (!rc) {
        say(ctx, "type    %s", key_type_name(public_key_type(key)));
        say(ctx, "key id  %s", id.text);
        say(ctx, "public  %s", bytes_text(&text));
        rc = result_text(ctx, "keyid", id.text, err);
    }
    if (rc) {
        js_free(object);
        return rc;
    }
    return result_set(ctx, "key", object, err);
}

int command_key_remove(struct context *ctx, struct error *err)
{
    struct keystore *ks;
    int rc = context_keystore(ctx, &ks, err);
    if (!rc)
        rc = keystore_remove(ks, ctx->options.args[0], err);
    if (!rc)
        say(ctx, "removed key '%s'", ctx->options.args[0]);
    return rc;
}

static int token_key_to_js(const struct token_key *k, struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "uri", js_text_new(k->uri), err) : fail_nomem(err);
    if (!rc)
        rc = js_set(o, "token", js_text_new(k->token), err);
    if (!rc)
        rc = js_set(o, "label", js_text_new(k->label), err);
    if (!rc)
        rc = js_set(o, "type", js_text_new(key_type_name(k->type)), err);
    if (!rc)
        rc = js_set(o, "keyid", js_text_new(k->id.text), err);
    if (!rc)
        *out = TAKE_PTR(o);
    return rc;
}

int command_token_list(struct context *ctx, struct error *err)
{
    CLEANUP(cleanup_free) struct token_key *keys = NULL;
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    size_t n = 0;
    int rc = list ? token_list(NULL, &keys, &n, err) : fail_nomem(err);
    if (!rc && n == 0)
        say(ctx, "no usable key on any token (a key needs a certificate beside it to be seen)");
    for (size_t i = 0; !rc && i < n; i++) {
        struct js *one = NULL;
        say(ctx, "%s", keys[i].uri);
        say(ctx, "    token '%s'  %s  %s", keys[i].token, key_type_name(keys[i].type),
            keys[i].label);
        say(ctx, "    key id %s", keys[i].id.text);
        rc = token_key_to_js(&keys[i], &one, err);
        if (!rc)
            rc = js_push(list, one, err);
    }
    return rc ? rc : result_set(ctx, "keys", TAKE_PTR(list), err);
}
