#include "signer/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "signer/service_limit.h"
#include "signer/service_rotate.h"
#include "signer/service_set.h"
#include "signer/service_show.h"
#include "signer/service_tell.h"

#include <string.h>

/* How far behind a file's own promise the clock may be before the file counts as signed with a
 * wrong clock: clients refuse timestamps from further ahead (trust.md). */
#define CLOCK_TOLERANCE_S 300
#define REFUSALS_A_MINUTE 60 /* in the log */
#define MAX_SET_BYTES     (28u << 20)
#define MAX_KEPT_BYTES    (128u << 20)
#define MAX_NAMES         8000u /* they never leave the snapshot: keeps it under 2 MB */

struct service {
    struct service_keyring *ring;
    struct service_store *store;
    struct service_lifetimes lifetimes;
    struct service_limit limit;
    struct service_bucket refusals; /* in the log */
    struct service_stats stats;
};

int service_open(const struct service_options *options, struct service **out, struct error *err)
{
    CLEANUP(service_cleanup) struct service *service = calloc(1, sizeof *service);
    CLEANUP(secret_done) struct secret passphrase = secret_take(options->passphrase);
    if (!service)
        return fail_nomem(err);
    service->lifetimes = options->lifetimes;
    service_limit_init(&service->limit, clock_monotonic_ms());
    int rc = service_keyring_new(&passphrase, &service->ring, err);
    if (!rc && options->token)
        service_keyring_use(service->ring, TAKE_PTR(*options->token));
    if (!rc)
        rc = service_store_open(options->database, service->ring, &service->store, err);
    if (!rc)
        *out = TAKE_PTR(service);
    return rc;
}

void service_close(struct service *service)
{
    if (!service)
        return;
    service_store_close(service->store);
    service_keyring_free(service->ring);
    free(service);
}

void service_cleanup(struct service **service)
{
    service_close(*service);
    *service = NULL;
}

/* --- keys --- */

/* What is made stays, so there is an end to it. */
static int may_make(struct service *service, const char *name, struct error *err)
{
    struct service_memory_status status;
    int rc = service_memory_check(service_store_memory(service->store), name, err);
    if (!rc)
        rc = service_limit_take(&service->limit, name, clock_monotonic_ms(), err);
    if (!rc)
        rc = service_memory_status(service_store_db(service->store), &status, err);
    if (!rc && status.n_collections >= SERVICE_MAX_COLLECTIONS)
        return fail(err, E_LIMIT,
                    "the signing service has keys for %u collections and makes no more",
                    SERVICE_MAX_COLLECTIONS);
    return rc;
}

static int make_collection(struct service *service, const char *name, struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection c = {0};
    size_t len = strlen(name);
    if (!repository_name_valid(name, len))
        return fail(err, E_INVALID, "'%s' is not the name of a collection", name);
    memcpy(c.name, name, len + 1);
    int rc = may_make(service, name, err);
    if (!rc)
        rc = service_rotate_make(service->store, service->ring, &c, TUF_SNAPSHOT, err);
    if (!rc)
        rc = service_rotate_make(service->store, service->ring, &c, TUF_TIMESTAMP, err);
    if (!rc)
        rc = service_store_save(service->store, &c, err);
    if (!rc)
        log_info("collection '%s': made its snapshot and timestamp keys", name);
    return rc;
}

static int check_role(enum tuf_type role, struct error *err)
{
    return role == TUF_SNAPSHOT || role == TUF_TIMESTAMP
               ? OK
               : fail(err, E_INVALID, "only snapshot and timestamp keys are kept here");
}

static int load_or_make(struct service *service, const char *name, struct service_collection *c,
                        struct error *err)
{
    int rc = service_store_load(service->store, name, c, err);
    if (rc != E_NOTFOUND)
        return rc;
    rc = make_collection(service, name, err);
    return rc ? rc : service_store_load(service->store, name, c, err);
}

static int write_key(const struct public_key *key, struct bytes *json, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    int rc = public_key_to_tuf(key, &object, err);
    return rc ? rc : js_write(object, false, json, err);
}

int service_key(struct service *service, const char *collection, enum tuf_type role,
                struct bytes *json, struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection c = {0};
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    int rc = check_role(role, err);
    if (!rc)
        rc = load_or_make(service, collection, &c, err);
    if (!rc)
        rc = service_rotate_public(service->ring, &c, role, &key, err);
    return rc ? rc : write_key(key, json, err);
}

/* --- publication --- */

static bool made_here(const char *role)
{
    return strcmp(role, tuf_type_name(TUF_SNAPSHOT)) == 0 ||
           strcmp(role, tuf_type_name(TUF_TIMESTAMP)) == 0;
}

static void add_current(const struct signer_set *set, struct tuf_file *files, size_t *n)
{
    for (size_t i = 0; i < set->n_files; i++) {
        const struct signer_set_file *file = &set->files[i];
        if (!made_here(file->role))
            files[(*n)++] = (struct tuf_file){
                .role = file->role, .data = file->data.data, .len = file->data.len};
    }
}

/* What is gone counts only where it is what the last snapshot names: a service that was restored
 * may have older files. The snapshot's version then goes on (tuf_accept). */
static void add_gone(const struct signer_set *gone, const struct tuf_metadata *snapshot,
                     struct tuf_file *files, size_t *n)
{
    for (size_t i = 0; i < gone->n_files; i++) {
        const struct signer_set_file *file = &gone->files[i];
        const struct tuf_meta *meta = snapshot ? tuf_snapshot_find(snapshot, file->role) : NULL;
        if (!meta || meta->version == file->version)
            files[(*n)++] = (struct tuf_file){
                .role = file->role, .data = file->data.data, .len = file->data.len};
    }
}

static int read_last_snapshot(const struct signer_set *set, struct tuf_metadata **out,
                              struct error *err)
{
    const struct signer_set_file *file = service_set_find(set, tuf_type_name(TUF_SNAPSHOT));
    return file ? tuf_metadata_parse(TUF_SNAPSHOT, file->data.data, file->data.len, out, err) : OK;
}

static int accept_changes(const struct service_collection *old, const struct tuf_file *changes,
                          size_t n, int64_t now_s, struct tuf_accepted **out, struct error *err)
{
    CLEANUP(cleanup_free)
    struct tuf_file *current = calloc(old->set.n_files + old->gone.n_files + 1, sizeof *current);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *snapshot = NULL;
    if (!current)
        return fail_nomem(err);
    struct tuf_accept_input input = {.collection = old->name,
                                     .now_s = now_s,
                                     .current = current,
                                     .changes = changes,
                                     .n_changes = n,
                                     .settled = true};
    add_current(&old->set, current, &input.n_current);
    int rc = read_last_snapshot(&old->set, &snapshot, err);
    if (rc)
        return rc;
    add_gone(&old->gone, snapshot, current, &input.n_current);
    input.snapshot = snapshot;
    return tuf_accept(&input, out, err);
}

/* A file that tuf_accept did not look at: it stays as it was signed last. */
static int keep_file(const struct signer_set *old, const char *role, struct signer_set *set,
                     struct error *err)
{
    const struct signer_set_file *file = service_set_find(old, role);
    if (!file)
        return fail(err, E_INTERNAL, "'%s' stays and is not there", role);
    return service_set_add(set, role, file->version, &file->data, err);
}

/* What role holders signed: the new set without the two files made here. */
static int take_accepted(const struct tuf_accepted *accepted, const struct signer_set *old,
                         struct signer_set *set, struct error *err)
{
    if (!accepted->root || accepted->n_roles == 0)
        return fail(err, E_INVALID, "a collection needs root and targets");
    int rc = service_set_add(set, tuf_type_name(TUF_ROOT), tuf_metadata_version(accepted->root),
                             tuf_metadata_bytes(accepted->root), err);
    for (size_t i = 0; i < accepted->n_roles && !rc; i++)
        rc = accepted->roles[i] ? service_set_add(set, accepted->role_names[i],
                                                  tuf_metadata_version(accepted->roles[i]),
                                                  tuf_metadata_bytes(accepted->roles[i]), err)
                                : keep_file(old, accepted->role_names[i], set, err);
    return rc;
}

/* Whether `next`, without files made here, is what was signed last. */
static bool nothing_new(const struct signer_set *old, const struct signer_set *next)
{
    size_t n_signed = 0;
    for (size_t i = 0; i < old->n_files; i++) {
        const struct signer_set_file *file = &old->files[i];
        if (made_here(file->role)) {
            n_signed++;
            continue;
        }
        const struct signer_set_file *same = service_set_find(next, file->role);
        if (!same || !bytes_equal(file->data.data, file->data.len, same->data.data, same->data.len))
            return false;
    }
    return n_signed == 2 && old->n_files == next->n_files + n_signed;
}

/* Signs what is asked for on top of next, checks that it can be answered, and stores it. */
static int sign_and_save(struct service *service, const struct service_sign *s, bool snapshot,
                         struct error *err)
{
    CLEANUP(bytes_done) struct bytes frame = BYTES_INIT;
    int rc = service_memory_check(service_store_memory(service->store), s->old->name, err);
    if (!rc && snapshot)
        rc = service_sign_snapshot(s, err);
    if (!rc)
        rc = service_sign_timestamp(s, err);
    if (!rc)
        rc = protocol_write_set(PROTOCOL_PUBLISH, &s->next->set, &frame, err);
    if (!rc)
        rc = service_store_save(service->store, s->next, err);
    if (rc)
        return rc;
    service->stats.snapshots += snapshot;
    service->stats.timestamps++;
    log_info("collection '%s': signed snapshot %lld, timestamp %lld", s->next->name,
             (long long)service_set_find(&s->next->set, "snapshot")->version,
             (long long)service_set_find(&s->next->set, "timestamp")->version);
    return OK;
}

/* Name and keys of the collection as they are; its files follow. */
static int start_next(const struct service_collection *old, struct service_collection *next,
                      struct error *err)
{
    memcpy(next->name, old->name, sizeof next->name);
    int rc = bytes_append(&next->snapshot_key, old->snapshot_key.data, old->snapshot_key.len, err);
    if (!rc)
        rc = bytes_append(&next->timestamp_key, old->timestamp_key.data, old->timestamp_key.len,
                          err);
    if (!rc)
        rc = bytes_append(&next->snapshot_next, old->snapshot_next.data, old->snapshot_next.len,
                          err);
    return rc ? rc
              : bytes_append(&next->timestamp_next, old->timestamp_next.data,
                             old->timestamp_next.len, err);
}

static int move_gone(const struct signer_set *from, struct service_collection *next,
                     struct error *err)
{
    int rc = OK;
    for (size_t i = 0; i < from->n_files && !rc; i++) {
        const struct signer_set_file *file = &from->files[i];
        if (!made_here(file->role) && !service_set_find(&next->set, file->role))
            rc = service_set_add(&next->gone, file->role, file->version, &file->data, err);
    }
    return rc;
}

/* Whatever next has not got any more. */
static int keep_gone(const struct service_collection *old, struct service_collection *next,
                     struct error *err)
{
    int rc = move_gone(&old->set, next, err);
    return rc ? rc : move_gone(&old->gone, next, err);
}

struct extent {
    size_t n, bytes;
};

static struct extent extent_of(const struct signer_set *set)
{
    struct extent e = {0, 0};
    for (size_t i = 0; i < set->n_files; i++) {
        e.n += !made_here(set->files[i].role);
        e.bytes += made_here(set->files[i].role) ? 0 : set->files[i].data.len;
    }
    return e;
}

/* All of it is in memory whenever this collection is touched, and a set must fit one message to be
 * shown to a service that was restored. What is dropped stays and counts, so dropping is always
 * allowed: only growth is refused. */
static int check_growth(const struct service_collection *old, const struct service_collection *next,
                        struct error *err)
{
    const struct extent was = extent_of(&old->set), is = extent_of(&next->set);
    const struct extent was_gone = extent_of(&old->gone), gone = extent_of(&next->gone);
    if (is.bytes > MAX_SET_BYTES && is.bytes > was.bytes)
        return fail(err, E_LIMIT, "files of %zu bytes in one collection, at most %u are allowed",
                    is.bytes, MAX_SET_BYTES);
    if (is.bytes + gone.bytes > MAX_KEPT_BYTES &&
        is.bytes + gone.bytes > was.bytes + was_gone.bytes)
        return fail(err, E_LIMIT, "%zu bytes in force and dropped, at most %u are kept",
                    is.bytes + gone.bytes, MAX_KEPT_BYTES);
    if (is.n + gone.n > MAX_NAMES && is.n + gone.n > was.n + was_gone.n)
        return fail(err, E_LIMIT,
                    "the collection has used %u names of roles: use those again that were dropped",
                    MAX_NAMES);
    return OK;
}

static void take_set(struct signer_set *from, struct signer_set *out)
{
    *out = *from;
    *from = (struct signer_set){0};
}

static int load_for_publication(struct service *service, const char *collection,
                                struct service_collection *old, struct error *err)
{
    int rc = service_store_load(service->store, collection, old, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_INVALID,
                    "the signing service has no keys for collection '%s': root must list them",
                    collection);
    return rc;
}

int service_publish(struct service *service, const char *collection, const struct tuf_file *changes,
                    size_t n, struct signer_set *out, struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection old = {0};
    CLEANUP(service_collection_done) struct service_collection next = {0};
    CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *accepted = NULL;
    struct service_sign s = {service->ring, service->lifetimes, clock_now_s(), &old, &next};
    int rc = load_for_publication(service, collection, &old, err);
    if (!rc) /* before it is compared with what may be too old */
        rc = service_memory_check(service_store_memory(service->store), collection, err);
    if (!rc) /* verifying is most of the work, and what is refused was verified, too */
        rc = service_limit_take(&service->limit, collection, clock_monotonic_ms(), err);
    if (!rc)
        rc = accept_changes(&old, changes, n, s.now_s, &accepted, err);
    if (!rc)
        rc = take_accepted(accepted, &old.set, &next.set, err);
    if (!rc)
        rc = service_rotate_choose(service->ring, &old, accepted->root, &next, err);
    if (rc)
        return rc;
    if (nothing_new(&old.set, &next.set)) {
        take_set(&old.set, out);
        return OK;
    }
    memcpy(next.name, old.name, sizeof next.name);
    rc = keep_gone(&old, &next, err);
    if (!rc)
        rc = check_growth(&old, &next, err);
    if (!rc)
        rc = sign_and_save(service, &s, true, err);
    if (!rc)
        take_set(&next.set, out);
    return rc;
}

/* --- renewal --- */

/* Expiry, and when it was issued (-1: not said), of a file made here. */
static int read_dates(const struct signer_set *set, enum tuf_type type, int64_t *expires_s,
                      int64_t *issued_s, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    const struct signer_set_file *file = service_set_find(set, tuf_type_name(type));
    if (!file)
        return fail(err, E_TAMPERED, "the stored set has no %s", tuf_type_name(type));
    int rc = tuf_metadata_parse(type, file->data.data, file->data.len, &m, err);
    if (rc)
        return wrap(err, rc, "stored %s", tuf_type_name(type));
    *expires_s = tuf_metadata_expires(m);
    *issued_s = tuf_metadata_issued(m);
    return OK;
}

/* Half of its life is gone, or it lives longer than anything signed now would: then the clock was
 * ahead when it was signed, or lifetimes were shortened. */
static bool due(int64_t expires_s, int64_t lifetime_s, int64_t now_s)
{
    int64_t left_s = expires_s - now_s;
    return left_s <= lifetime_s / 2 || left_s > lifetime_s + CLOCK_TOLERANCE_S;
}

static int read_all_dates(struct service_collection *c, int64_t *issued_s, struct error *err)
{
    int rc = read_dates(&c->set, TUF_SNAPSHOT, &c->snapshot_expires_s, issued_s, err);
    return rc ? rc : read_dates(&c->set, TUF_TIMESTAMP, &c->timestamp_expires_s, issued_s, err);
}

int service_new_key(struct service *service, const struct protocol_request *request,
                    struct bytes *json, struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection c = {0};
    const struct service_rotate_wish wish = {request->role, request->another};
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    int64_t issued_s = -1;
    int rc = check_role(request->role, err);
    if (!rc)
        rc = service_limit_take(&service->limit, request->collection, clock_monotonic_ms(), err);
    if (!rc)
        rc = load_or_make(service, request->collection, &c, err);
    c.event = "key.make";
    if (!rc && c.set.n_files)
        rc = read_all_dates(&c, &issued_s, err);
    if (!rc)
        rc = service_rotate_offer(service->store, service->ring, &c, wish, &key, err);
    return rc ? rc : write_key(key, json, err);
}

struct renewal {
    bool snapshot, timestamp;
};

static int decide_renewal(struct service *service, struct service_collection *c, int64_t now_s,
                          struct renewal *out, struct error *err)
{
    int64_t issued_s = -1;
    int rc = read_all_dates(c, &issued_s, err);
    if (rc)
        return rc;
    out->snapshot = due(c->snapshot_expires_s, service->lifetimes.snapshot_s, now_s);
    out->timestamp = out->snapshot ||
                     due(c->timestamp_expires_s, service->lifetimes.timestamp_s, now_s) ||
                     issued_s > now_s + CLOCK_TOLERANCE_S;
    return OK;
}

/* next: what role holders signed as before, and the snapshot where it stays. */
static int copy_for_renewal(const struct service_collection *old, bool snapshot,
                            struct service_collection *next, struct error *err)
{
    int rc = start_next(old, next, err);
    for (size_t i = 0; i < old->set.n_files && !rc; i++) {
        const struct signer_set_file *file = &old->set.files[i];
        if (!made_here(file->role) ||
            (!snapshot && strcmp(file->role, tuf_type_name(TUF_SNAPSHOT)) == 0))
            rc = service_set_add(&next->set, file->role, file->version, &file->data, err);
    }
    next->snapshot_expires_s = old->snapshot_expires_s;
    return rc ? rc : keep_gone(old, next, err);
}

/*
 * Brings snapshot and timestamp up to date in *c. Expired root or targets are no reason to stop: a
 * client must be able to see that nothing newer exists, and which successor repairs it.
 */
static int renew(struct service *service, struct service_collection *c, bool *renewed,
                 struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection next = {0};
    struct service_sign s = {service->ring, service->lifetimes, clock_now_s(), c, &next};
    struct renewal renewal = {false, false};
    *renewed = false;
    if (c->set.n_files == 0)
        return fail(err, E_NOTFOUND, "nothing was published in collection '%s' yet", c->name);
    int rc = decide_renewal(service, c, s.now_s, &renewal, err);
    if (rc || !renewal.timestamp)
        return rc;
    rc = copy_for_renewal(c, renewal.snapshot, &next, err);
    if (!rc)
        rc = sign_and_save(service, &s, renewal.snapshot, err);
    if (rc)
        return rc;
    signer_set_done(&c->set);
    take_set(&next.set, &c->set);
    *renewed = true;
    return OK;
}

int service_refresh(struct service *service, const char *collection, struct signer_set *out,
                    struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection c = {0};
    bool renewed = false;
    int rc = service_store_load(service->store, collection, &c, err);
    if (!rc)
        rc = renew(service, &c, &renewed, err);
    if (!rc)
        take_set(&c.set, out);
    return rc;
}

static int renew_named(struct service *service, const char *name, struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection c = {0};
    bool renewed = false;
    int rc = service_store_load(service->store, name, &c, err);
    if (!rc)
        rc = renew(service, &c, &renewed, err);
    /* Not due by its files: the dates beside them were wrong and would bring us here for ever. */
    if (!rc && !renewed)
        rc = service_store_save(service->store, &c, err);
    return rc;
}

int service_renew_one(struct service *service, bool *more, struct error *err)
{
    char name[REFERENCE_REPOSITORY_MAX + 1];
    int64_t now_s = clock_now_s();
    const struct service_lifetimes *l = &service->lifetimes;
    service_token_watch(service_keyring_token(service->ring));
    const struct service_due when = {
        .now_s = now_s,
        .timestamp_before_s = now_s + l->timestamp_s / 2,
        .timestamp_after_s = now_s + l->timestamp_s + CLOCK_TOLERANCE_S,
        .snapshot_before_s = now_s + l->snapshot_s / 2,
        .snapshot_after_s = now_s + l->snapshot_s + CLOCK_TOLERANCE_S,
    };
    *more = false;
    int rc = service_store_next_due(service->store, &when, name, err);
    if (rc || !name[0])
        return rc;
    rc = renew_named(service, name, err);
    if (!rc) {
        *more = true;
        return OK;
    }
    (void)wrap(err, rc, "renew collection '%s'", name);
    /* Where this fails, too, the whole database is in trouble: *more stays false. */
    *more = service_store_defer(service->store, name, now_s, NULL) == OK;
    return rc;
}

int service_roots(struct service *service, const char *collection, int64_t since,
                  struct signer_set *out, struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection c = {0};
    int rc = service_store_load(service->store, collection, &c, err);
    return rc ? rc : service_store_roots(service->store, collection, since, out, err);
}

int service_files(struct service *service, const struct protocol_request *request,
                  struct signer_set *out, struct error *err)
{
    CLEANUP(service_collection_done) struct service_collection c = {0};
    CLEANUP(signer_set_done) struct signer_set found = {0};
    size_t total = 0;
    int rc = service_store_load(service->store, request->collection, &c, err);
    for (size_t i = 0; !rc && i < request->n_changes && total < PROTOCOL_FILES_BYTES; i++) {
        const struct signer_set_file *file = service_set_find(&c.set, request->changes[i].role);
        if (!file)
            continue;
        total += file->data.len;
        rc = service_set_add(&found, file->role, file->version, &file->data, err);
    }
    if (!rc)
        take_set(&found, out);
    return rc;
}

/* A set that an admin has spoken of may come before anybody has asked for keys. */
static int show(struct service *service, const struct protocol_request *request, bool *adopted,
                struct error *err)
{
    struct service_versions stated;
    CLEANUP(service_collection_done) struct service_collection c = {0};
    const char *name = request->collection;
    const struct service_show s = {.store = service->store,
                                   .ring = service->ring,
                                   .collection = name,
                                   .files = request->changes,
                                   .n_files = request->n_changes,
                                   .now_s = clock_now_s()};
    int rc = service_store_load(service->store, name, &c, err);
    if (rc == E_NOTFOUND &&
        service_memory_stated(service_store_memory(service->store), name, &stated, NULL) == OK)
        rc = make_collection(service, name, err);
    return rc && rc != E_NOTFOUND ? rc : service_show(&s, adopted, err);
}

/* --- messages --- */

static int answer_show(struct service *service, const struct protocol_request *request,
                       struct bytes *frame, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    bool adopted = false;
    int rc = show(service, request, &adopted, err);
    if (!rc)
        rc = js_set(o, "adopted", js_bool_new(adopted), err);
    if (!rc)
        rc = js_write(o, false, &json, err);
    return rc ? rc : protocol_write_object(request->kind, &json, frame, err);
}

static int answer_told(struct service *service, const struct protocol_request *request,
                       struct bytes *frame, struct error *err)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    struct db *db = service_store_db(service->store);
    service->stats.token_failing = service_token_failing(service_keyring_token(service->ring));
    int rc = request->kind == PROTOCOL_STATUS
                 ? service_tell_status(&service->stats, db, clock_now_s(), &json, err)
                 : service_tell_changes(db, request->since, &json, err);
    return rc ? rc : protocol_write_object(request->kind, &json, frame, err);
}

/* Refusals that come faster than people make mistakes are counted only. */
static void note_refusal(struct service *service, const char *collection, const struct error *why)
{
    struct error err = ERROR_INIT;
    const struct audit_event e = {.event = "refuse",
                                  .result = error_name(why->code),
                                  .repository = collection,
                                  .detail = why->message};
    log_warn("collection '%s': %s", collection, why->message);
    if (!service_bucket_take(&service->refusals, REFUSALS_A_MINUTE, clock_monotonic_ms()))
        return;
    if (service_memory_note(service_store_memory(service->store), &e, &err))
        log_error("%s", err.message);
}

static int answer_set(struct service *service, const struct protocol_request *request,
                      struct bytes *frame, struct error *err)
{
    CLEANUP(signer_set_done) struct signer_set set = {0};
    const char *collection = request->collection;
    int rc = OK;
    if (request->kind == PROTOCOL_PUBLISH)
        rc = service_publish(service, collection, request->changes, request->n_changes, &set, err);
    else if (request->kind == PROTOCOL_FILES)
        rc = service_files(service, request, &set, err);
    else if (request->kind == PROTOCOL_ROOTS)
        rc = service_roots(service, collection, request->since, &set, err);
    else
        rc = service_refresh(service, collection, &set, err);
    return rc ? rc : protocol_write_set(request->kind, &set, frame, err);
}

static int answer_request(struct service *service, const void *payload, size_t len,
                          struct bytes *frame, struct error *err)
{
    CLEANUP(protocol_request_done) struct protocol_request request = {0};
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    int rc = protocol_read_request(payload, len, &request, err);
    if (rc)
        return rc;
    if (request.kind == PROTOCOL_KEY)
        rc = service_key(service, request.collection, request.role, &json, err);
    else if (request.kind == PROTOCOL_NEW_KEY)
        rc = service_new_key(service, &request, &json, err);
    else if (request.kind == PROTOCOL_STATUS || request.kind == PROTOCOL_CHANGED)
        rc = answer_told(service, &request, frame, err);
    else if (request.kind == PROTOCOL_SHOW)
        rc = answer_show(service, &request, frame, err);
    else
        rc = answer_set(service, &request, frame, err);
    if (!rc && json.len)
        rc = protocol_write_key(request.kind, &json, frame, err);
    if (rc)
        note_refusal(service, request.collection, err);
    return rc;
}

int service_answer(struct service *service, const void *payload, size_t len, struct bytes *frame,
                   struct error *err)
{
    struct error failure = ERROR_INIT;
    int64_t start_us = clock_monotonic_us();
    int rc = answer_request(service, payload, len, frame, &failure);
    service_stats_request(&service->stats, rc, clock_monotonic_us() - start_us);
    return rc ? protocol_write_failure(&failure, frame, err) : OK;
}

void service_set_connections(struct service *service, unsigned n)
{
    service->stats.connections = n;
}
