#include "registry/uploads.h"

#include "base/clock.h"
#include "base/log.h"
#include "registry/metrics.h"

#include <pthread.h>
#include <string.h>

struct session {
    struct session *next;
    char id[BLOB_UPLOAD_ID_LEN + 1];
    char *repository, *user;
    struct blob_upload *upload; /* NULL: not read since the restart */
    bool taken;
    int64_t touched_ms;
};

struct uploads {
    struct blobs *blobs;
    unsigned per_user;
    pthread_mutex_t lock;
    struct session *sessions;
};

int uploads_new(struct blobs *blobs, unsigned per_user, struct uploads **out, struct error *err)
{
    struct uploads *u = calloc(1, sizeof *u);
    if (!u)
        return fail_nomem(err);
    u->blobs = blobs;
    u->per_user = per_user;
    pthread_mutex_init(&u->lock, NULL);
    *out = u;
    return 0;
}

static void session_free(struct session *s)
{
    if (!s)
        return;
    metrics_move(METRICS_OPEN_UPLOADS, -1);
    blobs_upload_free(s->upload);
    free(s->repository);
    free(s->user);
    free(s);
}

void uploads_free(struct uploads *u)
{
    if (!u)
        return;
    while (u->sessions) {
        struct session *s = u->sessions;
        u->sessions = s->next;
        session_free(s);
    }
    pthread_mutex_destroy(&u->lock);
    free(u);
}

static int session_new(const char *id, const struct upload_owner *owner, struct session **out,
                       struct error *err)
{
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        return fail_nomem(err);
    snprintf(s->id, sizeof s->id, "%s", id);
    s->repository = strdup(owner->repository);
    s->user = strdup(owner->user);
    s->touched_ms = clock_monotonic_ms();
    metrics_move(METRICS_OPEN_UPLOADS, 1);
    if (!s->repository || !s->user) {
        session_free(s);
        return fail_nomem(err);
    }
    *out = s;
    return 0;
}

/* Under the lock. */
static struct session *find(struct uploads *u, const char *id)
{
    struct session *s = u->sessions;
    while (s && strcmp(s->id, id) != 0)
        s = s->next;
    return s;
}

static void link_session(struct uploads *u, struct session *s)
{
    s->next = u->sessions;
    u->sessions = s;
}

static void unlink_session(struct uploads *u, const struct session *s)
{
    struct session **at = &u->sessions;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
}

static bool too_many(struct uploads *u, const char *user)
{
    unsigned n = 0;
    for (const struct session *s = u->sessions; s; s = s->next)
        n += strcmp(s->user, user) == 0;
    return n >= u->per_user;
}

/* The place is taken before the upload exists: of many requests at once none gets over the limit.
 * No id is "", so nobody finds it. */
static int reserve(struct uploads *u, const struct upload_owner *owner, struct session **out,
                   struct error *err)
{
    struct session *s = NULL;
    int rc = session_new("", owner, &s, err);
    if (rc != 0)
        return rc;
    s->taken = true;
    pthread_mutex_lock(&u->lock);
    bool full = too_many(u, owner->user);
    if (!full)
        link_session(u, s);
    pthread_mutex_unlock(&u->lock);
    if (full) {
        session_free(s);
        return fail(err, E_BUSY, "'%s' has %u uploads open, which is the limit", owner->user,
                    u->per_user);
    }
    *out = s;
    return 0;
}

static int begin_noted(struct uploads *u, const struct upload_owner *owner,
                       struct blob_upload **out, struct error *err)
{
    struct blob_upload *upload = NULL;
    CLEANUP(bytes_done) struct bytes note = BYTES_INIT;
    int rc = blobs_begin(u->blobs, DIGEST_SHA256, &upload, err);
    if (rc != 0)
        return rc;
    rc = bytes_append_format(&note, err, "%s\n%s", owner->repository, owner->user);
    if (rc == 0)
        rc = blobs_upload_note_write(u->blobs, blobs_upload_id(upload), bytes_text(&note), err);
    if (rc != 0) {
        blobs_upload_cancel(u->blobs, upload);
        return rc;
    }
    blobs_upload_rest(upload);
    *out = upload;
    return 0;
}

int uploads_begin(struct uploads *u, const struct upload_owner *owner, char *id, struct error *err)
{
    struct blob_upload *upload = NULL;
    struct session *s = NULL;
    int rc = reserve(u, owner, &s, err);
    if (rc != 0)
        return rc;
    rc = begin_noted(u, owner, &upload, err);
    pthread_mutex_lock(&u->lock);
    if (rc == 0) {
        snprintf(s->id, sizeof s->id, "%s", blobs_upload_id(upload));
        memcpy(id, s->id, sizeof s->id);
        s->upload = upload;
        s->taken = false;
    } else {
        unlink_session(u, s);
    }
    pthread_mutex_unlock(&u->lock);
    if (rc != 0)
        session_free(s);
    return rc;
}

static int no_upload(struct error *err)
{
    return fail(err, E_NOTFOUND, "no such upload: begin again with POST");
}

/* A session of an earlier process, known by its note only. Under the lock. */
static int remember(struct uploads *u, const char *id, struct session **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes note = BYTES_INIT;
    int rc = blobs_upload_note_read(u->blobs, id, &note, err);
    if (rc == E_NOTFOUND)
        return no_upload(err);
    char *repository = rc == 0 ? (char *)note.data : NULL;
    char *newline = repository ? strchr(repository, '\n') : NULL;
    if (rc != 0 || !newline)
        return rc != 0 ? rc : no_upload(err);
    *newline = '\0';
    struct upload_owner owner = {repository, newline + 1};
    rc = session_new(id, &owner, out, err);
    if (rc == 0)
        link_session(u, *out);
    return rc;
}

int uploads_take(struct uploads *u, const char *id, const struct upload_owner *owner,
                 struct blob_upload **out, struct error *err)
{
    pthread_mutex_lock(&u->lock);
    struct session *s = find(u, id);
    int rc = s ? 0 : remember(u, id, &s, err);
    if (rc == 0 &&
        (strcmp(s->repository, owner->repository) != 0 || strcmp(s->user, owner->user) != 0))
        rc = no_upload(err);
    if (rc == 0 && s->taken)
        rc = fail(err, E_CONFLICT, "another request works on this upload");
    if (rc == 0)
        s->taken = true;
    pthread_mutex_unlock(&u->lock);
    if (rc != 0)
        return rc;
    if (!s->upload) { /* only the taker touches it */
        rc = blobs_resume(u->blobs, id, &s->upload, err);
        if (rc != 0) {
            pthread_mutex_lock(&u->lock);
            unlink_session(u, s);
            pthread_mutex_unlock(&u->lock);
            session_free(s);
            return rc == E_NOTFOUND ? no_upload(err) : rc;
        }
    }
    *out = s->upload;
    return 0;
}

void uploads_return(struct uploads *u, struct blob_upload *upload)
{
    blobs_upload_rest(upload);
    pthread_mutex_lock(&u->lock);
    struct session *s = find(u, blobs_upload_id(upload));
    if (s) {
        s->taken = false;
        s->touched_ms = clock_monotonic_ms();
    }
    pthread_mutex_unlock(&u->lock);
}

void uploads_drop(struct uploads *u, struct blob_upload *upload, bool cancel)
{
    pthread_mutex_lock(&u->lock);
    struct session *s = find(u, blobs_upload_id(upload));
    if (s)
        unlink_session(u, s);
    pthread_mutex_unlock(&u->lock);
    if (s)
        s->upload = NULL;
    session_free(s);
    if (cancel)
        blobs_upload_cancel(u->blobs, upload);
    else
        blobs_upload_free(upload);
}

/* A session that was not forgotten: a request works on it, or did lately, whatever the times of its
 * file say. */
static bool is_known(void *context, const char *id)
{
    struct uploads *u = context;
    pthread_mutex_lock(&u->lock);
    bool known = find(u, id) != NULL;
    pthread_mutex_unlock(&u->lock);
    return known;
}

void uploads_sweep(struct uploads *u, int64_t age_s)
{
    int64_t oldest = clock_monotonic_ms() - age_s * 1000;
    struct session *old = NULL;
    pthread_mutex_lock(&u->lock);
    for (struct session **at = &u->sessions; *at;) {
        struct session *s = *at;
        if (s->taken || s->touched_ms > oldest) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        s->next = old;
        old = s;
    }
    pthread_mutex_unlock(&u->lock);
    while (old) {
        struct session *s = old;
        old = s->next;
        session_free(s);
    }
    size_t n = 0;
    struct error err = ERROR_INIT;
    const struct blob_guard guard = {is_known, u};
    if (blobs_sweep_uploads(u->blobs, age_s, &guard, &n, &err) != 0)
        log_warn("uploads: %s", err.message);
    else if (n > 0)
        log_info("removed %zu abandoned upload files", n);
}
