/* Ceremony files as hostile bytes: what is refused, and that what is shown is what would be signed.
 */
#include "tests/support/alloc_fail.h"
#include "tests/support/change_repo.h"

#include <ctype.h>

static struct change_repo made;
static struct bytes good = BYTES_INIT, untouched = BYTES_INIT;

static int setup(void **state)
{
    scratch_setup(state);
    change_repo_init(&made, *state);
    change_repo_change(&made, true, &good);
    toy_ok(bytes_append(&untouched, good.data, good.len, err));
    return 0;
}

static int setup_small(void **state)
{
    int rc = setup(state);
    change_repo_change(&made, false, &good);
    bytes_clear(&untouched);
    toy_ok(bytes_append(&untouched, good.data, good.len, err));
    return rc;
}

static int teardown(void **state)
{
    bytes_done(&good);
    bytes_done(&untouched);
    change_repo_done(&made);
    return scratch_teardown(state);
}

/* --- every bit, every length --- */

static size_t count_signatures(const struct draft *d)
{
    size_t n = 0, all = 0;
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->files[i].n_authorities; k++) {
            toy_ok(draft_count_signatures(&d->files[i], &d->files[i].authorities[k], &n, err));
            all += n;
        }
    return all;
}

/* What has no meaning: the case of a digest's letters. */
static void forget_spelling(struct js *tree)
{
    js_foreach (js_get(tree, "targets"), it) {
        struct js *target = js_edit(js_edit(tree, "targets"), it.key);
        char *hex = strdup(js_text(js_get(js_get(target, "hashes"), "sha256")));
        assert_non_null(hex);
        for (char *c = hex; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        toy_ok(js_set(js_edit(target, "hashes"), "sha256", js_text_new(hex), err));
        free(hex);
    }
}

static bool same_trees(const struct draft *a, const struct draft *b, bool spelling)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++) {
        CLEANUP(js_cleanup) struct js *one = js_dup(a->files[i].tree);
        CLEANUP(js_cleanup) struct js *other = js_dup(b->files[i].tree);
        if (!spelling)
            forget_spelling(one);
        if (!spelling)
            forget_spelling(other);
        same = strcmp(a->files[i].role, b->files[i].role) == 0 && js_equal(one, other);
    }
    return same;
}

/* What two files differ in: the bytes around the first difference. */
static void say_difference(const char *what, const uint8_t *data, size_t len)
{
    size_t at = 0;
    while (at < len && at < untouched.len && data[at] == untouched.data[at])
        at++;
    size_t from = at < 60 ? 0 : at - 60;
    fail_msg("%s at byte %zu: …%.*s…", what, at, len - from < 120 ? (int)(len - from) : 120,
             (const char *)data + from);
}

static bool same_base(const struct draft *a, const struct draft *b)
{
    bool same = a->n_base == b->n_base;
    for (size_t i = 0; same && i < a->n_base; i++)
        same = strcmp(a->base[i].role, b->base[i].role) == 0 &&
               js_equal(tuf_metadata_signed(a->base[i].metadata),
                        tuf_metadata_signed(b->base[i].metadata));
    return same;
}

struct whole {
    struct draft draft;
    struct bytes summary;
    size_t n_signatures;
};

static void whole_done(struct whole *w)
{
    draft_close(&w->draft);
    bytes_done(&w->summary);
}

static int read_whole(const void *data, size_t len, struct whole *w, struct error *why)
{
    int rc = change_file_parse(&made.owner, data, len, &w->draft, why);
    if (rc)
        return rc;
    toy_ok(draft_describe(&w->draft, &w->summary, err));
    w->n_signatures = count_signatures(&w->draft);
    return OK;
}

/* Refused; or nothing of it means anything else; or the summary says so and no signature counts. */
static bool look_at(const struct whole *is, const uint8_t *data, size_t len)
{
    CLEANUP(whole_done) struct whole w = {.summary = BYTES_INIT};
    struct error err = ERROR_INIT;
    if (read_whole(data, len, &w, &err))
        return false;
    bool same = same_trees(&is->draft, &w.draft, true);
    bool alike = same || same_trees(&is->draft, &w.draft, false);
    bool told = !bytes_equal(is->summary.data, is->summary.len, w.summary.data, w.summary.len);
    if (!same_base(&is->draft, &w.draft))
        say_difference("it stands on other files", data, len);
    if (strcmp(is->draft.collection, w.draft.collection) != 0)
        say_difference("another collection", data, len);
    if ((same && told) || (!alike && !told))
        say_difference(same ? "told of no change" : "an untold change", data, len);
    if (!same && w.n_signatures >= is->n_signatures)
        say_difference("signatures of something else count", data, len);
    return true;
}

static size_t flip(const struct whole *is, size_t byte, unsigned bit)
{
    good.data[byte] ^= (uint8_t)(1u << bit);
    bool read = look_at(is, good.data, good.len);
    good.data[byte] ^= (uint8_t)(1u << bit);
    return read;
}

static size_t place_of(const char *text)
{
    const char *found = strstr(bytes_text(&good), text);
    assert_non_null(found);
    return (size_t)((const uint8_t *)found - good.data);
}

static void every_bit_flip(void **state)
{
    (void)state;
    CLEANUP(whole_done) struct whole is = {.summary = BYTES_INIT};
    size_t n_read = 0, from = place_of("\"files\": ["), to = place_of("\"expires\"");
    toy_ok(read_whole(good.data, good.len, &is, err));
    assert_int_equal(is.n_signatures, 1);
    /* Every bit of the signature and of what binds it, one bit of every other byte: every bit of
     * published files is flipped in tuf/'s own tests. */
    for (size_t i = 0; i < good.len; i++)
        for (unsigned bit = 0; bit < 8; bit++)
            if ((i >= from && i < to) || bit == i % 8)
                n_read += flip(&is, i, bit);
    assert_true(n_read > 50); /* host names, the file's own summary, hex of unused signatures */
}

static void flips_with_a_delegated_role(void **state)
{
    (void)state;
    CLEANUP(whole_done) struct whole is = {.summary = BYTES_INIT};
    toy_ok(read_whole(good.data, good.len, &is, err));
    assert_int_equal(is.n_signatures, 2);
    for (size_t i = place_of("\"role\": \"alice\""); i < place_of("\"base\": ["); i++)
        (void)flip(&is, i, i % 8);
}

static void every_truncation_and_every_byte_more(void **state)
{
    (void)state;
    CLEANUP(whole_done) struct whole is = {.summary = BYTES_INIT};
    toy_ok(read_whole(good.data, good.len, &is, err));
    size_t end = good.len;
    while (end > 0 && good.data[end - 1] == '\n')
        end--;
    for (size_t len = 0; len < end; len++) {
        uint8_t *copy = malloc(len ? len : 1); /* a sanitizer sees a read of one byte too many */
        assert_non_null(copy);
        memcpy(copy, good.data, len);
        assert_false(look_at(&is, copy, len));
        free(copy);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        struct bytes longer = BYTES_INIT;
        uint8_t one = (uint8_t)byte;
        toy_ok(bytes_append(&longer, good.data, good.len, err));
        toy_ok(bytes_append(&longer, &one, 1, err));
        assert_int_equal(look_at(&is, longer.data, longer.len), memchr(" \t\r\n", one, 4) && one);
        bytes_done(&longer);
    }
}

/* --- files that do not hang together --- */

static int parse_changed(const struct js *file, struct error *why)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct draft d;
    toy_ok(js_write(file, false, &text, err));
    int rc = change_file_parse(&made.owner, text.data, text.len, &d, why);
    if (!rc)
        draft_close(&d);
    return rc;
}

static struct js *good_copy(void)
{
    struct js *file = NULL;
    toy_ok(js_parse(good.data, good.len, &file, err));
    return file;
}

static struct js *text_of(const char *json)
{
    struct js *v = NULL;
    toy_ok(js_parse(json, strlen(json), &v, err));
    return v;
}

/* The copy of a list with one element replaced (by: taken over; NULL: dropped). */
static void put_at(struct js *file, const char *list, size_t at, struct js *by)
{
    struct js *copy = js_array_new();
    const struct js *old = js_get(file, list);
    for (size_t i = 0; i < js_count(old); i++)
        if (i != at)
            toy_ok(js_push(copy, js_dup(js_at(old, i)), err));
        else if (by)
            toy_ok(js_push(copy, by, err));
    toy_ok(js_set(file, list, copy, err));
}

static struct js *change_of(const char *member, const char *json)
{
    struct js *file = good_copy();
    struct js *one = js_dup(js_at(js_get(file, "files"), 1)); /* alice */
    toy_ok(js_set(one, member, text_of(json), err));
    put_at(file, "files", 1, one);
    return file;
}

static void expect_change(int wanted, struct js *file, const char *message)
{
    struct error err = ERROR_INIT;
    int rc = parse_changed(file, &err);
    if (rc != wanted || (message && !strstr(err.message, message)))
        fail_msg("expected %s '%s', got %s: %s", error_name(wanted), message ? message : "",
                 error_name(rc), err.message);
    js_free(file);
}

static void roles_that_nothing_leads_to(void **state)
{
    (void)state;
    expect_change(OK, good_copy(), NULL);
    expect_change(E_INVALID, change_of("delegator", "\"alice\""), "no delegation leads");
    expect_change(E_INVALID, change_of("delegator", "\"bob\""), "no delegation leads");
    expect_change(E_INVALID, change_of("delegator", "\"root\""), "no delegation leads");
    expect_change(E_INVALID, change_of("role", "\"targets\""), "no role that can change");
    expect_change(E_INVALID, change_of("role", "\"../alice\""), "no role that can change");
    expect_change(E_INVALID, change_of("role", "\"bob\""), "does not delegate");
    expect_change(E_INVALID, change_of("signed", "{}"), NULL);
    expect_change(E_INVALID, change_of("signatures", "[7]"), "with its signatures");
    expect_change(E_INVALID, change_of("signatures", "{}"), NULL);
    expect_change(E_INVALID, change_of("extra", "1"), NULL);
    struct js *twice = good_copy();
    put_at(twice, "files", 1, js_dup(js_at(js_get(twice, "files"), 0)));
    expect_change(E_INVALID, twice, "changes twice");
    struct js *rootless = good_copy();
    toy_ok(js_set(rootless, "base", js_array_new(), err));
    expect_change(E_INVALID, rootless, NULL);
    struct js *short_base = good_copy();
    put_at(short_base, "base", 0, NULL);
    expect_change(E_INVALID, short_base, NULL);
}

/* What no registry would take is not signed: neither names nor thresholds nor dates. */
static void contents_that_no_registry_takes(void **state)
{
    (void)state;
    static const struct {
        const char *member, *json;
        int code;
    } cases[] = {
        {"x-bulla-collection", "\"other/app\"", E_BINDING},
        {"x-bulla-role", "\"targets\"", E_BINDING},
        {"version", "3", E_CONFLICT},
        {"version", "1", E_CONFLICT},
        {"expires", "\"2020-01-01T00:00:00Z\"", E_EXPIRED},
        {"targets", "{\"a b\": {\"length\": 1, \"hashes\": {\"sha256\": \"00\"}}}", E_INVALID},
        {"targets",
         "{\"../x\": {\"length\": 1, \"hashes\": {\"sha256\": "
         "\"1111111111111111111111111111111111111111111111111111111111111111\"}}}",
         E_INVALID},
        {"delegations",
         "{\"keys\": {}, \"roles\": [{\"name\": \"x' delegated\", \"keyids\": [], \"threshold\": 1,"
         " \"terminating\": false, \"paths\": []}]}",
         E_INVALID},
        {"delegations",
         "{\"keys\": {}, \"roles\": [{\"name\": \"bob\", \"keyids\": [], \"threshold\": 1,"
         " \"terminating\": false, \"paths\": []}]}",
         E_INVALID},
        {"delegations",
         "{\"keys\": {}, \"succinct_roles\": {\"name_prefix\": \"b\", \"bit_length\": 31, "
         "\"keyids\": [], \"threshold\": 1}}",
         E_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct js *file = good_copy();
        struct js *one = js_dup(js_at(js_get(file, "files"), 1));
        toy_ok(js_set(js_edit(one, "signed"), cases[i].member, text_of(cases[i].json), err));
        put_at(file, "files", 1, one);
        expect_change(cases[i].code, file, NULL);
    }
}

static void limits(void **state)
{
    (void)state;
    struct js *file = good_copy(), *base = js_array_new(), *files = js_array_new();
    for (size_t i = 0; i < 5000; i++)
        toy_ok(js_push(base, js_dup(js_at(js_get(file, "base"), 0)), err));
    toy_ok(js_set(file, "base", base, err));
    expect_change(E_LIMIT, file, "published files");
    file = good_copy();
    for (size_t i = 0; i < TUF_MAX_CHANGES + 1; i++)
        toy_ok(js_push(files, js_object_new(), err));
    toy_ok(js_set(file, "files", files, err));
    expect_change(E_LIMIT, file, "files change");
    file = good_copy();
    CLEANUP(bytes_done) struct bytes name = BYTES_INIT;
    for (size_t i = 0; i < 400; i++)
        toy_ok(bytes_append_text(&name, "a", err));
    toy_ok(js_set(file, "collection", js_text_new(bytes_text(&name)), err));
    expect_change(E_LIMIT, file, "too long");
}

/* --- memory --- */

static int write_good(void *context, struct error *err)
{
    struct draft d;
    int rc = change_file_parse(&made.owner, good.data, good.len, &d, err);
    if (rc)
        return rc;
    rc = change_file_write(&d, context, false, err);
    draft_close(&d);
    return rc;
}

static void reading_and_writing_without_memory(void **state)
{
    struct scratch *s = *state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s", scratch_name(s, "again.json"));
    alloc_fail_each(write_good, path, E_INTERNAL);
    CLEANUP(bytes_done) struct bytes again = BYTES_INIT;
    toy_ok(file_read(AT_FDCWD, path, CHANGE_FILE_MAX, &again, err));
    assert_true(bytes_equal(again.data, again.len, good.data, good.len));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_bit_flip, setup_small, teardown),
        CASE(flips_with_a_delegated_role),
        CASE(every_truncation_and_every_byte_more),
        CASE(roles_that_nothing_leads_to),
        CASE(contents_that_no_registry_takes),
        CASE(limits),
        CASE(reading_and_writing_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
