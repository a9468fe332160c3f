/*
 * forge: signs whatever it is given, for tests of hostile metadata. Tests only, never installed.
 *
 *   forge key KEY             the key's TUF object
 *   forge id KEY              its key id
 *   forge id-of < OBJECT      the key id of any key object
 *   forge sign KEY… < SIGNED  a TUF file: SIGNED is the `signed` part, each KEY signs once more
 *
 * KEY: seed:TEXT (an Ed25519 key made from the text: no file, no passphrase), or a name in the key
 * store of BULLA_HOME, opened with BULLA_PASSPHRASE_FILE. What is signed is up to the caller: no
 * field is looked at.
 */
#include "base/digest.h"
#include "keys/local_key.h"
#include "tuf/compose.h"

#include <stdio.h>
#include <string.h>

#define INPUT_MAX (8u << 20)
#define KEYS_MAX  16

static int read_input(struct bytes *out, struct error *err)
{
    char part[65536];
    size_t got;
    int rc = OK;
    while (!rc && (got = fread(part, 1, sizeof part, stdin)) > 0)
        rc = out->len + got > INPUT_MAX ? fail(err, E_LIMIT, "too much input")
                                        : bytes_append(out, part, got, err);
    return rc;
}

static int read_tree(struct js **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = read_input(&text, err);
    return rc ? rc : js_parse(text.data, text.len, out, err);
}

static int open_seed(const char *text, struct signing_key **out, struct error *err)
{
    struct digest d;
    CLEANUP(secret_done) struct secret secret = SECRET_INIT;
    int rc = digest_of(DIGEST_SHA256, text, strlen(text), &d, err);
    if (!rc)
        rc = secret_copy(d.bytes, LOCAL_SECRET_LEN, &secret, err);
    return rc ? rc : local_key_open(KEY_ED25519, &secret, text, out, err);
}

static int open_stored(const char *name, struct signing_key **out, struct error *err)
{
    const char *home = getenv("BULLA_HOME");
    CLEANUP(cleanup_free) char *folder = text_format("%s/keys", home ? home : ".");
    CLEANUP(keystore_cleanup) struct keystore *ks = NULL;
    struct secret_source secrets;
    secret_source_init(&secrets, getenv("BULLA_PASSPHRASE_FILE"));
    if (!folder)
        return fail_nomem(err);
    int rc = keystore_open(folder, &ks, err);
    return rc ? rc : keystore_load(ks, name, &secrets, out, err);
}

static int open_key(const char *key, struct signing_key **out, struct error *err)
{
    return text_starts(key, "seed:") ? open_seed(key, out, err) : open_stored(key, out, err);
}

static int print(struct bytes *text, struct error *err)
{
    int rc = bytes_append_text(text, "\n", err);
    if (!rc && fwrite(text->data, 1, text->len, stdout) != text->len)
        rc = fail(err, E_SYS, "write output");
    return rc;
}

static int show_key(const char *name, bool id_only, struct error *err)
{
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    CLEANUP(js_cleanup) struct js *object = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct key_id id;
    int rc = open_key(name, &key, err);
    if (!rc)
        rc = public_key_id(signing_key_public(key), &id, err);
    if (!rc && id_only)
        rc = bytes_append_text(&text, id.text, err);
    if (!rc && !id_only)
        rc = public_key_to_tuf(signing_key_public(key), &object, err);
    if (!rc && !id_only)
        rc = js_write(object, false, &text, err);
    return rc ? rc : print(&text, err);
}

static int show_id_of(struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct key_id id;
    int rc = read_tree(&object, err);
    if (!rc)
        rc = key_id_of_object(object, &id, err);
    if (!rc)
        rc = bytes_append_text(&text, id.text, err);
    return rc ? rc : print(&text, err);
}

static int sign_with(void *context, const void *msg, size_t len, struct bytes *out,
                     struct error *err)
{
    return signing_key_sign((struct signing_key *)context, msg, len, out, err);
}

static int sign(char **names, size_t n, struct error *err)
{
    struct signing_key *keys[KEYS_MAX] = {NULL};
    struct tuf_signer signers[KEYS_MAX];
    CLEANUP(js_cleanup) struct js *tree = NULL;
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    int rc = n > KEYS_MAX ? fail(err, E_USAGE, "too many keys") : read_tree(&tree, err);
    for (size_t i = 0; !rc && i < n; i++) {
        rc = open_key(names[i], &keys[i], err);
        signers[i] = (struct tuf_signer){.sign = sign_with, .context = keys[i]};
        if (!rc)
            rc = public_key_id(signing_key_public(keys[i]), &signers[i].id, err);
    }
    if (!rc)
        rc = tuf_compose_file(tree, signers, n, &file, err);
    if (!rc && fwrite(file.data, 1, file.len, stdout) != file.len)
        rc = fail(err, E_SYS, "write output");
    for (size_t i = 0; i < n && i < KEYS_MAX; i++)
        signing_key_cleanup(&keys[i]);
    return rc;
}

static int run(int argc, char **argv, struct error *err)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "sign") == 0)
        return sign(argv + 2, (size_t)argc - 2, err);
    if (strcmp(verb, "id-of") == 0 && argc == 2)
        return show_id_of(err);
    if (argc == 3 && (strcmp(verb, "key") == 0 || strcmp(verb, "id") == 0))
        return show_key(argv[2], strcmp(verb, "id") == 0, err);
    return fail(err, E_USAGE, "usage: forge key|id KEY, forge id-of, forge sign KEY…");
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    int rc = run(argc, argv, &err);
    if (rc)
        (void)fprintf(stderr, "forge: %s\n", err.message);
    return rc ? 1 : 0;
}
