/*
 * Publication end to end below HTTP: the registry's rules and storage, and a real signing service
 * in a child process that holds the online keys.
 */
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

static void run_service(struct desk *d, int ready_fd, int stop_fd)
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

static void start_service(struct desk *d)
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

static void stop_service(struct desk *d)
{
    if (d->signer <= 0)
        return;
    cleanup_fd(&d->stop_fd);
    waitpid(d->signer, NULL, 0);
    d->signer = 0;
}

static struct public_key *linked_key(struct desk *d, enum tuf_type role)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    toy_ok(signer_link_key(d->registry.signer, FX_COLLECTION, role, &json, err));
    return fx_parse_key(&json);
}

static int desk_setup(void **state)
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

static int desk_teardown(void **state)
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

static int put_manifest(struct index_tx *tx, void *arg, struct error *err)
{
    const struct index_manifest *row = arg;
    int64_t id = 0;
    int rc = index_repository_make(tx, FX_COLLECTION, &id, err);
    struct manifest names_nothing = {.kind = MANIFEST_OTHER};
    return rc == 0 ? index_manifest_put(tx, id, row, &names_nothing, err) : rc;
}

/* A manifest in the repository, as toy_target names it. */
static struct digest push(struct desk *d, const char *content)
{
    struct index_manifest row = {.media_type = MEDIA_OCI_MANIFEST,
                                 .size = (int64_t)strlen(content)};
    toy_ok(digest_of(DIGEST_SHA256, content, strlen(content), &row.digest, err));
    toy_ok(index_write(d->registry.index, put_manifest, &row, err));
    return row.digest;
}

static int publish_as(struct desk *d, const char *const *roles, bool may_found, struct error *err)
{
    struct tuf_file changes[FX_MAX_CHANGES];
    const struct publication p = {.repository = FX_COLLECTION,
                                  .changes = changes,
                                  .n_changes = fx_changes(&d->f, roles, changes),
                                  .may_found = may_found};
    return publish_changes(&d->registry, &p, err);
}

static int publish(struct desk *d, const char *const *roles, struct error *err)
{
    return publish_as(d, roles, true, err);
}

static int stored(struct desk *d, const char *role, int64_t version, struct bytes *out)
{
    struct index_tx *tx = NULL;
    toy_ok(index_read_begin(d->registry.index, &tx, err));
    bytes_clear(out);
    int rc = index_trust_find(tx, FX_COLLECTION, role, version, out, NULL);
    index_read_end(d->registry.index, tx);
    return rc;
}

static int64_t stored_version(struct desk *d, const char *role, enum tuf_type type)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    if (stored(d, role, 0, &data) != 0)
        return 0;
    toy_ok(tuf_metadata_parse(type, data.data, data.len, &m, err));
    return tuf_metadata_version(m);
}

static int is_signed(struct desk *d, const char *tag, const struct digest *digest)
{
    struct index_tx *tx = NULL;
    int64_t id = 0;
    toy_ok(index_read_begin(d->registry.index, &tx, err));
    toy_ok(index_repository_find(tx, FX_COLLECTION, &id, err));
    int rc = index_trust_check_unsigned(tx, id, tag, digest, NULL);
    index_read_end(d->registry.index, tx);
    return rc;
}

/* --- tests --- */

static void first_root_needs_admin(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    assert_code(publish_as(d, fx_first, false, err), E_DENIED);
    assert_int_equal(stored(d, "root", 0, &data), E_NOTFOUND);
    assert_code(publish_as(d, fx_first, true, err), 0);
    fx_next_targets(&d->f, "later");
    push(d, "later");
    assert_code(publish_as(d, fx_targets, false, err), 0);
}

static void exact_bytes_are_kept(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    assert_code(publish(d, fx_first, err), 0);
    const struct toy_role *root = toy_role(&d->f.repo, "root");
    assert_int_equal(stored(d, "root", 1, &data), 0);
    assert_true(bytes_equal(data.data, data.len, root->file.data, root->file.len));
    assert_int_equal(stored(d, "targets", 1, &data), 0);
    assert_int_equal(stored(d, "snapshot", 1, &data), 0);
    assert_int_equal(stored(d, "timestamp", 0, &data), 0);
    assert_int_equal(stored(d, "targets", 2, &data), E_NOTFOUND);
}

static void targets_must_be_in_the_repository(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1"); /* names a manifest with the content "v1" */
    assert_code(publish(d, fx_targets, err), E_INVALID);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);
    struct digest v1 = push(d, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(is_signed(d, "v1", &v1), E_DENIED);
    assert_int_equal(is_signed(d, "", &v1), E_DENIED);
    assert_int_equal(is_signed(d, "v2", &v1), 0);
}

static void length_must_agree(void **state)
{
    struct desk *d = *state;
    struct digest v1 = push(d, "v1");
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    assert_code(publish(d, fx_first, err), 0);
    toy_bump(targets);
    toy_ok(tuf_compose_target(targets->tree, "v1", &v1, 3, MEDIA_OCI_MANIFEST, err));
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_INVALID);
}

static void refused_changes_change_nothing(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes before = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes after = BYTES_INIT;
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    assert_int_equal(stored(d, "timestamp", 0, &before), 0);

    toy_bump(targets); /* signed by a key that root does not list */
    struct signing_key *stranger = toy_key_new(&d->f.repo, KEY_ED25519);
    toy_sign_tree(targets->tree, &stranger, 1, &targets->file);
    assert_code(publish(d, fx_targets, err), E_SIGNATURE);

    toy_bump(targets); /* version 3 after 1 */
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_CONFLICT);

    toy_set_int(targets, "version", 2);
    toy_set_text(targets, "x-bulla-collection", "acme/other");
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_BINDING);

    toy_set_text(targets, "x-bulla-collection", FX_COLLECTION);
    toy_expire(targets);
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_EXPIRED);

    assert_int_equal(stored(d, "timestamp", 0, &after), 0);
    assert_true(bytes_equal(before.data, before.len, after.data, after.len));
}

static void service_away(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    stop_service(d);
    assert_code(publish(d, fx_first, err), E_NETWORK);
    assert_int_equal(stored(d, "root", 0, &data), E_NOTFOUND);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), E_NETWORK);
    start_service(d);
    assert_code(publish(d, fx_first, err), 0);
}

static int release_old(struct index_tx *tx, void *arg, struct error *err)
{
    return index_trust_release_old(tx, *(const int64_t *)arg, err);
}

/* From before the service is asked: what it signs cannot be refused any more. */
static void what_may_be_signed_is_not_removed(void **state)
{
    struct desk *d = *state;
    struct digest v1 = push(d, "v1"), v2 = push(d, "v2");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    assert_int_equal(is_signed(d, "", &v1), 0);
    stop_service(d);
    d->config.signer.timestamp_lifetime_s = 3600;
    assert_code(publish(d, fx_targets, err), E_NETWORK); /* signed or not: nobody knows */
    assert_int_equal(is_signed(d, "", &v1), E_CONFLICT);
    assert_int_equal(is_signed(d, "", &v2), 0);
    int64_t later_s = *d->f.now_s + 3599;
    toy_ok(index_write(d->registry.index, release_old, &later_s, err));
    assert_int_equal(is_signed(d, "", &v1), E_CONFLICT);
    later_s++;
    toy_ok(index_write(d->registry.index, release_old, &later_s, err));
    assert_int_equal(is_signed(d, "", &v1), 0);
    start_service(d);
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(is_signed(d, "", &v1), E_DENIED);
    /* Withdrawn again, nothing of the publication is left. */
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    toy_bump(targets);
    js_remove(js_edit(targets->tree, "targets"), "v1");
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(is_signed(d, "", &v1), 0);
}

/* The service has signed, then the registry was killed before it stored the set. */
static void cut_off_publication_is_adopted(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    struct tuf_file changes[FX_MAX_CHANGES];
    struct digest v1 = push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    size_t n = fx_changes(&d->f, fx_targets, changes);
    toy_ok(signer_link_publish(d->registry.signer, FX_COLLECTION, changes, n, &set, err));
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);

    /* The same publication again ends with the same bytes. */
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(is_signed(d, "v1", &v1), E_DENIED);
}

static void service_ahead_then_another_publication(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    struct tuf_file changes[FX_MAX_CHANGES];
    push(d, "v1");
    push(d, "v2");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    size_t n = fx_changes(&d->f, fx_targets, changes);
    toy_ok(signer_link_publish(d->registry.signer, FX_COLLECTION, changes, n, &set, err));
    /* Somebody else publishes their own version 2: refused, and the cut-off one becomes visible. */
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    toy_target(&d->f.repo, "targets", "v2", "v2");
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_CONFLICT);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    toy_bump(targets);
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), 0);
}

static void copy_store(struct desk *d, const char *from, const char *to)
{
    char a[160], b[160];
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    snprintf(a, sizeof a, "%s/%s", d->f.dir->path, from);
    snprintf(b, sizeof b, "%s/%s", d->f.dir->path, to);
    toy_ok(file_read(AT_FDCWD, a, 16u << 20, &data, err));
    toy_ok(file_write_atomic(AT_FDCWD, b, data.data, data.len, 0600, err));
}

/* The service came back from a copy with older timestamps: what it signs cannot be served, and
 * nobody is told that it was published. */
static void restored_service_publishes_nothing(void **state)
{
    struct desk *d = *state;
    push(d, "v1");
    toy_set_text(toy_role(&d->f.repo, "targets"), "expires", "2030-01-01T00:00:00Z");
    toy_sign(toy_role(&d->f.repo, "targets"));
    assert_code(publish(d, fx_first, err), 0);
    stop_service(d);
    copy_store(d, "signer.db", "copy");
    start_service(d);
    for (int i = 0; i < 4; i++) {
        *d->f.now_s += FX_TIMESTAMP / 2 + 60;
        assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    }
    int64_t timestamp = stored_version(d, "timestamp", TUF_TIMESTAMP);
    stop_service(d);
    copy_store(d, "copy", "signer.db");
    start_service(d);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), E_STALE);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), timestamp);
}

/* The same, after the restored service has overtaken the published timestamp with new ones of its
 * own: their snapshot is still older than the published one. */
static void restored_service_replaces_nothing(void **state)
{
    struct desk *d = *state;
    push(d, "v1");
    toy_set_text(toy_role(&d->f.repo, "targets"), "expires", "2030-01-01T00:00:00Z");
    toy_sign(toy_role(&d->f.repo, "targets"));
    assert_code(publish(d, fx_first, err), 0);
    stop_service(d);
    copy_store(d, "signer.db", "copy");
    start_service(d);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    int64_t snapshot = stored_version(d, "snapshot", TUF_SNAPSHOT);
    stop_service(d);
    copy_store(d, "copy", "signer.db");
    start_service(d);
    for (int i = 0; i < 4; i++) {
        struct error ignored = ERROR_INIT;
        *d->f.now_s += FX_TIMESTAMP / 2 + 60;
        if (publish_refresh(&d->registry, FX_COLLECTION, &ignored) == 0)
            continue;
        assert_int_equal(ignored.code, E_STALE);
    }
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), snapshot);
}

static void timestamps_are_renewed(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    int64_t version = stored_version(d, "timestamp", TUF_TIMESTAMP);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), version);
    *d->f.now_s += FX_TIMESTAMP / 2 + 60;
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_true(stored_version(d, "timestamp", TUF_TIMESTAMP) > version);
    *d->f.now_s += 3 * FX_TIMESTAMP; /* also long after it expired, and targets with it */
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);
}

static int count_due(void *context, const char *repository, struct error *err)
{
    (void)err;
    assert_string_equal(repository, FX_COLLECTION);
    ++*(int *)context;
    return 0;
}

static int n_due(struct desk *d)
{
    int n = 0;
    struct index_tx *tx = NULL;
    toy_ok(index_read_begin(d->registry.index, &tx, err));
    toy_ok(index_trust_due(tx, *d->f.now_s, 10, count_due, &n, err));
    index_read_end(d->registry.index, tx);
    return n;
}

static void due_at_half_life(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    assert_int_equal(n_due(d), 0);
    *d->f.now_s += FX_TIMESTAMP / 2 + 1;
    assert_int_equal(n_due(d), 1);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(n_due(d), 0);
}

static void withdrawn_targets_can_be_deleted(void **state)
{
    struct desk *d = *state;
    struct digest v1 = push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(is_signed(d, "v1", &v1), E_DENIED);
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    toy_bump(targets);
    js_remove(js_edit(targets->tree, "targets"), "v1");
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(is_signed(d, "v1", &v1), 0);
}

/* What the service leaves out because it should be here. */
static void ask_for_content(struct desk *d, struct signer_set *set)
{
    for (size_t i = 0; i < set->n_files; i++) {
        CLEANUP(signer_set_done) struct signer_set file = {NULL, 0};
        const char *const name = set->files[i].role;
        if (set->files[i].data.len)
            continue;
        toy_ok(signer_link_files(d->registry.signer, FX_COLLECTION, &name, 1, &file, err));
        assert_int_equal(file.n_files, 1);
        assert_string_equal(file.files[0].role, name);
        assert_int_equal(file.files[0].version, set->files[i].version);
        bytes_done(&set->files[i].data);
        set->files[i].data = bytes_take(&file.files[0].data);
        assert_true(set->files[i].data.len > 0);
    }
}

/* The service took a change that never got here: a set that leaves it out must not be stored. */
static void sets_without_content_are_completed(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    CLEANUP(cleanup_free) const char **names = NULL;
    struct tuf_file changes[FX_MAX_CHANGES];
    struct index_tx *tx = NULL;
    size_t n = 0;
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    size_t n_changes = fx_changes(&d->f, fx_targets, changes);
    toy_ok(signer_link_publish(d->registry.signer, FX_COLLECTION, changes, n_changes, &set, err));
    toy_ok(index_read_begin(d->registry.index, &tx, err));
    toy_ok(trust_set_missing(tx, FX_COLLECTION, &set, &names, &n, err));
    index_read_end(d->registry.index, tx);
    assert_int_equal(n, 1);
    assert_string_equal(names[0], "targets");
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, err), E_CONFLICT);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);
    /* Said to be an older version that is here: not what the snapshot names. */
    for (size_t i = 0; i < set.n_files; i++)
        if (strcmp(set.files[i].role, "targets") == 0)
            set.files[i].version = 1;
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, err), E_ROLLBACK);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), 1);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), 2);
}

/* The same change again, as after an answer that got lost: done already. */
static void publication_that_is_here_succeeds_again(void **state)
{
    struct desk *d = *state;
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), 2);
}

/* A set that did not come from our service: changed bytes, another root, or simply older. */
static void foreign_sets_are_refused(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    assert_code(publish(d, fx_first, err), 0);
    *d->f.now_s += FX_TIMESTAMP / 2 + 60;
    toy_ok(signer_link_refresh(d->registry.signer, FX_COLLECTION, &set, err));
    ask_for_content(d, &set);
    for (size_t i = 0; i < set.n_files; i++) {
        struct bytes *data = &set.files[i].data;
        data->data[data->len / 2] ^= 1;
        struct error err = ERROR_INIT;
        if (trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, &err) == 0)
            fail_msg("a changed '%s' was stored", set.files[i].role);
        data->data[data->len / 2] ^= 1;
    }
    assert_code(trust_set_store(d->registry.index, "acme/other", &set, NULL, err), E_BINDING);
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, err), 0);
    int64_t version = stored_version(d, "timestamp", TUF_TIMESTAMP);
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, err), 0);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), version);
    char *role = set.files[0].role;
    set.files[0].role = strdup("nobody");
    assert_true(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, NULL) != 0);
    free(set.files[0].role);
    set.files[0].role = role;
}

/* Two publications, of which the earlier one's set arrives last: nothing goes back. */
static void overtaken_sets_change_nothing(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set early = {NULL, 0};
    struct digest v1 = push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    toy_ok(signer_link_refresh(d->registry.signer, FX_COLLECTION, &early, err));
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &early, NULL, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(is_signed(d, "v1", &v1), E_DENIED);
}

static void root_rotation(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    static const char *const root_only[] = {"root", NULL};
    struct toy_role *root = toy_role(&d->f.repo, "root");
    assert_code(publish(d, fx_first, err), 0);
    toy_bump(root);
    toy_sign(root);
    assert_code(publish_as(d, root_only, false, err), 0);
    assert_int_equal(stored(d, "root", 1, &data), 0); /* the chain stays */
    assert_int_equal(stored(d, "root", 2, &data), 0);
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 2);
}

/* --- a registry that comes back from a copy --- */

static void copy_index(struct desk *d, const char *from, const char *to)
{
    CLEANUP(bytes_done) struct bytes all = BYTES_INIT;
    char source[128], target[128];
    snprintf(source, sizeof source, "%s/%s", d->data, from);
    snprintf(target, sizeof target, "%s/%s", d->data, to);
    toy_ok(file_read(AT_FDCWD, source, 16u << 20, &all, err));
    toy_ok(file_write_atomic(AT_FDCWD, target, all.data, all.len, 0600, err));
}

static void reopen(struct desk *d)
{
    toy_ok(registry_open(&d->config, &d->registry, err));
    toy_ok(registry_start(&d->registry, err));
}

static void rotate_root(struct desk *d)
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

/* Each of the three roots replaced a key, so none can be left out. */
static void restored_registry_follows_all_roots(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    registry_close(&d->registry);
    copy_index(d, INDEX_FILE_NAME, "copy.db");
    reopen(d);
    for (int i = 0; i < 3; i++)
        rotate_root(d);
    int64_t newest = stored_version(d, "timestamp", TUF_TIMESTAMP);
    registry_close(&d->registry);
    copy_index(d, "copy.db", INDEX_FILE_NAME);
    reopen(d);
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 1);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 4);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), newest);
    for (int64_t version = 1; version <= 4; version++) {
        CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
        assert_int_equal(stored(d, "root", version, &data), 0);
    }
    rotate_root(d); /* and goes on */
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 5);
}

/* A registry that never knew the collection serves the chain from its first root. */
static void empty_registry_gets_the_whole_chain(void **state)
{
    struct desk *d = *state;
    registry_close(&d->registry);
    copy_index(d, INDEX_FILE_NAME, "copy.db");
    reopen(d);
    assert_code(publish(d, fx_first, err), 0);
    rotate_root(d);
    rotate_root(d);
    registry_close(&d->registry);
    copy_index(d, "copy.db", INDEX_FILE_NAME);
    reopen(d);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    for (int64_t version = 1; version <= 3; version++) {
        CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
        assert_int_equal(stored(d, "root", version, &data), 0);
    }
}

static void roots_that_do_not_lead_there_are_refused(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set roots = {NULL, 0}, set = {NULL, 0};
    assert_code(publish(d, fx_first, err), 0);
    registry_close(&d->registry);
    copy_index(d, INDEX_FILE_NAME, "copy.db");
    reopen(d);
    for (int i = 0; i < 3; i++)
        rotate_root(d);
    registry_close(&d->registry);
    copy_index(d, "copy.db", INDEX_FILE_NAME);
    reopen(d);
    toy_ok(signer_link_roots(d->registry.signer, FX_COLLECTION, 1, &roots, err));
    toy_ok(signer_link_refresh(d->registry.signer, FX_COLLECTION, &set, err));
    assert_int_equal(roots.n_files, 3);
    struct signer_set one = {roots.files + 1, 2}, none = {NULL, 0};
    assert_true(trust_set_store(d->registry.index, FX_COLLECTION, &set, &one, NULL) != 0);
    assert_true(trust_set_store(d->registry.index, FX_COLLECTION, &set, &none, NULL) != 0);
    roots.files[1].data.data[roots.files[1].data.len / 2] ^= 1;
    assert_true(trust_set_store(d->registry.index, FX_COLLECTION, &set, &roots, NULL) != 0);
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 1);
    roots.files[1].data.data[roots.files[1].data.len / 2] ^= 1;
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, &roots, err), 0);
}

static void sync_all(struct desk *d)
{
    atomic_bool end = false;
    toy_ok(trust_sync_run(&d->registry, &end, err));
    assert_true(atomic_load(&d->registry.trust_synced));
}

/* An older index was put in place without anybody saying so, and nothing in it is due. */
static void put_back_index_catches_up(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes first = BYTES_INIT, second = BYTES_INIT;
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    sync_all(d);
    assert_int_equal(n_due(d), 0); /* nothing was new: nothing is asked for again */
    registry_close(&d->registry);
    copy_index(d, INDEX_FILE_NAME, "copy.db");
    reopen(d);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(stored(d, "timestamp", 0, &first), 0);
    registry_close(&d->registry);
    copy_index(d, "copy.db", INDEX_FILE_NAME);
    reopen(d);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), 1);
    assert_int_equal(n_due(d), 0);
    sync_all(d);
    assert_int_equal(stored(d, "timestamp", 0, &second), 0);
    assert_true(bytes_equal(first.data, first.len, second.data, second.len));
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
}

static void state_versions(struct desk *d, int64_t version)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    const struct service_statement statement = {.collection = FX_COLLECTION,
                                                .versions = {version, version}};
    bool settled = true;
    toy_ok(db_open(scratch_name(d->f.dir, "signer.db"), 0, &db, err));
    toy_ok(service_memory_state(db, &statement, &settled, err));
    assert_false(settled);
}

/* The service's whole folder was put back: it cannot know, and this registry proves it. */
static void forgetful_service_is_shown(void **state)
{
    struct desk *d = *state;
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    stop_service(d);
    copy_store(d, "signer.db", "copy");
    copy_store(d, "last-signed", "copy-mark");
    start_service(d);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    sync_all(d);
    stop_service(d);
    copy_store(d, "copy", "signer.db");
    copy_store(d, "copy-mark", "last-signed");
    start_service(d);
    sync_all(d);
    assert_int_equal(n_due(d), 1); /* its log is shorter than it was */
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), E_STALE);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), E_STALE);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    state_versions(d, 2);
    assert_code(publish(d, fx_targets, err), 0); /* after it took over what it had forgotten */
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 3);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), 3);
}

static int all_due(struct index_tx *tx, void *arg, struct error *err)
{
    (void)arg;
    return index_trust_all_due(tx, err);
}

/* Everything counts as due after a restore; what is there already is settled by one question. */
static void nothing_stays_due(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    assert_int_equal(n_due(d), 0);
    toy_ok(index_write(d->registry.index, all_due, NULL, err));
    assert_int_equal(n_due(d), 1);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(n_due(d), 0);
}

static void notary_is_named(void **state)
{
    (void)state;
    static const char notary[] =
        "{\"signed\":{\"_type\":\"Root\",\"version\":1},\"signatures\":[]}";
    static const char tuf[] = "{\"signed\":{\"_type\":\"root\",\"version\":1},\"signatures\":[]}";
    struct error err = ERROR_INIT;
    assert_int_equal(publish_check_form(notary, sizeof notary - 1, &err), E_INVALID);
    assert_non_null(strstr(err.message, "Notary v1"));
    assert_int_equal(publish_check_form(tuf, sizeof tuf - 1, NULL), 0);
    assert_int_equal(publish_check_form("no json", 7, NULL), 0);
}

#define desk_test(name) cmocka_unit_test_setup_teardown(name, desk_setup, desk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        desk_test(first_root_needs_admin),
        desk_test(exact_bytes_are_kept),
        desk_test(targets_must_be_in_the_repository),
        desk_test(length_must_agree),
        desk_test(refused_changes_change_nothing),
        desk_test(service_away),
        desk_test(what_may_be_signed_is_not_removed),
        desk_test(cut_off_publication_is_adopted),
        desk_test(service_ahead_then_another_publication),
        desk_test(restored_service_publishes_nothing),
        desk_test(restored_service_replaces_nothing),
        desk_test(timestamps_are_renewed),
        desk_test(due_at_half_life),
        desk_test(withdrawn_targets_can_be_deleted),
        desk_test(sets_without_content_are_completed),
        desk_test(publication_that_is_here_succeeds_again),
        desk_test(foreign_sets_are_refused),
        desk_test(overtaken_sets_change_nothing),
        desk_test(root_rotation),
        desk_test(restored_registry_follows_all_roots),
        desk_test(empty_registry_gets_the_whole_chain),
        desk_test(roots_that_do_not_lead_there_are_refused),
        desk_test(put_back_index_catches_up),
        desk_test(forgetful_service_is_shown),
        desk_test(nothing_stays_due),
        cmocka_unit_test(notary_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
