#include "tests/unit/registry/contract_index.h"

#include "base/cleanup.h"
#include "registry/index_content.h"
#include "registry/index_trust.h"
#include "tests/support/skip.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

static const struct contract_index *implementation;
static bool rehearsal;

struct place {
    void *place;
    struct index *ix;
};

static void start(struct place *p)
{
    ok(implementation->open(p->place, &p->ix, err));
    index_set_rehearsal(p->ix, rehearsal);
    ok(index_start(p->ix, err));
}

static void restart(struct place *p)
{
    index_close(p->ix);
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
    index_close(p->ix);
    implementation->place_free(p->place);
    return 0;
}

/* --- work --- */

static struct digest digest(const char *text)
{
    struct digest d;
    ok(digest_of(DIGEST_SHA256, text, strlen(text), &d, err));
    return d;
}

/* One image of one layer under a tag. */
struct image {
    const char *repository, *tag, *text;
    const char *type;    /* artifact type */
    const char *subject; /* text of another manifest; NULL: none */
};

static int push(struct index_tx *tx, void *arg, struct error *err)
{
    const struct image *image = arg;
    struct index_manifest row = {.media_type = MEDIA_OCI_MANIFEST, .size = 100};
    struct descriptor layer = {.digest = digest("layer"), .size = 5};
    struct manifest m = {.layers = &layer, .n_layers = 1};
    int64_t id = 0;
    row.digest = digest(image->text);
    snprintf(m.artifact_type, sizeof m.artifact_type, "%s", image->type ? image->type : "");
    m.has_subject = image->subject != NULL;
    if (image->subject)
        m.subject.digest = digest(image->subject);
    int rc = index_repository_make(tx, image->repository, &id, err);
    if (rc == 0)
        rc = index_link_add(tx, id, &layer.digest, 5, err);
    if (rc == 0)
        rc = index_manifest_put(tx, id, &row, &m, err);
    return rc == 0 && image->tag ? index_tag_set(tx, id, image->tag, &row.digest, err) : rc;
}

static void push_now(struct place *p, const char *repository, const char *tag, const char *text)
{
    struct image image = {.repository = repository, .tag = tag, .text = text};
    ok(index_write(p->ix, push, &image, err));
}

static int find_tag(struct place *p, const char *repository, const char *tag, const char *text)
{
    struct index_tx *tx = NULL;
    struct index_manifest row;
    ok(index_read_begin(p->ix, &tx, err));
    int rc = index_tag_find(tx, repository, tag, &row, NULL);
    index_read_end(p->ix, tx);
    struct digest d = digest(text);
    if (rc == 0)
        assert_true(digest_equal(&row.digest, &d));
    return rc;
}

/* --- content --- */

static void what_was_pushed_is_found_in_its_repository_only(void **state)
{
    struct place *p = *state;
    struct digest layer = digest("layer"), one = digest("one"), parent;
    struct index_manifest row;
    struct index_tx *tx = NULL;
    int64_t id = 0, size = 0;
    push_now(p, "acme/app", "v1", "one");
    push_now(p, "acme/app", "v1", "one"); /* again is fine */
    push_now(p, "acme/other", "v1", "two");
    restart(p);
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_repository_find(tx, "acme/app", &id, err));
    ok(index_link_find(tx, "acme/app", &layer, &size, err));
    assert_int_equal(size, 5);
    ok(index_link_find(tx, "acme/app", &one, &size, err)); /* a manifest counts as linked */
    ok(index_manifest_find(tx, "acme/app", &one, &row, err));
    assert_string_equal(row.media_type, MEDIA_OCI_MANIFEST);
    assert_int_equal(row.size, 100);
    ok(index_reference_find(tx, id, &layer, &parent, err));
    assert_true(digest_equal(&parent, &one));
    assert_int_equal(index_reference_find(tx, id, &one, &parent, NULL), E_NOTFOUND);
    assert_int_equal(index_manifest_find(tx, "acme/other", &one, &row, NULL), E_NOTFOUND);
    assert_int_equal(index_link_find(tx, "acme/other", &one, NULL, NULL), E_NOTFOUND);
    assert_int_equal(index_link_find(tx, "acme/none", &layer, NULL, NULL), E_NOTFOUND);
    assert_int_equal(index_repository_find(tx, "ACME/app", &id, NULL), E_NOTFOUND);
    assert_int_equal(index_tag_find(tx, "acme/app", "V1", &row, NULL), E_NOTFOUND);
    index_read_end(p->ix, tx);
}

static void a_tag_moves(void **state)
{
    struct place *p = *state;
    push_now(p, "acme/app", "v1", "one");
    push_now(p, "acme/app", "v1", "two");
    assert_int_equal(find_tag(p, "acme/app", "v1", "two"), 0);
}

static int remove_one(struct index_tx *tx, void *arg, struct error *err)
{
    int64_t id = 0;
    struct digest d = digest(arg);
    int rc = index_repository_find(tx, "acme/app", &id, err);
    return rc == 0 ? index_manifest_remove(tx, id, &d, err) : rc;
}

static int remove_tag(struct index_tx *tx, void *arg, struct error *err)
{
    int64_t id = 0;
    int rc = index_repository_find(tx, "acme/app", &id, err);
    return rc == 0 ? index_tag_remove(tx, id, arg, err) : rc;
}

static void removal_takes_what_hangs_on_it(void **state)
{
    struct place *p = *state;
    char one[] = "one", tag[] = "also";
    struct digest layer = digest("layer"), parent;
    struct index_tx *tx = NULL;
    int64_t id = 0;
    push_now(p, "acme/app", "v1", "one");
    push_now(p, "acme/app", "also", "one");
    push_now(p, "acme/app", "v2", "two");
    ok(index_write(p->ix, remove_tag, tag, err));
    assert_int_equal(index_write(p->ix, remove_tag, tag, NULL), E_NOTFOUND);
    assert_int_equal(find_tag(p, "acme/app", "v1", "one"), 0);
    ok(index_write(p->ix, remove_one, one, err));
    assert_int_equal(index_write(p->ix, remove_one, one, NULL), E_NOTFOUND);
    assert_int_equal(find_tag(p, "acme/app", "v1", "one"), E_NOTFOUND);
    assert_int_equal(find_tag(p, "acme/app", "v2", "two"), 0);
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_repository_find(tx, "acme/app", &id, err));
    ok(index_reference_find(tx, id, &layer, &parent, err));
    index_read_end(p->ix, tx);
    struct digest two = digest("two"); /* what is left of the two that named it */
    assert_true(digest_equal(&parent, &two));
}

/* The same bytes, once as a type that names nothing, then as an image with a subject. */
static int push_opaque(struct index_tx *tx, void *arg, struct error *err)
{
    struct index_manifest row = {.media_type = "application/x", .size = 100};
    struct manifest m = {.kind = MANIFEST_OTHER};
    int64_t id = 0;
    row.digest = digest(arg);
    int rc = index_repository_make(tx, "acme/app", &id, err);
    return rc == 0 ? index_manifest_put(tx, id, &row, &m, err) : rc;
}

static int collect(void *context, const char *text, struct error *err)
{
    return bytes_append_format(context, err, "%s\n", text);
}

static void list_referrers(struct place *p, const char *subject, const char *type,
                           struct bytes *out)
{
    struct index_tx *tx = NULL;
    struct digest d = digest(subject);
    const struct index_visitor visitor = {collect, out};
    const struct index_referrers q = {&d, type, ""};
    int64_t id = 0;
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_repository_find(tx, "acme/app", &id, err));
    ok(index_referrers_each(tx, id, &q, &visitor, err));
    index_read_end(p->ix, tx);
}

static void a_push_as_another_type_replaces_all(void **state)
{
    struct place *p = *state;
    char bytes[] = "same bytes";
    struct digest d = digest(bytes), layer = digest("layer"), parent;
    struct index_manifest row;
    struct index_tx *tx = NULL;
    int64_t id = 0;
    struct image image = {"acme/app", NULL, bytes, "application/sig", "subject"};
    CLEANUP(bytes_done) struct bytes list = BYTES_INIT;
    ok(index_write(p->ix, push_opaque, bytes, err));
    ok(index_write(p->ix, push, &image, err));
    list_referrers(p, "subject", "application/sig", &list);
    assert_non_null(strstr(bytes_text(&list), "application/sig"));
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_manifest_find(tx, "acme/app", &d, &row, err));
    assert_string_equal(row.media_type, MEDIA_OCI_MANIFEST);
    index_read_end(p->ix, tx);
    ok(index_write(p->ix, push_opaque, bytes, err));
    bytes_clear(&list);
    list_referrers(p, "subject", "", &list);
    assert_int_equal(list.len, 0);
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_repository_find(tx, "acme/app", &id, err));
    assert_int_equal(index_reference_find(tx, id, &layer, &parent, NULL), E_NOTFOUND);
    index_read_end(p->ix, tx);
}

static int put_trust(struct index_tx *tx, void *arg, struct error *err)
{
    const struct bytes *data = arg;
    int64_t id = 0;
    int rc = index_repository_make(tx, "acme/app", &id, err);
    if (rc == 0)
        rc = index_trust_retire(tx, id, err);
    for (int64_t version = 1; rc == 0 && version < 3; version++)
        rc = index_trust_put(tx, id, "root", version, data, err);
    return rc;
}

/* Bytes of any value, and more than fit one page. */
static void trust_metadata_comes_back_bit_by_bit(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes got = BYTES_INIT;
    struct index_trust_file *files = NULL;
    struct index_tx *tx = NULL;
    size_t n = 0;
    for (unsigned i = 0; i < 100000; i++)
        ok(bytes_append(&data, &(uint8_t){(uint8_t)(i * 7)}, 1, err));
    ok(index_write(p->ix, put_trust, &data, err));
    restart(p);
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_trust_find(tx, "acme/app", "root", 1, &got, err));
    assert_true(bytes_equal(got.data, got.len, data.data, data.len));
    ok(index_trust_current(tx, "acme/app", &files, &n, err));
    assert_int_equal(n, 1);
    assert_int_equal(files[0].version, 2);
    index_trust_files_free(files, n);
    assert_int_equal(index_trust_find(tx, "acme/app", "root", 3, &got, NULL), E_NOTFOUND);
    index_read_end(p->ix, tx);
}

/* --- lists --- */

static int stop_at(void *context, const char *name, struct error *err)
{
    (void)err;
    char *until = context;
    return strcmp(until, name) == 0;
}

static void lists_are_in_byte_order_and_end_when_told(void **state)
{
    struct place *p = *state;
    static const char *const tags[] = {"b", "B", "a_", "a-", "a.", "a", "10", "9", "Z", "aa", "_x"};
    CLEANUP(bytes_done) struct bytes list = BYTES_INIT;
    const struct index_visitor visitor = {collect, &list};
    char until[] = "a";
    const struct index_visitor stopping = {stop_at, until};
    struct index_tx *tx = NULL;
    int64_t id = 0;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        push_now(p, "acme/app", tags[i], "one");
    push_now(p, "acme-x", "other", "one");
    push_now(p, "acme", "other", "one");
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_repository_find(tx, "acme/app", &id, err));
    ok(index_tags_each(tx, id, "", &visitor, err));
    assert_string_equal(bytes_text(&list), "10\n9\nB\nZ\n_x\na\na-\na.\na_\naa\nb\n");
    bytes_clear(&list);
    ok(index_tags_each(tx, id, "a-", &visitor, err));
    assert_string_equal(bytes_text(&list), "a.\na_\naa\nb\n");
    bytes_clear(&list);
    ok(index_tags_each(tx, id, "zz", &visitor, err));
    assert_int_equal(list.len, 0);
    ok(index_tags_each(tx, id, "", &stopping, err));
    ok(index_repositories_between(tx, "", "~", &visitor, err));
    assert_string_equal(bytes_text(&list), "acme\nacme-x\nacme/app\n");
    bytes_clear(&list);
    ok(index_repositories_between(tx, "acme", "acme/app", &visitor, err));
    assert_string_equal(bytes_text(&list), "acme-x\n");
    index_read_end(p->ix, tx);
}

static void referrers_are_of_their_subject_and_type(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes list = BYTES_INIT;
    static const char *const types[] = {"application/sig", "application/sbom"};
    for (int i = 0; i < 4; i++) {
        char text[16];
        snprintf(text, sizeof text, "referrer %d", i);
        struct image image = {"acme/app", NULL, text, types[i % 2], i < 3 ? "subject" : "other"};
        ok(index_write(p->ix, push, &image, err));
    }
    list_referrers(p, "subject", "application/sig", &list);
    size_t n = 0;
    for (const char *at = bytes_text(&list); (at = strchr(at, '\n')); at++)
        n++;
    assert_int_equal(n, 2);
    assert_null(strstr(bytes_text(&list), "sbom"));
    bytes_clear(&list);
    list_referrers(p, "other", "", &list);
    assert_non_null(strstr(bytes_text(&list), "application/sbom"));
    bytes_clear(&list);
    list_referrers(p, "nothing", "", &list);
    assert_int_equal(list.len, 0);
}

/* --- work --- */

static int push_and_fail(struct index_tx *tx, void *arg, struct error *err)
{
    int rc = push(tx, arg, err);
    return rc == 0 ? (fail)(err, E_DENIED, "changed my mind") : rc;
}

static void failed_work_changes_nothing(void **state)
{
    struct place *p = *state;
    struct image image = {.repository = "acme/app", .tag = "v1", .text = "one"};
    struct error why = ERROR_INIT;
    assert_int_equal(index_write(p->ix, push_and_fail, &image, &why), E_DENIED);
    assert_string_equal(why.message, "changed my mind");
    assert_int_equal(find_tag(p, "acme/app", "v1", "one"), E_NOTFOUND);
    struct index_tx *tx = NULL;
    int64_t id = 0;
    ok(index_read_begin(p->ix, &tx, err));
    assert_int_equal(index_repository_find(tx, "acme/app", &id, NULL), E_NOTFOUND);
    index_read_end(p->ix, tx);
}

static int count_runs(struct index_tx *tx, void *arg, struct error *err)
{
    struct image image = {.repository = "acme/app", .tag = "v1", .text = "one"};
    struct index_manifest row;
    ++*(unsigned *)arg;
    /* Each run is as if it were the first. */
    if (index_tag_find(tx, "acme/app", "v1", &row, NULL) != E_NOTFOUND)
        return (fail)(err, E_EXISTS, "the first run left something");
    return push(tx, &image, err);
}

static int fail_once(struct index_tx *tx, void *arg, struct error *err)
{
    (void)tx;
    bool *failed = arg;
    bool fails = !*failed;
    *failed = true;
    return fails ? (fail)(err, E_DENIED, "only once") : 0;
}

static void work_may_be_repeated(void **state)
{
    struct place *p = *state;
    unsigned n = 0;
    bool failed = false;
    ok(index_write(p->ix, count_runs, &n, err));
    assert_int_equal(n, rehearsal ? 2 : 1);
    assert_int_equal(find_tag(p, "acme/app", "v1", "one"), 0);
    int rc = index_write(p->ix, fail_once, &failed, NULL);
    assert_int_equal(rc, rehearsal ? E_INTERNAL : E_DENIED);
}

struct writer {
    struct place *place;
    pthread_t thread;
    unsigned number;
    int failures;
};

static void *write_many(void *context)
{
    struct writer *w = context;
    for (unsigned i = 0; i < 20; i++) {
        char tag[32];
        snprintf(tag, sizeof tag, "t%u-%02u", w->number, i);
        struct image image = {.repository = "acme/app", .tag = tag, .text = "one"};
        bool fails = i % 3 == 2;
        int rc = index_write(w->place->ix, fails ? push_and_fail : push, &image, NULL);
        w->failures += rc != (fails ? E_DENIED : 0);
    }
    return NULL;
}

static int count_name(void *context, const char *name, struct error *err)
{
    (void)name, (void)err;
    ++*(unsigned *)context;
    return 0;
}

static unsigned n_tags(struct index_tx *tx)
{
    unsigned n = 0;
    int64_t id = 0;
    const struct index_visitor visitor = {count_name, &n};
    if (index_repository_find(tx, "acme/app", &id, NULL) == 0)
        ok(index_tags_each(tx, id, "", &visitor, err));
    return n;
}

static void writers_share_commits_and_not_failures(void **state)
{
    struct place *p = *state;
    struct writer writers[8];
    struct index_tx *tx = NULL;
    for (unsigned i = 0; i < 8; i++) {
        writers[i] = (struct writer){.place = p, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_many, &writers[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].failures, 0);
    }
    ok(index_read_begin(p->ix, &tx, err));
    assert_int_equal(n_tags(tx), 8 * 14);
    index_read_end(p->ix, tx);
}

static void a_reader_sees_one_moment(void **state)
{
    struct place *p = *state;
    struct index_tx *before = NULL, *after = NULL;
    push_now(p, "acme/app", "v1", "one");
    ok(index_read_begin(p->ix, &before, err));
    push_now(p, "acme/app", "v2", "one");
    ok(index_read_begin(p->ix, &after, err));
    assert_int_equal(n_tags(before), 1);
    assert_int_equal(n_tags(after), 2);
    assert_int_equal(n_tags(before), 1);
    index_read_end(p->ix, before);
    index_read_end(p->ix, after);
}

/* --- bad days --- */

static _Noreturn void push_until_killed(struct place *p, int out)
{
    for (unsigned i = 0;; i++) {
        char tag[32];
        snprintf(tag, sizeof tag, "t%06u", i);
        struct image image = {.repository = "acme/app", .tag = tag, .text = "one"};
        if (index_write(p->ix, push, &image, NULL) != 0 || write(out, "y", 1) != 1)
            _exit(1);
    }
}

/* Each round goes on with what the last one left. */
static void killed_at_any_moment_it_keeps_what_it_acknowledged(void **state)
{
    struct place *p = *state;
    unsigned most = 0;
    index_close(p->ix);
    for (int round = 0; round < 8; round++) {
        int pipes[2];
        unsigned n = 0;
        char byte;
        assert_int_equal(pipe(pipes), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            start(p);
            push_until_killed(p, pipes[1]);
        }
        close(pipes[1]);
        while (n < 3u + 7u * (unsigned)round && read(pipes[0], &byte, 1) == 1)
            n++;
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(pipes[0], &byte, 1) == 1)
            n++;
        close(pipes[0]);
        most = n > most ? n : most;
        start(p);
        for (unsigned i = 0; i < most; i++) {
            char tag[32];
            snprintf(tag, sizeof tag, "t%06u", i);
            assert_int_equal(find_tag(p, "acme/app", tag, "one"), 0);
        }
        index_close(p->ix);
    }
    start(p);
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    ok(bytes_reserve(&data, 4u << 20, err));
    memset(data.data, 'x', 4u << 20);
    data.len = 4u << 20;
    push_now(p, "acme/app", "v1", "one");
    if (!implementation->set_room || !implementation->set_room(p->place, 1u << 20))
        skip_test("this place cannot be made small");
    int rc = index_write(p->ix, put_trust, &data, NULL);
    assert_int_not_equal(rc, 0);
    assert_int_not_equal(rc, E_NOTFOUND);
    assert_int_equal(find_tag(p, "acme/app", "v1", "one"), 0);
    implementation->set_room(p->place, UINT64_MAX);
    push_now(p, "acme/app", "v2", "two");
    restart(p);
    assert_int_equal(find_tag(p, "acme/app", "v1", "one"), 0);
    assert_int_equal(find_tag(p, "acme/app", "v2", "two"), 0);
}

static void *write_too_much(void *context)
{
    struct writer *w = context;
    struct bytes data = BYTES_INIT;
    if (bytes_reserve(&data, 10u << 20, NULL) != 0)
        return NULL;
    memset(data.data, 'x', 10u << 20);
    data.len = 10u << 20;
    for (unsigned i = 0; i < 10; i++)
        w->failures += index_write(w->place->ix, put_trust, &data, NULL) != 0;
    bytes_done(&data);
    return NULL;
}

/* Committed together, but not failed together. */
static void what_is_too_large_takes_no_other_with_it(void **state)
{
    struct place *p = *state;
    struct writer writers[5];
    push_now(p, "acme/app", "v1", "one");
    /* Room for whatever a log of all the others' commits can take, each alone: not for that one. */
    if (!implementation->set_room || !implementation->set_room(p->place, 8u << 20))
        skip_test("this place cannot be made small");
    for (unsigned i = 0; i < 5; i++) {
        writers[i] = (struct writer){.place = p, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL,
                                        i == 0 ? write_too_much : write_many, &writers[i]),
                         0);
    }
    for (unsigned i = 0; i < 5; i++)
        pthread_join(writers[i].thread, NULL);
    assert_int_equal(writers[0].failures, 10);
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(writers[i].failures, 0);
    implementation->set_room(p->place, UINT64_MAX);
}

static void a_read_only_disk_still_answers(void **state)
{
    struct place *p = *state;
    struct image image = {.repository = "acme/app", .tag = "v2", .text = "two"};
    push_now(p, "acme/app", "v1", "one");
    index_close(p->ix);
    if (!implementation->set_read_only || !implementation->set_read_only(p->place, true)) {
        start(p);
        skip_test("this place cannot be made read-only");
    }
    /* Refused at the start with a reason, not served half. */
    struct error why = ERROR_INIT;
    int rc = implementation->open(p->place, &p->ix, &why);
    assert_int_not_equal(rc, 0);
    assert_true(why.message[0] != '\0');
    implementation->set_read_only(p->place, false);
    start(p);
    ok(index_write(p->ix, push, &image, err));
    assert_int_equal(find_tag(p, "acme/app", "v1", "one"), 0);
}

static void closed_for_writing_says_so(void **state)
{
    struct place *p = *state;
    struct image image = {.repository = "acme/app", .tag = "v1", .text = "one"};
    struct index *second = NULL;
    index_close(p->ix);
    ok(implementation->open(p->place, &second, err)); /* not started */
    assert_int_equal(index_write(second, push, &image, NULL), E_INTERRUPTED);
    index_close(second);
    start(p);
}

#define place_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int contract_index_run(const struct contract_index *over)
{
    const struct CMUnitTest cases[] = {
        place_test(what_was_pushed_is_found_in_its_repository_only),
        place_test(a_tag_moves),
        place_test(removal_takes_what_hangs_on_it),
        place_test(a_push_as_another_type_replaces_all),
        place_test(trust_metadata_comes_back_bit_by_bit),
        place_test(lists_are_in_byte_order_and_end_when_told),
        place_test(referrers_are_of_their_subject_and_type),
        place_test(failed_work_changes_nothing),
        place_test(work_may_be_repeated),
        place_test(writers_share_commits_and_not_failures),
        place_test(a_reader_sees_one_moment),
        place_test(killed_at_any_moment_it_keeps_what_it_acknowledged),
        place_test(a_full_disk_refuses_and_recovers),
        place_test(what_is_too_large_takes_no_other_with_it),
        place_test(a_read_only_disk_still_answers),
        place_test(closed_for_writing_says_so),
    };
    int failed = 0;
    implementation = over;
    for (int repeated = 0; repeated < 2; repeated++) {
        rehearsal = repeated == 1;
        failed += cmocka_run_group_tests_name(over->name, cases, NULL, NULL);
    }
    return failed;
}
