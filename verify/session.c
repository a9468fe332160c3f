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
        struct remote_options options = {.host = s->places[s->place].host,
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

/* --- the registry and its mirrors --- */

static void go_to(struct trust_session *s, size_t place)
{
    if (place != s->place)
        remote_cleanup(&s->remote);
    s->place = place;
    memcpy(s->repository, s->places[place].repository, sizeof s->repository);
}

/* The registry did not answer, or has nothing: somebody else may. What it did answer counts, and
 * what is wrong on this machine is wrong everywhere. */
static bool others_may_know(int rc)
{
    return rc == E_NETWORK || rc == E_TLS || rc == E_PROTOCOL || rc == E_NO_TRUST ||
           rc == E_UNSUPPORTED || rc == E_NOTFOUND;
}

/* This machine's own trouble, which no mirror mends. */
static bool is_ours(int rc)
{
    return rc == E_NOMEM || rc == E_SYS || rc == E_CLOCK || rc == E_INTERRUPTED || rc == E_BUSY ||
           rc == E_INTERNAL;
}

static const char *place_name(const struct trust_session *s, char out[REFERENCE_TEXT_MAX])
{
    const struct policy_mirror *p = &s->places[s->place];
    (void)snprintf(out, REFERENCE_TEXT_MAX, "%s/%s", p->host, p->repository);
    return out;
}

/* A root by pinned key ids is as good from anywhere. */
static int fetch_anchor(struct trust_session *s, struct error *err)
{
    struct error first = ERROR_INIT;
    int rc = anchor_fetch_root(&s->anchor, &s->source, s->collection, &first);
    for (size_t i = 1; others_may_know(first.code) && rc && !is_ours(rc) && i < s->n_places; i++) {
        struct error why = ERROR_INIT;
        go_to(s, i);
        rc = anchor_fetch_root(&s->anchor, &s->source, s->collection, &why);
    }
    go_to(s, 0);
    return rc ? fail(err, first.code, "%s", first.message) : OK;
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
    return fetch_anchor(s, err);
}

/* How one refresh differs from another of the same session. */
struct asking {
    bool reuse, must_ask;
    const char *mirror;          /* the place in use is this one */
    struct trust_source *source; /* NULL: the session's */
};

static int refresh(struct trust_session *s, const struct decision *decision,
                   const struct asking *how, struct error *err)
{
    struct refresh_options options = {
        .now_s = clock_now_s(), /* C1, TUF 5.1: one time for every check of this update */
        .collection = s->collection,
        .root = &s->anchor.root,
        .reuse_s = how->reuse && decision ? decision->refresh_s : 0,
        .max_age_s = decision ? decision->max_age_s : -1,
        .grace_s = decision ? decision->offline_grace_s : 0,
        .bundle = s->options->bundle || how->mirror,
        .mirror = how->mirror,
        .must_ask = how->must_ask,
        .ignore_expiry = s->for_owner,
    };
    struct trust_view fresh;
    struct trust_source *source = how->source ? how->source : &s->source;
    int rc = trust_refresh(&options, s->store, source, &fresh, err);
    if (rc)
        return rc;
    trust_view_done(&s->view);
    s->view = fresh;
    return OK;
}

/* The first mirror from `first` on that gives something that can be used, which may be what is
 * stored, where that is newer. A mirror's bad answer says something of the mirror only: it is added
 * to `story`, which begins with why the registry was not enough. */
static int ask_mirrors(struct trust_session *s, const struct decision *decision, size_t first,
                       struct error *story)
{
    int rc = E_NO_TRUST;
    for (size_t i = first; rc && i < s->n_places; i++) {
        struct error why = ERROR_INIT, longer = ERROR_INIT;
        char name[REFERENCE_TEXT_MAX];
        go_to(s, i);
        const struct asking how = {.mirror = place_name(s, name)};
        rc = refresh(s, decision, &how, &why);
        if (rc && is_ours(rc)) {
            *story = why;
            return rc;
        }
        if (rc) {
            (void)fail(&longer, story->code, "%.400s; mirror %.150s: %.250s", story->message, name,
                       why.message);
            *story = longer;
        } else if (s->view.freshness == FRESH_MIRROR) {
            s->view.offline = *story;
        }
    }
    return rc;
}

struct silence {
    struct trust_source source;
    const struct error *cause;
};

static int say_nothing(struct trust_source *self, const char *name, size_t max, struct bytes *out,
                       struct error *err)
{
    const struct silence *s = (const struct silence *)self;
    (void)name, (void)max, (void)out;
    return fail(err, E_NETWORK, "%s", s->cause->message);
}

/* Nobody has anything: what is stored, if it still counts. */
static int use_stored(struct trust_session *s, const struct decision *decision,
                      const struct error *story, struct error *err)
{
    struct silence nobody = {{say_nothing, NULL}, story};
    const struct asking how = {.source = &nobody.source};
    struct error why = ERROR_INIT;
    int rc = refresh(s, decision, &how, &why);
    if (rc == E_NETWORK) /* nothing is stored: the registry's own failure is the reason */
        rc = story->code;
    return rc ? fail(err, rc, "%s", why.message) : OK;
}

static int refresh_anywhere(struct trust_session *s, const struct decision *decision, bool reuse,
                            struct error *err)
{
    struct asking how = {.reuse = reuse, .must_ask = s->must_ask};
    if (s->n_places < 2 || s->for_owner || s->must_ask || s->options->bundle)
        return refresh(s, decision, &how, err);
    struct error story = ERROR_INIT;
    how.must_ask = true;
    go_to(s, 0);
    int rc = refresh(s, decision, &how, &story);
    if (!others_may_know(rc)) {
        if (rc)
            *err = story;
        return rc;
    }
    rc = ask_mirrors(s, decision, 1, &story);
    if (rc && !is_ours(rc)) {
        go_to(s, 0);
        return use_stored(s, decision, &story, err);
    }
    if (rc)
        *err = story;
    return rc;
}

int trust_session_refresh(struct trust_session *s, struct error *err)
{
    const struct asking how = {.must_ask = s->must_ask};
    return refresh(s, NULL, &how, err);
}

int trust_session_ask(struct trust_session *s, const struct decision *decision, struct error *err)
{
    return refresh_anywhere(s, decision, false, err);
}

int trust_session_next(struct trust_session *s, const struct decision *decision, struct error *err)
{
    struct error story = s->view.offline;
    int rc = s->place ? ask_mirrors(s, decision, s->place + 1, &story) : E_NO_TRUST;
    return rc ? fail(err, rc, "%s", story.message) : OK;
}

static void list_places(struct trust_session *s, const struct decision *decision)
{
    struct policy_mirror *own = &s->places[0];
    memcpy(own->host, s->ref.host, sizeof own->host);
    memcpy(own->repository, s->ref.repository, sizeof own->repository);
    memcpy(&s->places[1], decision->mirrors, sizeof decision->mirrors);
    s->n_places = 1 + decision->n_mirrors;
    go_to(s, 0);
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
    list_places(s, decision);
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
        rc = refresh_anywhere(s, decision, options->reuse_recent && !s->for_owner, err);
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
