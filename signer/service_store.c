#include "signer/service_store.h"

#include "base/db.h"
#include "signer/service_set.h"

#include <string.h>

#define APPLICATION_ID 0x42534731 /* "BSG1" */
#define RETRY_S        60

static const char *const schema[] = {
    "CREATE TABLE service (id INTEGER PRIMARY KEY CHECK (id = 1), record_key BLOB NOT NULL);"
    "CREATE TABLE collection ("
    "  name TEXT PRIMARY KEY NOT NULL,"
    "  snapshot_key BLOB NOT NULL, timestamp_key BLOB NOT NULL,"
    "  signature BLOB NOT NULL,"
    /* For the search for what is due only; decisions are taken from the files themselves. */
    "  snapshot_expires_s INTEGER, timestamp_expires_s INTEGER,"
    "  retry_s INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX collection_snapshot ON collection (snapshot_expires_s);"
    "CREATE INDEX collection_timestamp ON collection (timestamp_expires_s);"
    "CREATE TABLE file ("
    "  collection TEXT NOT NULL REFERENCES collection (name),"
    "  role TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,"
    "  gone INTEGER NOT NULL,"
    "  PRIMARY KEY (collection, role));",
    /* Every root, for a registry that comes back from a copy of the past. Each is signed by the one
     * before, so these rows need no other protection. */
    "CREATE TABLE root ("
    "  collection TEXT NOT NULL REFERENCES collection (name),"
    "  version INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (collection, version));"
    "INSERT INTO root SELECT collection, version, data FROM file"
    "  WHERE role = 'root' AND gone = 0;",
    /* Keys that wait for a root that lists them. */
    "ALTER TABLE collection ADD COLUMN snapshot_next BLOB;"
    "ALTER TABLE collection ADD COLUMN timestamp_next BLOB;",
    /* service_memory.c and service_audit.c. A collection's `changed` is the record of its last
     * change: a registry asks for those behind a number. */
    "ALTER TABLE service ADD COLUMN identity BLOB;"
    "ALTER TABLE service ADD COLUMN copy INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE service ADD COLUMN marked INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE service ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE service ADD COLUMN open_epoch INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE service ADD COLUMN why TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE service ADD COLUMN audit_removed INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE collection ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE collection ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE collection ADD COLUMN floor_snapshot INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE collection ADD COLUMN floor_timestamp INTEGER NOT NULL DEFAULT 0;"
    "UPDATE collection SET changed = 1;"
    "CREATE INDEX collection_changed ON collection (changed);"
    "CREATE INDEX collection_epoch ON collection (epoch);"
    "CREATE TABLE shown (collection TEXT PRIMARY KEY NOT NULL,"
    "  snapshot INTEGER NOT NULL, timestamp INTEGER NOT NULL);"
    "CREATE TABLE stated (collection TEXT PRIMARY KEY NOT NULL,"
    "  snapshot INTEGER NOT NULL, timestamp INTEGER NOT NULL);"
    "CREATE TABLE audit (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, line BLOB NOT NULL);",
    /* Keys on a token never serve twice. */
    "CREATE TABLE token_key (id TEXT PRIMARY KEY NOT NULL, collection TEXT NOT NULL);",
    /* The epoch whose token keys are known: see service_store_token_forgotten. */
    "ALTER TABLE service ADD COLUMN token_epoch INTEGER NOT NULL DEFAULT 0;",
};

struct service_store {
    struct db *db;
    struct service_memory *memory;
    struct signing_key *record_key;
};

void service_collection_done(struct service_collection *c)
{
    bytes_done(&c->snapshot_key);
    bytes_done(&c->timestamp_key);
    bytes_done(&c->snapshot_next);
    bytes_done(&c->timestamp_next);
    signer_set_done(&c->set);
    signer_set_done(&c->gone);
}

/* --- opening --- */

static int read_record_key(struct db *db, struct bytes *sealed, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = db_prepare(db, "SELECT record_key FROM service WHERE id = 1", &stmt, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (rc || !row)
        return rc;
    size_t len = 0;
    const void *data = db_column_blob(stmt, 0, &len);
    return bytes_append(sealed, data, len, err);
}

static int write_record_key(struct db *db, const struct bytes *sealed, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(db, "INSERT INTO service (id, record_key) VALUES (1, ?1)", &stmt, err);
    if (!rc)
        rc = db_bind_blob(stmt, 1, sealed->data, sealed->len, err);
    return rc ? rc : db_run(stmt, err);
}

/* A database with collections but without this key was tampered with: a fresh key would make every
 * record invalid, but say the wrong thing about why. */
static int check_empty(struct db *db, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = db_prepare(db, "SELECT 1 FROM collection LIMIT 1", &stmt, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (rc)
        return rc;
    return row ? fail(err, E_TAMPERED, "the database has collections but no record key") : OK;
}

static int open_record_key(struct service_store *store, struct service_keyring *ring,
                           struct error *err)
{
    static const char label[] = "record key";
    CLEANUP(bytes_done) struct bytes sealed = BYTES_INIT;
    int rc = read_record_key(store->db, &sealed, err);
    if (!rc && sealed.len == 0) {
        rc = check_empty(store->db, err);
        if (!rc)
            rc = service_keyring_make(ring, label, &sealed, err);
        if (!rc)
            rc = write_record_key(store->db, &sealed, err);
    }
    if (rc)
        return rc;
    rc = service_keyring_unlock(ring, label, &sealed, &store->record_key, err);
    if (rc == E_PASSPHRASE)
        return fail(err, rc, "the passphrase file does not belong to this database");
    return rc;
}

int service_store_open(const char *path, struct service_keyring *ring, struct service_store **out,
                       struct error *err)
{
    CLEANUP(service_store_cleanup) struct service_store *store = calloc(1, sizeof *store);
    if (!store)
        return fail_nomem(err);
    int rc = db_open(path, DB_CREATE, &store->db, err);
    if (!rc)
        rc = db_migrate(store->db, APPLICATION_ID, schema, sizeof schema / sizeof schema[0], err);
    if (!rc)
        rc = open_record_key(store, ring, err);
    if (!rc)
        rc = service_memory_open(store->db, path, &store->memory, err);
    if (rc)
        return wrap(err, rc, "open '%s'", path);
    *out = TAKE_PTR(store);
    return OK;
}

int service_store_open_plain(const char *path, struct db **out, struct error *err)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    int rc = db_open(path, 0, &db, err);
    if (!rc)
        rc = db_migrate(db, APPLICATION_ID, schema, sizeof schema / sizeof schema[0], err);
    if (!rc)
        *out = TAKE_PTR(db);
    return wrap(err, rc, "the signing service's database '%s'", path);
}

void service_store_close(struct service_store *store)
{
    if (!store)
        return;
    signing_key_cleanup(&store->record_key);
    service_memory_close(store->memory);
    db_close(store->db);
    free(store);
}

void service_store_cleanup(struct service_store **store)
{
    service_store_close(*store);
    *store = NULL;
}

/* --- the record: what is signed for one collection --- */

static int set_digest(struct js *object, const char *key, const struct bytes *data,
                      struct error *err)
{
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
    int rc = digest_of(DIGEST_SHA256, data->data, data->len, &digest, err);
    return rc ? rc : js_set(object, key, js_text_new(digest_format(&digest, text)), err);
}

static int push_file(struct js *list, const struct signer_set_file *file, struct error *err)
{
    CLEANUP(js_cleanup) struct js *entry = js_object_new();
    if (!entry)
        return fail_nomem(err);
    int rc = js_set(entry, "role", js_text_new(file->role), err);
    if (!rc)
        rc = js_set(entry, "version", js_int_new(file->version), err);
    if (!rc)
        rc = set_digest(entry, "digest", &file->data, err);
    return rc ? rc : js_push(list, TAKE_PTR(entry), err);
}

/* The files in the order of their roles' names, however the set holds them. */
static int set_files(struct js *record, const char *key, const struct signer_set *set,
                     struct error *err)
{
    const char *last = "";
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    if (!list)
        return fail_nomem(err);
    for (size_t done = 0; done < set->n_files; done++) {
        const struct signer_set_file *next = NULL;
        for (size_t i = 0; i < set->n_files; i++)
            if (strcmp(set->files[i].role, last) > 0 &&
                (!next || strcmp(set->files[i].role, next->role) < 0))
                next = &set->files[i];
        if (!next)
            return fail(err, E_INTERNAL, "a role is in the set twice");
        int rc = push_file(list, next, err);
        if (rc)
            return rc;
        last = next->role;
    }
    return js_set(record, key, TAKE_PTR(list), err);
}

/* "form" keeps these bytes from ever being taken for anything else that is signed. */
static int record_bytes(const struct service_collection *c, struct bytes *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *record = js_object_new();
    if (!record)
        return fail_nomem(err);
    int rc = js_set(record, "form", js_text_new("bulla-signer collection record 1"), err);
    if (!rc)
        rc = js_set(record, "collection", js_text_new(c->name), err);
    if (!rc)
        rc = set_digest(record, "snapshotKey", &c->snapshot_key, err);
    if (!rc)
        rc = set_digest(record, "timestampKey", &c->timestamp_key, err);
    if (!rc && c->snapshot_next.len)
        rc = set_digest(record, "snapshotNext", &c->snapshot_next, err);
    if (!rc && c->timestamp_next.len)
        rc = set_digest(record, "timestampNext", &c->timestamp_next, err);
    if (!rc)
        rc = set_files(record, "files", &c->set, err);
    if (!rc)
        rc = set_files(record, "gone", &c->gone, err);
    return rc ? rc : js_canonical(record, out, err);
}

/* --- loading --- */

static int read_blob(struct db_stmt *stmt, int column, struct bytes *out, struct error *err)
{
    size_t len = 0;
    const void *data = db_column_blob(stmt, column, &len);
    return bytes_append(out, data, len, err);
}

static int load_row(struct service_store *store, struct service_collection *c,
                    struct bytes *signature, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = db_prepare(store->db,
                        "SELECT snapshot_key, timestamp_key, signature, snapshot_next,"
                        " timestamp_next, floor_snapshot, floor_timestamp"
                        " FROM collection WHERE name = ?1",
                        &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, c->name, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (rc)
        return rc;
    if (!row)
        return fail(err, E_NOTFOUND, "the signing service knows no collection '%s'", c->name);
    rc = read_blob(stmt, 0, &c->snapshot_key, err);
    if (!rc)
        rc = read_blob(stmt, 1, &c->timestamp_key, err);
    if (!rc)
        rc = read_blob(stmt, 2, signature, err);
    if (!rc)
        rc = read_blob(stmt, 3, &c->snapshot_next, err);
    c->floor_snapshot = db_column_int(stmt, 5);
    c->floor_timestamp = db_column_int(stmt, 6);
    return rc ? rc : read_blob(stmt, 4, &c->timestamp_next, err);
}

static int load_file(struct db_stmt *stmt, struct service_collection *c, struct error *err)
{
    struct signer_set *set = db_column_int(stmt, 3) ? &c->gone : &c->set;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    const char *role = db_column_text(stmt, 0);
    if (!role)
        return fail_nomem(err);
    int rc = read_blob(stmt, 2, &data, err);
    return rc ? rc : service_set_add(set, role, db_column_int(stmt, 1), &data, err);
}

static int load_files(struct service_store *store, struct service_collection *c, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = db_prepare(store->db,
                        "SELECT role, version, data, gone FROM file WHERE collection = ?1"
                        " ORDER BY role",
                        &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, c->name, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    while (!rc && row) {
        rc = load_file(stmt, c, err);
        if (!rc)
            rc = db_step(stmt, &row, err);
    }
    return rc;
}

static int check_record(struct service_store *store, const struct service_collection *c,
                        const struct bytes *signature, struct error *err)
{
    CLEANUP(bytes_done) struct bytes record = BYTES_INIT;
    int rc = record_bytes(c, &record, err);
    if (rc)
        return rc;
    rc = public_key_verify(signing_key_public(store->record_key), record.data, record.len,
                           signature->data, signature->len, NULL);
    if (rc == E_SIGNATURE)
        return fail(err, E_TAMPERED,
                    "the signing service's record of collection '%s' was changed by another "
                    "program: nothing is signed",
                    c->name);
    return rc ? fail(err, rc, "check the record of collection '%s'", c->name) : OK;
}

int service_store_load(struct service_store *store, const char *name,
                       struct service_collection *out, struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection c = {0};
    CLEANUP(bytes_done) struct bytes signature = BYTES_INIT;
    size_t len = strlen(name);
    if (len >= sizeof c.name)
        return fail(err, E_INVALID, "'%s' is not the name of a collection", name);
    memcpy(c.name, name, len + 1);
    int rc = load_row(store, &c, &signature, err);
    if (!rc)
        rc = load_files(store, &c, err);
    if (!rc)
        rc = check_record(store, &c, &signature, err);
    if (rc)
        return rc;
    *out = c;
    c = (struct service_collection){0};
    return OK;
}

/* --- saving --- */

static int bind_keys(struct db_stmt *stmt, const struct service_collection *c, struct error *err)
{
    int rc = db_bind_blob(stmt, 2, c->snapshot_key.data, c->snapshot_key.len, err);
    if (!rc)
        rc = db_bind_blob(stmt, 3, c->timestamp_key.data, c->timestamp_key.len, err);
    if (!rc && c->snapshot_next.len)
        rc = db_bind_blob(stmt, 7, c->snapshot_next.data, c->snapshot_next.len, err);
    if (!rc && c->timestamp_next.len)
        rc = db_bind_blob(stmt, 8, c->timestamp_next.data, c->timestamp_next.len, err);
    return rc;
}

static int save_row(struct service_store *store, const struct service_collection *c,
                    const struct bytes *signature, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(store->db,
                        "INSERT INTO collection (name, snapshot_key, timestamp_key, signature,"
                        " snapshot_expires_s, timestamp_expires_s, snapshot_next, timestamp_next)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                        " ON CONFLICT (name) DO UPDATE SET snapshot_key = ?2, timestamp_key = ?3,"
                        " signature = ?4, snapshot_expires_s = ?5, timestamp_expires_s = ?6,"
                        " snapshot_next = ?7, timestamp_next = ?8, retry_s = 0",
                        &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, c->name, err);
    if (!rc)
        rc = bind_keys(stmt, c, err);
    if (!rc)
        rc = db_bind_blob(stmt, 4, signature->data, signature->len, err);
    /* Nothing published: no dates, so it is never due. */
    if (!rc && c->set.n_files)
        rc = db_bind_int(stmt, 5, c->snapshot_expires_s, err);
    if (!rc && c->set.n_files)
        rc = db_bind_int(stmt, 6, c->timestamp_expires_s, err);
    return rc ? rc : db_run(stmt, err);
}

static int delete_file(struct service_store *store, const char *name, const char *role,
                       struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc =
        db_prepare(store->db, "DELETE FROM file WHERE collection = ?1 AND role = ?2", &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, name, err);
    if (!rc)
        rc = db_bind_text(stmt, 2, role, err);
    return rc ? rc : db_run(stmt, err);
}

/* Rows behind the reading position may be deleted while a SELECT goes on. */
static int drop_files(struct service_store *store, const struct service_collection *c,
                      struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = db_prepare(store->db, "SELECT role FROM file WHERE collection = ?1", &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, c->name, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    while (!rc && row) {
        const char *role = db_column_text(stmt, 0);
        if (!role)
            return fail_nomem(err);
        if (!service_set_find(&c->set, role) && !service_set_find(&c->gone, role))
            rc = delete_file(store, c->name, role, err);
        if (!rc)
            rc = db_step(stmt, &row, err);
    }
    return rc;
}

static int save_file(struct db_stmt *stmt, const struct signer_set_file *file, bool gone,
                     struct error *err)
{
    int rc = db_bind_text(stmt, 2, file->role, err);
    if (!rc)
        rc = db_bind_int(stmt, 3, file->version, err);
    if (!rc)
        rc = db_bind_blob(stmt, 4, file->data.data, file->data.len, err);
    if (!rc)
        rc = db_bind_int(stmt, 5, gone, err);
    return rc ? rc : db_run(stmt, err);
}

/* Files that stay are not written again: a new timestamp must not cost a targets file of 5 MB. */
static int save_set(struct service_store *store, const char *name, const struct signer_set *set,
                    bool gone, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(store->db,
                        "INSERT INTO file (collection, role, version, data, gone)"
                        " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (collection, role)"
                        " DO UPDATE SET version = ?3, data = ?4, gone = ?5"
                        " WHERE version <> ?3 OR data <> ?4 OR gone <> ?5",
                        &stmt, err);
    for (size_t i = 0; i < set->n_files && !rc; i++) {
        rc = db_bind_text(stmt, 1, name, err);
        if (!rc)
            rc = save_file(stmt, &set->files[i], gone, err);
    }
    return rc;
}

static int save_files(struct service_store *store, const struct service_collection *c,
                      struct error *err)
{
    int rc = drop_files(store, c, err);
    if (!rc)
        rc = save_set(store, c->name, &c->set, false, err);
    return rc ? rc : save_set(store, c->name, &c->gone, true, err);
}

/* A version that is here stays as it was verified. */
int service_store_add_root(struct service_store *store, const char *name,
                           const struct signer_set_file *root, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(store->db,
                        "INSERT INTO root (collection, version, data) VALUES (?1, ?2, ?3)"
                        " ON CONFLICT (collection, version) DO NOTHING",
                        &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, name, err);
    if (!rc)
        rc = db_bind_int(stmt, 2, root->version, err);
    if (!rc)
        rc = db_bind_blob(stmt, 3, root->data.data, root->data.len, err);
    return rc ? rc : db_run(stmt, err);
}

static int save_root(struct service_store *store, const struct service_collection *c,
                     struct error *err)
{
    const struct signer_set_file *root = service_set_find(&c->set, tuf_type_name(TUF_ROOT));
    return root ? service_store_add_root(store, c->name, root, err) : OK;
}

static int64_t version_of(const struct service_collection *c, enum tuf_type type)
{
    const struct signer_set_file *file = service_set_find(&c->set, tuf_type_name(type));
    return file ? file->version : 0;
}

/* The log's record of it, in the same transaction. */
static int save_record(struct service_store *store, const struct service_collection *c,
                       struct error *err)
{
    char detail[160];
    const struct audit_event e = {.event = c->event             ? c->event
                                           : c->set.n_files > 0 ? "sign"
                                                                : "key.make",
                                  .result = "done",
                                  .repository = c->name,
                                  .detail = c->set.n_files > 0 ? detail : NULL};
    snprintf(detail, sizeof detail, "root %lld, snapshot %lld, timestamp %lld",
             (long long)version_of(c, TUF_ROOT), (long long)version_of(c, TUF_SNAPSHOT),
             (long long)version_of(c, TUF_TIMESTAMP));
    return service_memory_record(store->memory, &e, err);
}

/* --- keys on a token --- */

static int insert_taken(struct service_store *store, const char *sql, const char *collection,
                        const struct key_id *id, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(store->db, sql, &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, id->text, err);
    if (!rc)
        rc = db_bind_text(stmt, 2, collection, err);
    return rc ? rc : db_run(stmt, err);
}

static int save_taken(struct service_store *store, const struct service_collection *c,
                      const struct key_id *id, struct error *err)
{
    return insert_taken(store, "INSERT INTO token_key (id, collection) VALUES (?1, ?2)", c->name,
                        id, err);
}

int service_store_token_forgotten(struct service_store *store, bool *out, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(store->db, "SELECT 1 FROM service WHERE token_epoch < epoch", &stmt, err);
    return rc ? rc : db_step(stmt, out, err);
}

int service_store_token_count_used(struct service_store *store, const struct key_id *id,
                                   struct error *err)
{
    return insert_taken(
        store, "INSERT INTO token_key (id, collection) VALUES (?1, ?2) ON CONFLICT DO NOTHING", "",
        id, err);
}

int service_store_token_counted(struct service_store *store, struct error *err)
{
    return db_exec(store->db, "UPDATE service SET token_epoch = epoch", err);
}

int service_store_taken(struct service_store *store, const struct key_id *id, bool *out,
                        struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(store->db, "SELECT 1 FROM token_key WHERE id = ?1", &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, id->text, err);
    return rc ? rc : db_step(stmt, out, err);
}

int service_store_save(struct service_store *store, const struct service_collection *c,
                       struct error *err)
{
    CLEANUP(bytes_done) struct bytes record = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes signature = BYTES_INIT;
    int rc = record_bytes(c, &record, err);
    if (!rc)
        rc = signing_key_sign(store->record_key, record.data, record.len, &signature, err);
    if (!rc)
        rc = db_begin(store->db, err);
    if (!rc)
        rc = save_row(store, c, &signature, err);
    if (!rc)
        rc = save_files(store, c, err);
    if (!rc)
        rc = save_root(store, c, err);
    for (size_t i = 0; !rc && i < c->n_taken; i++)
        rc = save_taken(store, c, &c->taken[i], err);
    if (!rc)
        rc = save_record(store, c, err);
    if (!rc)
        rc = db_commit(store->db, err);
    if (rc)
        db_rollback(store->db);
    if (!rc)
        rc = service_memory_mark(store->memory, err);
    return wrap(err, rc, "store collection '%s'", c->name);
}

struct service_memory *service_store_memory(struct service_store *store)
{
    return store->memory;
}

struct db *service_store_db(struct service_store *store)
{
    return store->db;
}

/* --- roots --- */

static int add_root(struct signer_set *out, int64_t version, struct bytes *data, struct error *err)
{
    struct signer_set_file *grown = reallocarray(out->files, out->n_files + 1, sizeof *grown);
    if (!grown)
        return fail_nomem(err);
    out->files = grown;
    char *role = strdup(tuf_type_name(TUF_ROOT));
    if (!role)
        return fail_nomem(err);
    out->files[out->n_files++] =
        (struct signer_set_file){.role = role, .version = version, .data = bytes_take(data)};
    return OK;
}

static int find_roots(struct service_store *store, const char *name, int64_t since,
                      struct db_stmt **stmt, struct error *err)
{
    int rc = db_prepare(store->db,
                        "SELECT version, data FROM root WHERE collection = ?1 AND version > ?2"
                        " ORDER BY version",
                        stmt, err);
    if (!rc)
        rc = db_bind_text(*stmt, 1, name, err);
    return rc ? rc : db_bind_int(*stmt, 2, since, err);
}

int service_store_roots(struct service_store *store, const char *name, int64_t since,
                        struct signer_set *out, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    CLEANUP(signer_set_done) struct signer_set roots = {0};
    size_t total = 0;
    int rc = find_roots(store, name, since, &stmt, err);
    while (!rc && roots.n_files < SERVICE_STORE_MAX_ROOTS && total < SERVICE_STORE_ROOTS_BYTES) {
        CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
        bool row = false;
        rc = db_step(stmt, &row, err);
        if (rc || !row)
            break;
        rc = read_blob(stmt, 1, &data, err);
        total += data.len;
        if (!rc)
            rc = add_root(&roots, db_column_int(stmt, 0), &data, err);
    }
    if (rc)
        return rc;
    *out = roots;
    roots = (struct signer_set){0};
    return OK;
}

/* --- what is due --- */

static int bind_due(struct db_stmt *stmt, const struct service_due *due, struct error *err)
{
    const int64_t values[] = {due->now_s,
                              due->timestamp_before_s,
                              due->timestamp_after_s,
                              due->snapshot_before_s,
                              due->snapshot_after_s,
                              RETRY_S};
    int rc = OK;
    for (int i = 0; i < (int)(sizeof values / sizeof values[0]) && !rc; i++)
        rc = db_bind_int(stmt, i + 1, values[i], err);
    return rc;
}

int service_store_next_due(struct service_store *store, const struct service_due *due,
                           char name[REFERENCE_REPOSITORY_MAX + 1], struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc =
        db_prepare(store->db,
                   "SELECT name FROM collection WHERE retry_s NOT BETWEEN ?1 + 1 AND ?1 + ?6 AND"
                   " (timestamp_expires_s <= ?2 OR timestamp_expires_s > ?3"
                   " OR snapshot_expires_s <= ?4 OR snapshot_expires_s > ?5)"
                   " AND epoch >= (SELECT epoch FROM service) LIMIT 1",
                   &stmt, err);
    if (!rc)
        rc = bind_due(stmt, due, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (rc)
        return rc;
    const char *found = row ? db_column_text(stmt, 0) : "";
    if (!found || strlen(found) > REFERENCE_REPOSITORY_MAX)
        return fail(err, E_TAMPERED, "the database holds an impossible collection name");
    memcpy(name, found, strlen(found) + 1);
    return OK;
}

int service_store_defer(struct service_store *store, const char *name, int64_t now_s,
                        struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc =
        db_prepare(store->db, "UPDATE collection SET retry_s = ?2 WHERE name = ?1", &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, name, err);
    if (!rc)
        rc = db_bind_int(stmt, 2, now_s + RETRY_S, err);
    return rc ? rc : db_run(stmt, err);
}
