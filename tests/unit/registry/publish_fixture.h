/*
 * A registry below HTTP with a real signing service in a child process, and one toy collection.
 *
 * Time is a number that a test moves, for both; either may be stopped, copied and put back.
 */
#ifndef BULLA_TESTS_UNIT_REGISTRY_PUBLISH_FIXTURE_H
#define BULLA_TESTS_UNIT_REGISTRY_PUBLISH_FIXTURE_H

#include "base/file.h"
#include "registry/publish.h"
#include "registry/service.h"
#include "registry/trust_set.h"
#include "registry/trust_sync.h"
#include "signer/service_memory.h"
#include "signer/service_server.h"
#include "tests/unit/signer/service_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

struct desk {
    struct fixture f; /* its service is the child's, not ours */
    pid_t signer;
    int stop_fd;
    struct server_config config;
    char socket[96], data[96];
    struct registry registry;
};

/* --- set-up --- */

static inline void run_service(struct desk *d, int ready_fd, int stop_fd)
{
    CLEANUP(cleanup_fd) int listen_fd = -1;
    fx_open(&d->f);
    toy_ok(service_server_listen(d->socket, geteuid(), &listen_fd, err));
    const struct service_server_options options = {.service = d->f.service,
                                                   .listen_fd = listen_fd,
                                                   .stop_fd = stop_fd,
                                                   .peers = {geteuid(), geteuid()},
                                                   .io_timeout_ms = 10000,
                                                   .renew_every_ms = 1000000};
    assert_int_equal(write(ready_fd, "r", 1), 1);
    toy_ok(service_server_run(&options, err));
    service_cleanup(&d->f.service);
}

static inline void start_service(struct desk *d)
{
    int ready[2], stop[2];
    char byte = 0;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    d->signer = fork();
    assert_true(d->signer >= 0);
    if (d->signer == 0) {
        close(stop[1]);
        run_service(d, ready[1], stop[0]);
        _exit(0);
    }
    close(stop[0]);
    close(ready[1]);
    d->stop_fd = stop[1];
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

static inline void stop_service(struct desk *d)
{
    if (d->signer <= 0)
        return;
    cleanup_fd(&d->stop_fd);
    waitpid(d->signer, NULL, 0);
    d->signer = 0;
}

static inline struct public_key *linked_key(struct desk *d, enum tuf_type role)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    toy_ok(signer_link_key(d->registry.signer, FX_COLLECTION, role, &json, err));
    return fx_parse_key(&json);
}

static inline int desk_setup(void **state)
{
    struct desk *d = calloc(1, sizeof *d);
    void *dir = NULL;
    assert_non_null(d);
    scratch_setup(&dir);
    d->f.dir = dir;
    d->f.lifetimes = (struct service_lifetimes){FX_SNAPSHOT, FX_TIMESTAMP};
    d->f.now_s =
        mmap(NULL, sizeof *d->f.now_s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(d->f.now_s, MAP_FAILED);
    *d->f.now_s = TOY_NOW;
    clock_use_for_test(d->f.now_s);
    snprintf(d->socket, sizeof d->socket, "%s/s.sock", d->f.dir->path);
    snprintf(d->data, sizeof d->data, "%s/data", d->f.dir->path);
    d->config.data_dir = d->data;
    d->config.signer.socket = d->socket;
    d->config.limits.uploads_per_user = 10;
    start_service(d);
    toy_ok(registry_open(&d->config, &d->registry, err));
    toy_ok(registry_start(&d->registry, err));
    d->f.snapshot_key = linked_key(d, TUF_SNAPSHOT);
    d->f.timestamp_key = linked_key(d, TUF_TIMESTAMP);
    toy_init(&d->f.repo, FX_COLLECTION);
    toy_set_text(toy_role(&d->f.repo, "root"), "expires", "2030-01-01T00:00:00Z");
    fx_root(&d->f);
    toy_sign(toy_role(&d->f.repo, "targets"));
    *state = d;
    return 0;
}

static inline int desk_teardown(void **state)
{
    struct desk *d = *state;
    void *dir = d->f.dir;
    registry_close(&d->registry);
    stop_service(d);
    public_key_free(d->f.snapshot_key);
    public_key_free(d->f.timestamp_key);
    toy_done(&d->f.repo);
    clock_use_for_test(NULL);
    (void)munmap(d->f.now_s, sizeof *d->f.now_s);
    free(d);
    return scratch_teardown(&dir);
}

/* --- what the tests do --- */

static inline int put_manifest(struct index_tx *tx, void *arg, struct error *err)
{
    const struct index_manifest *row = arg;
    int64_t id = 0;
    int rc = index_repository_make(tx, FX_COLLECTION, &id, err);
    struct manifest names_nothing = {.kind = MANIFEST_OTHER};
    return rc == 0 ? index_manifest_put(tx, id, row, &names_nothing, err) : rc;
}

/* A manifest in the repository, as toy_target names it. */
static inline struct digest push(struct desk *d, const char *content)
{
    struct index_manifest row = {.media_type = MEDIA_OCI_MANIFEST,
                                 .size = (int64_t)strlen(content)};
    toy_ok(digest_of(DIGEST_SHA256, content, strlen(content), &row.digest, err));
    toy_ok(index_write(d->registry.index, put_manifest, &row, err));
    return row.digest;
}

static inline int publish_as(struct desk *d, const char *const *roles, bool may_found,
                             struct error *err)
{
    struct tuf_file changes[FX_MAX_CHANGES];
    const struct publication p = {.repository = FX_COLLECTION,
                                  .changes = changes,
                                  .n_changes = fx_changes(&d->f, roles, changes),
                                  .may_found = may_found};
    return publish_changes(&d->registry, &p, err);
}

static inline int publish(struct desk *d, const char *const *roles, struct error *err)
{
    return publish_as(d, roles, true, err);
}

static inline int stored(struct desk *d, const char *role, int64_t version, struct bytes *out)
{
    struct index_tx *tx = NULL;
    toy_ok(index_read_begin(d->registry.index, &tx, err));
    bytes_clear(out);
    int rc = index_trust_find(tx, FX_COLLECTION, role, version, out, NULL);
    index_read_end(d->registry.index, tx);
    return rc;
}

static inline int64_t stored_version(struct desk *d, const char *role, enum tuf_type type)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    if (stored(d, role, 0, &data) != 0)
        return 0;
    toy_ok(tuf_metadata_parse(type, data.data, data.len, &m, err));
    return tuf_metadata_version(m);
}

static inline void copy_store(struct desk *d, const char *from, const char *to)
{
    char a[160], b[160];
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    snprintf(a, sizeof a, "%s/%s", d->f.dir->path, from);
    snprintf(b, sizeof b, "%s/%s", d->f.dir->path, to);
    toy_ok(file_read(AT_FDCWD, a, 16u << 20, &data, err));
    toy_ok(file_write_atomic(AT_FDCWD, b, data.data, data.len, 0600, err));
}

static inline int count_due(void *context, const char *repository, struct error *err)
{
    (void)err;
    assert_string_equal(repository, FX_COLLECTION);
    ++*(int *)context;
    return 0;
}

static inline int n_due(struct desk *d)
{
    int n = 0;
    struct index_tx *tx = NULL;
    toy_ok(index_read_begin(d->registry.index, &tx, err));
    toy_ok(index_trust_due(tx, *d->f.now_s, 10, count_due, &n, err));
    index_read_end(d->registry.index, tx);
    return n;
}

/* --- a registry that comes back from a copy --- */

static inline void copy_index(struct desk *d, const char *from, const char *to)
{
    CLEANUP(bytes_done) struct bytes all = BYTES_INIT;
    char source[128], target[128];
    snprintf(source, sizeof source, "%s/%s", d->data, from);
    snprintf(target, sizeof target, "%s/%s", d->data, to);
    toy_ok(file_read(AT_FDCWD, source, 16u << 20, &all, err));
    toy_ok(file_write_atomic(AT_FDCWD, target, all.data, all.len, 0600, err));
}

static inline void reopen(struct desk *d)
{
    toy_ok(registry_open(&d->config, &d->registry, err));
    toy_ok(registry_start(&d->registry, err));
}

static inline void rotate_root(struct desk *d)
{
    static const char *const root_only[] = {"root", NULL};
    struct toy_role *root = toy_role(&d->f.repo, "root");
    struct signing_key *old = root->signers[1];
    root->signers[1] = toy_key_new(&d->f.repo, KEY_ED25519);
    toy_bump(root);
    fx_root_lists(&d->f.repo, d->f.snapshot_key, d->f.timestamp_key, 1);
    struct signing_key *all[] = {root->signers[0], old, root->signers[1]};
    toy_sign_tree(root->tree, all, 3, &root->file);
    assert_code(publish_as(d, root_only, false, err), 0);
}

#endif
