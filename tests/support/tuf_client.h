/*
 * A client of the toy repository `repo` (made anew for each case): each step of the workflow as one
 * call. For the tests of tuf_trusted.
 */
#ifndef BULLA_TESTS_SUPPORT_TUF_CLIENT_H
#define BULLA_TESTS_SUPPORT_TUF_CLIENT_H

#include "tests/support/tuf_repo.h"
#include "tuf/trusted.h"

#define COLLECTION "acme/app"

static struct toy_repo repo;

static inline int setup(void **state)
{
    (void)state;
    toy_init(&repo, COLLECTION);
    toy_target(&repo, "targets", "v1", "one");
    toy_publish(&repo);
    return 0;
}

static inline int setup_bare(void **state)
{
    (void)state;
    toy_init(&repo, NULL);
    repo.bare_meta = true;
    toy_target(&repo, "targets", "dir/file", "one");
    toy_publish(&repo);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    toy_done(&repo);
    return 0;
}

#define ROOT          (&repo.roles[TUF_ROOT])
#define TIMESTAMP     (&repo.roles[TUF_TIMESTAMP])
#define SNAPSHOT      (&repo.roles[TUF_SNAPSHOT])
#define TARGETS       (&repo.roles[TUF_TARGETS])
#define FILE_OF(role) (role)->file.data, (role)->file.len

static inline struct tuf_trusted *start_at(int64_t now_s)
{
    struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {now_s, repo.collection};
    toy_ok(tuf_trusted_new(&options, FILE_OF(ROOT), &t, err));
    return t;
}

/* With a root that is final. */
static inline struct tuf_trusted *start(void)
{
    struct tuf_trusted *t = start_at(TOY_NOW);
    toy_ok(tuf_trusted_finish_root(t, err));
    return t;
}

static inline void expect(int wanted, int rc, const struct error *err)
{
    if (rc != wanted)
        fail_msg("expected %s, got %s: %s", error_name(wanted), error_name(rc), err->message);
}

#define EXPECT(code, call)                                                                         \
    do {                                                                                           \
        struct error e_ = ERROR_INIT, *err = &e_;                                                  \
        int rc_ = call;                                                                            \
        expect(code, rc_, err);                                                                    \
    } while (0)

static inline int update_timestamp(struct tuf_trusted *t, struct error *err)
{
    bool changed;
    return tuf_trusted_update_timestamp(t, FILE_OF(TIMESTAMP), &changed, err);
}

static inline int update_snapshot(struct tuf_trusted *t, struct error *err)
{
    return tuf_trusted_update_snapshot(t, FILE_OF(SNAPSHOT), err);
}

static inline int update_targets(struct tuf_trusted *t, struct error *err)
{
    return tuf_trusted_update_targets(t, "targets", NULL, FILE_OF(TARGETS), err);
}

/* All of the workflow; the first failure's code. */
static inline int refresh(struct tuf_trusted *t, struct error *err)
{
    int rc = update_timestamp(t, err);
    if (!rc)
        rc = update_snapshot(t, err);
    return rc ? rc : update_targets(t, err);
}

/* What a client keeps between two refreshes. */
struct store {
    struct bytes root, timestamp, snapshot;
};

static inline void store_done(struct store *s)
{
    bytes_done(&s->root);
    bytes_done(&s->timestamp);
    bytes_done(&s->snapshot);
}

static inline void store_fill(struct store *s)
{
    toy_ok(bytes_append(&s->root, FILE_OF(ROOT), err));
    toy_ok(bytes_append(&s->timestamp, FILE_OF(TIMESTAMP), err));
    toy_ok(bytes_append(&s->snapshot, FILE_OF(SNAPSHOT), err));
}

/* A client that has seen `s` and knows its root to be the last one. */
static inline struct tuf_trusted *resume(const struct store *s)
{
    struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {TOY_NOW, repo.collection};
    toy_ok(tuf_trusted_new(&options, s->root.data, s->root.len, &t, err));
    toy_ok(tuf_trusted_load_timestamp(t, s->timestamp.data, s->timestamp.len, err));
    toy_ok(tuf_trusted_load_snapshot(t, s->snapshot.data, s->snapshot.len, err));
    return t;
}

#define TRUSTED CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *
#define STORE   CLEANUP(store_done) struct store

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define BARE(f) cmocka_unit_test_setup_teardown(f, setup_bare, teardown)

#endif
