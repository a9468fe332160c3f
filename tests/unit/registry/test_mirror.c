/*
 * Mirroring below HTTP: complete sets from a toy repository whose keys nobody here has, a real
 * index and a real signing service in a child process.
 */
#include "base/file.h"
#include "registry/index_mirror.h"
#include "registry/index_trust.h"
#include "registry/mirror.h"
#include "registry/mirror_anchor.h"
#include "registry/publish.h"
#include "registry/service.h"
#include "signer/service_server.h"
#include "tests/unit/signer/service_fixture.h"
#include "tuf/edit.h"

#include <fcntl.h>
#include <sys/wait.h>

#define HERE      "copies/app"
#define MAX_FILES 48

struct place {
    struct fixture f; /* its service is the child's */
    pid_t signer;
    int stop_fd;
    struct server_config config;
    struct config_mirror mirrors[2];
    char socket[96], data[96], root_file[96];
    struct registry registry;
    struct bytes roots[4]; /* older ones than the toy's own, by version */
    size_t n_roots;
};

/* --- set-up --- */

static void run_service(struct place *p, int ready_fd, int stop_fd)
{
    CLEANUP(cleanup_fd) int listen_fd = -1;
    fx_open(&p->f);
    toy_ok(service_server_listen(p->socket, geteuid(), &listen_fd, err));
    const struct service_server_options options = {.service = p->f.service,
                                                   .listen_fd = listen_fd,
                                                   .stop_fd = stop_fd,
                                                   .peers = {geteuid(), geteuid()},
                                                   .io_timeout_ms = 10000,
                                                   .renew_every_ms = 1000000};
    assert_int_equal(write(ready_fd, "r", 1), 1);
    toy_ok(service_server_run(&options, err));
    service_cleanup(&p->f.service);
}

static void start_service(struct place *p)
{
    int ready[2], stop[2];
    char byte = 0;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    p->signer = fork();
    assert_true(p->signer >= 0);
    if (p->signer == 0) {
        close(stop[1]);
        run_service(p, ready[1], stop[0]);
        _exit(0);
    }
    close(stop[0]);
    close(ready[1]);
    p->stop_fd = stop[1];
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

static void stop_service(struct place *p)
{
    if (p->signer <= 0)
        return;
    cleanup_fd(&p->stop_fd);
    waitpid(p->signer, NULL, 0);
    p->signer = 0;
}

/* The administrator's file: the toy's root as it is now. */
static void configure(struct place *p)
{
    const struct bytes *root = &toy_role(&p->f.repo, "root")->file;
    scratch_write(p->f.dir, "root.json", root->data, root->len);
    snprintf(p->root_file, sizeof p->root_file, "%s/root.json", p->f.dir->path);
    p->mirrors[0] = (struct config_mirror){(char *)(uintptr_t)HERE,
                                           (char *)(uintptr_t)FX_COLLECTION, p->root_file};
    p->config.rules.mirrors = p->mirrors;
    p->config.rules.n_mirrors = 1;
}

static void open_registry(struct place *p)
{
    toy_ok(registry_open(&p->config, &p->registry, err));
    toy_ok(registry_start(&p->registry, err));
}

static void restart(struct place *p)
{
    registry_close(&p->registry);
    open_registry(p);
}

static int place_setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    void *dir = NULL;
    assert_non_null(p);
    scratch_setup(&dir);
    p->f.dir = dir;
    p->f.lifetimes = (struct service_lifetimes){FX_SNAPSHOT, FX_TIMESTAMP};
    p->f.now_s =
        mmap(NULL, sizeof *p->f.now_s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p->f.now_s, MAP_FAILED);
    *p->f.now_s = TOY_NOW;
    clock_use_for_test(p->f.now_s);
    snprintf(p->socket, sizeof p->socket, "%s/s.sock", p->f.dir->path);
    snprintf(p->data, sizeof p->data, "%s/data", p->f.dir->path);
    p->config.data_dir = p->data;
    p->config.signer.socket = p->socket;
    p->config.limits.uploads_per_user = 10;
    start_service(p);
    toy_init(&p->f.repo, FX_COLLECTION);
    toy_target(&p->f.repo, "targets", "v1", "one");
    toy_delegate(&p->f.repo, "targets", "releases", "r*", false);
    toy_publish(&p->f.repo);
    configure(p);
    open_registry(p);
    *state = p;
    return 0;
}

static int place_teardown(void **state)
{
    struct place *p = *state;
    void *dir = p->f.dir;
    registry_close(&p->registry);
    stop_service(p);
    for (size_t i = 0; i < p->n_roots; i++)
        bytes_done(&p->roots[i]);
    toy_done(&p->f.repo);
    clock_use_for_test(NULL);
    (void)munmap(p->f.now_s, sizeof *p->f.now_s);
    free(p);
    return scratch_teardown(&dir);
}

/* --- what the tests do --- */

struct parcel {
    struct mirror_file files[MAX_FILES];
    size_t n;
};

static struct mirror_file *parcel_add(struct parcel *s, const char *role, int64_t version,
                                      const struct bytes *data)
{
    struct mirror_file *file = &s->files[s->n++];
    assert_true(s->n <= MAX_FILES);
    *file = (struct mirror_file){.version = version, .data = data->data, .len = data->len};
    snprintf(file->role, sizeof file->role, "%s", role);
    return file;
}

/* All that the toy has published. */
static void pack(struct place *p, struct parcel *s)
{
    s->n = 0;
    for (size_t i = 0; i < p->n_roots; i++)
        parcel_add(s, "root", (int64_t)i + 1, &p->roots[i]);
    for (size_t i = 0; i < p->f.repo.n_roles; i++) {
        const struct toy_role *role = &p->f.repo.roles[i];
        if (!role->unpublished)
            parcel_add(s, role->name, role->type == TUF_TIMESTAMP ? 0 : toy_version(role),
                       &role->file);
    }
}

static void drop(struct parcel *s, const char *role)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->files[i].role, role) == 0)
            s->files[i] = s->files[--s->n];
}

static int send_to(struct place *p, struct parcel *s, const char *repository,
                   struct mirror_result *out, struct error *err)
{
    struct mirror_set set = {repository, s->files, s->n};
    return mirror_take(&p->registry, &set, out, err);
}

static int take(struct place *p, struct error *err)
{
    struct parcel s;
    struct mirror_result result;
    pack(p, &s);
    return send_to(p, &s, HERE, &result, err);
}

static int stored(struct place *p, const char *role, int64_t version, struct bytes *out)
{
    struct index_tx *tx = NULL;
    toy_ok(index_read_begin(p->registry.index, &tx, err));
    bytes_clear(out);
    int rc = index_trust_find(tx, HERE, role, version, out, NULL);
    index_read_end(p->registry.index, tx);
    return rc;
}

static void assert_in_force(struct place *p, const char *role)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    const struct bytes *want = &toy_role(&p->f.repo, role)->file;
    assert_int_equal(stored(p, role, 0, &data), 0);
    if (!bytes_equal(data.data, data.len, want->data, want->len))
        fail_msg("%s is not the one in force", role);
}

static void keep_root(struct place *p)
{
    const struct bytes *file = &toy_role(&p->f.repo, "root")->file;
    toy_ok(bytes_append(&p->roots[p->n_roots++], file->data, file->len, err));
}

/* All but the root is signed again: its signatures are never the same twice. */
static void publish_again(struct place *p)
{
    for (size_t i = TUF_TARGETS; i < p->f.repo.n_roles; i++)
        toy_sign(&p->f.repo.roles[i]);
    toy_publish_online(&p->f.repo);
}

static void republish(struct place *p)
{
    toy_bump(toy_role(&p->f.repo, "snapshot"));
    toy_bump(toy_role(&p->f.repo, "timestamp"));
    publish_again(p);
}

/* --- tests --- */

static void a_set_is_taken_byte_for_byte(void **state)
{
    struct place *p = *state;
    struct parcel s;
    struct mirror_result result;
    pack(p, &s);
    toy_ok(send_to(p, &s, HERE, &result, err));
    assert_true(result.changed);
    assert_int_equal(result.timestamp, 1);
    assert_int_equal(result.n_missing, 1); /* v1: only its proofs are here */
    assert_in_force(p, "root");
    assert_in_force(p, "timestamp");
    assert_in_force(p, "snapshot");
    assert_in_force(p, "targets");
    assert_in_force(p, "releases");
    /* Again: nothing to do. */
    pack(p, &s);
    toy_ok(send_to(p, &s, HERE, &result, err));
    assert_false(result.changed);
    assert_int_equal(result.timestamp, 1);
}

static void versions_may_jump_and_never_go_back(void **state)
{
    struct place *p = *state;
    struct parcel old;
    struct mirror_result result;
    CLEANUP(bytes_done) struct bytes timestamp = BYTES_INIT, snapshot = BYTES_INIT;
    toy_ok(take(p, err));
    toy_set_int(toy_role(&p->f.repo, "timestamp"), "version", 40);
    toy_set_int(toy_role(&p->f.repo, "snapshot"), "version", 30);
    publish_again(p);
    toy_ok(bytes_append(&timestamp, toy_role(&p->f.repo, "timestamp")->file.data,
                        toy_role(&p->f.repo, "timestamp")->file.len, err));
    toy_ok(bytes_append(&snapshot, toy_role(&p->f.repo, "snapshot")->file.data,
                        toy_role(&p->f.repo, "snapshot")->file.len, err));
    republish(p);
    toy_ok(take(p, err));
    pack(p, &old);
    drop(&old, "timestamp");
    drop(&old, "snapshot");
    parcel_add(&old, "timestamp", 0, &timestamp);
    parcel_add(&old, "snapshot", 30, &snapshot);
    assert_code(send_to(p, &old, HERE, &result, err), E_ROLLBACK);
    assert_in_force(p, "timestamp");
    assert_in_force(p, "snapshot");
}

static void unchanged_files_may_be_left_out(void **state)
{
    struct place *p = *state;
    struct parcel s;
    struct mirror_result result;
    pack(p, &s);
    drop(&s, "releases");
    assert_code(send_to(p, &s, HERE, &result, err), E_INVALID);
    toy_ok(take(p, err));
    toy_bump(toy_role(&p->f.repo, "targets"));
    republish(p);
    pack(p, &s);
    drop(&s, "releases");
    toy_ok(send_to(p, &s, HERE, &result, err));
    assert_true(result.changed);
    assert_in_force(p, "targets");
    assert_in_force(p, "releases");
    /* …and what is too much is refused: nobody vouches for it. */
    republish(p);
    pack(p, &s);
    parcel_add(&s, "stranger", 1, &toy_role(&p->f.repo, "releases")->file);
    assert_code(send_to(p, &s, HERE, &result, err), E_INVALID);
}

static void what_a_client_refuses_is_refused(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes none = BYTES_INIT;
    static const char *const roles[] = {"timestamp", "snapshot", "targets", "releases"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        /* Signed by somebody else, listed properly by all above it. */
        struct toy_role *role = toy_role(&p->f.repo, roles[i]);
        struct signing_key *own = role->signers[0];
        role->signers[0] = toy_key_new(&p->f.repo, KEY_ED25519);
        publish_again(p);
        assert_code(take(p, err), E_SIGNATURE);
        role->signers[0] = own;
        /* Another collection's. */
        toy_set_text(role, "x-bulla-collection", "acme/other");
        publish_again(p);
        assert_code(take(p, err), E_BINDING);
        toy_set_text(role, "x-bulla-collection", FX_COLLECTION);
        publish_again(p);
        /* A changed byte. */
        role->file.data[role->file.len / 2] ^= 1;
        if (take(p, NULL) == 0)
            fail_msg("%s was taken with a changed byte", roles[i]);
        publish_again(p);
    }
    assert_int_equal(stored(p, "root", 0, &none), E_NOTFOUND);
    toy_ok(take(p, err));
}

static void sign_expired(struct place *p, bool root)
{
    if (!root) {
        publish_again(p);
        return;
    }
    toy_publish(&p->f.repo);
    configure(p);
    restart(p);
}

static void what_has_expired_is_refused(void **state)
{
    struct place *p = *state;
    static const char *const roles[] = {"root", "timestamp", "snapshot", "targets"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        struct toy_role *role = toy_role(&p->f.repo, roles[i]);
        char until[32];
        snprintf(until, sizeof until, "%s", js_text(js_get(role->tree, "expires")));
        toy_expire(role);
        sign_expired(p, i == 0);
        assert_code(take(p, err), E_EXPIRED);
        toy_set_text(role, "expires", until);
        sign_expired(p, i == 0);
    }
    /* One role of many, which somebody forgot, must not stop the others. */
    toy_expire(toy_role(&p->f.repo, "releases"));
    publish_again(p);
    toy_ok(take(p, err));
    assert_in_force(p, "releases");
}

static void roots_follow_from_the_anchor(void **state)
{
    struct place *p = *state;
    struct parcel s;
    struct mirror_result result;
    struct toy_role *root = toy_role(&p->f.repo, "root");
    toy_ok(take(p, err));
    keep_root(p);
    toy_bump(root);
    toy_republish(&p->f.repo);
    keep_root(p);
    toy_bump(root);
    toy_republish(&p->f.repo);
    /* A gap in the chain. */
    pack(p, &s);
    for (size_t i = 0; i < s.n; i++)
        if (strcmp(s.files[i].role, "root") == 0 && s.files[i].version == 2)
            s.files[i] = s.files[--s.n];
    assert_code(send_to(p, &s, HERE, &result, err), E_ROLLBACK);
    toy_ok(take(p, err));
    assert_in_force(p, "root");
    for (int64_t v = 1; v <= 3; v++) {
        CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
        assert_int_equal(stored(p, "root", v, &data), 0);
    }
    /* The anchor may be any of the chain. */
    configure(p);
    restart(p);
    republish(p);
    toy_ok(take(p, err));
    CLEANUP(bytes_done) struct bytes first = BYTES_INIT;
    assert_int_equal(stored(p, "root", 1, &first), 0);
}

/* Keys were stolen or lost: only a new anchor helps, and nothing of the old chain may be served. */
static void another_anchor_starts_anew(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes old = BYTES_INIT;
    struct parcel s;
    struct mirror_result result;
    keep_root(p);
    toy_bump(toy_role(&p->f.repo, "root"));
    toy_republish(&p->f.repo);
    toy_ok(take(p, err));
    toy_done(&p->f.repo);
    bytes_done(&p->roots[0]);
    p->n_roots = 0;
    toy_init(&p->f.repo, FX_COLLECTION);
    toy_delegate(&p->f.repo, "targets", "releases", "r*", false);
    toy_publish(&p->f.repo);
    /* Its own signature alone does not make a root. */
    assert_true(take(p, NULL) != 0);
    assert_int_equal(stored(p, "root", 2, &old), 0);
    configure(p);
    restart(p);
    pack(p, &s);
    drop(&s, "releases"); /* what is stored under that name is not this one's */
    assert_code(send_to(p, &s, HERE, &result, err), E_INVALID);
    toy_ok(take(p, err));
    assert_in_force(p, "root");
    assert_in_force(p, "releases");
    assert_int_equal(stored(p, "root", 2, &old), E_NOTFOUND);
    assert_int_equal(stored(p, "targets", 2, &old), E_NOTFOUND);
}

static void only_what_is_configured_is_a_mirror(void **state)
{
    struct place *p = *state;
    struct parcel s;
    struct mirror_result result;
    struct mirror_anchor found;
    pack(p, &s);
    assert_code(send_to(p, &s, "copies/other", &result, err), E_NOTFOUND);
    assert_code(send_to(p, &s, "copies/app/more", &result, err), E_NOTFOUND);
    p->mirrors[0].repository = (char *)(uintptr_t) "copies/*";
    p->mirrors[0].collection = (char *)(uintptr_t) "acme/*";
    toy_ok(mirror_anchors_find(p->registry.anchors, "copies/x/y", &found, err));
    assert_string_equal(found.collection, "acme/x/y");
    assert_int_equal(mirror_anchors_find(p->registry.anchors, "copies", &found, NULL), E_NOTFOUND);
    p->mirrors[0].collection = (char *)(uintptr_t) "*";
    toy_ok(mirror_anchors_find(p->registry.anchors, "copies/x/y", &found, err));
    assert_string_equal(found.collection, "x/y");
    p->mirrors[0].repository = (char *)(uintptr_t) "*";
    toy_ok(mirror_anchors_find(p->registry.anchors, "x", &found, err));
    assert_string_equal(found.collection, "x");
    /* The set is bound to the collection's name, wherever it lies. */
    pack(p, &s);
    assert_code(send_to(p, &s, "other", &result, err), E_BINDING);
}

static int publish(struct place *p, struct error *err)
{
    struct toy_role *root = toy_role(&p->f.repo, "root"),
                    *targets = toy_role(&p->f.repo, "targets");
    const struct tuf_file changes[] = {{"root", root->file.data, root->file.len},
                                       {"targets", targets->file.data, targets->file.len}};
    const struct publication publication = {HERE, changes, 2, true};
    return publish_changes(&p->registry, &publication, err);
}

static void a_mirror_is_signed_elsewhere_only(void **state)
{
    struct place *p = *state;
    toy_ok(take(p, err));
    assert_code(publish(p, err), E_CONFLICT);
    assert_code(publish_refresh(&p->registry, HERE, err), E_NOTFOUND);
    assert_in_force(p, "timestamp");
    CLEANUP(bytes_done) struct bytes name = BYTES_INIT;
    struct index_tx *tx = NULL;
    toy_ok(index_read_begin(p->registry.index, &tx, err));
    toy_ok(index_mirror_find(tx, HERE, &name, err));
    assert_string_equal(bytes_text(&name), FX_COLLECTION);
    index_read_end(p->registry.index, tx);
}

static int count_due(void *context, const char *repository, struct error *err)
{
    (void)repository, (void)err;
    ++*(int *)context;
    return 0;
}

static void nothing_of_a_mirror_is_due_here(void **state)
{
    struct place *p = *state;
    struct index_tx *tx = NULL;
    int n = 0;
    toy_ok(take(p, err));
    *p->f.now_s += 10 * TOY_DAY;
    toy_ok(index_read_begin(p->registry.index, &tx, err));
    toy_ok(index_trust_due(tx, *p->f.now_s, 10, count_due, &n, err));
    index_read_end(p->registry.index, tx);
    assert_int_equal(n, 0);
}

/* A collection that is signed here keeps its own proofs, also where only the service knows it. */
static void a_collection_of_its_own_is_no_mirror(void **state)
{
    struct place *p = *state;
    struct index_tx *tx = NULL;
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT, none = BYTES_INIT;
    struct toy_repo own;
    p->f.repo.collection = HERE;
    toy_ok(signer_link_key(p->registry.signer, HERE, TUF_SNAPSHOT, &json, err));
    p->f.snapshot_key = fx_parse_key(&json);
    bytes_clear(&json);
    toy_ok(signer_link_key(p->registry.signer, HERE, TUF_TIMESTAMP, &json, err));
    p->f.timestamp_key = fx_parse_key(&json);
    toy_init(&own, HERE);
    fx_root_lists(&own, p->f.snapshot_key, p->f.timestamp_key, 1);
    toy_sign(toy_role(&own, "root"));
    toy_sign(toy_role(&own, "targets"));
    /* Keys alone are no collection. */
    struct toy_role *root = toy_role(&own, "root"), *targets = toy_role(&own, "targets");
    const struct tuf_file changes[] = {{"root", root->file.data, root->file.len},
                                       {"targets", targets->file.data, targets->file.len}};
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    toy_ok(signer_link_publish(p->registry.signer, HERE, changes, 2, &set, err));
    assert_code(take(p, err), E_CONFLICT);
    assert_int_equal(stored(p, "root", 0, &none), E_NOTFOUND);
    toy_ok(publish_refresh(&p->registry, HERE, err));
    assert_code(take(p, err), E_CONFLICT);
    toy_ok(index_read_begin(p->registry.index, &tx, err));
    assert_int_equal(index_mirror_find(tx, HERE, NULL, NULL), E_NOTFOUND);
    index_read_end(p->registry.index, tx);
    public_key_free(p->f.snapshot_key);
    public_key_free(p->f.timestamp_key);
    toy_done(&own);
    p->f.repo.collection = FX_COLLECTION;
    /* Whether there is one must be known. */
    stop_service(p);
    p->mirrors[0].repository = (char *)(uintptr_t) "copies/second";
    struct parcel s;
    struct mirror_result result;
    pack(p, &s);
    assert_code(send_to(p, &s, "copies/second", &result, err), E_NETWORK);
    start_service(p);
    toy_ok(send_to(p, &s, "copies/second", &result, err));
    /* Once it is a mirror, the service is not needed. */
    stop_service(p);
    republish(p);
    pack(p, &s);
    toy_ok(send_to(p, &s, "copies/second", &result, err));
    assert_true(result.changed);
}

/* A role that two roles delegate to must be good for both. */
static void a_role_is_judged_by_each_delegator(void **state)
{
    struct place *p = *state;
    struct toy_role *shared = toy_delegate(&p->f.repo, "targets", "shared", "s*", false);
    toy_delegate(&p->f.repo, "releases", "shared", "s*", false);
    publish_again(p);
    toy_ok(take(p, err));
    /* From now on targets wants another key than releases does. */
    struct signing_key *own = shared->signers[0];
    toy_ok(tuf_edit_remove_delegation(toy_role(&p->f.repo, "targets")->tree, "shared", err));
    shared->signers[0] = toy_key_new(&p->f.repo, KEY_ED25519);
    toy_delegate(&p->f.repo, "targets", "shared", "s*", false);
    toy_bump(toy_role(&p->f.repo, "targets"));
    toy_bump(shared);
    republish(p);
    assert_code(take(p, err), E_SIGNATURE);
    shared->signers[1] = own;
    shared->n_signers = 2;
    republish(p);
    toy_ok(take(p, err));
}

static void names_of_files(void **state)
{
    (void)state;
    struct mirror_file file;
    static const char *const bad[] = {"",
                                      "root",
                                      "root.json",
                                      "0.root.json",
                                      "01.root.json",
                                      "1.timestamp.json",
                                      "1.ROOT.json",
                                      "1.root.jsonx",
                                      "1..json",
                                      "1.json",
                                      ".json",
                                      "1.a/b.json",
                                      "9007199254740992.root.json",
                                      "1.root.json/",
                                      "timestamp.json ",
                                      "1.Root.json"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (mirror_file_name(bad[i], &file, NULL) != E_INVALID)
            fail_msg("'%s' is taken", bad[i]);
    toy_ok(mirror_file_name("timestamp.json", &file, err));
    assert_int_equal(file.version, 0);
    toy_ok(mirror_file_name("9007199254740991.a.b-c_d.json", &file, err));
    assert_string_equal(file.role, "a.b-c_d");
    assert_true(file.version == TUF_MAX_VERSION);
}

#define test_case(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_case(a_set_is_taken_byte_for_byte),
        test_case(versions_may_jump_and_never_go_back),
        test_case(unchanged_files_may_be_left_out),
        test_case(what_a_client_refuses_is_refused),
        test_case(what_has_expired_is_refused),
        test_case(roots_follow_from_the_anchor),
        test_case(another_anchor_starts_anew),
        test_case(only_what_is_configured_is_a_mirror),
        test_case(a_mirror_is_signed_elsewhere_only),
        test_case(nothing_of_a_mirror_is_due_here),
        test_case(a_collection_of_its_own_is_no_mirror),
        test_case(a_role_is_judged_by_each_delegator),
        cmocka_unit_test(names_of_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
