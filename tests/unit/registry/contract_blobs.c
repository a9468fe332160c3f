#include "tests/unit/registry/contract_blobs.h"

#include "base/cleanup.h"
#include "tests/support/skip.h"
#include "tests/unit/registry/contract_crash.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

#define LARGE (3u << 20)

/* The suite runs over these; cmocka hands nothing but a pointer to a case. */
static const struct contract_blobs *implementation;
static bool with_workers;

struct place {
    void *place;
    struct blobs *blobs;
};

static void start(struct place *p)
{
    struct blob_store store = {NULL, NULL};
    ok(implementation->open(p->place, &store, err));
    ok(blobs_new(&store, &p->blobs, err));
    if (with_workers)
        ok(blobs_start(p->blobs, err));
}

static void restart(struct place *p)
{
    blobs_close(p->blobs);
    start(p);
}

static int setup(void **state)
{
    static struct place p;
    p.place = implementation->place_new();
    assert_non_null(p.place);
    start(&p);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    blobs_close(p->blobs);
    implementation->place_free(p->place);
    return 0;
}

/* --- helpers --- */

/* Bytes that differ from place to place and from seed to seed. */
static void fill(uint8_t *out, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (uint8_t)(seed >> 24);
    }
}

static struct digest digest(enum digest_alg alg, const void *data, size_t len)
{
    struct digest d;
    ok(digest_of(alg, data, len, &d, err));
    return d;
}

static int visible(struct blobs *b, const struct digest *d)
{
    uint64_t size = 0;
    return blobs_stat(b, d, &size, NULL);
}

static void assert_blob(struct blobs *b, const struct digest *d, const void *data, size_t len)
{
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    uint64_t size = 0;
    ok(blobs_read_verified(b, d, LARGE, &read, err));
    assert_int_equal(read.len, len);
    if (len > 0)
        assert_memory_equal(read.data, data, len);
    ok(blobs_stat(b, d, &size, err));
    assert_int_equal(size, len);
}

static struct digest put(struct blobs *b, const char *text)
{
    struct digest d = digest(DIGEST_SHA256, text, strlen(text));
    ok(blobs_put(b, text, strlen(text), &d, err));
    return d;
}

static int count(void *context, const struct blob_info *info, struct error *err)
{
    (void)err;
    assert_int_not_equal(info->digest.alg, DIGEST_NONE);
    ++*(size_t *)context;
    return 0;
}

static size_t n_blobs(struct blobs *b, enum blob_place place)
{
    size_t n = 0;
    const struct blob_visitor visitor = {count, &n};
    ok(blobs_walk_place(b, place, &visitor, err));
    return n;
}

/* --- uploads --- */

static void nothing_is_visible_before_commit(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    struct digest d = digest(DIGEST_SHA256, "hello", 5);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    assert_int_equal(strlen(blobs_upload_id(u)), BLOB_UPLOAD_ID_LEN);
    ok(blobs_append(p->blobs, u, "hel", 3, err));
    ok(blobs_append(p->blobs, u, "lo", 2, err));
    ok(blobs_upload_flush(u, err));
    assert_int_equal(blobs_upload_len(u), 5);
    assert_int_equal(visible(p->blobs, &d), E_NOTFOUND);
    assert_int_equal(n_blobs(p->blobs, BLOB_STORED), 0);
    ok(blobs_commit(p->blobs, u, &d, err));
    assert_blob(p->blobs, &d, "hello", 5);
    blobs_upload_free(u);
    restart(p);
    assert_blob(p->blobs, &d, "hello", 5);
}

static void wrong_digest_leaves_nothing(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    struct digest other = digest(DIGEST_SHA256, "other", 5);
    struct digest right = digest(DIGEST_SHA256, "hello", 5);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    ok(blobs_append(p->blobs, u, "hello", 5, err));
    assert_int_equal(blobs_commit(p->blobs, u, &other, NULL), E_DIGEST);
    assert_int_equal(visible(p->blobs, &other), E_NOTFOUND);
    assert_int_equal(visible(p->blobs, &right), E_NOTFOUND);
    ok(blobs_commit(p->blobs, u, &right, err)); /* the bytes are still there */
    blobs_upload_free(u);
    assert_int_equal(blobs_put(p->blobs, "hello", 5, &other, NULL), E_DIGEST);
    assert_int_equal(n_blobs(p->blobs, BLOB_STORED), 1);
    size_t n = 1;
    ok(blobs_sweep_uploads(p->blobs, -1, NULL, &n, err));
    assert_int_equal(n, 0);
}

static void pieces_of_every_size_make_one_blob(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    uint8_t *all = malloc(LARGE);
    assert_non_null(all);
    fill(all, LARGE, 1);
    struct digest d = digest(DIGEST_SHA256, all, LARGE);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    for (size_t at = 0, piece = 1; at < LARGE; at += piece, piece = piece * 7 % 300007) {
        if (piece > LARGE - at)
            piece = LARGE - at;
        ok(blobs_append(p->blobs, u, all + at, piece, err));
        assert_int_equal(blobs_upload_len(u), at + piece);
        if (piece % 5 == 0)
            blobs_upload_rest(u);
        if (piece % 5 == 1)
            ok(blobs_upload_flush(u, err));
    }
    ok(blobs_commit(p->blobs, u, &d, err));
    blobs_upload_free(u);
    assert_blob(p->blobs, &d, all, LARGE);
    free(all);
}

static void no_bytes_are_a_blob(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    struct digest d = digest(DIGEST_SHA256, "", 0), d512 = digest(DIGEST_SHA512, "", 0);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    ok(blobs_append(p->blobs, u, "", 0, err));
    ok(blobs_commit(p->blobs, u, &d, err));
    blobs_upload_free(u);
    assert_blob(p->blobs, &d, "", 0);
    ok(blobs_put(p->blobs, "", 0, &d512, err));
    assert_blob(p->blobs, &d512, "", 0);
}

static void sha512_at_the_start_and_at_the_end(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    struct digest a = digest(DIGEST_SHA512, "at first", 8), b = digest(DIGEST_SHA512, "at last", 7);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    ok(blobs_upload_set_alg(u, DIGEST_SHA512, err));
    ok(blobs_append(p->blobs, u, "at first", 8, err));
    ok(blobs_commit(p->blobs, u, &a, err));
    blobs_upload_free(u);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    ok(blobs_append(p->blobs, u, "at last", 7, err));
    assert_int_equal(blobs_commit(p->blobs, u, &a, NULL), E_DIGEST);
    ok(blobs_commit(p->blobs, u, &b, err));
    blobs_upload_free(u);
    assert_blob(p->blobs, &a, "at first", 8);
    assert_blob(p->blobs, &b, "at last", 7);
    assert_int_equal(n_blobs(p->blobs, BLOB_STORED), 2);
}

static void uploads_go_on_after_a_restart(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    char id[BLOB_UPLOAD_ID_LEN + 1];
    CLEANUP(bytes_done) struct bytes note = BYTES_INIT;
    struct digest d = digest(DIGEST_SHA256, "hello", 5);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    memcpy(id, blobs_upload_id(u), sizeof id);
    ok(blobs_upload_note_write(p->blobs, id, "whose", err));
    assert_int_equal(blobs_upload_note_write(p->blobs, id, "other", NULL), E_EXISTS);
    ok(blobs_append(p->blobs, u, "hel", 3, err));
    ok(blobs_upload_flush(u, err));
    blobs_upload_free(u);
    restart(p);
    ok(blobs_upload_note_read(p->blobs, id, &note, err));
    assert_string_equal(bytes_text(&note), "whose");
    ok(blobs_resume(p->blobs, id, &u, err));
    assert_int_equal(blobs_upload_len(u), 3);
    ok(blobs_append(p->blobs, u, "lo", 2, err));
    ok(blobs_commit(p->blobs, u, &d, err));
    blobs_upload_free(u);
    assert_int_equal(blobs_resume(p->blobs, id, &u, NULL), E_NOTFOUND);
    assert_int_equal(blobs_upload_note_read(p->blobs, id, &note, NULL), E_NOTFOUND);
    assert_blob(p->blobs, &d, "hello", 5);
}

static void cancelled_and_old_uploads_are_gone(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    char id[BLOB_UPLOAD_ID_LEN + 1];
    size_t n = 0;
    static const uint8_t block[600u << 10];
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    memcpy(id, blobs_upload_id(u), sizeof id);
    ok(blobs_append(p->blobs, u, block, sizeof block, err));
    blobs_upload_cancel(p->blobs, u);
    assert_int_equal(blobs_resume(p->blobs, id, &u, NULL), E_NOTFOUND);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    memcpy(id, blobs_upload_id(u), sizeof id);
    blobs_upload_free(u);
    ok(blobs_sweep_uploads(p->blobs, 3600, NULL, &n, err));
    assert_int_equal(n, 0);
    ok(blobs_sweep_uploads(p->blobs, -1, NULL, &n, err));
    assert_int_equal(n, 1);
    assert_int_equal(blobs_resume(p->blobs, id, &u, NULL), E_NOTFOUND);
}

/* --- several at once --- */

struct writer {
    struct blobs *blobs;
    pthread_t thread;
    uint32_t seed;
    int rc;
};

static void *write_blob(void *context)
{
    struct writer *w = context;
    static const size_t len = 700001;
    struct blob_upload *u = NULL;
    struct digest d;
    uint8_t *data = malloc(len);
    w->rc = data ? 0 : E_NOMEM;
    for (size_t i = 0; w->rc == 0 && i < 4; i++) {
        fill(data, len, w->seed);
        w->rc = digest_of(DIGEST_SHA256, data, len, &d, NULL);
        if (w->rc == 0)
            w->rc = blobs_begin(w->blobs, DIGEST_SHA256, &u, NULL);
        for (size_t at = 0; w->rc == 0 && at < len; at += 65536)
            w->rc = blobs_append(w->blobs, u, data + at, len - at < 65536 ? len - at : 65536, NULL);
        if (w->rc == 0)
            w->rc = blobs_commit(w->blobs, u, &d, NULL);
        blobs_upload_free(u);
        u = NULL;
    }
    free(data);
    return NULL;
}

static void many_writers_of_one_and_of_many(void **state)
{
    struct place *p = *state;
    struct writer writers[10];
    uint8_t *data = malloc(700001);
    assert_non_null(data);
    for (uint32_t i = 0; i < 10; i++) {
        writers[i] = (struct writer){.blobs = p->blobs, .seed = i < 5 ? 77 : i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_blob, &writers[i]), 0);
    }
    for (size_t i = 0; i < 10; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].rc, 0);
    }
    assert_int_equal(n_blobs(p->blobs, BLOB_STORED), 6);
    for (size_t i = 4; i < 10; i++) {
        fill(data, 700001, writers[i].seed);
        struct digest d = digest(DIGEST_SHA256, data, 700001);
        assert_blob(p->blobs, &d, data, 700001);
    }
    free(data);
    size_t n = 1;
    ok(blobs_sweep_uploads(p->blobs, -1, NULL, &n, err));
    assert_int_equal(n, 0);
}

struct seen {
    struct digest before[20];
    unsigned n[20];
};

static int look(void *context, const struct blob_info *info, struct error *err)
{
    struct seen *seen = context;
    (void)err;
    for (size_t i = 0; i < 20; i++)
        seen->n[i] += digest_equal(&info->digest, &seen->before[i]);
    return 0;
}

static void walk_beside_writers_meets_the_rest_once(void **state)
{
    struct place *p = *state;
    struct writer writers[3];
    struct seen seen = {.n = {0}};
    const struct blob_visitor visitor = {look, &seen};
    for (size_t i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "blob %zu", i);
        seen.before[i] = put(p->blobs, text);
    }
    for (uint32_t i = 0; i < 3; i++) {
        writers[i] = (struct writer){.blobs = p->blobs, .seed = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_blob, &writers[i]), 0);
    }
    for (unsigned round = 1; round <= 10; round++) {
        ok(blobs_walk(p->blobs, &visitor, err));
        for (size_t i = 0; i < 20; i++)
            assert_int_equal(seen.n[i], round);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].rc, 0);
    }
}

static int end_walk(void *context, const struct blob_info *info, struct error *err)
{
    (void)context, (void)info;
    return (fail)(err, E_INTERRUPTED, "enough");
}

static void walk_ends_when_told(void **state)
{
    struct place *p = *state;
    const struct blob_visitor visitor = {end_walk, NULL};
    ok(blobs_walk(p->blobs, &visitor, err));
    put(p->blobs, "one");
    assert_int_equal(blobs_walk(p->blobs, &visitor, NULL), E_INTERRUPTED);
}

/* --- reading --- */

static void ranges_are_read_and_deletion_waits_for_nobody(void **state)
{
    struct place *p = *state;
    struct blob_reader *r = NULL;
    char text[16] = "";
    size_t got = 0, len = 0;
    struct digest d = put(p->blobs, "0123456789");
    assert_int_equal(blobs_put(p->blobs, "0123456789", 10, &d, NULL), 0); /* again is fine */
    ok(blobs_reader_open(p->blobs, &d, &r, err));
    assert_int_equal(blob_reader_size(r), 10);
    ok(blobs_delete(p->blobs, &d, err));
    ok(blobs_delete(p->blobs, &d, err));
    assert_int_equal(visible(p->blobs, &d), E_NOTFOUND);
    /* Goes on or fails; other bytes never come. */
    while (blob_reader_read(r, 4 + len, text + len, 3 - len, &got, NULL) == 0 && got > 0)
        len += got;
    assert_memory_equal(text, "456", len);
    blob_reader_free(r);
    d = put(p->blobs, "0123456789");
    ok(blobs_reader_open(p->blobs, &d, &r, err));
    ok(blob_reader_read(r, 10, text, sizeof text, &got, err));
    assert_int_equal(got, 0);
    ok(blob_reader_read(r, 9, text, sizeof text, &got, err));
    assert_int_equal(got, 1);
    assert_int_equal(text[0], '9');
    ok(blob_reader_read(r, UINT32_MAX, text, sizeof text, &got, err));
    assert_int_equal(got, 0);
    blob_reader_free(r);
}

static void damaged_bytes_are_told(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    struct digest d = put(p->blobs, "0123456789");
    assert_int_equal(blobs_read_verified(p->blobs, &d, 9, &read, NULL), E_LIMIT);
    assert_int_equal(read.len, 0);
    ok(blobs_read_verified(p->blobs, &d, 10, &read, err));
    implementation->damage(p->place, &d);
    assert_int_equal(blobs_read_verified(p->blobs, &d, 10, &read, NULL), E_TAMPERED);
    assert_int_equal(read.len, 10);
    /* out of sight, and a push heals */
    ok(blobs_quarantine(p->blobs, &d, err));
    assert_int_equal(visible(p->blobs, &d), E_NOTFOUND);
    assert_int_equal(blobs_quarantine(p->blobs, &d, NULL), E_NOTFOUND);
    restart(p);
    assert_int_equal(visible(p->blobs, &d), E_NOTFOUND);
    assert_int_equal(n_blobs(p->blobs, BLOB_QUARANTINE), 1);
    put(p->blobs, "0123456789");
    assert_blob(p->blobs, &d, "0123456789", 10);
    assert_int_equal(n_blobs(p->blobs, BLOB_QUARANTINE), 1);
    ok(blobs_discard(p->blobs, &d, BLOB_QUARANTINE, err));
    ok(blobs_discard(p->blobs, &d, BLOB_QUARANTINE, err));
    assert_int_equal(n_blobs(p->blobs, BLOB_QUARANTINE), 0);
    assert_blob(p->blobs, &d, "0123456789", 10);
}

static void remembered_bytes_are_right_and_go_with_the_blob(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    struct digest d = put(p->blobs, "0123456789"), bad = put(p->blobs, "damaged");
    implementation->damage(p->place, &bad);
    assert_int_equal(blobs_read_cached(p->blobs, &bad, 100, &read, NULL), E_TAMPERED);
    ok(blobs_read_cached(p->blobs, &d, 10, &read, err));
    implementation->damage(p->place, &d);
    ok(blobs_read_cached(p->blobs, &d, 10, &read, err));
    assert_string_equal(bytes_text(&read), "01234567890123456789");
    assert_int_equal(blobs_read_cached(p->blobs, &d, 9, &read, NULL), E_LIMIT);
    ok(blobs_delete(p->blobs, &d, err));
    assert_int_equal(blobs_read_cached(p->blobs, &d, 10, &read, NULL), E_NOTFOUND);
    put(p->blobs, "0123456789");
    ok(blobs_read_cached(p->blobs, &d, 10, &read, err));
    ok(blobs_set_aside(p->blobs, &d, err));
    assert_int_equal(blobs_read_cached(p->blobs, &d, 10, &read, NULL), E_NOTFOUND);
    assert_int_equal(read.len, 30);
}

/* Replaced by a push between the look and the move: right bytes stay. */
static void right_bytes_are_not_kept_in_quarantine(void **state)
{
    struct place *p = *state;
    struct digest d = put(p->blobs, "right");
    assert_int_equal(blobs_quarantine(p->blobs, &d, NULL), E_CONFLICT);
    assert_blob(p->blobs, &d, "right", 5);
    assert_int_equal(n_blobs(p->blobs, BLOB_QUARANTINE), 0);
}

static void set_aside_is_invisible_and_comes_back(void **state)
{
    struct place *p = *state;
    struct digest d = put(p->blobs, "aside"), other = put(p->blobs, "stays");
    ok(blobs_set_aside(p->blobs, &d, err));
    assert_int_equal(visible(p->blobs, &d), E_NOTFOUND);
    assert_int_equal(blobs_set_aside(p->blobs, &d, NULL), E_NOTFOUND);
    assert_int_equal(n_blobs(p->blobs, BLOB_STORED), 1);
    restart(p);
    assert_int_equal(n_blobs(p->blobs, BLOB_ASIDE), 1);
    ok(blobs_restore(p->blobs, &d, err));
    assert_int_equal(blobs_restore(p->blobs, &d, NULL), E_NOTFOUND);
    assert_blob(p->blobs, &d, "aside", 5);
    /* pushed again while aside: both ways end well */
    for (int way = 0; way < 2; way++) {
        ok(blobs_set_aside(p->blobs, &d, err));
        put(p->blobs, "aside");
        if (way == 0)
            ok(blobs_restore(p->blobs, &d, err));
        else
            ok(blobs_discard(p->blobs, &d, BLOB_ASIDE, err));
        assert_int_equal(n_blobs(p->blobs, BLOB_ASIDE), 0);
        assert_blob(p->blobs, &d, "aside", 5);
    }
    assert_blob(p->blobs, &other, "stays", 5);
}

/* --- what the storage refuses --- */

static void full_storage_takes_nothing_half(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    struct error why = ERROR_INIT;
    static uint8_t data[LARGE];
    fill(data, sizeof data, 9);
    struct digest d = digest(DIGEST_SHA256, data, sizeof data);
    struct digest small = put(p->blobs, "small");
    if (!implementation->set_room || !implementation->set_room(p->place, 1u << 20))
        skip_test("this place cannot be made small");
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    int rc = blobs_append(p->blobs, u, data, sizeof data, &why);
    if (rc == 0)
        rc = blobs_upload_flush(u, &why);
    assert_int_equal(rc, E_SYS);
    assert_int_equal(why.sys, ENOSPC);
    uint64_t len = blobs_upload_len(u);
    assert_true(len <= 1u << 20);
    assert_int_equal(blobs_put(p->blobs, data, sizeof data, &d, NULL), E_SYS);
    assert_int_equal(visible(p->blobs, &d), E_NOTFOUND);
    assert_blob(p->blobs, &small, "small", 5);
    /* Room again: the upload goes on from what it says it has. */
    implementation->set_room(p->place, UINT64_MAX);
    ok(blobs_append(p->blobs, u, data + len, sizeof data - len, err));
    ok(blobs_commit(p->blobs, u, &d, err));
    blobs_upload_free(u);
    assert_blob(p->blobs, &d, data, sizeof data);
    size_t n = 1;
    ok(blobs_sweep_uploads(p->blobs, -1, NULL, &n, err));
    assert_int_equal(n, 0);
}

/* What came behind the failed piece was dropped with it: the length says so, and it goes on there.
 */
static void one_failed_write_leaves_no_gap(void **state)
{
    struct place *p = *state;
    static uint8_t data[LARGE];
    fill(data, sizeof data, 3);
    struct digest d = digest(DIGEST_SHA256, data, sizeof data);
    blobs_close(p->blobs);
    for (unsigned n = 1; n < 10; n++) {
        struct contract_crash crash = {.left = n, .recovers = true};
        struct blob_upload *u = NULL;
        ok(implementation->open(p->place, &crash.inner, err));
        struct blob_store store = contract_crash_store(&crash);
        ok(blobs_new(&store, &p->blobs, err));
        if (with_workers)
            ok(blobs_start(p->blobs, err));
        ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
        int rc = blobs_append(p->blobs, u, data, sizeof data, NULL);
        if (rc == 0)
            rc = blobs_upload_flush(u, NULL);
        assert_int_equal(rc, E_SYS);
        uint64_t len = blobs_upload_len(u);
        assert_in_range(len, 0, sizeof data - 1);
        ok(blobs_append(p->blobs, u, data + len, sizeof data - len, err));
        ok(blobs_commit(p->blobs, u, &d, err));
        blobs_upload_free(u);
        blobs_close(p->blobs);
    }
    start(p);
    assert_blob(p->blobs, &d, data, sizeof data);
}

static void read_only_storage_still_reads(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    struct digest d = put(p->blobs, "there"), other = digest(DIGEST_SHA256, "new", 3);
    if (!implementation->set_read_only || !implementation->set_read_only(p->place, true))
        skip_test("this place cannot be made read-only");
    restart(p);
    assert_int_equal(blobs_begin(p->blobs, DIGEST_SHA256, &u, NULL), E_SYS);
    assert_int_equal(blobs_put(p->blobs, "new", 3, &other, NULL), E_SYS);
    assert_int_equal(blobs_delete(p->blobs, &d, NULL), E_SYS);
    assert_int_equal(blobs_set_aside(p->blobs, &d, NULL), E_SYS);
    assert_blob(p->blobs, &d, "there", 5);
    assert_int_equal(n_blobs(p->blobs, BLOB_STORED), 1);
    implementation->set_read_only(p->place, false);
    ok(blobs_put(p->blobs, "new", 3, &other, err));
}

/* --- the process ends between any two operations --- */

struct story {
    struct digest acknowledged[4];
    size_t n_acknowledged;
};

static void acknowledge(struct story *s, const struct digest *d)
{
    s->acknowledged[s->n_acknowledged++] = *d;
}

static const char chapter[] = "a chunk, and another";

static void chunked(struct blobs *b, struct story *s)
{
    struct digest d = digest(DIGEST_SHA256, chapter, 20);
    struct blob_upload *u = NULL;
    int rc = blobs_begin(b, DIGEST_SHA256, &u, NULL);
    if (rc == 0)
        rc = blobs_upload_note_write(b, blobs_upload_id(u), "mine", NULL);
    for (size_t at = 0; rc == 0 && at < 20; at += 10) {
        rc = blobs_append(b, u, chapter + at, 10, NULL);
        if (rc == 0)
            blobs_upload_rest(u);
    }
    if (rc == 0 && blobs_commit(b, u, &d, NULL) == 0)
        acknowledge(s, &d);
    blobs_upload_free(u);
}

static void live(struct blobs *b, struct story *s)
{
    struct digest kept = digest(DIGEST_SHA256, "kept", 4);
    struct digest moved = digest(DIGEST_SHA512, "moved", 5);
    if (blobs_put(b, "kept", 4, &kept, NULL) == 0)
        acknowledge(s, &kept);
    chunked(b, s);
    if (blobs_put(b, "moved", 5, &moved, NULL) != 0)
        return;
    /* Under way from here to there it is in one of the two; back, it must be found. */
    if (blobs_set_aside(b, &moved, NULL) == 0 && blobs_restore(b, &moved, NULL) == 0)
        acknowledge(s, &moved);
}

/* Every visible blob has the bytes of its name. */
static int check_bytes(void *context, const struct blob_info *info, struct error *err)
{
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    return blobs_read_verified(context, &info->digest, LARGE, &read, err);
}

static bool ends_after(struct place *p, unsigned n)
{
    struct contract_crash crash = {.left = n};
    struct story story = {.n_acknowledged = 0};
    struct blobs *b = NULL;
    blobs_close(p->blobs);
    ok(implementation->open(p->place, &crash.inner, err));
    struct blob_store store = contract_crash_store(&crash);
    ok(blobs_new(&store, &b, err));
    live(b, &story);
    blobs_close(b);
    start(p);
    const struct blob_visitor visitor = {check_bytes, p->blobs};
    ok(blobs_walk(p->blobs, &visitor, err));
    for (size_t i = 0; i < story.n_acknowledged; i++)
        assert_int_equal(visible(p->blobs, &story.acknowledged[i]), 0);
    size_t ignored;
    ok(blobs_sweep_uploads(p->blobs, -1, NULL, &ignored, err));
    for (size_t i = 0; i < story.n_acknowledged; i++)
        ok(blobs_delete(p->blobs, &story.acknowledged[i], err));
    return crash.dead;
}

static void nothing_acknowledged_is_lost(void **state)
{
    struct place *p = *state;
    unsigned n = 0;
    while (ends_after(p, n))
        assert_in_range(++n, 1, 100);
    assert_in_range(n, 12, 100); /* it did go through the story */
}

#define place_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int contract_blobs_run(const struct contract_blobs *over)
{
    const struct CMUnitTest cases[] = {
        place_test(nothing_is_visible_before_commit),
        place_test(wrong_digest_leaves_nothing),
        place_test(pieces_of_every_size_make_one_blob),
        place_test(no_bytes_are_a_blob),
        place_test(sha512_at_the_start_and_at_the_end),
        place_test(uploads_go_on_after_a_restart),
        place_test(cancelled_and_old_uploads_are_gone),
        place_test(many_writers_of_one_and_of_many),
        place_test(walk_beside_writers_meets_the_rest_once),
        place_test(walk_ends_when_told),
        place_test(ranges_are_read_and_deletion_waits_for_nobody),
        place_test(damaged_bytes_are_told),
        place_test(remembered_bytes_are_right_and_go_with_the_blob),
        place_test(right_bytes_are_not_kept_in_quarantine),
        place_test(set_aside_is_invisible_and_comes_back),
        place_test(full_storage_takes_nothing_half),
        place_test(one_failed_write_leaves_no_gap),
        place_test(read_only_storage_still_reads),
        place_test(nothing_acknowledged_is_lost),
    };
    int failed = 0;
    implementation = over;
    for (int workers = 0; workers < 2; workers++) {
        with_workers = workers == 1;
        failed += cmocka_run_group_tests_name(over->name, cases, NULL, NULL);
    }
    return failed;
}
