/* What the signing service signs and what it refuses, without its socket. */
#include "base/db.h"
#include "base/file.h"
#include "tests/unit/signer/service_fixture.h"
#include "tuf/trusted.h"

/* --- helpers --- */

/* Takes the set as a client would that knows `before` (NULL: only the root). */
static void assert_client_takes(struct fixture *f, const struct signer_set *before,
                                const struct signer_set *set)
{
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = NULL;
    const struct tuf_trusted_options options = {.now_s = *f->now_s, .collection = FX_COLLECTION};
    const struct bytes *b = fx_bytes(set, "root");
    bool changed = false;
    toy_ok(tuf_trusted_new(&options, b->data, b->len, &t, err));
    toy_ok(tuf_trusted_finish_root(t, err));
    if (before) {
        b = fx_bytes(before, "timestamp");
        toy_ok(tuf_trusted_load_timestamp(t, b->data, b->len, err));
        b = fx_bytes(before, "snapshot");
        toy_ok(tuf_trusted_load_snapshot(t, b->data, b->len, err));
    }
    b = fx_bytes(set, "timestamp");
    toy_ok(tuf_trusted_update_timestamp(t, b->data, b->len, &changed, err));
    b = fx_bytes(set, "snapshot");
    toy_ok(tuf_trusted_update_snapshot(t, b->data, b->len, err));
    b = fx_bytes(set, "targets");
    toy_ok(tuf_trusted_update_targets(t, "targets", NULL, b->data, b->len, err));
}

/* Nothing that is refused may leave a trace. */
static void assert_unchanged(struct fixture *f, const struct signer_set *before)
{
    CLEANUP(signer_set_done) struct signer_set now = {0};
    toy_ok(service_refresh(f->service, FX_COLLECTION, &now, err));
    assert_true(service_set_equal(before, &now));
}

/* The publication is refused with `code` and changes nothing. */
static void assert_refused(struct fixture *f, const char *const *roles, int code)
{
    CLEANUP(signer_set_done) struct signer_set before = {0};
    struct signer_set untouched = {.files = NULL, .n_files = 77};
    toy_ok(service_refresh(f->service, FX_COLLECTION, &before, err));
    assert_code(fx_publish(f, roles, &untouched, err), code);
    assert_int_equal(untouched.n_files, 77);
    assert_unchanged(f, &before);
}

static struct tuf_metadata *parse(enum tuf_type type, const struct signer_set *set)
{
    struct tuf_metadata *m = NULL;
    const struct bytes *b = fx_bytes(set, tuf_type_name(type));
    toy_ok(tuf_metadata_parse(type, b->data, b->len, &m, err));
    return m;
}

/* --- publication --- */

static void first_publication(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_publish_first(f, &set);
    assert_int_equal(set.n_files, 4);
    assert_int_equal(fx_version(&set, "root"), 1);
    assert_int_equal(fx_version(&set, "targets"), 1);
    assert_int_equal(fx_version(&set, "snapshot"), 1);
    assert_int_equal(fx_version(&set, "timestamp"), 1);
    assert_client_takes(f, NULL, &set);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *timestamp = parse(TUF_TIMESTAMP, &set);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *snapshot = parse(TUF_SNAPSHOT, &set);
    assert_int_equal(tuf_metadata_issued(timestamp), TOY_NOW);
    assert_int_equal(tuf_metadata_expires(timestamp), TOY_NOW + FX_TIMESTAMP);
    assert_int_equal(tuf_metadata_expires(snapshot), TOY_NOW + FX_SNAPSHOT);
    const struct bytes *targets = fx_bytes(&set, "targets");
    toy_ok(tuf_meta_check(tuf_snapshot_find(snapshot, "targets"), targets->data, targets->len, true,
                          err));
}

static void second_version(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set first = {0};
    CLEANUP(signer_set_done) struct signer_set second = {0};
    fx_publish_first(f, &first);
    fx_next_targets(f, "v2");
    toy_ok(fx_publish(f, fx_targets, &second, err));
    assert_int_equal(fx_version(&second, "targets"), 2);
    assert_int_equal(fx_version(&second, "snapshot"), 2);
    assert_int_equal(fx_version(&second, "timestamp"), 2);
    assert_client_takes(f, &first, &second);
}

static void same_again_gives_same_bytes(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set first = {0};
    CLEANUP(signer_set_done) struct signer_set again = {0};
    CLEANUP(signer_set_done) struct signer_set later = {0};
    fx_publish_first(f, &first);
    *f->now_s += 100;
    toy_ok(fx_publish(f, fx_first, &again, err));
    assert_true(service_set_equal(&first, &again));
    fx_restart(f);
    toy_ok(fx_publish(f, fx_first, &later, err));
    assert_true(service_set_equal(&first, &later));
}

static void skipped_version_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set first = {0};
    fx_publish_first(f, &first);
    toy_bump(toy_role(&f->repo, "targets"));
    fx_next_targets(f, "v3");
    assert_refused(f, fx_targets, E_CONFLICT);
}

static void rollback_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(bytes_done) struct bytes old = BYTES_INIT;
    struct toy_role *targets = toy_role(&f->repo, "targets");
    fx_publish_first(f, &set);
    toy_ok(bytes_append(&old, targets->file.data, targets->file.len, err));
    fx_next_targets(f, "v2");
    signer_set_done(&set);
    toy_ok(fx_publish(f, fx_targets, &set, err));
    bytes_clear(&targets->file);
    toy_ok(bytes_append(&targets->file, old.data, old.len, err));
    assert_refused(f, fx_targets, E_CONFLICT);
    /* Another second version is as bad as the first. */
    toy_target(&f->repo, "targets", "other", "other");
    toy_sign(targets);
    assert_refused(f, fx_targets, E_CONFLICT);
}

static void unsigned_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct toy_role *targets = toy_role(&f->repo, "targets");
    struct toy_role *root = toy_role(&f->repo, "root");
    fx_publish_first(f, &set);
    fx_next_targets(f, "v2");
    toy_sign_tree(targets->tree, NULL, 0, &targets->file);
    assert_refused(f, fx_targets, E_SIGNATURE);
    struct signing_key *stranger = toy_key_new(&f->repo, KEY_ED25519);
    toy_sign_tree(targets->tree, &stranger, 1, &targets->file);
    assert_refused(f, fx_targets, E_SIGNATURE);
    /* Below threshold: one of root's two keys. */
    toy_bump(root);
    toy_sign_tree(root->tree, root->signers, 1, &root->file);
    static const char *const only_root[] = {"root", NULL};
    assert_refused(f, only_root, E_SIGNATURE);
}

static void foreign_and_expired_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct toy_role *targets = toy_role(&f->repo, "targets");
    fx_publish_first(f, &set);
    fx_next_targets(f, "v2");
    toy_set_text(targets, "x-bulla-collection", "acme/other");
    toy_sign(targets);
    assert_refused(f, fx_targets, E_BINDING);
    toy_set_text(targets, "x-bulla-collection", FX_COLLECTION);
    toy_expire(targets);
    toy_sign(targets);
    assert_refused(f, fx_targets, E_EXPIRED);
}

static void malformed_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct toy_role *targets = toy_role(&f->repo, "targets");
    fx_publish_first(f, &set);
    fx_next_targets(f, "v2");
    targets->file.len--;
    assert_refused(f, fx_targets, E_INVALID);
    bytes_clear(&targets->file);
    assert_refused(f, fx_targets, E_INVALID);
}

/* --- keys --- */

static void keys_are_lasting_and_distinct(void **state)
{
    struct fixture *f = *state;
    fx_restart(f);
    CLEANUP(public_key_cleanup) struct public_key *again = fx_key(f, FX_COLLECTION, TUF_SNAPSHOT);
    CLEANUP(public_key_cleanup) struct public_key *other = fx_key(f, "acme/other", TUF_SNAPSHOT);
    assert_true(public_key_equal(again, f->snapshot_key));
    assert_false(public_key_equal(f->timestamp_key, f->snapshot_key));
    assert_false(public_key_equal(other, f->snapshot_key));
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    assert_code(service_key(f->service, FX_COLLECTION, TUF_TARGETS, &json, err), E_INVALID);
    assert_code(service_key(f->service, "No/Name", TUF_SNAPSHOT, &json, err), E_INVALID);
    assert_int_equal(json.len, 0);
}

/* The reason must tell the owner what to put into root. */
static void assert_keys_missing(struct fixture *f, int64_t threshold,
                                const struct public_key *snapshot,
                                const struct public_key *timestamp)
{
    struct error err_ = ERROR_INIT;
    struct key_id id;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_root_lists(&f->repo, snapshot, timestamp, threshold);
    toy_sign(&f->repo.roles[TUF_ROOT]);
    assert_int_equal(fx_publish(f, fx_first, &set, &err_), E_INVALID);
    bool both = threshold != 1;
    toy_ok(public_key_id(f->snapshot_key, &id, err));
    assert_int_equal(strstr(err_.message, id.text) != NULL, both || snapshot != f->snapshot_key);
    toy_ok(public_key_id(f->timestamp_key, &id, err));
    assert_int_equal(strstr(err_.message, id.text) != NULL, both || timestamp != f->timestamp_key);
    assert_code(service_refresh(f->service, FX_COLLECTION, &set, err), E_NOTFOUND);
}

static void root_must_list_our_keys(void **state)
{
    struct fixture *f = *state;
    const struct public_key *stranger = signing_key_public(toy_key_new(&f->repo, KEY_ED25519));
    assert_keys_missing(f, 1, stranger, stranger);
    assert_keys_missing(f, 1, stranger, f->timestamp_key);
    assert_keys_missing(f, 1, f->snapshot_key, stranger);
    assert_keys_missing(f, 1, f->timestamp_key, f->snapshot_key);
    assert_keys_missing(f, 2, f->snapshot_key, f->timestamp_key);
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_root(f);
    fx_publish_first(f, &set);
    /* Nor can a later root drop them. */
    struct toy_role *root = toy_role(&f->repo, "root");
    static const char *const only_root[] = {"root", NULL};
    toy_bump(root);
    fx_root_lists(&f->repo, stranger, stranger, 1);
    toy_sign(root);
    assert_refused(f, only_root, E_INVALID);
}

static void unknown_collection(void **state)
{
    struct fixture *f = *state;
    struct tuf_file changes[FX_MAX_CHANGES];
    CLEANUP(signer_set_done) struct signer_set set = {0};
    size_t n = fx_changes(f, fx_first, changes);
    assert_code(service_publish(f->service, "acme/none", changes, n, &set, err), E_INVALID);
    assert_code(service_refresh(f->service, "acme/none", &set, err), E_NOTFOUND);
    assert_code(service_refresh(f->service, FX_COLLECTION, &set, err), E_NOTFOUND);
}

static void root_rotation(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct toy_role *root = toy_role(&f->repo, "root");
    static const char *const only_root[] = {"root", NULL};
    fx_publish_first(f, &set);
    struct signing_key *old = root->signers[1];
    root->signers[1] = toy_key_new(&f->repo, KEY_ED25519);
    toy_bump(root);
    fx_root_lists(&f->repo, f->snapshot_key, f->timestamp_key, 1);
    struct signing_key *all[] = {root->signers[0], old, root->signers[1]};
    toy_sign_tree(root->tree, all, 3, &root->file);
    signer_set_done(&set);
    toy_ok(fx_publish(f, only_root, &set, err));
    assert_int_equal(fx_version(&set, "root"), 2);
    assert_int_equal(fx_version(&set, "targets"), 1);
    assert_int_equal(fx_version(&set, "timestamp"), 2);
    assert_client_takes(f, NULL, &set);
}

/* A database from before roots were kept: the last one is what there is, and later ones follow. */
static void roots_of_an_older_database(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(signer_set_done) struct signer_set roots = {0};
    CLEANUP(signer_set_done) struct signer_set later = {0};
    CLEANUP(db_cleanup) struct db *db = NULL;
    static const char *const only_root[] = {"root", NULL};
    struct toy_role *root = toy_role(&f->repo, "root");
    fx_publish_first(f, &set);
    service_cleanup(&f->service);
    toy_ok(db_open(scratch_name(f->dir, "signer.db"), 0, &db, err));
    toy_ok(db_exec(db,
                   "ALTER TABLE collection DROP COLUMN snapshot_next;"
                   "ALTER TABLE collection DROP COLUMN timestamp_next;"
                   "DROP TABLE token_key; DROP TABLE root; DROP TABLE shown; DROP TABLE stated; "
                   "DROP TABLE audit;"
                   "DROP INDEX collection_changed; DROP INDEX collection_epoch;"
                   "ALTER TABLE collection DROP COLUMN epoch;"
                   "ALTER TABLE collection DROP COLUMN changed;"
                   "ALTER TABLE collection DROP COLUMN floor_snapshot;"
                   "ALTER TABLE collection DROP COLUMN floor_timestamp;"
                   "ALTER TABLE service DROP COLUMN identity; ALTER TABLE service DROP COLUMN copy;"
                   "ALTER TABLE service DROP COLUMN marked; ALTER TABLE service DROP COLUMN epoch;"
                   "ALTER TABLE service DROP COLUMN open_epoch;"
                   "ALTER TABLE service DROP COLUMN why;"
                   "ALTER TABLE service DROP COLUMN audit_removed;"
                   "ALTER TABLE service DROP COLUMN token_epoch; PRAGMA user_version = 1",
                   err));
    db_cleanup(&db);
    assert_int_equal(unlink(scratch_name(f->dir, "last-signed")), 0); /* nor was there one */
    fx_open(f);
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &roots, err));
    assert_int_equal(roots.n_files, 1);
    toy_bump(root);
    toy_sign(root);
    signer_set_done(&set);
    toy_ok(fx_publish(f, only_root, &set, err));
    toy_ok(service_roots(f->service, FX_COLLECTION, 0, &later, err));
    assert_int_equal(later.n_files, 2);
    assert_int_equal(later.files[1].version, 2);
    assert_code(service_roots(f->service, "acme/unknown", 0, &later, err), E_NOTFOUND);
}

/* --- delegated roles --- */

static void assert_in_snapshot(const struct signer_set *set, const char *role, int64_t version)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = parse(TUF_SNAPSHOT, set);
    const struct tuf_meta *entry = tuf_snapshot_find(m, role);
    assert_non_null(entry);
    assert_int_equal(entry->version, version);
}

static void publish_targets_and(struct fixture *f, const char *role, struct signer_set *set)
{
    const char *const roles[] = {"targets", role, NULL};
    struct toy_role *targets = toy_role(&f->repo, "targets");
    toy_bump(targets);
    toy_sign(targets);
    signer_set_done(set);
    toy_ok(fx_publish(f, roles, set, err));
}

static void delegated_role_goes_and_returns(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct toy_role *targets = toy_role(&f->repo, "targets");
    fx_publish_first(f, &set);
    struct toy_role *releases = toy_delegate(&f->repo, "targets", "releases", "v*", false);
    toy_sign(releases);
    publish_targets_and(f, "releases", &set);
    assert_int_equal(fx_version(&set, "releases"), 1);
    assert_in_snapshot(&set, "releases", 1);

    js_remove(targets->tree, "delegations");
    publish_targets_and(f, NULL, &set);
    assert_int_equal(fx_version(&set, "releases"), 0);
    assert_in_snapshot(&set, "releases", 1); /* TUF 5.5.5: clients refuse where it is missing */

    /* Kept over a renewal and a restart. */
    *f->now_s += FX_SNAPSHOT / 2;
    fx_restart(f);
    signer_set_done(&set);
    toy_ok(service_refresh(f->service, FX_COLLECTION, &set, err));
    assert_in_snapshot(&set, "releases", 1);

    struct js *expires = js_text_new("2027-01-01T00:00:00Z");
    toy_ok(js_set(targets->tree, "expires", expires, err));
    toy_set_text(releases, "expires", "2027-01-01T00:00:00Z");
    toy_set_text(&f->repo.roles[TUF_ROOT], "expires", "2027-01-01T00:00:00Z");
    toy_bump(&f->repo.roles[TUF_ROOT]);
    toy_sign(&f->repo.roles[TUF_ROOT]);
    toy_delegate(&f->repo, "targets", "releases", "v*", false);
    toy_bump(targets);
    toy_sign(targets);
    toy_target(&f->repo, "releases", "v9", "nine");
    toy_sign(releases); /* another version 1 */
    static const char *const back[] = {"root", "targets", "releases", NULL};
    assert_refused(f, back, E_CONFLICT);
    toy_bump(releases);
    toy_sign(releases);
    signer_set_done(&set);
    toy_ok(fx_publish(f, back, &set, err));
    assert_int_equal(fx_version(&set, "releases"), 2);
    assert_in_snapshot(&set, "releases", 2);
}

/* --- renewal --- */

static void refresh_at(struct fixture *f, int64_t now_s, struct signer_set *out)
{
    *f->now_s = now_s;
    signer_set_done(out);
    toy_ok(service_refresh(f->service, FX_COLLECTION, out, err));
}

static void refresh_renews_at_half(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set first = {0};
    CLEANUP(signer_set_done) struct signer_set now = {0};
    fx_publish_first(f, &first);
    refresh_at(f, TOY_NOW + FX_TIMESTAMP / 2 - 1, &now);
    assert_true(service_set_equal(&first, &now));
    refresh_at(f, TOY_NOW + FX_TIMESTAMP / 2, &now);
    assert_int_equal(fx_version(&now, "timestamp"), 2);
    assert_int_equal(fx_version(&now, "snapshot"), 1);
    assert_client_takes(f, &first, &now);
    /* After an outage, past its expiry. */
    refresh_at(f, TOY_NOW + 3 * FX_TIMESTAMP, &now);
    assert_int_equal(fx_version(&now, "timestamp"), 3);
    assert_int_equal(fx_version(&now, "snapshot"), 1);
    refresh_at(f, TOY_NOW + FX_SNAPSHOT / 2, &now);
    assert_int_equal(fx_version(&now, "snapshot"), 2);
    assert_int_equal(fx_version(&now, "timestamp"), 4);
}

/* Root and targets are long past their dates here: a client must still see that nothing is newer.
 */
static void expired_roles_do_not_stop_renewal(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_publish_first(f, &set);
    refresh_at(f, TOY_NOW + 400 * TOY_DAY, &set);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *timestamp = parse(TUF_TIMESTAMP, &set);
    assert_int_equal(tuf_metadata_version(timestamp), 2);
    assert_int_equal(tuf_metadata_expires(timestamp), *f->now_s + FX_TIMESTAMP);
    assert_int_equal(fx_version(&set, "snapshot"), 2);
}

static void wrong_clock_heals(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_publish_first(f, &set);
    refresh_at(f, TOY_NOW + 20 * TOY_DAY, &set); /* the clock was ahead… */
    assert_int_equal(fx_version(&set, "timestamp"), 2);
    refresh_at(f, TOY_NOW + 10, &set); /* …and was put right */
    assert_int_equal(fx_version(&set, "timestamp"), 3);
    assert_int_equal(fx_version(&set, "snapshot"), 3);
    assert_client_takes(f, NULL, &set);
    refresh_at(f, TOY_NOW - 200, &set); /* a small step back is none */
    assert_int_equal(fx_version(&set, "timestamp"), 3);
}

/* Who shortens a lifetime in the configuration means what is published now, too. */
static void shorter_lifetime_counts_at_once(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    bool more = false;
    fx_publish_first(f, &set);
    f->lifetimes.timestamp_s = FX_HOUR;
    fx_restart(f);
    toy_ok(service_renew_one(f->service, &more, err));
    assert_true(more);
    refresh_at(f, TOY_NOW, &set);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *timestamp = parse(TUF_TIMESTAMP, &set);
    assert_int_equal(tuf_metadata_version(timestamp), 2);
    assert_int_equal(tuf_metadata_expires(timestamp), TOY_NOW + FX_HOUR);
    assert_int_equal(fx_version(&set, "snapshot"), 1);
}

static void publish_in(struct fixture *f, const char *collection)
{
    struct toy_repo repo;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(public_key_cleanup) struct public_key *snapshot = fx_key(f, collection, TUF_SNAPSHOT);
    CLEANUP(public_key_cleanup) struct public_key *timestamp = fx_key(f, collection, TUF_TIMESTAMP);
    toy_init(&repo, collection);
    fx_root_lists(&repo, snapshot, timestamp, 1);
    toy_sign(&repo.roles[TUF_ROOT]);
    toy_sign(&repo.roles[TUF_TARGETS]);
    const struct bytes *root = &repo.roles[TUF_ROOT].file, *t = &repo.roles[TUF_TARGETS].file;
    const struct tuf_file changes[] = {{"root", root->data, root->len},
                                       {"targets", t->data, t->len}};
    toy_ok(service_publish(f->service, collection, changes, 2, &set, err));
    toy_done(&repo);
}

static void background_renews_what_is_due(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    bool more = true;
    fx_publish_first(f, &set);
    publish_in(f, "acme/other");
    toy_ok(service_renew_one(f->service, &more, err));
    assert_false(more);
    *f->now_s += FX_TIMESTAMP / 2 + 1;
    for (int i = 0; i < 2; i++) {
        toy_ok(service_renew_one(f->service, &more, err));
        assert_true(more);
    }
    toy_ok(service_renew_one(f->service, &more, err));
    assert_false(more);
    refresh_at(f, *f->now_s, &set);
    assert_int_equal(fx_version(&set, "timestamp"), 2); /* by the background, not by this */
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *timestamp = parse(TUF_TIMESTAMP, &set);
    assert_int_equal(tuf_metadata_issued(timestamp), *f->now_s);
}

/* --- the database --- */

static void restart_remembers(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_publish_first(f, &set);
    fx_next_targets(f, "v2");
    signer_set_done(&set);
    toy_ok(fx_publish(f, fx_targets, &set, err));
    fx_restart(f);
    assert_unchanged(f, &set);
    fx_next_targets(f, "v3");
    signer_set_done(&set);
    toy_ok(fx_publish(f, fx_targets, &set, err));
    assert_int_equal(fx_version(&set, "snapshot"), 3);
    assert_int_equal(fx_version(&set, "timestamp"), 3);
}

static void wrong_passphrase(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_publish_first(f, &set);
    service_cleanup(&f->service);
    struct error err_ = ERROR_INIT;
    assert_int_equal(fx_open_with(f, "another", &err_), E_PASSPHRASE);
    assert_non_null(strstr(err_.message, "passphrase file"));
    assert_null(strstr(err_.message, "another"));
    assert_null(f->service);
    fx_open(f);
    assert_unchanged(f, &set);
}

static void alter(struct fixture *f, const char *sql)
{
    struct db *db = NULL;
    toy_ok(db_open(scratch_name(f->dir, "signer.db"), 0, &db, err));
    toy_ok(db_exec(db, "PRAGMA foreign_keys = OFF", err));
    toy_ok(db_exec(db, sql, err));
    db_close(db);
}

static void assert_tampered(struct fixture *f)
{
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    assert_code(service_refresh(f->service, FX_COLLECTION, &set, err), E_TAMPERED);
    assert_code(fx_publish(f, fx_targets, &set, err), E_TAMPERED);
    assert_code(service_key(f->service, FX_COLLECTION, TUF_SNAPSHOT, &json, err), E_TAMPERED);
    assert_int_equal(set.n_files, 0);
    assert_int_equal(json.len, 0);
}

static void tampered_database_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    static const char *const crimes[] = {
        "UPDATE file SET data = replace(data, 'v1', 'v7') WHERE role = 'targets' AND"
        " collection = 'acme/app'",
        "UPDATE file SET data = x'' WHERE role = 'root' AND collection = 'acme/app'",
        "UPDATE file SET version = version - 1 WHERE role = 'timestamp'",
        "UPDATE file SET version = version + 1 WHERE role = 'snapshot'",
        "UPDATE file SET role = 'targetz' WHERE role = 'targets'",
        "UPDATE file SET gone = 1 WHERE role = 'targets'",
        "DELETE FROM file WHERE collection = 'acme/app' AND role = 'timestamp'",
        "DELETE FROM file WHERE collection = 'acme/app'",
        "INSERT INTO file VALUES ('acme/app', 'extra', 1, x'00', 0)",
        "UPDATE collection SET snapshot_key = (SELECT snapshot_key FROM collection WHERE"
        " name = 'acme/other') WHERE name = 'acme/app'",
        "UPDATE collection SET timestamp_key = snapshot_key",
        "UPDATE collection SET signature = (SELECT signature FROM collection WHERE"
        " name = 'acme/other') WHERE name = 'acme/app'",
        "UPDATE collection SET signature = x''",
        "UPDATE collection SET snapshot_next = snapshot_key WHERE name = 'acme/app'",
        "UPDATE collection SET timestamp_next = x'00' WHERE name = 'acme/app'",
        "DELETE FROM file WHERE collection = 'acme/app';"
        "UPDATE collection SET name = 'acme/lost' WHERE name = 'acme/app';"
        "UPDATE file SET collection = 'acme/app' WHERE collection = 'acme/other';"
        "UPDATE collection SET name = 'acme/app' WHERE name = 'acme/other'",
    };
    fx_publish_first(f, &set);
    publish_in(f, "acme/other");
    fx_next_targets(f, "v2");
    CLEANUP(bytes_done) struct bytes good = BYTES_INIT;
    service_cleanup(&f->service);
    alter(f, "PRAGMA wal_checkpoint(TRUNCATE)");
    toy_ok(file_read(f->dir->fd, "signer.db", 1u << 20, &good, err));
    for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++) {
        print_message("# %s\n", crimes[i]);
        alter(f, crimes[i]);
        fx_open(f);
        assert_tampered(f);
        service_cleanup(&f->service);
        alter(f, "PRAGMA wal_checkpoint(TRUNCATE)");
        toy_ok(file_write_atomic(f->dir->fd, "signer.db", good.data, good.len, 0600, err));
    }
    fx_open(f);
    assert_unchanged(f, &set);
}

/* A role that went must not come back with another past. */
static void tampered_gone_role_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    fx_publish_first(f, &set);
    toy_sign(toy_delegate(&f->repo, "targets", "releases", "v*", false));
    publish_targets_and(f, "releases", &set);
    js_remove(toy_role(&f->repo, "targets")->tree, "delegations");
    publish_targets_and(f, NULL, &set);
    fx_next_targets(f, "v2");
    alter(f, "DELETE FROM file WHERE role = 'releases'");
    assert_tampered(f);
}

static void lost_record_key_is_tampering(void **state)
{
    struct fixture *f = *state;
    service_cleanup(&f->service);
    alter(f, "DELETE FROM service");
    assert_code(fx_open_with(f, FX_PASSPHRASE, err), E_TAMPERED);
}

static void foreign_file_refused(void **state)
{
    struct fixture *f = *state;
    service_cleanup(&f->service);
    scratch_write_text(f->dir, "signer.db", "this is no database, whatever its name may say\n");
    assert_code(fx_open_with(f, FX_PASSPHRASE, err), E_TAMPERED);
}

/* One bad collection must not keep the others from being renewed, nor spin. */
static void tampered_one_does_not_block_others(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    bool more = true;
    int failed = 0, rounds = 0;
    fx_publish_first(f, &set);
    publish_in(f, "acme/other");
    alter(f, "UPDATE file SET version = 9 WHERE role = 'timestamp' AND collection = 'acme/app'");
    *f->now_s += FX_TIMESTAMP / 2 + 1;
    for (more = true; more && rounds < 10; rounds++) {
        struct error ignored = ERROR_INIT;
        failed += service_renew_one(f->service, &more, &ignored) == E_TAMPERED;
    }
    assert_int_equal(failed, 1);
    assert_int_equal(rounds, 3);
    signer_set_done(&set);
    toy_ok(service_refresh(f->service, "acme/other", &set, err));
    assert_int_equal(fx_version(&set, "timestamp"), 2);
    /* And a minute later it is looked at again. */
    *f->now_s += 61;
    assert_code(service_renew_one(f->service, &more, err), E_TAMPERED);
}

/* The dates beside the files only say where to look. */
static void wrong_dates_heal(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    bool more = false;
    fx_publish_first(f, &set);
    alter(f, "UPDATE collection SET timestamp_expires_s = 1, snapshot_expires_s = 1");
    toy_ok(service_renew_one(f->service, &more, err));
    assert_true(more);
    toy_ok(service_renew_one(f->service, &more, err));
    assert_false(more);
    assert_unchanged(f, &set);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(first_publication),
        CASE(second_version),
        CASE(same_again_gives_same_bytes),
        CASE(skipped_version_refused),
        CASE(rollback_refused),
        CASE(unsigned_refused),
        CASE(foreign_and_expired_refused),
        CASE(malformed_refused),
        CASE(keys_are_lasting_and_distinct),
        CASE(root_must_list_our_keys),
        CASE(unknown_collection),
        CASE(root_rotation),
        CASE(roots_of_an_older_database),
        CASE(delegated_role_goes_and_returns),
        CASE(refresh_renews_at_half),
        CASE(expired_roles_do_not_stop_renewal),
        CASE(wrong_clock_heals),
        CASE(shorter_lifetime_counts_at_once),
        CASE(background_renews_what_is_due),
        CASE(restart_remembers),
        CASE(wrong_passphrase),
        CASE(tampered_database_refused),
        CASE(tampered_gone_role_refused),
        CASE(lost_record_key_is_tampering),
        CASE(foreign_file_refused),
        CASE(tampered_one_does_not_block_others),
        CASE(wrong_dates_heal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
