/* A repository written by another implementation (tuf-js' models): canonical form, key ids and all
 * three signature schemes must agree with ours. */
#include "base/file.h"
#include "tests/support/tuf_repo.h"
#include "tuf/trusted.h"

#include <fcntl.h>

#define FOLDER TEST_DATA "/tuf/valid/tuf-js/"

static void load(const char *name, struct bytes *out)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s%s", FOLDER, name);
    toy_ok(file_read(AT_FDCWD, path, 1 << 20, out, err));
}

#define FILE(variable, name)                                                                       \
    CLEANUP(bytes_done) struct bytes variable = BYTES_INIT;                                        \
    load(name, &variable)

static struct tuf_trusted *start(const char *collection, int wanted)
{
    FILE(root, "root.json");
    struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {TOY_NOW, collection};
    struct error err = ERROR_INIT;
    int rc = tuf_trusted_new(&options, root.data, root.len, &t, &err);
    if (rc != wanted)
        fail_msg("%s: %s", error_name(rc), err.message);
    return t;
}

static void test_foreign_repository_is_followed(void **state)
{
    (void)state;
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = start(NULL, OK);
    FILE(timestamp, "timestamp.json");
    FILE(snapshot, "snapshot.json");
    FILE(targets, "targets.json");
    FILE(alice, "projects%2Falice.json");
    struct tuf_found found;
    bool changed;
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_ok(tuf_trusted_update_timestamp(t, timestamp.data, timestamp.len, &changed, err));
    toy_ok(tuf_trusted_update_snapshot(t, snapshot.data, snapshot.len, err));
    toy_ok(tuf_trusted_update_targets(t, "targets", NULL, targets.data, targets.len, err));
    toy_ok(tuf_trusted_search(t, "dir/a-1", &found, err));
    assert_string_equal(found.need_role, "projects/alice");
    toy_ok(tuf_trusted_update_targets(t, found.need_role, found.need_delegator, alice.data,
                                      alice.len, err));
    toy_ok(tuf_trusted_search(t, "dir/a-1", &found, err));
    assert_string_equal(found.role, "projects/alice");
    assert_int_equal(found.target.length, 6);
    assert_string_equal(js_text(js_get(found.target.custom, "note")), "\xc3\xa9\n\"\\");
    toy_ok(tuf_trusted_search(t, "file", &found, err));
    assert_string_equal(found.role, "targets");
}

/* Not ours: it says nothing about a collection. */
static void test_foreign_repository_is_no_collection(void **state)
{
    (void)state;
    assert_null(start("acme/app", E_BINDING));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign_repository_is_followed),
        cmocka_unit_test(test_foreign_repository_is_no_collection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
