#include "signer/service_show.h"

#include "base/log.h"
#include "signer/service_rotate.h"
#include "signer/service_set.h"

#include <inttypes.h>
#include <string.h>

struct shown {
    const struct service_show *show;
    struct service_collection own; /* name "" where it is unknown */
    struct tuf_trusted *trusted;
    struct signer_set roots, set; /* what was verified */
    struct service_versions versions;
};

static void shown_done(struct shown *s)
{
    service_collection_done(&s->own);
    tuf_trusted_cleanup(&s->trusted);
    signer_set_done(&s->roots);
    signer_set_done(&s->set);
}

static bool is(const struct tuf_file *file, enum tuf_type type)
{
    return strcmp(file->role, tuf_type_name(type)) == 0;
}

static const struct tuf_file *find(const struct service_show *show, enum tuf_type type)
{
    for (size_t i = 0; i < show->n_files; i++)
        if (is(&show->files[i], type))
            return &show->files[i];
    return NULL;
}

/* --- verifying --- */

static int add_root(struct shown *s, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(s->trusted);
    CLEANUP(cleanup_free)
    struct signer_set_file *grown =
        reallocarray(s->roots.files, s->roots.n_files + 1, sizeof *grown);
    if (!grown)
        return fail_nomem(err);
    s->roots.files = TAKE_PTR(grown);
    struct signer_set_file file = {.version = tuf_metadata_version(root), .data = BYTES_INIT};
    const struct bytes *bytes = tuf_metadata_bytes(root);
    int rc = bytes_append(&file.data, bytes->data, bytes->len, err);
    if (!rc)
        s->roots.files[s->roots.n_files++] = file;
    return rc;
}

static int start(struct shown *s, struct error *err)
{
    const struct signer_set_file *own = service_set_find(&s->own.set, tuf_type_name(TUF_ROOT));
    const struct tuf_file *first = find(s->show, TUF_ROOT);
    const struct tuf_trusted_options options = {s->show->now_s, s->show->collection};
    if (!own && !first)
        return fail(err, E_INVALID, "the registry showed no root");
    int rc = own ? tuf_trusted_new(&options, own->data.data, own->data.len, &s->trusted, err)
                 : tuf_trusted_new(&options, first->data, first->len, &s->trusted, err);
    if (rc)
        return rc;
    tuf_trusted_ignore_expiry(s->trusted); /* that it was signed once is what counts */
    return own ? OK : add_root(s, err);
}

static int follow_root(struct shown *s, const struct tuf_file *file, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *root = NULL;
    int rc = tuf_metadata_parse(TUF_ROOT, file->data, file->len, &root, err);
    if (rc || tuf_metadata_version(root) <= tuf_metadata_version(tuf_trusted_root(s->trusted)))
        return rc;
    rc = tuf_trusted_update_root(s->trusted, file->data, file->len, NULL, err);
    return rc ? rc : add_root(s, err);
}

static int follow_roots(struct shown *s, struct error *err)
{
    int rc = start(s, err);
    for (size_t i = 0; i < s->show->n_files && !rc; i++)
        if (is(&s->show->files[i], TUF_ROOT))
            rc = follow_root(s, &s->show->files[i], err);
    return rc ? rc : tuf_trusted_finish_root(s->trusted, err);
}

static int add(struct shown *s, const char *role, const struct tuf_metadata *m, struct error *err)
{
    return service_set_add(&s->set, role, tuf_metadata_version(m), tuf_metadata_bytes(m), err);
}

/* The two that this service once signed. */
static int take_signed(struct shown *s, struct error *err)
{
    const struct tuf_file *snapshot = find(s->show, TUF_SNAPSHOT);
    const struct tuf_file *timestamp = find(s->show, TUF_TIMESTAMP);
    bool changed = false;
    if (!snapshot || !timestamp)
        return fail(err, E_INVALID, "the registry showed no snapshot or no timestamp");
    int rc =
        tuf_trusted_update_timestamp(s->trusted, timestamp->data, timestamp->len, &changed, err);
    if (!rc)
        rc = tuf_trusted_update_snapshot(s->trusted, snapshot->data, snapshot->len, err);
    if (!rc)
        rc = add(s, snapshot->role, tuf_trusted_snapshot(s->trusted), err);
    if (!rc)
        rc = add(s, timestamp->role, tuf_trusted_timestamp(s->trusted), err);
    if (rc)
        return rc;
    s->versions.snapshot = tuf_metadata_version(tuf_trusted_snapshot(s->trusted));
    s->versions.timestamp = tuf_metadata_version(tuf_trusted_timestamp(s->trusted));
    return OK;
}

/* The snapshot names the very bytes, and this service signed it after it had verified them. */
static int take_role(struct shown *s, const struct tuf_file *file, struct error *err)
{
    const struct tuf_meta *meta = tuf_snapshot_find(tuf_trusted_snapshot(s->trusted), file->role);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    if (!meta)
        return fail(err, E_INVALID, "the shown snapshot does not name '%s'", file->role);
    int rc = tuf_meta_check(meta, file->data, file->len, true, err);
    if (!rc)
        rc = tuf_metadata_parse(TUF_TARGETS, file->data, file->len, &m, err);
    if (!rc && tuf_metadata_version(m) != meta->version)
        rc = fail(err, E_INVALID, "it is not of the version that the snapshot names");
    return rc ? wrap(err, rc, "'%s'", file->role) : add(s, file->role, m, err);
}

static int verify(struct shown *s, struct error *err)
{
    int rc = follow_roots(s, err);
    if (!rc)
        rc = add(s, tuf_type_name(TUF_ROOT), tuf_trusted_root(s->trusted), err);
    if (!rc)
        rc = take_signed(s, err);
    for (size_t i = 0; i < s->show->n_files && !rc; i++) {
        const struct tuf_file *file = &s->show->files[i];
        if (!is(file, TUF_ROOT) && !is(file, TUF_SNAPSHOT) && !is(file, TUF_TIMESTAMP))
            rc = take_role(s, file, err);
    }
    const struct tuf_file *targets = find(s->show, TUF_TARGETS);
    if (!rc && !targets)
        rc = fail(err, E_INVALID, "the registry showed no targets");
    if (!rc)
        rc = tuf_trusted_update_targets(s->trusted, targets->role, NULL, targets->data,
                                        targets->len, err);
    return wrap(err, rc, "what the registry shows");
}

/* --- judging --- */

static bool is_newer(const struct shown *s, enum tuf_type type)
{
    const struct signer_set_file *own = service_set_find(&s->own.set, tuf_type_name(type));
    const struct signer_set_file *shown = service_set_find(&s->set, tuf_type_name(type));
    return !own || shown->version > own->version ||
           (shown->version == own->version &&
            !bytes_equal(own->data.data, own->data.len, shown->data.data, shown->data.len));
}

/* Whether a key of this service signed it. A root may list others beside or instead of ours, and
 * whoever holds those and the root keys can show any version: that proves nothing. */
static int signed_here(const struct shown *s, enum tuf_type type, bool *out, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(s->trusted);
    const struct tuf_metadata *m =
        type == TUF_SNAPSHOT ? tuf_trusted_snapshot(s->trusted) : tuf_trusted_timestamp(s->trusted);
    CLEANUP(service_collection_done) struct service_collection keys = {0};
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    struct key_id id;
    struct error why = ERROR_INIT;
    *out = false;
    int rc = service_rotate_choose(s->show->ring, &s->own, root, &keys, &why);
    if (rc == E_INVALID)
        return OK;
    if (!rc)
        rc = service_rotate_public(s->show->ring, &keys, type, &key, &why);
    if (!rc)
        rc = public_key_id(key, &id, &why);
    if (rc)
        return fail(err, rc, "%s", why.message);
    const struct tuf_role_keys alone = {.ids = &id, .n_ids = 1, .threshold = 1};
    *out = tuf_verify_threshold(m, tuf_root_keys(root), &alone, NULL, 0, NULL, NULL) == OK;
    return OK;
}

static int is_proof(const struct shown *s, bool *out, struct error *err)
{
    int rc = OK;
    *out = false;
    if (s->own.set.n_files == 0) /* other keys than ours signed that */
        return OK;
    if (is_newer(s, TUF_TIMESTAMP))
        rc = signed_here(s, TUF_TIMESTAMP, out, err);
    if (!rc && !*out && is_newer(s, TUF_SNAPSHOT))
        rc = signed_here(s, TUF_SNAPSHOT, out, err);
    return rc;
}

static int doubt(const struct shown *s, struct error *err)
{
    char why[SERVICE_MEMORY_WHY_MAX];
    bool proof = false;
    int rc = is_proof(s, &proof, err);
    if (rc || !proof)
        return rc;
    snprintf(why, sizeof why,
             "the registry holds snapshot %" PRId64 " and timestamp %" PRId64
             " of '%.200s', which this service signed and has forgotten",
             s->versions.snapshot, s->versions.timestamp, s->own.name);
    return service_memory_doubt(service_store_memory(s->show->store), s->own.name, why, err);
}

static int refuse(const struct shown *s, struct error *err)
{
    int rc = service_memory_check(service_store_memory(s->show->store), s->show->collection, err);
    if (rc)
        return rc;
    return fail(err, E_STALE,
                "'%s' was published before and the signing service has no memory of it: it signs "
                "nothing until its admin runs 'bulla-signer state' and 'bulla-signer resume' on "
                "its machine",
                s->show->collection);
}

/* --- taking over --- */

static int keep_gone(struct shown *s, struct error *err)
{
    const struct signer_set *old = &s->own.set;
    int rc = OK;
    for (size_t i = 0; i < old->n_files && !rc; i++) {
        const struct signer_set_file *file = &old->files[i];
        if (!service_set_find(&s->set, file->role) && !service_set_find(&s->own.gone, file->role))
            rc = service_set_add(&s->own.gone, file->role, file->version, &file->data, err);
    }
    return rc;
}

/* A role that was gone and is back must not be remembered twice. */
static void drop_returned(struct shown *s)
{
    struct signer_set *gone = &s->own.gone;
    for (size_t i = 0; i < gone->n_files;) {
        if (!service_set_find(&s->set, gone->files[i].role)) {
            i++;
            continue;
        }
        free(gone->files[i].role);
        bytes_done(&gone->files[i].data);
        gone->files[i] = gone->files[--gone->n_files];
    }
}

static void swap(struct bytes *a, struct bytes *b)
{
    struct bytes kept = *a;
    *a = *b;
    *b = kept;
}

/* The root may have put a key into force that only waited here; or it lists keys that are lost, and
 * then the next root must list others: until it does, nothing is signed. */
static int take_keys(struct shown *s, struct error *err)
{
    struct error why = ERROR_INIT;
    CLEANUP(service_collection_done) struct service_collection next = {0};
    int rc =
        service_rotate_choose(s->show->ring, &s->own, tuf_trusted_root(s->trusted), &next, &why);
    if (rc == E_INVALID) {
        log_warn("collection '%s': %s", s->own.name, why.message);
        return OK;
    }
    if (rc)
        return fail(err, rc, "%s", why.message);
    swap(&s->own.snapshot_key, &next.snapshot_key);
    swap(&s->own.snapshot_next, &next.snapshot_next);
    swap(&s->own.timestamp_key, &next.timestamp_key);
    swap(&s->own.timestamp_next, &next.timestamp_next);
    return OK;
}

static int adopt(struct shown *s, struct error *err)
{
    struct service_store *store = s->show->store;
    int rc = take_keys(s, err);
    if (!rc)
        rc = keep_gone(s, err);
    for (size_t i = 0; i < s->roots.n_files && !rc; i++)
        rc = service_store_add_root(store, s->own.name, &s->roots.files[i], err);
    if (rc)
        return rc;
    drop_returned(s);
    signer_set_done(&s->own.set);
    s->own.set = s->set;
    s->set = (struct signer_set){0};
    s->own.snapshot_expires_s = tuf_metadata_expires(tuf_trusted_snapshot(s->trusted));
    s->own.timestamp_expires_s = tuf_metadata_expires(tuf_trusted_timestamp(s->trusted));
    s->own.event = "memory.adopt";
    rc = service_store_save(store, &s->own, err);
    if (!rc)
        rc = service_memory_settle(service_store_memory(store), s->own.name,
                                   "the registry handed over what was stated", err);
    if (!rc)
        log_info("collection '%s': took over snapshot %" PRId64 " and timestamp %" PRId64
                 " from the registry, as stated",
                 s->own.name, s->versions.snapshot, s->versions.timestamp);
    return rc;
}

static int decide(struct shown *s, bool *adopted, struct error *err)
{
    struct service_memory *memory = service_store_memory(s->show->store);
    struct service_versions stated = {0, 0};
    int rc = doubt(s, err);
    if (!rc)
        rc = service_memory_shown(memory, s->show->collection, &s->versions, err);
    if (rc)
        return rc;
    rc = service_memory_stated(memory, s->show->collection, &stated, err);
    if (rc)
        return rc == E_NOTFOUND ? refuse(s, err) : rc;
    if (stated.snapshot != s->versions.snapshot || stated.timestamp != s->versions.timestamp)
        return fail(err, E_STALE,
                    "'%s': snapshot %" PRId64 " and timestamp %" PRId64
                    " were stated, the registry holds %" PRId64 " and %" PRId64
                    ": the signing service's admin must state these, or that the set is lost",
                    s->show->collection, stated.snapshot, stated.timestamp, s->versions.snapshot,
                    s->versions.timestamp);
    rc = adopt(s, err);
    *adopted = rc == OK;
    return rc;
}

/* What was stated was adopted, and the service was killed before it wrote down that this is so. */
static int settle_adopted(const struct shown *s, struct error *err)
{
    struct service_memory *memory = service_store_memory(s->show->store);
    const struct signer_set_file *snapshot = service_set_find(&s->own.set, "snapshot");
    const struct signer_set_file *timestamp = service_set_find(&s->own.set, "timestamp");
    struct service_versions stated = {0, 0};
    int rc = service_memory_stated(memory, s->show->collection, &stated, NULL);
    if (rc || !snapshot || !timestamp || stated.snapshot != snapshot->version ||
        stated.timestamp != timestamp->version)
        return rc == E_NOTFOUND ? OK : rc;
    return service_memory_settle(memory, s->show->collection, "as stated", err);
}

int service_show(const struct service_show *show, bool *adopted, struct error *err)
{
    CLEANUP(shown_done) struct shown s = {.show = show};
    *adopted = false;
    int rc = service_store_load(show->store, show->collection, &s.own, err);
    if (!rc || rc == E_NOTFOUND)
        rc = verify(&s, err);
    if (!rc && (is_newer(&s, TUF_SNAPSHOT) || is_newer(&s, TUF_TIMESTAMP)))
        return decide(&s, adopted, err);
    return rc ? rc : settle_adopted(&s, err);
}
