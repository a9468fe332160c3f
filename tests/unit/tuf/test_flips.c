/* Flipped bits, cut ends and further bytes in the files of delegated roles and bins, and in those
 * that each kind of key has signed: refused, or the same content. (Root, timestamp, snapshot and
 * targets of our own making: test_hostile.) */
#include "base/file.h"
#include "tests/support/tuf_client.h"

#include <fcntl.h>

#define FOLDER TEST_DATA "/tuf/valid/tuf-js/"

/* A file, and whose signatures it needs. */
struct signed_file {
    enum tuf_type type;
    struct bytes bytes;
    struct js *content; /* `signed` as it should be */
    const struct tuf_keys *keys;
    const struct tuf_role_keys *role;
};

static int verify(const struct signed_file *f, const uint8_t *data, size_t len)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct error err = ERROR_INIT;
    int rc = tuf_metadata_parse(f->type, data, len, &m, &err);
    if (!rc)
        rc = tuf_verify_threshold(m, f->keys, f->role, NULL, 0, NULL, &err);
    if (!rc && !js_equal(tuf_metadata_signed(m), f->content))
        fail_msg("verifies with another content: %.*s", (int)len, (const char *)data);
    return rc;
}

/* Every bit, or in a long file one bit of every byte: the bits go round. */
static void flip_all(struct signed_file *f)
{
    bool all = f->bytes.len < 1500;
    assert_int_equal(verify(f, f->bytes.data, f->bytes.len), OK);
    for (size_t i = 0; i < f->bytes.len; i++)
        for (unsigned bit = all ? 0 : i % 8; bit < (all ? 8 : i % 8 + 1); bit++) {
            f->bytes.data[i] ^= (uint8_t)(1u << bit);
            (void)verify(f, f->bytes.data, f->bytes.len);
            f->bytes.data[i] ^= (uint8_t)(1u << bit);
        }
}

static void cut_all(const struct signed_file *f)
{
    size_t end = f->bytes.len;
    while (strchr("\n ", f->bytes.data[end - 1]))
        end--;
    for (size_t len = 0; len < end; len++) {
        uint8_t *copy = malloc(len ? len : 1); /* a sanitizer sees a read of one byte too many */
        assert_non_null(copy);
        memcpy(copy, f->bytes.data, len);
        assert_int_equal(verify(f, copy, len), E_INVALID);
        free(copy);
    }
}

static void append_each(const struct signed_file *f)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        CLEANUP(bytes_done) struct bytes longer = BYTES_INIT;
        uint8_t one = (uint8_t)byte;
        toy_ok(bytes_append(&longer, f->bytes.data, f->bytes.len, err));
        toy_ok(bytes_append(&longer, &one, 1, err));
        bool blank = byte && strchr(" \t\r\n", (int)byte);
        assert_int_equal(verify(f, longer.data, longer.len), blank ? OK : E_INVALID);
    }
}

static void try_file(const struct bytes *bytes, struct signed_file *f)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    f->bytes = (struct bytes)BYTES_INIT;
    toy_ok(bytes_append(&f->bytes, bytes->data, bytes->len, err));
    toy_ok(tuf_metadata_parse(f->type, bytes->data, bytes->len, &m, err));
    f->content = js_dup(tuf_metadata_signed(m));
    flip_all(f);
    cut_all(f);
    append_each(f);
    bytes_done(&f->bytes);
    js_free(f->content);
}

static struct tuf_metadata *parse(enum tuf_type type, const struct bytes *bytes)
{
    struct tuf_metadata *m = NULL;
    toy_ok(tuf_metadata_parse(type, bytes->data, bytes->len, &m, err));
    return m;
}

static void delegated_roles_and_bins(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_target(&repo, "alice", "a-1", "one");
    struct toy_role *bin = toy_role_add(&repo, TUF_TARGETS, "alice-bin-0", 1);
    const struct public_key *keys[] = {signing_key_public(bin->signers[0])};
    struct tuf_compose_bins compose = {"alice-bin", 1, {keys, 1, 1}};
    toy_ok(tuf_compose_bins(toy_role(&repo, "alice")->tree, &compose, err));
    toy_target(&repo, "alice-bin-0", "a-2", "two");
    toy_publish(&repo);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *targets = parse(TUF_TARGETS, &TARGETS->file);
    CLEANUP(tuf_metadata_cleanup)
    struct tuf_metadata *alice = parse(TUF_TARGETS, &toy_role(&repo, "alice")->file);
    struct signed_file f = {TUF_TARGETS, .keys = tuf_targets_keys(targets),
                            .role = tuf_targets_authority(targets, "alice")};
    try_file(&toy_role(&repo, "alice")->file, &f);
    f.keys = tuf_targets_keys(alice);
    f.role = tuf_targets_authority(alice, "alice-bin-0");
    try_file(&bin->file, &f);
}

static struct bytes load(const char *name)
{
    char path[512];
    struct bytes out = BYTES_INIT;
    (void)snprintf(path, sizeof path, "%s%s", FOLDER, name);
    toy_ok(file_read(AT_FDCWD, path, 1 << 20, &out, err));
    return out;
}

/* Root has keys of all three kinds; each other role one. */
static void ed25519_ecdsa_and_rsa(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum tuf_type type;
    } files[] = {{"root.json", TUF_ROOT},
                 {"timestamp.json", TUF_TIMESTAMP},
                 {"snapshot.json", TUF_SNAPSHOT},
                 {"targets.json", TUF_TARGETS}};
    CLEANUP(bytes_done) struct bytes root_file = load("root.json");
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *root = parse(TUF_ROOT, &root_file);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        CLEANUP(bytes_done) struct bytes file = load(files[i].name);
        struct signed_file f = {files[i].type, .keys = tuf_root_keys(root),
                                .role = tuf_root_role(root, files[i].type)};
        try_file(&file, &f);
    }
    CLEANUP(bytes_done) struct bytes targets_file = load("targets.json");
    CLEANUP(bytes_done) struct bytes alice_file = load("projects%2Falice.json");
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *targets = parse(TUF_TARGETS, &targets_file);
    struct signed_file f = {TUF_TARGETS, .keys = tuf_targets_keys(targets),
                            .role = tuf_targets_authority(targets, "projects/alice")};
    try_file(&alice_file, &f);
}

/* What the snapshot lists is compared by hash before anything in it is read: not a byte more. */
static void a_client_takes_the_listed_bytes_only(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_publish(&repo);
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = start();
    struct toy_role *alice = toy_role(&repo, "alice");
    toy_ok(refresh(t, err));
    for (size_t i = 0; i < alice->file.len * 8; i++) {
        struct error err = ERROR_INIT;
        alice->file.data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(tuf_trusted_update_targets(t, "alice", "targets", FILE_OF(alice), &err),
                         E_DIGEST);
        alice->file.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_null(tuf_trusted_targets(t, "alice"));
    toy_ok(tuf_trusted_update_targets(t, "alice", "targets", FILE_OF(alice), err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(delegated_roles_and_bins, setup, teardown),
        cmocka_unit_test(ed25519_ecdsa_and_rsa),
        cmocka_unit_test_setup_teardown(a_client_takes_the_listed_bytes_only, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
