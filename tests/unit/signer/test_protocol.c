/* The messages between registry and signing service: whole, cut, long and twisted. */
#include "signer/protocol.h"
#include "tests/support/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if (call)                                                                                  \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

static struct tuf_file names[] = {{"root", "", 0}, {"targets", "", 0}, {"v1.x", "", 0}};
static struct tuf_file files[] = {{"root", "{root}", 6}, {"targets", "", 0}, {"v1.x", "\0\xff", 2}};

static struct protocol_request example(enum protocol_kind kind)
{
    struct protocol_request r = {.kind = kind, .role = TUF_TIMESTAMP};
    strcpy(r.collection, "acme/app");
    r.since = kind == PROTOCOL_ROOTS ? 7 : 0;
    if (kind == PROTOCOL_PUBLISH || kind == PROTOCOL_FILES) {
        r.changes = kind == PROTOCOL_FILES ? names : files;
        r.n_changes = 3;
    }
    return r;
}

static struct bytes frame_of(const struct protocol_request *r)
{
    struct bytes out = BYTES_INIT;
    size_t len = 0;
    ok(protocol_write_request(r, &out, err));
    assert_true(out.len >= PROTOCOL_HEADER_BYTES);
    ok(protocol_read_header(out.data, &len, err));
    assert_int_equal(len, out.len - PROTOCOL_HEADER_BYTES);
    return out;
}

/* From an allocation of exactly that size, so that a sanitizer sees one byte too many. */
static int read_exactly(const uint8_t *data, size_t len, struct protocol_request *out,
                        struct error *err)
{
    CLEANUP(cleanup_free) uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    if (len)
        memcpy(copy, data, len);
    return protocol_read_request(copy, len, out, err);
}

static void requests_come_back(void **state)
{
    (void)state;
    for (enum protocol_kind kind = PROTOCOL_KEY; kind <= PROTOCOL_FILES; kind++) {
        struct protocol_request r = example(kind);
        CLEANUP(bytes_done) struct bytes frame = frame_of(&r);
        CLEANUP(protocol_request_done) struct protocol_request back = {0};
        ok(protocol_read_request(frame.data + PROTOCOL_HEADER_BYTES,
                                 frame.len - PROTOCOL_HEADER_BYTES, &back, err));
        assert_int_equal(back.kind, kind);
        assert_string_equal(back.collection, "acme/app");
        assert_int_equal(back.n_changes, r.n_changes);
        assert_int_equal(back.since, kind == PROTOCOL_ROOTS ? 7 : 0);
        if (kind == PROTOCOL_KEY || kind == PROTOCOL_NEW_KEY)
            assert_int_equal(back.role, TUF_TIMESTAMP);
        for (size_t i = 0; i < back.n_changes; i++) {
            assert_string_equal(back.changes[i].role, r.changes[i].role);
            assert_true(bytes_equal(back.changes[i].data, back.changes[i].len, r.changes[i].data,
                                    r.changes[i].len));
        }
    }
}

static void every_truncation_fails(void **state)
{
    (void)state;
    for (enum protocol_kind kind = PROTOCOL_KEY; kind <= PROTOCOL_NEW_KEY; kind++) {
        struct protocol_request r = example(kind);
        CLEANUP(bytes_done) struct bytes frame = frame_of(&r);
        const uint8_t *payload = frame.data + PROTOCOL_HEADER_BYTES;
        for (size_t len = 0; len < frame.len - PROTOCOL_HEADER_BYTES; len++) {
            struct protocol_request untouched = {.n_changes = 99};
            struct error err = ERROR_INIT;
            assert_int_equal(read_exactly(payload, len, &untouched, &err), E_PROTOCOL);
            assert_int_equal(untouched.n_changes, 99);
        }
        ok(bytes_append(&frame, "x", 1, err));
        struct protocol_request untouched = {0};
        assert_int_equal(protocol_read_request(frame.data + PROTOCOL_HEADER_BYTES,
                                               frame.len - PROTOCOL_HEADER_BYTES, &untouched, NULL),
                         E_PROTOCOL);
    }
}

/* Any changed bit gives an error or another request, never a crash. */
static void bit_flips_do_no_harm(void **state)
{
    (void)state;
    struct protocol_request r = example(PROTOCOL_PUBLISH);
    CLEANUP(bytes_done) struct bytes frame = frame_of(&r);
    for (size_t bit = 0; bit < frame.len * 8; bit++) {
        frame.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CLEANUP(protocol_request_done) struct protocol_request back = {0};
        struct error err = ERROR_INIT;
        size_t len = 0;
        if (bit < 32)
            assert_int_equal(protocol_read_header(frame.data, &len, &err), E_PROTOCOL);
        else
            (void)!read_exactly(frame.data + PROTOCOL_HEADER_BYTES,
                                frame.len - PROTOCOL_HEADER_BYTES, &back, &err);
        frame.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void headers_are_checked(void **state)
{
    (void)state;
    uint8_t header[PROTOCOL_HEADER_BYTES] = {'B', 'S', 'G', '1', 2, 0, 0, 0};
    size_t len = 5;
    ok(protocol_read_header(header, &len, err));
    assert_int_equal(len, PROTOCOL_MAX_BYTES);
    header[7] = 1;
    len = 5;
    assert_int_equal(protocol_read_header(header, &len, NULL), E_LIMIT);
    header[3] = '2';
    assert_int_equal(protocol_read_header(header, &len, NULL), E_PROTOCOL);
    assert_int_equal(len, 5);
}

static int read_written(const struct protocol_request *r)
{
    CLEANUP(bytes_done) struct bytes frame = frame_of(r);
    CLEANUP(protocol_request_done) struct protocol_request back = {0};
    return read_exactly(frame.data + PROTOCOL_HEADER_BYTES, frame.len - PROTOCOL_HEADER_BYTES,
                        &back, NULL);
}

static void names_are_checked(void **state)
{
    (void)state;
    static const char *const collections[] = {"", "A", "acme//app", "../app", "a b", "-a"};
    for (size_t i = 0; i < sizeof collections / sizeof collections[0]; i++) {
        struct protocol_request r = example(PROTOCOL_REFRESH);
        strcpy(r.collection, collections[i]);
        assert_int_equal(read_written(&r), E_INVALID);
    }
    static const char *const roles[] = {"snapshot", "timestamp", "", "A", "../x", "a/b"};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        struct tuf_file file = {roles[i], "x", 1};
        struct protocol_request r = example(PROTOCOL_PUBLISH);
        r.changes = &file;
        r.n_changes = 1;
        assert_int_equal(read_written(&r), E_INVALID);
    }
    struct protocol_request r = example(PROTOCOL_KEY);
    r.role = TUF_ROOT;
    assert_int_equal(read_written(&r), E_INVALID);
    r = example(PROTOCOL_PUBLISH);
    r.n_changes = 0;
    assert_int_equal(read_written(&r), E_INVALID);
}

static void too_much_is_refused(void **state)
{
    (void)state;
    struct tuf_file many[TUF_MAX_CHANGES + 1];
    for (size_t i = 0; i <= TUF_MAX_CHANGES; i++)
        many[i] = files[0];
    struct protocol_request r = example(PROTOCOL_PUBLISH);
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    r.changes = many;
    r.n_changes = TUF_MAX_CHANGES + 1;
    assert_int_equal(protocol_write_request(&r, &out, NULL), E_LIMIT);
    /* Said by a peer that does not keep to it. */
    r.n_changes = TUF_MAX_CHANGES;
    CLEANUP(bytes_done) struct bytes frame = frame_of(&r);
    uint8_t *n = frame.data + PROTOCOL_HEADER_BYTES + 1 + 2 + strlen("acme/app");
    assert_int_equal(n[0] << 8 | n[1], TUF_MAX_CHANGES);
    n[0]++;
    CLEANUP(protocol_request_done) struct protocol_request back = {0};
    assert_int_equal(protocol_read_request(frame.data + PROTOCOL_HEADER_BYTES,
                                           frame.len - PROTOCOL_HEADER_BYTES, &back, NULL),
                     E_LIMIT);
    /* A set that cannot be answered. */
    struct signer_set_file large[7];
    char role[] = "targets";
    CLEANUP(cleanup_free) uint8_t *data = calloc(1, TUF_MAX_TARGETS_BYTES);
    assert_non_null(data);
    for (size_t i = 0; i < 7; i++)
        large[i] = (struct signer_set_file){role, 1, {data, 5000000, 5000000}};
    struct signer_set set = {large, 7};
    assert_int_equal(protocol_write_set(PROTOCOL_FILES, &set, &out, NULL), E_LIMIT);
    assert_int_equal(out.len, 0);
    /* Of a publication no more is told than that it is there. */
    ok(protocol_write_set(PROTOCOL_PUBLISH, &set, &out, err));
    assert_true(out.len < 1000);
    set.n_files = 6;
    ok(protocol_write_set(PROTOCOL_FILES, &set, &out, err));
}

/* --- answers --- */

static struct bytes set_frame(void)
{
    char root[] = "root", timestamp[] = "timestamp";
    uint8_t one[] = "one", two[] = "second";
    struct signer_set_file in[] = {{root, 1, {one, 3, 4}}, {timestamp, 77, {two, 6, 7}}};
    struct signer_set set = {in, 2};
    struct bytes out = BYTES_INIT;
    ok(protocol_write_set(PROTOCOL_REFRESH, &set, &out, err));
    return out;
}

static void sets_come_back(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes frame = set_frame();
    CLEANUP(signer_set_done) struct signer_set back = {0};
    const uint8_t *payload = frame.data + PROTOCOL_HEADER_BYTES;
    size_t len = frame.len - PROTOCOL_HEADER_BYTES;
    ok(protocol_read_set(PROTOCOL_REFRESH, payload, len, &back, err));
    assert_int_equal(back.n_files, 2);
    assert_string_equal(back.files[1].role, "timestamp");
    assert_int_equal(back.files[1].version, 77);
    assert_string_equal(bytes_text(&back.files[1].data), "second");
    struct signer_set other = {.n_files = 9};
    assert_int_equal(protocol_read_set(PROTOCOL_PUBLISH, payload, len, &other, NULL), E_PROTOCOL);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(protocol_read_set(PROTOCOL_REFRESH, payload, cut, &other, NULL),
                         E_PROTOCOL);
    assert_int_equal(other.n_files, 9);
}

/* Only what the service makes, and root, is answered with content. */
static void sets_come_without_what_is_known(void **state)
{
    (void)state;
    char roles[][10] = {"root", "targets", "snapshot", "timestamp", "all-0"};
    uint8_t content[] = "content";
    struct signer_set_file in[5];
    struct signer_set set = {in, 5};
    for (size_t i = 0; i < 5; i++)
        in[i] = (struct signer_set_file){roles[i], 3, {content, 7, 8}};
    for (enum protocol_kind kind = PROTOCOL_PUBLISH; kind <= PROTOCOL_REFRESH; kind++) {
        CLEANUP(bytes_done) struct bytes frame = BYTES_INIT;
        CLEANUP(signer_set_done) struct signer_set back = {0};
        ok(protocol_write_set(kind, &set, &frame, err));
        ok(protocol_read_set(kind, frame.data + PROTOCOL_HEADER_BYTES,
                             frame.len - PROTOCOL_HEADER_BYTES, &back, err));
        assert_int_equal(back.n_files, 5);
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(back.files[i].version, 3);
            assert_int_equal(back.files[i].data.len, i == 1 || i == 4 ? 0 : 7);
        }
    }
}

static void keys_come_back(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes frame = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes back = BYTES_INIT;
    ok(bytes_append_text(&json, "{\"keytype\":1}", err));
    ok(protocol_write_key(PROTOCOL_NEW_KEY, &json, &frame, err));
    const uint8_t *payload = frame.data + PROTOCOL_HEADER_BYTES;
    size_t len = frame.len - PROTOCOL_HEADER_BYTES;
    ok(protocol_read_key(PROTOCOL_NEW_KEY, payload, len, &back, err));
    assert_string_equal(bytes_text(&back), bytes_text(&json));
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(protocol_read_key(PROTOCOL_NEW_KEY, payload, cut, &back, NULL),
                         E_PROTOCOL);
    assert_int_equal(back.len, json.len);
}

static void failures_come_back(void **state)
{
    (void)state;
    struct error told = {.code = E_CONFLICT, .message = "version is 3, it must be 2"};
    struct error heard = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes frame = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    ok(protocol_write_failure(&told, &frame, err));
    uint8_t *payload = frame.data + PROTOCOL_HEADER_BYTES;
    size_t len = frame.len - PROTOCOL_HEADER_BYTES;
    assert_int_equal(protocol_read_key(PROTOCOL_KEY, payload, len, &json, &heard), E_CONFLICT);
    assert_string_equal(heard.message, told.message);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(protocol_read_key(PROTOCOL_KEY, payload, cut, &json, &heard), E_PROTOCOL);
    /* A "failure" with code 0 or one nobody knows must not look like success. */
    payload[2] = 0;
    assert_int_equal(protocol_read_key(PROTOCOL_KEY, payload, len, &json, &heard), E_PROTOCOL);
    payload[1] = 0xff;
    assert_int_equal(protocol_read_key(PROTOCOL_KEY, payload, len, &json, &heard), E_PROTOCOL);
}

static int read_under_pressure(void *context, struct error *err)
{
    struct bytes *frame = context;
    CLEANUP(protocol_request_done) struct protocol_request back = {0};
    return protocol_read_request(frame->data + PROTOCOL_HEADER_BYTES,
                                 frame->len - PROTOCOL_HEADER_BYTES, &back, err);
}

static int read_set_under_pressure(void *context, struct error *err)
{
    struct bytes *frame = context;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    return protocol_read_set(PROTOCOL_REFRESH, frame->data + PROTOCOL_HEADER_BYTES,
                             frame->len - PROTOCOL_HEADER_BYTES, &set, err);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    struct protocol_request r = example(PROTOCOL_PUBLISH);
    CLEANUP(bytes_done) struct bytes frame = frame_of(&r);
    CLEANUP(bytes_done) struct bytes set = set_frame();
    alloc_fail_each(read_under_pressure, &frame, 0);
    alloc_fail_each(read_set_under_pressure, &set, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_come_back),   cmocka_unit_test(every_truncation_fails),
        cmocka_unit_test(bit_flips_do_no_harm), cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(names_are_checked),    cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(sets_come_back),       cmocka_unit_test(sets_come_without_what_is_known),
        cmocka_unit_test(keys_come_back),       cmocka_unit_test(failures_come_back),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
