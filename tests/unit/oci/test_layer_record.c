#include "oci/layer_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void add(struct bytes *out, const char *path, enum layer_item_type type)
{
    struct layer_item item = {.path = path,
                              .type = type,
                              .mode = 0755,
                              .uid = 1,
                              .gid = 2,
                              .mtime_s = -5,
                              .mtime_ns = 6,
                              .size = type == LAYER_ITEM_FILE ? 7 : 0,
                              .target = type == LAYER_ITEM_SYMLINK ? "target" : "",
                              .xattrs = (const uint8_t *)"abc",
                              .xattrs_len = 3};
    assert_int_equal(layer_record_append(out, &item, NULL), OK);
}

static struct bytes build(const char *const *paths, const char *types)
{
    struct bytes out = BYTES_INIT;
    struct digest id = {.alg = DIGEST_SHA256};
    memset(id.bytes, 0xAB, 32);
    assert_int_equal(layer_record_begin(&out, &id, NULL), OK);
    for (size_t i = 0; types[i]; i++)
        add(&out, paths[i], (enum layer_item_type)types[i]);
    assert_int_equal(layer_record_finish(&out, strlen(types), 3, NULL), OK);
    return out;
}

/* Reads all of it; the number of entries, or the code. */
static int read_all(const void *data, size_t len)
{
    struct layer_record r;
    struct layer_item item;
    bool end = false;
    int n = 0;
    int rc = layer_record_open(data, len, &r, NULL);
    for (; !rc && !end; n += !end)
        rc = layer_record_next(&r, &item, NULL, &end, NULL);
    return rc ? rc : n;
}

static const char *const tree[] = {"", "a", "a/b", "a/b/c", "a/d", "a-b", "a.b", "b"};
#define TREE_TYPES "dddfldpw"

static void comes_back_as_written(void **state)
{
    struct layer_record r;
    struct layer_item item;
    bool end;
    (void)state;
    CLEANUP(bytes_done) struct bytes data = build(tree, TREE_TYPES);
    CLEANUP(bytes_done) struct bytes raw = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes again = BYTES_INIT;
    assert_int_equal(layer_record_open(data.data, data.len, &r, NULL), OK);
    assert_int_equal(r.diff_id.alg, DIGEST_SHA256);
    assert_int_equal(r.diff_id.bytes[31], 0xAB);
    assert_int_equal(r.n_entries, 8);
    assert_int_equal(r.n_left_out, 3);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(layer_record_next(&r, &item, &raw, &end, NULL), OK);
        assert_false(end);
        assert_string_equal(item.path, tree[i]);
        assert_int_equal(item.type, TREE_TYPES[i]);
        assert_int_equal(item.mtime_s, -5);
        assert_int_equal(item.xattrs_len, 3);
        bytes_clear(&again);
        assert_int_equal(layer_record_append(&again, &item, NULL), OK);
        assert_true(bytes_equal(raw.data, raw.len, again.data, again.len));
    }
    assert_int_equal(layer_record_next(&r, &item, &raw, &end, NULL), OK);
    assert_true(end);
}

static void every_flipped_bit_and_every_cut_is_refused(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes data = build(tree, TREE_TYPES);
    for (size_t bit = 0; bit < data.len * 8; bit++) {
        data.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(read_all(data.data, data.len), E_INVALID);
        data.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (size_t len = 0; len < data.len; len++)
        assert_int_equal(read_all(data.data, len), E_INVALID);
    assert_int_equal(read_all(data.data, data.len), 8);
}

struct bad_tree {
    const char *paths[4];
    const char *types;
};

/* With a right digest: somebody wrote them on purpose. */
static void trees_that_cannot_be_are_refused(void **state)
{
    static const struct bad_tree cases[] = {
        {{"a"}, "d"},
        {{""}, "f"},
        {{"", "b", "a"}, "dff"},
        {{"", "a", "a"}, "dff"},
        {{"", "a/b"}, "df"},
        {{"", "a", "a/b"}, "dff"},
        {{"", "a", "b/c"}, "ddf"},
        {{"", "a", "ab/c"}, "ddf"},
        {{"", ".."}, "dd"},
        {{"", "a", "a/.."}, "ddd"},
        {{"", "."}, "dd"},
        {{"", "/a"}, "df"},
        {{"", "a/"}, "dd"},
        {{"", "a", "a//b"}, "ddf"},
        {{"", "a"}, "dx"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(bytes_done) struct bytes data = build(cases[i].paths, cases[i].types);
        int rc = read_all(data.data, data.len);
        if (rc != E_INVALID)
            fail_msg("case %zu gave %d", i, rc);
    }
}

static void wrong_counts_are_refused(void **state)
{
    static const uint64_t counts[] = {0, 7, 9, 1u << 21, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        CLEANUP(bytes_done) struct bytes data = build(tree, TREE_TYPES);
        data.len -= 32;
        assert_int_equal(layer_record_finish(&data, counts[i], 0, NULL), OK);
        assert_int_equal(read_all(data.data, data.len), E_INVALID);
    }
}

static void tree_order_is_that_of_a_walk(void **state)
{
    (void)state;
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++) {
            int order = layer_path_order(tree[i], tree[j]);
            assert_true(i < j ? order < 0 : i > j ? order > 0 : order == 0);
        }
    assert_true(layer_path_order("a\x01", "a/b") > 0);
    assert_true(layer_path_order("a/z", "a\xFF") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_written),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_refused),
        cmocka_unit_test(trees_that_cannot_be_are_refused),
        cmocka_unit_test(wrong_counts_are_refused),
        cmocka_unit_test(tree_order_is_that_of_a_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
