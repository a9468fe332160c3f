#include "tests/unit/registry/contract_memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An upload's bytes, or a blob's: readers share a blob that is removed meanwhile. */
struct object {
    struct object *next;
    char id[64];
    char *note;
    struct bytes bytes;
    struct digest digest;
    enum blob_place place;
    bool is_blob, listed;
    unsigned users; /* handles */
    int64_t changed_s;
};

struct memory {
    pthread_mutex_t lock;
    struct object *objects;
    uint64_t room;
    bool read_only;
};

struct handle {
    struct memory *memory;
    struct object *object;
};

/* --- objects, under the lock --- */

static struct object *find_upload(struct memory *m, const char *id)
{
    struct object *o = m->objects;
    while (o && (o->is_blob || strcmp(o->id, id) != 0))
        o = o->next;
    return o;
}

static struct object *find_blob(struct memory *m, const struct digest *d, enum blob_place place)
{
    struct object *o = m->objects;
    while (o && (!o->is_blob || o->place != place || !digest_equal(&o->digest, d)))
        o = o->next;
    return o;
}

static void object_release(struct object *o)
{
    if (o->users > 0 || o->listed)
        return;
    bytes_done(&o->bytes);
    free(o->note);
    free(o);
}

static void unlist(struct memory *m, struct object *o)
{
    struct object **at = &m->objects;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    o->listed = false;
    object_release(o);
}

static void list(struct memory *m, struct object *o)
{
    o->next = m->objects;
    o->listed = true;
    o->changed_s = time(NULL);
    m->objects = o;
}

static int handle_new(struct memory *m, struct object *o, void **out, struct error *err)
{
    struct handle *h = calloc(1, sizeof *h);
    if (!h)
        return fail_nomem(err);
    *h = (struct handle){m, o};
    o->users++;
    *out = h;
    return 0;
}

static void handle_close(void *handle)
{
    struct handle *h = handle;
    struct memory *m = h->memory;
    pthread_mutex_lock(&m->lock);
    h->object->users--;
    object_release(h->object);
    pthread_mutex_unlock(&m->lock);
    free(h);
}

static int refuse(const struct memory *m, struct error *err)
{
    return m->read_only ? fail_sys(err, EROFS, "memory") : 0;
}

/* --- uploads --- */

static int make_upload(struct memory *m, const char *id, struct object **out, struct error *err)
{
    int rc = refuse(m, err);
    if (rc != 0)
        return rc;
    struct object *o = calloc(1, sizeof *o);
    if (!o)
        return fail_nomem(err);
    snprintf(o->id, sizeof o->id, "%s", id);
    list(m, o);
    *out = o;
    return 0;
}

static int upload_open(void *store, const char *id, bool create, void **upload, struct error *err)
{
    struct memory *m = store;
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    struct object *o = find_upload(m, id);
    if (create)
        rc = o ? fail(err, E_EXISTS, "there already") : make_upload(m, id, &o, err);
    else if (!o)
        rc = fail(err, E_NOTFOUND, "no such upload");
    if (rc == 0)
        rc = handle_new(m, o, upload, err);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int upload_write(void *upload, const void *data, size_t len, uint64_t offset,
                        struct error *err)
{
    struct handle *h = upload;
    struct memory *m = h->memory;
    pthread_mutex_lock(&m->lock);
    int rc = refuse(m, err);
    if (rc == 0 && offset != h->object->bytes.len)
        rc = fail(err, E_INTERNAL, "not at the end");
    if (rc == 0 && len > m->room)
        rc = fail_sys(err, ENOSPC, "memory");
    if (rc == 0)
        rc = bytes_append(&h->object->bytes, data, len, err);
    if (rc == 0 && m->room != UINT64_MAX)
        m->room -= len;
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int object_read(void *handle, void *out, size_t max, uint64_t offset, size_t *got,
                       struct error *err)
{
    (void)err;
    struct handle *h = handle;
    pthread_mutex_lock(&h->memory->lock);
    const struct bytes *b = &h->object->bytes;
    size_t rest = offset < b->len ? b->len - (size_t)offset : 0, n = rest < max ? rest : max;
    if (n > 7) /* short reads are allowed, so there are some */
        n -= offset % 7;
    if (n > 0)
        memcpy(out, b->data + offset, n);
    pthread_mutex_unlock(&h->memory->lock);
    *got = n;
    return 0;
}

static int upload_flush(void *upload, struct error *err)
{
    (void)upload, (void)err;
    return 0;
}

static int upload_publish(void *store, void *upload, const struct digest *d, uint64_t len,
                          struct error *err)
{
    struct memory *m = store;
    struct object *o = ((struct handle *)upload)->object;
    pthread_mutex_lock(&m->lock);
    int rc = refuse(m, err);
    if (rc == 0 && o->bytes.len != len)
        rc = fail(err, E_TAMPERED, "not the length that was received");
    if (rc == 0) {
        struct object *old = find_blob(m, d, BLOB_STORED);
        if (old)
            unlist(m, old);
        o->is_blob = true;
        o->digest = *d;
        o->place = BLOB_STORED;
        o->changed_s = time(NULL);
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static void upload_remove(void *store, const char *id)
{
    struct memory *m = store;
    pthread_mutex_lock(&m->lock);
    struct object *o = find_upload(m, id);
    if (o)
        unlist(m, o);
    pthread_mutex_unlock(&m->lock);
}

static int note_write(void *store, const char *id, const char *text, struct error *err)
{
    struct memory *m = store;
    pthread_mutex_lock(&m->lock);
    struct object *o = find_upload(m, id);
    int rc = refuse(m, err);
    if (rc == 0 && !o)
        rc = fail(err, E_NOTFOUND, "no such upload");
    if (rc == 0 && o->note)
        rc = fail(err, E_EXISTS, "there already");
    if (rc == 0) {
        o->note = strdup(text);
        rc = o->note ? 0 : fail_nomem(err);
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int note_read(void *store, const char *id, size_t max, struct bytes *out, struct error *err)
{
    struct memory *m = store;
    pthread_mutex_lock(&m->lock);
    const struct object *o = find_upload(m, id);
    int rc = o && o->note ? 0 : fail(err, E_NOTFOUND, "no such note");
    if (rc == 0 && strlen(o->note) > max)
        rc = fail(err, E_LIMIT, "note is too long");
    if (rc == 0)
        rc = bytes_append_text(out, o->note, err);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int sweep(void *store, int64_t age_s, const struct blob_guard *guard, size_t *n_removed,
                 struct error *err)
{
    struct memory *m = store;
    (void)err;
    *n_removed = 0;
    pthread_mutex_lock(&m->lock);
    for (struct object *o = m->objects, *next = NULL; o; o = next) {
        next = o->next;
        if (!o->is_blob && o->changed_s <= time(NULL) - age_s &&
            !(guard && guard->in_use(guard->context, o->id))) {
            unlist(m, o);
            ++*n_removed;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return 0;
}

/* --- blobs --- */

static int no_blob(struct error *err)
{
    return fail(err, E_NOTFOUND, "no such blob");
}

static int blob_open(void *store, const struct digest *d, enum blob_place place, void **blob,
                     uint64_t *size, struct error *err)
{
    struct memory *m = store;
    pthread_mutex_lock(&m->lock);
    struct object *o = find_blob(m, d, place);
    int rc = o ? handle_new(m, o, blob, err) : no_blob(err);
    if (rc == 0)
        *size = o->bytes.len;
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int stat_blob(void *store, const struct digest *d, enum blob_place place,
                     struct blob_info *out, struct error *err)
{
    struct memory *m = store;
    pthread_mutex_lock(&m->lock);
    const struct object *o = find_blob(m, d, place);
    if (o)
        *out = (struct blob_info){*d, o->bytes.len, o->changed_s};
    pthread_mutex_unlock(&m->lock);
    return o ? 0 : no_blob(err);
}

static int move_blob(void *store, const struct digest *d, enum blob_place from, enum blob_place to,
                     struct error *err)
{
    struct memory *m = store;
    pthread_mutex_lock(&m->lock);
    struct object *o = find_blob(m, d, from), *old = find_blob(m, d, to);
    int rc = refuse(m, err);
    if (rc == 0 && !o)
        rc = no_blob(err);
    if (rc == 0 && old)
        unlist(m, old);
    if (rc == 0) {
        o->place = to;
        o->changed_s = time(NULL);
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int remove_blob(void *store, const struct digest *d, enum blob_place place,
                       struct error *err)
{
    struct memory *m = store;
    pthread_mutex_lock(&m->lock);
    struct object *o = find_blob(m, d, place);
    int rc = refuse(m, err);
    if (rc == 0 && o)
        unlist(m, o);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

/* Like the pages of an object store's list: what is met is copied first. */
static int walk(void *store, enum blob_place place, const struct blob_visitor *visitor,
                struct error *err)
{
    struct memory *m = store;
    CLEANUP(bytes_done) struct bytes page = BYTES_INIT;
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    for (const struct object *o = m->objects; rc == 0 && o; o = o->next) {
        const struct blob_info info = {o->digest, o->bytes.len, o->changed_s};
        if (o->is_blob && o->place == place)
            rc = bytes_append(&page, &info, sizeof info, err);
    }
    pthread_mutex_unlock(&m->lock);
    for (size_t at = 0; rc == 0 && at < page.len; at += sizeof(struct blob_info)) {
        struct blob_info info;
        memcpy(&info, page.data + at, sizeof info);
        rc = visitor->visit(visitor->context, &info, err);
    }
    return rc;
}

static void close_store(void *store)
{
    (void)store; /* the place stays */
}

static const struct blob_store_ops ops = {
    .close = close_store,
    .upload_open = upload_open,
    .upload_close = handle_close,
    .upload_write = upload_write,
    .upload_read = object_read,
    .upload_flush = upload_flush,
    .upload_publish = upload_publish,
    .upload_remove = upload_remove,
    .note_write = note_write,
    .note_read = note_read,
    .sweep = sweep,
    .blob_open = blob_open,
    .blob_close = handle_close,
    .blob_read = object_read,
    .stat = stat_blob,
    .move = move_blob,
    .remove = remove_blob,
    .walk = walk,
};

/* --- places --- */

static void *place_new(void)
{
    struct memory *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    pthread_mutex_init(&m->lock, NULL);
    m->room = UINT64_MAX;
    return m;
}

static void place_free(void *place)
{
    struct memory *m = place;
    while (m->objects)
        unlist(m, m->objects);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static int open_store(void *place, struct blob_store *out, struct error *err)
{
    (void)err;
    *out = (struct blob_store){&ops, place};
    return 0;
}

static void damage(void *place, const struct digest *d)
{
    struct memory *m = place;
    struct object *o = find_blob(m, d, BLOB_STORED);
    if (o && o->bytes.len > 0)
        o->bytes.data[o->bytes.len / 2] ^= 1;
}

static bool set_room(void *place, uint64_t bytes)
{
    ((struct memory *)place)->room = bytes;
    return true;
}

static bool set_read_only(void *place, bool on)
{
    ((struct memory *)place)->read_only = on;
    return true;
}

const struct contract_blobs contract_memory = {"memory", place_new, place_free,   open_store,
                                               damage,   set_room,  set_read_only};
