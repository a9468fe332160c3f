/* bulla key export, import, passphrase: keys from and to elsewhere. */
#include "base/file.h"
#include "cli/command.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define IMPORT_MAX 16384 /* an RSA key in JSON needs 2,000 */

/* --- export --- */

static int write_public(struct context *ctx, const struct public_key *key, struct bytes *out,
                        struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    if (option_given(&ctx->options, "pem"))
        return public_key_to_pem(key, out, err);
    int rc = public_key_to_tuf(key, &object, err);
    if (!rc)
        rc = js_write(object, false, out, err);
    return rc || text_ends(bytes_text(out), "\n") ? rc : bytes_append_text(out, "\n", err);
}

static int export_public(struct context *ctx, const char *name, struct bytes *out,
                         struct error *err)
{
    struct keystore *ks;
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    struct key_id id;
    int rc = context_keystore(ctx, &ks, err);
    if (!rc)
        rc = public_key_open(ks, name, &key, err);
    if (!rc)
        rc = public_key_id(key, &id, err);
    if (!rc)
        rc = write_public(ctx, key, out, err);
    return rc ? rc : result_text(ctx, "keyid", id.text, err);
}

static int export_private(struct context *ctx, const char *name, struct bytes *out,
                          struct error *err)
{
    struct keystore *ks;
    if (option_given(&ctx->options, "pem"))
        return fail(err, E_USAGE,
                    "--pem is for public keys; the private one stays as it is "
                    "encrypted");
    if (text_starts(name, "pkcs11:"))
        return fail(err, E_UNSUPPORTED, "a key cannot leave its token");
    if (!option_given(&ctx->options, "output"))
        return fail(err, E_USAGE, "name the file that gets the encrypted key with --output");
    int rc = context_keystore(ctx, &ks, err);
    return rc ? rc : keystore_export(ks, name, out, err);
}

/* Text goes to standard output where no file is named; with --json it is a member. */
static int hand_out(struct context *ctx, const struct bytes *text, mode_t mode, struct error *err)
{
    const char *file = option_text(&ctx->options, "output");
    if (!file && ctx->json)
        return result_text(ctx, "key", bytes_text(text), err);
    if (!file)
        return file_write_fd(STDOUT_FILENO, text->data, text->len, err);
    int rc = file_create_atomic(AT_FDCWD, file, text->data, text->len, mode, err);
    if (rc == E_EXISTS)
        return fail(err, rc, "'%s' exists already: name another file", file);
    if (!rc)
        say(ctx, "wrote '%s'", file);
    return rc;
}

int command_key_export(struct context *ctx, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    const char *name = ctx->options.args[0];
    bool private_half = option_given(&ctx->options, "private");
    int rc =
        private_half ? export_private(ctx, name, &text, err) : export_public(ctx, name, &text, err);
    if (!rc)
        rc = hand_out(ctx, &text, private_half ? 0600 : 0644, err);
    if (!rc && private_half)
        say(ctx, "it opens with the passphrase of key '%s', and with nothing else", name);
    return rc;
}

/* --- import --- */

static bool is_private(const struct bytes *file)
{
    return file->len >= 8 && memcmp(file->data, "BULLAKEY", 8) == 0;
}

/* What other programs write; ours is never without a passphrase. */
static int check_foreign(const struct bytes *file, struct error *err)
{
    return memmem(file->data, file->len, "PRIVATE KEY-----", 16)
               ? fail(err, E_UNSUPPORTED,
                      "this is another program's private key; make one with 'bulla key generate' "
                      "and give its role that")
               : OK;
}

static int import_file(struct context *ctx, const char *name, const struct bytes *file,
                       struct key_entry *entry, struct error *err)
{
    struct keystore *ks;
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    int rc = context_keystore(ctx, &ks, err);
    if (!rc && is_private(file))
        return keystore_import(ks, name, file, &ctx->passphrases, entry, err);
    if (!rc)
        rc = check_foreign(file, err);
    if (!rc)
        rc = public_key_parse(file, &key, err);
    return rc ? rc : keystore_import_public(ks, name, key, entry, err);
}

int command_key_import(struct context *ctx, struct error *err)
{
    const char *name = ctx->options.args[0], *path = ctx->options.args[1];
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    struct key_entry entry;
    int rc = file_read(AT_FDCWD, path, IMPORT_MAX, &file, err);
    if (rc)
        return rc;
    rc = import_file(ctx, name, &file, &entry, err);
    secret_wipe(file.data, file.len); /* somebody may have named a key without a passphrase */
    if (rc)
        return wrap(err, rc, "'%s'", path);
    say(ctx, "took %s key '%s'%s", key_type_name(entry.type), entry.name,
        entry.public_only ? ", its public half: it can be named, and signs nothing" : "");
    say(ctx, "key id %s", entry.id.text);
    return describe_key(ctx, &entry, err);
}

/* --- passphrase --- */

int command_key_passphrase(struct context *ctx, struct error *err)
{
    struct keystore *ks;
    struct secret_source after;
    const char *name = ctx->options.args[0];
    secret_source_init(&after, option_text(&ctx->options, "new-passphrase-file"));
    int rc = context_keystore(ctx, &ks, err);
    if (!rc)
        rc = keystore_change_passphrase(ks, name, &ctx->passphrases, &after, err);
    if (!rc)
        say(ctx, "key '%s' has another passphrase now; copies made before keep the old one", name);
    return rc;
}
