#include "registry/blob_cache.h"

#include <pthread.h>
#include <string.h>

#define WAYS 4u
#define SETS 128u

struct entry {
    struct digest digest; /* DIGEST_NONE: empty */
    uint8_t *data;
    size_t len;
    uint64_t used; /* when, by the count of uses */
};

struct blob_cache {
    pthread_mutex_t lock;
    uint64_t uses, turn;
    size_t bytes;
    unsigned hand; /* where room is looked for next */
    struct entry entries[SETS * WAYS];
};

int blob_cache_new(struct blob_cache **out, struct error *err)
{
    struct blob_cache *c = calloc(1, sizeof *c);
    if (!c)
        return fail_nomem(err);
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return 0;
}

/* --- under the lock --- */

static void drop(struct blob_cache *c, struct entry *e)
{
    c->bytes -= e->len;
    free(e->data);
    *e = (struct entry){.len = 0};
}

/* A digest is as good as a hash of itself. */
static struct entry *set_of(struct blob_cache *c, const struct digest *d)
{
    return &c->entries[(size_t)(d->bytes[0] % SETS) * WAYS];
}

static struct entry *find(struct blob_cache *c, const struct digest *d)
{
    struct entry *set = set_of(c, d);
    for (size_t i = 0; i < WAYS; i++)
        if (digest_equal(&set[i].digest, d))
            return &set[i];
    return NULL;
}

/* The one of its set that is empty or was not used for longest. */
static struct entry *victim(struct blob_cache *c, const struct digest *d)
{
    struct entry *set = set_of(c, d), *oldest = set;
    for (size_t i = 1; i < WAYS; i++)
        if (set[i].used < oldest->used)
            oldest = &set[i];
    return oldest;
}

static void make_room(struct blob_cache *c, size_t len)
{
    while (c->bytes + len > BLOB_CACHE_BYTES) {
        drop(c, &c->entries[c->hand]);
        c->hand = (c->hand + 1) % (SETS * WAYS);
    }
}

static void keep(struct blob_cache *c, const struct digest *d, const struct bytes *data)
{
    uint8_t *copy = malloc(data->len ? data->len : 1);
    if (!copy)
        return;
    if (data->len > 0)
        memcpy(copy, data->data, data->len);
    make_room(c, data->len);
    struct entry *e = victim(c, d);
    drop(c, e);
    *e = (struct entry){*d, copy, data->len, ++c->uses};
    c->bytes += data->len;
}

/* --- */

void blob_cache_free(struct blob_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < SETS * WAYS; i++)
        drop(c, &c->entries[i]);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

int blob_cache_find(struct blob_cache *c, const struct digest *d, size_t max, struct bytes *out,
                    bool *found, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    struct entry *e = find(c, d);
    if (e && e->len > max)
        rc = fail(err, E_LIMIT, "the blob has more than %zu bytes", max);
    if (e && rc == 0) {
        e->used = ++c->uses;
        rc = bytes_append(out, e->data, e->len, err);
    }
    pthread_mutex_unlock(&c->lock);
    *found = e != NULL;
    return rc;
}

uint64_t blob_cache_turn(struct blob_cache *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t turn = c->turn;
    pthread_mutex_unlock(&c->lock);
    return turn;
}

void blob_cache_keep(struct blob_cache *c, const struct digest *d, const struct bytes *data,
                     uint64_t turn)
{
    if (data->len > BLOB_CACHE_EACH)
        return;
    pthread_mutex_lock(&c->lock);
    if (turn == c->turn && !find(c, d))
        keep(c, d, data);
    pthread_mutex_unlock(&c->lock);
}

void blob_cache_forget(struct blob_cache *c, const struct digest *d)
{
    pthread_mutex_lock(&c->lock);
    struct entry *e = find(c, d);
    if (e)
        drop(c, e);
    c->turn++;
    pthread_mutex_unlock(&c->lock);
}
