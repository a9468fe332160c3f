/* Every place of every signed file: wrong types, bit flips, truncation. */
#include "tests/support/tuf_client.h"

/* --- wrong types everywhere --- */

/* A copy of v in which place number `*left` (counted in pre-order) is replaced. */
static struct js *with_place(const struct js *v, long *left, const struct js *by)
{
    if ((*left)-- == 0)
        return js_dup(by);
    if (js_type(v) == JS_OBJECT) {
        struct js *o = js_object_new();
        js_foreach (v, it)
            toy_ok(js_set(o, it.key, with_place(it.value, left, by), err));
        return o;
    }
    if (js_type(v) == JS_ARRAY) {
        struct js *a = js_array_new();
        for (size_t i = 0; i < js_count(v); i++)
            toy_ok(js_push(a, with_place(js_at(v, i), left, by), err));
        return a;
    }
    return js_dup(v);
}

static const struct js *place(const struct js *v, long *left)
{
    const struct js *found = NULL;
    if ((*left)-- == 0)
        return v;
    js_foreach (v, it) {
        found = place(it.value, left);
        if (found)
            return found;
    }
    for (size_t i = 0; js_type(v) == JS_ARRAY && !found && i < js_count(v); i++)
        found = place(js_at(v, i), left);
    return found;
}

static void substitute(enum tuf_type type, const struct js *file, long at, const struct js *by)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    long left = at;
    CLEANUP(js_cleanup) struct js *changed = with_place(file, &left, by);
    toy_ok(js_write(changed, false, &text, err));
    struct error err = ERROR_INIT;
    int rc = tuf_metadata_parse(type, text.data, text.len, &m, &err);
    if (rc != E_INVALID)
        fail_msg("%s: taken with code %d: %s", tuf_type_name(type), rc, bytes_text(&text));
    assert_null(m);
}

/* CVE-2026-23991: null, bool, number, string, array, object, each where another one belongs. */
static void test_wrong_type_at_every_place(void **state)
{
    (void)state;
    static const char *const others[] = {"null", "true", "7", "\"x\"", "[]", "{}"};
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    js_remove(js_edit(js_edit(TARGETS->tree, "targets"), "v1"), "custom");
    toy_ok(js_set(TARGETS->tree, "x-bulla-banned", js_array_new(), err));
    toy_publish(&repo);
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++) {
        CLEANUP(js_cleanup) struct js *file = NULL;
        toy_ok(js_parse(FILE_OF(&repo.roles[type]), &file, err));
        const struct js *was;
        for (long at = 0, left = 0; (was = place(file, &left)) != NULL; left = ++at)
            for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
                CLEANUP(js_cleanup) struct js *by = NULL;
                toy_ok(js_parse(others[i], strlen(others[i]), &by, err));
                if (js_type(by) != js_type(was))
                    substitute((enum tuf_type)type, file, at, by);
            }
    }
}

/* Members that must be there. */
static void test_every_needed_member(void **state)
{
    (void)state;
    static const char *const needed[4][8] = {
        {"_type", "spec_version", "version", "expires", "keys", "roles", NULL},
        {"_type", "spec_version", "version", "expires", "meta", NULL},
        {"_type", "spec_version", "version", "expires", "meta", NULL},
        {"_type", "spec_version", "version", "expires", "targets", NULL},
    };
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++)
        for (const char *const *key = needed[type]; *key; key++) {
            CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
            struct toy_role *role = &repo.roles[type];
            struct js *value = js_dup(js_get(role->tree, *key));
            js_remove(role->tree, *key);
            toy_sign(role);
            EXPECT(E_INVALID, tuf_metadata_parse(role->type, FILE_OF(role), &m, err));
            toy_ok(js_set(role->tree, *key, value, err));
        }
}

/* --- bit flips and truncation --- */

/* 0 where the file passes parser and root's threshold; then its signed part must be the good one.
 */
static int verify(const struct tuf_metadata *root, const struct toy_role *role, const uint8_t *data,
                  size_t len)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct error err = ERROR_INIT;
    int rc = tuf_metadata_parse(role->type, data, len, &m, &err);
    if (!rc)
        rc = tuf_verify_threshold(m, tuf_root_keys(root), tuf_root_role(root, role->type), NULL, 0,
                                  NULL, &err);
    if (!rc && !js_equal(tuf_metadata_signed(m), role->tree))
        fail_msg("%s verifies with another content: %.*s", role->name, (int)len,
                 (const char *)data);
    return rc;
}

static size_t flip_all(const struct tuf_metadata *root, const struct toy_role *role)
{
    size_t passed = 0;
    uint8_t *copy = malloc(role->file.len);
    assert_non_null(copy);
    memcpy(copy, role->file.data, role->file.len);
    for (size_t i = 0; i < role->file.len * 8; i++) {
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
        passed += verify(root, role, copy, role->file.len) == 0;
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    free(copy);
    return passed;
}

static size_t signature_letters(const struct toy_role *role)
{
    size_t n = 0;
    CLEANUP(js_cleanup) struct js *file = NULL;
    toy_ok(js_parse(FILE_OF(role), &file, err));
    const struct js *list = js_get(file, "signatures");
    for (size_t i = 0; i < js_count(list); i++)
        for (const char *c = js_text(js_get(js_at(list, i), "sig")); *c; c++)
            n += *c >= 'a' && *c <= 'f';
    return n;
}

static void test_every_bit_flip(void **state)
{
    (void)state;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *root = NULL;
    toy_ok(tuf_metadata_parse(TUF_ROOT, FILE_OF(ROOT), &root, err));
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++) {
        const struct toy_role *role = &repo.roles[type];
        assert_int_equal(verify(root, role, FILE_OF(role)), 0);
        /* What passes is the case of a hex letter inside a signature, and nothing else. */
        assert_int_equal(flip_all(root, role), signature_letters(role));
    }
}

static void test_every_truncation(void **state)
{
    (void)state;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *root = NULL;
    toy_ok(tuf_metadata_parse(TUF_ROOT, FILE_OF(ROOT), &root, err));
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++) {
        const struct toy_role *role = &repo.roles[type];
        for (size_t len = 0; len < role->file.len; len++) {
            /* An exact-size copy lets the sanitizer see a read of one byte too many. */
            uint8_t *copy = malloc(len ? len : 1);
            assert_non_null(copy);
            memcpy(copy, role->file.data, len);
            assert_int_equal(verify(root, role, copy, len), E_INVALID);
            free(copy);
        }
    }
}

/* The state machine as a whole: one flipped bit anywhere, and the state stays as it was. */
static void test_flipped_bits_leave_the_state_alone(void **state)
{
    (void)state;
    TRUSTED t = start();
    for (size_t i = 0; i < TIMESTAMP->file.len; i++) {
        struct error err = ERROR_INIT;
        TIMESTAMP->file.data[i] ^= 0x10;
        assert_int_not_equal(update_timestamp(t, &err), 0);
        assert_null(tuf_trusted_timestamp(t));
        TIMESTAMP->file.data[i] ^= 0x10;
    }
    toy_ok(update_timestamp(t, err));
    for (size_t i = 0; i < SNAPSHOT->file.len; i++) {
        struct error err = ERROR_INIT;
        SNAPSHOT->file.data[i] ^= 0x01;
        assert_int_equal(update_snapshot(t, &err), E_DIGEST);
        SNAPSHOT->file.data[i] ^= 0x01;
    }
    toy_ok(update_snapshot(t, err));
    toy_ok(update_targets(t, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_wrong_type_at_every_place),
        CASE(test_every_needed_member),
        CASE(test_every_bit_flip),
        CASE(test_every_truncation),
        CASE(test_flipped_bits_leave_the_state_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
