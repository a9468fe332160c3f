/*
 * A signing service in a folder of its own, and a toy repository whose root lists its keys.
 *
 * Time is a number that a test moves; children made by fork see it move, too.
 */
#ifndef BULLA_TESTS_UNIT_SIGNER_SERVICE_FIXTURE_H
#define BULLA_TESTS_UNIT_SIGNER_SERVICE_FIXTURE_H

#include "base/clock.h"
#include "signer/service.h"
#include "signer/service_set.h"
#include "tests/support/scratch.h"
#include "tests/support/tuf_repo.h"

#include <sys/mman.h>

#define FX_COLLECTION "acme/app"
#define FX_HOUR       3600
#define FX_TIMESTAMP  (24 * FX_HOUR)
#define FX_SNAPSHOT   (30 * TOY_DAY)
#define FX_PASSPHRASE "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

#define assert_code(call, code)                                                                    \
    do {                                                                                           \
        struct error fx_err_ = ERROR_INIT;                                                         \
        struct error *err = &fx_err_;                                                              \
        int fx_rc_ = (call);                                                                       \
        if (fx_rc_ != (code))                                                                      \
            fail_msg("%s: %d instead of %d: %s", #call, fx_rc_, (code), fx_err_.message);          \
    } while (0)

struct fixture {
    struct scratch *dir;
    struct toy_repo repo;
    int64_t *now_s; /* shared memory */
    struct service_lifetimes lifetimes;
    struct service *service;
    struct public_key *snapshot_key, *timestamp_key;
};

static inline int fx_open_with(struct fixture *f, const char *passphrase, struct error *err)
{
    CLEANUP(secret_done) struct secret secret = SECRET_INIT;
    int rc = secret_copy(passphrase, strlen(passphrase), &secret, err);
    const struct service_options options = {.database = scratch_name(f->dir, "signer.db"),
                                            .passphrase = &secret,
                                            .lifetimes = f->lifetimes};
    return rc ? rc : service_open(&options, &f->service, err);
}

static inline void fx_open(struct fixture *f)
{
    toy_ok(fx_open_with(f, FX_PASSPHRASE, err));
}

static inline void fx_restart(struct fixture *f)
{
    service_cleanup(&f->service);
    fx_open(f);
}

static inline struct public_key *fx_parse_key(const struct bytes *json)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    struct public_key *key = NULL;
    toy_ok(js_parse(json->data, json->len, &object, err));
    toy_ok(public_key_from_tuf(object, &key, err));
    return key;
}

static inline struct public_key *fx_key(struct fixture *f, const char *collection,
                                        enum tuf_type role)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    toy_ok(service_key(f->service, collection, role, &json, err));
    return fx_parse_key(&json);
}

/* Root as its owner would write it, with these two keys for what the service signs. */
static inline void fx_root_lists(struct toy_repo *r, const struct public_key *snapshot,
                                 const struct public_key *timestamp, int64_t threshold)
{
    struct tuf_compose_role roles[4];
    const struct public_key *keys[4][8];
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < r->roles[i].n_signers; j++)
            keys[i][j] = signing_key_public(r->roles[i].signers[j]);
        roles[i] = (struct tuf_compose_role){keys[i], r->roles[i].n_signers, r->roles[i].threshold};
    }
    /* The toy's own key comes second: thresholds of two can be reached, but not here. */
    keys[TUF_SNAPSHOT][1] = keys[TUF_SNAPSHOT][0];
    keys[TUF_TIMESTAMP][1] = keys[TUF_TIMESTAMP][0];
    keys[TUF_SNAPSHOT][0] = snapshot;
    keys[TUF_TIMESTAMP][0] = timestamp;
    roles[TUF_SNAPSHOT] = (struct tuf_compose_role){keys[TUF_SNAPSHOT], 2, threshold};
    roles[TUF_TIMESTAMP] = (struct tuf_compose_role){keys[TUF_TIMESTAMP], 2, threshold};
    toy_ok(tuf_compose_root_roles(r->roles[TUF_ROOT].tree, roles, err));
}

static inline void fx_root(struct fixture *f)
{
    fx_root_lists(&f->repo, f->snapshot_key, f->timestamp_key, 1);
    toy_sign(&f->repo.roles[TUF_ROOT]);
}

static inline int fx_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *dir = NULL;
    assert_non_null(f);
    scratch_setup(&dir);
    f->dir = dir;
    f->now_s =
        mmap(NULL, sizeof *f->now_s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(f->now_s, MAP_FAILED);
    *f->now_s = TOY_NOW;
    clock_use_for_test(f->now_s);
    f->lifetimes = (struct service_lifetimes){FX_SNAPSHOT, FX_TIMESTAMP};
    fx_open(f);
    f->snapshot_key = fx_key(f, FX_COLLECTION, TUF_SNAPSHOT);
    f->timestamp_key = fx_key(f, FX_COLLECTION, TUF_TIMESTAMP);
    toy_init(&f->repo, FX_COLLECTION);
    fx_root(f);
    toy_target(&f->repo, "targets", "v1", "manifest one");
    toy_sign(&f->repo.roles[TUF_TARGETS]);
    *state = f;
    return 0;
}

static inline int fx_teardown(void **state)
{
    struct fixture *f = *state;
    void *dir = f->dir;
    service_cleanup(&f->service);
    public_key_free(f->snapshot_key);
    public_key_free(f->timestamp_key);
    toy_done(&f->repo);
    clock_use_for_test(NULL);
    (void)munmap(f->now_s, sizeof *f->now_s);
    free(f);
    return scratch_teardown(&dir);
}

#define FX_MAX_CHANGES 8

/* The files of the named roles; the list ends with NULL. */
static inline size_t fx_changes(struct fixture *f, const char *const *roles,
                                struct tuf_file out[FX_MAX_CHANGES])
{
    size_t n = 0;
    for (; roles[n]; n++) {
        const struct toy_role *role = toy_role(&f->repo, roles[n]);
        assert_true(n < FX_MAX_CHANGES);
        out[n] = (struct tuf_file){role->name, role->file.data, role->file.len};
    }
    return n;
}

static inline int fx_publish(struct fixture *f, const char *const *roles, struct signer_set *out,
                             struct error *err)
{
    struct tuf_file changes[FX_MAX_CHANGES];
    size_t n = fx_changes(f, roles, changes);
    return service_publish(f->service, FX_COLLECTION, changes, n, out, err);
}

static const char *const fx_first[] = {"root", "targets", NULL};
static const char *const fx_targets[] = {"targets", NULL};

static inline void fx_publish_first(struct fixture *f, struct signer_set *out)
{
    toy_ok(fx_publish(f, fx_first, out, err));
}

/* The next version of targets with one more tag, signed. */
static inline void fx_next_targets(struct fixture *f, const char *tag)
{
    struct toy_role *targets = toy_role(&f->repo, "targets");
    toy_bump(targets);
    toy_target(&f->repo, "targets", tag, tag);
    toy_sign(targets);
}

static inline int64_t fx_version(const struct signer_set *set, const char *role)
{
    const struct signer_set_file *file = service_set_find(set, role);
    return file ? file->version : 0;
}

static inline const struct bytes *fx_bytes(const struct signer_set *set, const char *role)
{
    const struct signer_set_file *file = service_set_find(set, role);
    assert_non_null(file);
    return &file->data;
}

#endif
