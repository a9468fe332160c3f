#include "oci/codec.h"
#include "oci/layer_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

/* All of data through one coder, in pieces of `in` and `out` bytes. */
static int run(struct codec *c, const void *data, size_t len, size_t in, size_t out,
               struct bytes *result)
{
    const uint8_t *p = data;
    uint8_t room[4096];
    struct codec_io io = {.in = p};
    size_t fed = 0;
    bool done = false;
    for (int idle = 0; !done && idle < 3;) {
        if (!io.in_len && fed < len) {
            io.in = p + fed;
            io.in_len = len - fed < in ? len - fed : in;
            fed += io.in_len;
        }
        io.last = fed == len;
        io.out = room;
        io.out_len = out < sizeof room ? out : sizeof room;
        size_t before = io.in_len, had = io.out_len;
        int rc = codec_step(c, &io, &done, NULL);
        if (rc)
            return rc;
        assert_int_equal(bytes_append(result, room, had - io.out_len, NULL), OK);
        idle = before == io.in_len && had == io.out_len && io.last ? idle + 1 : 0;
    }
    return done ? OK : E_INTERNAL;
}

static void encode(enum layer_compression form, const void *data, size_t len, struct bytes *out)
{
    CLEANUP(codec_cleanup) struct codec *c = NULL;
    assert_int_equal(codec_encoder(form, &c, NULL), OK);
    assert_int_equal(run(c, data, len, 777, 501, out), OK);
}

static int decode(enum layer_compression form, const void *data, size_t len, size_t in, size_t out,
                  struct bytes *result)
{
    CLEANUP(codec_cleanup) struct codec *c = NULL;
    assert_int_equal(codec_decoder(form, &c, NULL), OK);
    return run(c, data, len, in, out, result);
}

static void fill(struct bytes *b, size_t len)
{
    uint32_t x = 1;
    assert_int_equal(bytes_reserve(b, len, NULL), OK);
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        b->data[b->len++] = (uint8_t)(i % 3 ? x >> 28 : x >> 24);
    }
}

static void everything_comes_back(void **state)
{
    static const size_t sizes[] = {0, 1, 511, 70000};
    static const size_t pieces[][2] = {{1, 1}, {1, 4096}, {4096, 1}, {65536, 4096}, {7, 13}};
    (void)state;
    for (int form = LAYER_NONE; form <= LAYER_ZSTD; form++)
        for (size_t s = 0; s < 4; s++) {
            CLEANUP(bytes_done) struct bytes plain = BYTES_INIT, packed = BYTES_INIT;
            fill(&plain, sizes[s]);
            encode((enum layer_compression)form, plain.data, plain.len, &packed);
            for (size_t p = 0; p < 5; p++) {
                CLEANUP(bytes_done) struct bytes back = BYTES_INIT;
                assert_int_equal(decode((enum layer_compression)form, packed.data, packed.len,
                                        pieces[p][0], pieces[p][1], &back),
                                 OK);
                assert_true(bytes_equal(back.data, back.len, plain.data, plain.len));
            }
            if (form != LAYER_NONE)
                assert_int_equal(codec_sniff(packed.data, packed.len), form);
        }
}

static void several_members_are_one_stream(void **state)
{
    (void)state;
    for (int form = LAYER_GZIP; form <= LAYER_ZSTD; form++) {
        CLEANUP(bytes_done) struct bytes packed = BYTES_INIT;
        encode((enum layer_compression)form, "one", 3, &packed);
        encode((enum layer_compression)form, "", 0, &packed);
        encode((enum layer_compression)form, "two", 3, &packed);
        for (size_t in = 1; in < 20; in++) {
            CLEANUP(bytes_done) struct bytes back = BYTES_INIT;
            assert_int_equal(
                decode((enum layer_compression)form, packed.data, packed.len, in, 100, &back), OK);
            assert_string_equal(bytes_text(&back), "onetwo");
        }
    }
}

static void a_hundred_thousand_empty_members_are_no_bomb(void **state)
{
    CLEANUP(bytes_done) struct bytes packed = BYTES_INIT, back = BYTES_INIT;
    (void)state;
    encode(LAYER_GZIP, "", 0, &packed);
    size_t one = packed.len;
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(bytes_reserve(&packed, one, NULL), OK);
        memcpy(packed.data + packed.len, packed.data, one);
        packed.len += one;
    }
    assert_int_equal(decode(LAYER_GZIP, packed.data, packed.len, 65536, 4096, &back), OK);
    assert_int_equal(back.len, 0);
}

static void garbage_behind_the_end_is_refused(void **state)
{
    static const char *const tails[] = {"\0", "\0\0\0\0\0\0\0\0", "x", "\x1f\x8b",
                                        "garbage garbage"};
    static const size_t lens[] = {1, 8, 1, 2, 15};
    (void)state;
    for (int form = LAYER_GZIP; form <= LAYER_ZSTD; form++)
        for (size_t i = 0; i < 5; i++)
            for (size_t in = 1; in < 4096; in = in * 5 + 1) {
                CLEANUP(bytes_done) struct bytes packed = BYTES_INIT, back = BYTES_INIT;
                encode((enum layer_compression)form, "content", 7, &packed);
                assert_int_equal(bytes_append(&packed, tails[i], lens[i], NULL), OK);
                assert_int_equal(
                    decode((enum layer_compression)form, packed.data, packed.len, in, 100, &back),
                    E_INVALID);
            }
}

static void cuts_and_flips_are_refused(void **state)
{
    (void)state;
    for (int form = LAYER_GZIP; form <= LAYER_ZSTD; form++) {
        CLEANUP(bytes_done) struct bytes plain = BYTES_INIT, packed = BYTES_INIT;
        fill(&plain, 600);
        encode((enum layer_compression)form, plain.data, plain.len, &packed);
        for (size_t len = 0; len < packed.len; len++) {
            CLEANUP(bytes_done) struct bytes back = BYTES_INIT;
            assert_int_equal(decode((enum layer_compression)form, packed.data, len, 64, 100, &back),
                             E_INVALID);
        }
        for (size_t bit = 0; bit < packed.len * 8; bit++) {
            CLEANUP(bytes_done) struct bytes back = BYTES_INIT;
            packed.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            int rc =
                decode((enum layer_compression)form, packed.data, packed.len, 4096, 4096, &back);
            /* header bits that mean nothing here (time, system) may flip; content may not */
            if (rc == OK)
                assert_true(bytes_equal(back.data, back.len, plain.data, plain.len));
            else
                assert_int_equal(rc, E_INVALID);
            packed.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
}

static void other_formats_are_not_guessed(void **state)
{
    static const uint8_t xz[] = {0xFD, '7', 'z', 'X', 'Z', 0};
    static const uint8_t bzip2[] = {'B', 'Z', 'h', '9'};
    (void)state;
    assert_int_equal(codec_sniff(xz, sizeof xz), LAYER_NONE);
    assert_int_equal(codec_sniff(bzip2, sizeof bzip2), LAYER_NONE);
    assert_int_equal(codec_sniff(xz, 0), LAYER_NONE);
}

/* --- layer_stream --- */

static int memory_file(const void *data, size_t len)
{
    int fd = memfd_create("layer", MFD_CLOEXEC);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static int drain(int fd, enum layer_compression form, int64_t size, int64_t *content)
{
    CLEANUP(layer_stream_cleanup) struct layer_stream *s = NULL;
    struct digest packed, plain;
    struct layer_stream_options options = {.fd = fd,
                                           .form = form,
                                           .packed_alg = DIGEST_SHA512,
                                           .content_alg = DIGEST_SHA256,
                                           .size = size};
    assert_int_equal(layer_stream_open(&options, &s, NULL), OK);
    return layer_stream_finish(s, &packed, &plain, content, NULL);
}

static void a_stream_hashes_both_sides(void **state)
{
    CLEANUP(bytes_done) struct bytes plain = BYTES_INIT, packed = BYTES_INIT;
    CLEANUP(layer_stream_cleanup) struct layer_stream *s = NULL;
    struct digest want, got[2];
    int64_t size;
    (void)state;
    fill(&plain, 9u << 20);
    encode(LAYER_ZSTD, plain.data, plain.len, &packed);
    CLEANUP(cleanup_fd) int fd = memory_file(packed.data, packed.len);
    struct layer_stream_options options = {.fd = fd,
                                           .form = LAYER_ZSTD,
                                           .packed_alg = DIGEST_SHA256,
                                           .content_alg = DIGEST_SHA256,
                                           .size = (int64_t)packed.len};
    assert_int_equal(layer_stream_open(&options, &s, NULL), OK);
    /* two blocks stay readable */
    const void *first, *second;
    size_t len;
    assert_int_equal(layer_stream_read(s, &first, &len, NULL), OK);
    assert_int_equal(len, LAYER_BLOCK_SIZE);
    usleep(50000);
    assert_int_equal(layer_stream_read(s, &second, &len, NULL), OK);
    usleep(50000);
    assert_memory_equal(first, plain.data, LAYER_BLOCK_SIZE);
    assert_memory_equal(second, plain.data + LAYER_BLOCK_SIZE, LAYER_BLOCK_SIZE);
    assert_int_equal(layer_stream_finish(s, &got[0], &got[1], &size, NULL), OK);
    assert_int_equal(size, plain.len);
    assert_int_equal(digest_of(DIGEST_SHA256, packed.data, packed.len, &want, NULL), OK);
    assert_true(digest_equal(&want, &got[0]));
    assert_int_equal(digest_of(DIGEST_SHA256, plain.data, plain.len, &want, NULL), OK);
    assert_true(digest_equal(&want, &got[1]));
}

static void a_stream_may_be_closed_at_any_time(void **state)
{
    CLEANUP(bytes_done) struct bytes plain = BYTES_INIT;
    (void)state;
    fill(&plain, 9u << 20);
    CLEANUP(cleanup_fd) int fd = memory_file(plain.data, plain.len);
    for (int reads = 0; reads < 10; reads++) {
        CLEANUP(layer_stream_cleanup) struct layer_stream *s = NULL;
        struct layer_stream_options options = {.fd = fd, .size = -1};
        const void *block;
        size_t len;
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(layer_stream_open(&options, &s, NULL), OK);
        for (int i = 0; i < reads; i++)
            assert_int_equal(layer_stream_read(s, &block, &len, NULL), OK);
    }
}

static void a_wrong_size_is_refused(void **state)
{
    int64_t n;
    (void)state;
    CLEANUP(cleanup_fd) int fd = memory_file("12345", 5);
    assert_int_equal(drain(fd, LAYER_NONE, 4, &n), E_DIGEST);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(drain(fd, LAYER_NONE, 6, &n), E_DIGEST);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(drain(fd, LAYER_NONE, 5, &n), OK);
}

static void a_bomb_is_refused(void **state)
{
    CLEANUP(bytes_done) struct bytes bomb = BYTES_INIT;
    CLEANUP(codec_cleanup) struct codec *c = NULL;
    CLEANUP(cleanup_free) uint8_t *zeros = calloc(1, 1 << 20);
    uint8_t room[4096];
    bool done = false;
    int64_t n;
    (void)state;
    assert_int_equal(codec_encoder(LAYER_ZSTD, &c, NULL), OK);
    for (int i = 0; !done; i++) {
        struct codec_io io = {.in = zeros, .in_len = i < 200 ? 1 << 20 : 0, .last = i >= 200};
        do {
            io.out = room;
            io.out_len = sizeof room;
            assert_int_equal(codec_step(c, &io, &done, NULL), OK);
            assert_int_equal(bytes_append(&bomb, room, sizeof room - io.out_len, NULL), OK);
        } while (!done && (io.in_len || !io.out_len || io.last));
    }
    assert_true(bomb.len < 100000);
    CLEANUP(cleanup_fd) int fd = memory_file(bomb.data, bomb.len);
    assert_int_equal(drain(fd, LAYER_ZSTD, -1, &n), E_LIMIT);
}

static void only_layers_have_a_form(void **state)
{
    enum layer_compression form;
    (void)state;
    assert_int_equal(layer_form_of(MEDIA_DOCKER_LAYER, &form, NULL), OK);
    assert_int_equal(form, LAYER_GZIP);
    assert_int_equal(layer_form_of(MEDIA_OCI_LAYER_ZSTD, &form, NULL), OK);
    assert_int_equal(form, LAYER_ZSTD);
    assert_int_equal(layer_form_of(MEDIA_OCI_CONFIG, &form, NULL), E_UNSUPPORTED);
    assert_int_equal(layer_form_of(MEDIA_OCI_LAYER "+xz", &form, NULL), E_UNSUPPORTED);
    assert_int_equal(layer_form_of("", &form, NULL), E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(several_members_are_one_stream),
        cmocka_unit_test(a_hundred_thousand_empty_members_are_no_bomb),
        cmocka_unit_test(garbage_behind_the_end_is_refused),
        cmocka_unit_test(cuts_and_flips_are_refused),
        cmocka_unit_test(other_formats_are_not_guessed),
        cmocka_unit_test(a_stream_hashes_both_sides),
        cmocka_unit_test(a_stream_may_be_closed_at_any_time),
        cmocka_unit_test(a_wrong_size_is_refused),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(only_layers_have_a_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
