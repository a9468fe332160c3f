/*
 * One toy repository (`repo`, made anew for each case) and ways to feed single files to the
 * parsers. For the tests of tuf/'s data model.
 */
#ifndef BULLA_TESTS_SUPPORT_TUF_SHAPE_H
#define BULLA_TESTS_SUPPORT_TUF_SHAPE_H

#include "tests/support/tuf_repo.h"

#define ID "1111111111111111111111111111111111111111111111111111111111111111"

static struct toy_repo repo;

static inline int setup(void **state)
{
    (void)state;
    toy_init(&repo, "acme/app");
    toy_target(&repo, "targets", "v1", "one");
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_publish(&repo);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    toy_done(&repo);
    return 0;
}

#define ROOT     (&repo.roles[TUF_ROOT])
#define TARGETS  (&repo.roles[TUF_TARGETS])
#define SNAPSHOT (&repo.roles[TUF_SNAPSHOT])
#define METADATA CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *

static inline int parse_text(enum tuf_type type, const char *text, struct error *err)
{
    METADATA m = NULL;
    int rc = tuf_metadata_parse(type, text, strlen(text), &m, err);
    assert_true((rc == 0) == (m != NULL));
    return rc;
}

static inline void expect(enum tuf_type type, const char *text, int wanted)
{
    struct error err = ERROR_INIT;
    int rc = parse_text(type, text, &err);
    if (rc != wanted)
        fail_msg("expected %s, got %s: %s in %.300s", error_name(wanted), error_name(rc),
                 err.message, text);
}

/* The role's tree as it is now, unsigned. */
static inline void expect_tree(const struct toy_role *role, int wanted)
{
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    toy_ok(tuf_compose_file(role->tree, NULL, 0, &file, err));
    expect(role->type, bytes_text(&file), wanted);
}

static inline struct tuf_metadata *parse_role(const struct toy_role *role)
{
    struct tuf_metadata *m = NULL;
    toy_ok(tuf_metadata_parse(role->type, role->file.data, role->file.len, &m, err));
    return m;
}

static inline struct js *js_of(const char *text)
{
    struct js *v = NULL;
    toy_ok(js_parse(text, strlen(text), &v, err));
    return v;
}

static inline void set_json(struct js *object, const char *key, const char *text)
{
    toy_ok(js_set(object, key, js_of(text), err));
}

static inline void repeat(struct bytes *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        toy_ok(bytes_append_text(b, text, err));
}

static inline struct js *root_role(const char *name)
{
    return js_edit(js_edit(ROOT->tree, "roles"), name);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
