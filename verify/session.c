/* One collection, opened: anchor, store, connection, view. */
#include "base/clock.h"
#include "verify/verdict.h"

#include <string.h>

static struct trust_session *session_of(struct trust_source *source)
{
    return (struct trust_session *)((char *)source - offsetof(struct trust_session, source));
}

int trust_session_remote(struct trust_session *s, struct remote **out, struct error *err)
{
    if (s->options->bundle)
        return fail(err, E_INTERNAL, "a bundle is verified without a registry");
    if (!s->remote) {
        struct remote_options options = {.host = s->ref.host,
                                         .repository = s->repository,
                                         .ca_file = s->options->ca_file,
                                         .auth_file = s->options->auth_file};
        int rc = remote_open(&options, &s->remote, err);
        if (rc)
            return rc;
    }
    *out = s->remote;
    return OK;
}

static int source_get(struct trust_source *self, const char *name, size_t max, struct bytes *out,
                      struct error *err)
{
    struct trust_session *s = session_of(self);
    struct remote *remote;
    char path[600];
    if (s->options->bundle)
        return bundle_trust_get(s->options->bundle, name, max, out, err);
    int rc = trust_session_remote(s, &remote, err);
    (void)snprintf(path, sizeof path, "tuf/%s", name);
    return rc ? rc : remote_trust_get(remote, s->repository, path, max, out, err);
}

static void source_get_two(struct trust_source *self, const char *const names[2],
                           const size_t max[2], struct bytes *out[2], int rc[2],
                           struct error errs[2])
{
    struct trust_session *s = session_of(self);
    struct remote *remote;
    char paths[2][600];
    struct remote_get gets[2];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "tuf/%s", names[i]);
        gets[i] = (struct remote_get){.path = paths[i], .max = max[i], .out = out[i]};
    }
    int all = trust_session_remote(s, &remote, &errs[0]);
    if (!all)
        all = remote_trust_get_pair(remote, s->repository, &gets[0], &gets[1], &errs[0]);
    for (int i = 0; i < 2; i++) {
        rc[i] = all ? all : gets[i].rc;
        if (!all)
            errs[i] = gets[i].err;
        else if (i)
            errs[i] = errs[0];
    }
}

void trust_session_close(struct trust_session *s)
{
    trust_view_done(&s->view);
    trust_store_cleanup(&s->store);
    remote_cleanup(&s->remote);
    anchor_done(&s->anchor);
}

static int open_store(struct trust_session *s, struct error *err)
{
    int rc = OK;
    bool first_use = s->anchor.origin == ANCHOR_TOFU;
    if (first_use) /* its id is known only once the root is */
        rc = anchor_fetch_root(&s->anchor, &s->source, s->collection, err);
    if (!rc)
        rc = trust_store_open(s->options->home, s->anchor.id, s->collection, &s->store, err);
    if (rc || !s->anchor.keys)
        return rc;
    CLEANUP(bytes_done) struct bytes stored = BYTES_INIT;
    if (trust_store_read(s->store, "root", TUF_MAX_ROOT_BYTES, &stored, NULL) == OK)
        return OK;
    return anchor_fetch_root(&s->anchor, &s->source, s->collection, err);
}

static int refresh(struct trust_session *s, const struct decision *decision, bool reuse,
                   struct error *err)
{
    struct refresh_options options = {
        .now_s = clock_now_s(), /* C1, TUF 5.1: one time for every check of this update */
        .collection = s->collection,
        .root = &s->anchor.root,
        .reuse_s = reuse && decision ? decision->refresh_s : 0,
        .max_age_s = decision ? decision->max_age_s : -1,
        .grace_s = decision ? decision->offline_grace_s : 0,
        .bundle = s->options->bundle != NULL,
        .must_ask = s->must_ask,
        .ignore_expiry = s->for_owner,
    };
    struct trust_view fresh;
    int rc = trust_refresh(&options, s->store, &s->source, &fresh, err);
    if (rc)
        return rc;
    trust_view_done(&s->view);
    s->view = fresh;
    return OK;
}

int trust_session_refresh(struct trust_session *s, struct error *err)
{
    return refresh(s, NULL, false, err);
}

int trust_session_ask(struct trust_session *s, const struct decision *decision, struct error *err)
{
    return refresh(s, decision, false, err);
}

/* An owner without an anchor may have nothing to be anchored to yet. */
static int add_init(int rc, struct error *err)
{
    struct error why = err ? *err : (struct error)ERROR_INIT;
    return fail(err, rc, "%.400s; 'bulla trust init' begins a new collection", why.message);
}

static int open_session(const struct verify_options *options, const struct reference *ref,
                        const struct decision *decision, struct trust_session *s, struct error *err)
{
    s->options = options;
    s->ref = *ref;
    s->source = (struct trust_source){source_get, options->bundle ? NULL : source_get_two};
    memcpy(s->repository, ref->repository, sizeof s->repository);
    memcpy(s->collection, decision->collection, sizeof s->collection);
    /* First use of a file from anywhere is no first use of a registry. */
    bool tofu = !options->bundle && (options->tofu || decision->allow_tofu);
    int rc = anchor_resolve(decision->anchor, options->home, ref, tofu, &s->anchor, err);
    if (rc == E_NO_TRUST && s->for_owner && !decision->anchor)
        return add_init(rc, err);
    if (!rc)
        rc = open_store(s, err);
    if (!rc) {
        s->had_history = trust_store_was_published(s->store);
        rc = refresh(s, decision, options->reuse_recent && !s->for_owner, err);
    }
    if (!rc && s->anchor.origin == ANCHOR_TOFU)
        rc = trust_pin_add(options->home, ref->host, ref->repository, &s->anchor.root, err);
    if (rc)
        trust_session_close(s);
    return rc;
}

int trust_session_open(const struct verify_options *options, const struct reference *ref,
                       const struct decision *decision, struct trust_session *out,
                       struct error *err)
{
    memset(out, 0, sizeof *out);
    return open_session(options, ref, decision, out, err);
}

int trust_session_open_for_owner(const struct verify_options *options, const struct reference *ref,
                                 const struct decision *decision, bool must_ask,
                                 struct trust_session *out, struct error *err)
{
    memset(out, 0, sizeof *out);
    out->for_owner = true;
    out->must_ask = must_ask;
    return open_session(options, ref, decision, out, err);
}
