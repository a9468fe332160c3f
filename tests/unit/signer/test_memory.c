/*
 * A signing service that has forgotten: whether it notices, refuses, is brought back by what a
 * local admin states, and keeps its own log of all that.
 */
#include "base/file.h"
#include "signer/service_audit.h"
#include "signer/service_limit.h"
#include "signer/service_memory.h"
#include "tests/unit/signer/service_fixture.h"
#include "tuf/trusted.h"

#include <fcntl.h>

/* --- helpers --- */

static void copy_file(struct fixture *f, const char *from, const char *to)
{
    char target[256];
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    snprintf(target, sizeof target, "%s", scratch_name(f->dir, to));
    toy_ok(file_read(AT_FDCWD, scratch_name(f->dir, from), 16u << 20, &data, err));
    toy_ok(file_write_atomic(AT_FDCWD, target, data.data, data.len, 0600, err));
}

/* The database as it is; the service stops and starts again. */
static void save_database(struct fixture *f, bool with_mark)
{
    service_cleanup(&f->service);
    copy_file(f, "signer.db", "old.db");
    if (with_mark)
        copy_file(f, "last-signed", "old-mark");
    fx_open(f);
}

static void put_back(struct fixture *f, bool with_mark)
{
    service_cleanup(&f->service);
    copy_file(f, "old.db", "signer.db");
    if (with_mark)
        copy_file(f, "old-mark", "last-signed");
    fx_open(f);
}

static struct db *own_database(struct fixture *f)
{
    struct db *db = NULL;
    toy_ok(db_open(scratch_name(f->dir, "signer.db"), 0, &db, err));
    return db;
}

static struct service_memory_status status_of(struct fixture *f)
{
    CLEANUP(db_cleanup) struct db *db = own_database(f);
    struct service_memory_status status;
    toy_ok(service_memory_status(db, &status, err));
    return status;
}

static int state(struct fixture *f, struct service_statement statement, bool *settled,
                 struct error *err)
{
    CLEANUP(db_cleanup) struct db *db = own_database(f);
    if (!statement.collection)
        statement.collection = FX_COLLECTION;
    return service_memory_state(db, &statement, settled, err);
}

/* What the registry would show: these roots, and the other files of the set. */
static int show(struct fixture *f, const struct signer_set *roots, const struct signer_set *set,
                bool *adopted, struct error *err)
{
    struct tuf_file files[32];
    struct protocol_request request = {.kind = PROTOCOL_SHOW, .changes = files};
    CLEANUP(bytes_done) struct bytes asked = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes frame = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    strcpy(request.collection, FX_COLLECTION);
    for (size_t i = 0; i < roots->n_files; i++)
        files[request.n_changes++] =
            (struct tuf_file){"root", roots->files[i].data.data, roots->files[i].data.len};
    for (size_t i = 0; i < set->n_files; i++)
        if (strcmp(set->files[i].role, "root") != 0)
            files[request.n_changes++] = (struct tuf_file){
                set->files[i].role, set->files[i].data.data, set->files[i].data.len};
    int rc = protocol_write_request(&request, &asked, err);
    if (rc == 0)
        rc = service_answer(f->service, asked.data + PROTOCOL_HEADER_BYTES,
                            asked.len - PROTOCOL_HEADER_BYTES, &frame, err);
    if (rc == 0)
        rc = protocol_read_object(PROTOCOL_SHOW, frame.data + PROTOCOL_HEADER_BYTES,
                                  frame.len - PROTOCOL_HEADER_BYTES, &json, err);
    *adopted = rc == 0 && strstr(bytes_text(&json), "true");
    return rc;
}

/* Published: root and targets, then a second version of targets. `set`: what is published last. */
static void publish_two(struct fixture *f, struct signer_set *set, bool with_mark)
{
    fx_publish_first(f, set);
    signer_set_done(set);
    save_database(f, with_mark);
    fx_next_targets(f, "v2");
    toy_ok(fx_publish(f, fx_targets, set, err));
}

static void assert_refuses(struct fixture *f)
{
    CLEANUP(signer_set_done) struct signer_set set = {0};
    assert_code(fx_publish(f, fx_targets, &set, err), E_STALE);
    *f->now_s += FX_TIMESTAMP;
    assert_code(service_refresh(f->service, FX_COLLECTION, &set, err), E_STALE);
    *f->now_s -= FX_TIMESTAMP;
    bool more = true;
    toy_ok(service_renew_one(f->service, &more, err));
    assert_false(more); /* nor of its own accord, and without a word each minute */
}

/* --- noticing --- */

static void older_database_is_noticed(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    publish_two(f, &set, false);
    assert_false(status_of(f).doubted);
    put_back(f, false);
    struct service_memory_status status = status_of(f);
    assert_true(status.doubted);
    assert_int_equal(status.n_doubted, 1);
    assert_non_null(strstr(status.why, "older than what was signed last here"));
    assert_refuses(f);
    fx_restart(f); /* it stays so */
    assert_refuses(f);
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    assert_code(service_key(f->service, "acme/new", TUF_SNAPSHOT, &json, err), E_STALE);
}

static void same_database_is_no_doubt(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    publish_two(f, &set, false);
    fx_restart(f);
    fx_restart(f);
    /* Killed between the database and the mark: the database is ahead. */
    save_database(f, true);
    fx_next_targets(f, "v3");
    signer_set_done(&set);
    toy_ok(fx_publish(f, fx_targets, &set, err));
    service_cleanup(&f->service);
    copy_file(f, "old-mark", "last-signed");
    fx_open(f);
    assert_false(status_of(f).doubted);
}

static void lost_mark_and_lost_database_are_noticed(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_publish_first(f, &set);
    service_cleanup(&f->service);
    assert_int_equal(unlink(scratch_name(f->dir, "last-signed")), 0);
    fx_open(f);
    assert_true(status_of(f).doubted);
    fx_next_targets(f, "v2");
    assert_refuses(f);
    service_cleanup(&f->service);
    scratch_write_text(f->dir, "last-signed", "bulla-signer mark 1\n");
    fx_open(f);
    assert_non_null(strstr(status_of(f).why, "cannot be read"));
    service_cleanup(&f->service);
    assert_int_equal(unlink(scratch_name(f->dir, "signer.db")), 0);
    fx_open(f);
    assert_non_null(strstr(status_of(f).why, "not the database that signed last"));
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    assert_code(service_key(f->service, "acme/new", TUF_SNAPSHOT, &json, err), E_STALE);
    int64_t settled = 0, waiting = 0;
    CLEANUP(db_cleanup) struct db *db = own_database(f);
    toy_ok(service_memory_state_all(db, 0, &settled, &waiting, err));
    toy_ok(service_key(f->service, "acme/new", TUF_SNAPSHOT, &json, err));
}

static void backup_says_that_it_is_one(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(db_cleanup) struct db *db = NULL;
    fx_publish_first(f, &set);
    service_cleanup(&f->service);
    db = own_database(f);
    toy_ok(service_memory_set_copy(db, err));
    db_cleanup(&db);
    fx_open(f); /* although nothing was signed since */
    assert_non_null(strstr(status_of(f).why, "a copy"));
    fx_next_targets(f, "v2");
    assert_refuses(f);
}

/* The whole folder was put back: only the registry knows better. */
static void registry_proves_it(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0}, roots = {0}, other = {0};
    bool adopted = true;
    publish_two(f, &set, true);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    toy_ok(show(f, &roots, &set, &adopted, err)); /* nothing new */
    assert_false(adopted);
    put_back(f, true);
    assert_false(status_of(f).doubted); /* cannot be known here */
    /* What nobody signed proves nothing. */
    struct signer_set_file *timestamp = &set.files[set.n_files - 1];
    assert_string_equal(timestamp->role, "timestamp");
    char *digit = strstr(bytes_text(&timestamp->data), "\"version\":2");
    assert_non_null(digit);
    digit[10] = '9';
    assert_code(show(f, &roots, &set, &adopted, err), E_SIGNATURE);
    assert_false(status_of(f).doubted);
    digit[10] = '2';
    assert_code(show(f, &roots, &set, &adopted, err), E_STALE);
    assert_false(adopted);
    assert_non_null(strstr(status_of(f).why, "snapshot 2 and timestamp 2"));
    assert_refuses(f);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &other, err)); /* reading goes on */
}

/* What the holders of the root's keys can make without this service says nothing about it. */
static void other_keys_prove_nothing(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0}, roots = {0}, forged = {0};
    struct toy_role *root = toy_role(&f->repo, "root");
    static const char *const online[] = {"targets", "snapshot", "timestamp"};
    bool adopted = true;
    fx_publish_first(f, &set);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    toy_set_int(toy_role(&f->repo, "snapshot"), "version", 99);
    toy_set_int(toy_role(&f->repo, "timestamp"), "version", 99);
    toy_publish_online(&f->repo);
    for (size_t i = 0; i < 3; i++)
        toy_ok(service_set_add(&forged, online[i], i ? 99 : 1, &toy_role(&f->repo, online[i])->file,
                               err));
    /* Keys that the root lists beside ours, then a root that lists them only. */
    for (int i = 0; i < 2; i++) {
        assert_code(show(f, &roots, &forged, &adopted, err), E_STALE);
        assert_false(adopted);
        assert_false(status_of(f).doubted);
        toy_bump(root);
        toy_root_roles(&f->repo);
        toy_sign(root);
        if (i == 0)
            toy_ok(service_set_add(&roots, "root 2", 2, &root->file, err));
    }
    fx_next_targets(f, "v2");
    signer_set_done(&set);
    toy_ok(fx_publish(f, fx_targets, &set, err));
    assert_int_equal(fx_version(&set, "snapshot"), 2);
}

/* It has written that it was here before, but no mark yet: a folder where none can be made. */
static void killed_at_its_first_start(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct service_memory *memory = NULL;
    service_cleanup(&f->service);
    assert_int_equal(unlink(scratch_name(f->dir, "last-signed")), 0);
    db = own_database(f);
    toy_ok(db_exec(db, "UPDATE service SET identity = NULL, marked = 0", err));
    assert_true(service_memory_open(db, "/proc/self/signer.db", &memory, NULL) != 0);
    db_cleanup(&db);
    fx_open(f);
    assert_false(status_of(f).doubted);
    fx_publish_first(f, &set);
}

/* --- the way back --- */

static void stated_set_is_taken_over(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0}, roots = {0}, next = {0};
    bool adopted = false, settled = true;
    publish_two(f, &set, false);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    put_back(f, false);
    assert_code(state(f, (struct service_statement){.versions = {0, 1}}, &settled, err),
                E_CONFLICT); /* lower than what is remembered */
    toy_ok(state(f, (struct service_statement){.versions = {3, 3}}, &settled, err));
    assert_false(settled);
    assert_code(show(f, &roots, &set, &adopted, err), E_STALE); /* another one */
    toy_ok(state(f, (struct service_statement){.versions = {2, 2}}, &settled, err));
    assert_false(settled);
    assert_refuses(f);
    toy_ok(show(f, &roots, &set, &adopted, err));
    assert_true(adopted);
    assert_false(status_of(f).doubted);
    toy_ok(service_refresh(f->service, FX_COLLECTION, &next, err));
    assert_true(service_set_equal(&set, &next));
    fx_next_targets(f, "v3");
    signer_set_done(&next);
    toy_ok(fx_publish(f, fx_targets, &next, err));
    assert_int_equal(fx_version(&next, "snapshot"), 3);
    assert_int_equal(fx_version(&next, "timestamp"), 3);
}

/* Killed after it took the set over, before it wrote down that this settles the matter. */
static void adopted_set_settles_later(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0}, roots = {0};
    bool adopted = false, settled = true;
    publish_two(f, &set, false);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    put_back(f, false);
    toy_ok(state(f, (struct service_statement){.versions = {2, 2}}, &settled, err));
    toy_ok(show(f, &roots, &set, &adopted, err));
    assert_true(adopted);
    CLEANUP(db_cleanup) struct db *db = own_database(f);
    toy_ok(db_exec(db,
                   "INSERT INTO stated (collection, snapshot, timestamp)"
                   " VALUES ('acme/app', 2, 2);"
                   "UPDATE collection SET epoch = epoch - 1;"
                   "UPDATE service SET open_epoch = open_epoch - 1",
                   err));
    fx_next_targets(f, "v3");
    assert_refuses(f);
    signer_set_done(&roots);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    toy_ok(show(f, &roots, &set, &adopted, err));
    assert_false(adopted); /* once was enough */
    assert_false(status_of(f).doubted);
    signer_set_done(&set);
    toy_ok(fx_publish(f, fx_targets, &set, err));
}

static int publish_with(struct fixture *f, const char *role, struct signer_set *set,
                        struct error *err)
{
    const char *const roles[] = {"targets", role, NULL};
    signer_set_done(set);
    toy_sign(toy_role(&f->repo, "targets"));
    return fx_publish(f, roles, set, err);
}

/* Dropped since the backup: the files are lost, and clients know the versions all the same. */
static void dropped_roles_go_on(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0}, roots = {0};
    struct toy_role *targets = toy_role(&f->repo, "targets"), *role = NULL;
    static const char *const names[] = {"alice", "bob"}; /* bob came after the backup, too */
    bool adopted = false, settled = true;
    fx_publish_first(f, &set);
    for (size_t i = 0; i < 4; i++) { /* alice 1, alice 2, bob 1, bob 2 */
        js_remove(targets->tree, "delegations");
        role = toy_delegate(&f->repo, "targets", names[i / 2], "v*", false);
        if (i % 2)
            toy_bump(role);
        toy_sign(role);
        toy_bump(targets);
        toy_ok(publish_with(f, names[i / 2], &set, err));
        if (i == 0)
            save_database(f, false);
    }
    js_remove(targets->tree, "delegations");
    toy_bump(targets);
    toy_ok(publish_with(f, NULL, &set, err));
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    put_back(f, false);
    toy_ok(state(f, (struct service_statement){.versions = {6, 6}}, &settled, err));
    toy_ok(show(f, &roots, &set, &adopted, err));
    assert_true(adopted);
    for (size_t i = 0; i < 2; i++) {
        role = toy_delegate(&f->repo, "targets", names[i], "v*", false);
        toy_bump(targets);
        assert_code(publish_with(f, names[i], &set, err), E_CONFLICT); /* 2 again */
        toy_bump(role);
        toy_sign(role);
        toy_ok(publish_with(f, names[i], &set, err));
        assert_int_equal(fx_version(&set, names[i]), 3);
    }
}

static void nothing_was_lost(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    bool settled = false;
    fx_publish_first(f, &set);
    assert_code(state(f, (struct service_statement){.versions = {1, 1}}, &settled, err),
                E_CONFLICT); /* nothing is in doubt */
    service_cleanup(&f->service);
    assert_int_equal(unlink(scratch_name(f->dir, "last-signed")), 0);
    fx_open(f);
    toy_ok(state(f, (struct service_statement){.versions = {1, 1}}, &settled, err));
    assert_true(settled);
    signer_set_done(&set);
    fx_next_targets(f, "v2");
    toy_ok(fx_publish(f, fx_targets, &set, err));
    assert_int_equal(fx_version(&set, "snapshot"), 2);
}

/* Nobody has the newest set any more: what follows has versions of its own. */
static void lost_set_is_left_out(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    bool settled = false;
    publish_two(f, &set, false);
    put_back(f, false);
    toy_ok(
        state(f, (struct service_statement){.versions = {7, 9}, .set_lost = true}, &settled, err));
    assert_true(settled);
    fx_restart(f);
    signer_set_done(&set);
    toy_ok(fx_publish(f, fx_targets, &set, err));
    assert_int_equal(fx_version(&set, "snapshot"), 8);
    assert_int_equal(fx_version(&set, "timestamp"), 10);
    signer_set_done(&set);
    fx_next_targets(f, "v3");
    toy_ok(fx_publish(f, fx_targets, &set, err));
    assert_int_equal(fx_version(&set, "snapshot"), 9);
}

static void all_at_once(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0}, roots = {0};
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    int64_t settled = 0, waiting = 0;
    bool adopted = false;
    toy_ok(service_key(f->service, "acme/other", TUF_SNAPSHOT, &json, err));
    publish_two(f, &set, false);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    put_back(f, false);
    assert_code(show(f, &roots, &set, &adopted, err), E_STALE);
    CLEANUP(db_cleanup) struct db *db = own_database(f);
    toy_ok(service_memory_state_all(db, 100, &settled, &waiting, err));
    assert_int_equal(settled, 1); /* acme/other: nothing newer is known of it */
    assert_int_equal(waiting, 1);
    assert_refuses(f);
    toy_ok(show(f, &roots, &set, &adopted, err));
    assert_true(adopted);
    fx_next_targets(f, "v3");
    signer_set_done(&set);
    toy_ok(fx_publish(f, fx_targets, &set, err));
    assert_int_equal(fx_version(&set, "snapshot"), 103);
}

/* Database and mark are gone: other keys, but the role holders' versions go on. */
static void everything_lost(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0}, roots = {0};
    static const char *const only_root[] = {"root", NULL};
    struct toy_role *root = toy_role(&f->repo, "root");
    bool adopted = false, settled = true;
    publish_two(f, &set, false);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    service_cleanup(&f->service);
    assert_int_equal(unlink(scratch_name(f->dir, "signer.db")), 0);
    assert_int_equal(unlink(scratch_name(f->dir, "last-signed")), 0);
    fx_open(f);
    assert_code(show(f, &roots, &set, &adopted, err), E_STALE);
    toy_ok(state(f, (struct service_statement){.versions = {2, 2}}, &settled, err));
    assert_false(settled);
    toy_ok(show(f, &roots, &set, &adopted, err));
    assert_true(adopted);
    CLEANUP(public_key_cleanup) struct public_key *s = fx_key(f, FX_COLLECTION, TUF_SNAPSHOT);
    CLEANUP(public_key_cleanup) struct public_key *t = fx_key(f, FX_COLLECTION, TUF_TIMESTAMP);
    assert_false(public_key_equal(s, f->snapshot_key));
    toy_bump(root);
    fx_root_lists(&f->repo, s, t, 1);
    toy_sign(root);
    signer_set_done(&set);
    toy_ok(fx_publish(f, only_root, &set, err));
    assert_int_equal(fx_version(&set, "targets"), 2);
    assert_int_equal(fx_version(&set, "snapshot"), 3);
}

/* --- the log --- */

struct lines {
    struct bytes text;
};

static int collect(void *context, const char *line, size_t len, struct error *err)
{
    struct lines *lines = context;
    int rc = bytes_append(&lines->text, line, len, err);
    return rc ? rc : bytes_append_text(&lines->text, "\n", err);
}

static int scan(struct db *db, const uint8_t *head, struct lines *lines,
                struct service_audit_result *result, struct error *err)
{
    const struct service_audit_walk walk = {db, head, lines ? collect : NULL, lines};
    return service_audit_scan(&walk, result, err);
}

static void log_says_what_happened(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct lines lines = {BYTES_INIT};
    struct service_audit_result result;
    bool adopted = false, settled = false;
    publish_two(f, &set, false);
    struct signer_set none = {0};
    put_back(f, false);
    assert_true(show(f, &none, &set, &adopted, NULL) != 0); /* refused, and written down */
    toy_ok(
        state(f, (struct service_statement){.versions = {4, 4}, .set_lost = true}, &settled, err));
    CLEANUP(db_cleanup) struct db *db = own_database(f);
    toy_ok(scan(db, NULL, &lines, &result, err));
    const char *at = bytes_text(&lines.text);
    static const char *const events[] = {"key.make", "sign",         "memory.doubt",
                                         "refuse",   "memory.state", "memory.settle"};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        char wanted[48];
        snprintf(wanted, sizeof wanted, "\"event\":\"%s\"", events[i]);
        at = strstr(at, wanted);
        if (!at)
            fail_msg("no %s in: %s", wanted, bytes_text(&lines.text));
    }
    assert_int_equal(result.first, 1);
    toy_ok(scan(db, result.last.hash, NULL, &result, err));
    uint8_t wrong[AUDIT_HASH_LEN] = {1};
    assert_code(scan(db, wrong, NULL, &result, err), E_TAMPERED);
    bytes_done(&lines.text);
}

static void changed_log_is_noticed(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct service_audit_result result;
    static const char *const changes[] = {
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 2",
        "UPDATE audit SET line = CAST(replace(line, 'acme', 'evil') AS BLOB) WHERE seq = 2",
        "UPDATE audit SET hash = zeroblob(32) WHERE seq = 2",
        "UPDATE audit SET seq = seq + 100 WHERE seq >= 2",
    };
    publish_two(f, &set, false);
    save_database(f, false);
    CLEANUP(db_cleanup) struct db *db = own_database(f);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        toy_ok(db_begin(db, err));
        toy_ok(db_exec(db, changes[i], err));
        toy_ok(db_commit(db, err));
        if (scan(db, NULL, NULL, &result, NULL) != E_TAMPERED)
            fail_msg("not noticed: %s", changes[i]);
        db_cleanup(&db);
        service_cleanup(&f->service);
        copy_file(f, "old.db", "signer.db");
        db = own_database(f);
        toy_ok(scan(db, NULL, NULL, &result, err));
    }
}

static void log_is_bounded(void **state_)
{
    struct fixture *f = *state_;
    struct audit_link at = {0};
    struct service_audit_result result;
    const struct audit_event e = {.event = "test", .result = "done"};
    CLEANUP(db_cleanup) struct db *db = own_database(f);
    toy_ok(db_begin(db, err));
    for (int i = 0; i < 3500; i++)
        toy_ok(service_audit_append(db, &e, 500, &at, err));
    toy_ok(db_commit(db, err));
    toy_ok(scan(db, NULL, NULL, &result, err));
    assert_in_range(result.n_records, 500, 1500);
    assert_int_equal(result.last.seq, at.seq);
    toy_ok(db_exec(db, "DELETE FROM audit WHERE seq < 3200", err)); /* more than was meant to go */
    assert_code(scan(db, NULL, NULL, &result, err), E_TAMPERED);
}

/* --- limits --- */

static void signing_is_limited(void **state_)
{
    (void)state_;
    struct service_limit *limit = calloc(1, sizeof *limit);
    int64_t now_ms = 1000;
    char name[32];
    assert_non_null(limit);
    service_limit_init(limit, now_ms);
    for (unsigned i = 0; i < SERVICE_LIMIT_COLLECTION; i++)
        toy_ok(service_limit_take(limit, "acme/app", now_ms, err));
    assert_code(service_limit_take(limit, "acme/app", now_ms, err), E_BUSY);
    toy_ok(service_limit_take(limit, "acme/other", now_ms, err)); /* is not its fault */
    now_ms += 60000 / SERVICE_LIMIT_COLLECTION;
    toy_ok(service_limit_take(limit, "acme/app", now_ms, err));
    assert_code(service_limit_take(limit, "acme/app", now_ms, err), E_BUSY);
    /* Many names do not get around the limit for all. */
    unsigned taken = 0;
    for (unsigned i = 0; i < 2 * SERVICE_LIMIT_ALL; i++) {
        snprintf(name, sizeof name, "acme/n%u", i);
        taken += service_limit_take(limit, name, now_ms, NULL) == 0;
    }
    assert_in_range(taken, SERVICE_LIMIT_ALL - SERVICE_LIMIT_COLLECTION - 10, SERVICE_LIMIT_ALL);
    assert_code(service_limit_take(limit, "acme/last", now_ms, err), E_BUSY);
    now_ms += 60000;
    toy_ok(service_limit_take(limit, "acme/last", now_ms, err));
    free(limit);
}

/* What is refused was verified, and that is most of the work. */
static void refused_publications_count(void **state_)
{
    struct fixture *f = *state_;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    char name[32];
    unsigned refused = 0;
    fx_publish_first(f, &set);
    toy_bump(toy_role(&f->repo, "targets"));
    fx_next_targets(f, "v3"); /* never the next version */
    struct signer_set none = {0};
    while (refused < 2 * SERVICE_LIMIT_COLLECTION &&
           fx_publish(f, fx_targets, &none, NULL) == E_CONFLICT)
        refused++;
    assert_in_range(refused, SERVICE_LIMIT_COLLECTION - 10, 2 * SERVICE_LIMIT_COLLECTION - 1);
    assert_code(fx_publish(f, fx_targets, &none, err), E_BUSY);
    for (unsigned i = 0; i < 5; i++) { /* others still get theirs */
        (void)snprintf(name, sizeof name, "acme/n%u", i);
        toy_ok(service_key(f->service, name, TUF_SNAPSHOT, &json, err));
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(older_database_is_noticed),
        CASE(same_database_is_no_doubt),
        CASE(lost_mark_and_lost_database_are_noticed),
        CASE(backup_says_that_it_is_one),
        CASE(registry_proves_it),
        CASE(other_keys_prove_nothing),
        CASE(killed_at_its_first_start),
        CASE(stated_set_is_taken_over),
        CASE(adopted_set_settles_later),
        CASE(dropped_roles_go_on),
        CASE(nothing_was_lost),
        CASE(lost_set_is_left_out),
        CASE(all_at_once),
        CASE(everything_lost),
        CASE(log_says_what_happened),
        CASE(changed_log_is_noticed),
        CASE(log_is_bounded),
        cmocka_unit_test(signing_is_limited),
        CASE(refused_publications_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
