/* Making a collection: root and targets, version 1. */
#include "base/clock.h"
#include "signer/collection_keys.h"

#include <inttypes.h>
#include <string.h>

#define KEY_OBJECT_MAX 16384u

struct publics {
    const struct public_key *keys[COLLECTION_MAX_KEYS];
};

static struct publics publics_of(const struct role_signers *s)
{
    struct publics p = {{NULL}};
    for (size_t i = 0; i < s->n; i++)
        p.keys[i] = signing_key_public(s->keys[i]);
    return p;
}

static int check_thresholds(const struct collection_init_options *o, struct error *err)
{
    size_t n_targets = o->n_targets_keys ? o->n_targets_keys : o->n_root_keys;
    if (!o->n_root_keys)
        return fail(err, E_USAGE, "name at least one root key with --root-key");
    if (o->root_threshold < 1 || (uint64_t)o->root_threshold > o->n_root_keys)
        return fail(err, E_USAGE, "root threshold must be from 1 to the number of root keys (%zu)",
                    o->n_root_keys);
    if (o->targets_threshold < 1 || (uint64_t)o->targets_threshold > n_targets)
        return fail(err, E_USAGE,
                    "targets threshold must be from 1 to the number of targets keys (%zu)",
                    n_targets);
    return OK;
}

static int check_absent(struct remote *remote, const char *repository, struct error *err)
{
    CLEANUP(bytes_done) struct bytes found = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc =
        remote_trust_get(remote, repository, "tuf/1.root.json", TUF_MAX_ROOT_BYTES, &found, &why);
    if (rc == E_NOTFOUND)
        return OK;
    if (!rc)
        return fail(err, E_EXISTS, "'%s' has trust metadata already; 'bulla trust show' shows it",
                    repository);
    *err = why;
    return rc;
}

/* The service's public key of one role. */
static int service_key(struct remote *remote, const char *repository, const char *role,
                       struct public_key **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *object = NULL;
    char path[64];
    (void)snprintf(path, sizeof path, "tuf/%s.key", role);
    int rc = remote_trust_get(remote, repository, path, KEY_OBJECT_MAX, &body, err);
    if (!rc)
        rc = js_parse(body.data, body.len, &object, err);
    if (!rc)
        rc = public_key_from_tuf(object, out, err);
    return wrap(err, rc, "the registry's %s key", role);
}

struct first_files {
    struct bytes root, targets;
};

static int compose_root(const struct collection_init_options *o, const char *collection,
                        const struct role_signers *root, const struct role_signers *targets,
                        struct public_key *const online[2], struct bytes *out, struct error *err)
{
    struct publics root_keys = publics_of(root), targets_keys = publics_of(targets);
    const struct public_key *timestamp = online[0], *snapshot = online[1];
    const struct tuf_compose_role roles[4] = {
        [TUF_ROOT] = {root_keys.keys, root->n, o->root_threshold},
        [TUF_TIMESTAMP] = {&timestamp, 1, 1},
        [TUF_SNAPSHOT] = {&snapshot, 1, 1},
        [TUF_TARGETS] = {targets_keys.keys, targets->n, o->targets_threshold},
    };
    CLEANUP(js_cleanup) struct js *tree = NULL;
    int64_t now = clock_now_s();
    int rc = tuf_compose(TUF_ROOT, collection, "root", 1, now, now + COLLECTION_ROOT_LIFETIME_S,
                         &tree, err);
    if (!rc)
        rc = tuf_compose_root_roles(tree, roles, err);
    return rc ? rc : tuf_compose_file(tree, root->signers, root->n, out, err);
}

static int compose_targets(const char *collection, const struct role_signers *targets,
                           struct bytes *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *tree = NULL;
    int64_t now = clock_now_s();
    int rc = tuf_compose(TUF_TARGETS, collection, "targets", 1, now,
                         now + COLLECTION_TARGETS_LIFETIME_S, &tree, err);
    return rc ? rc : tuf_compose_file(tree, targets->signers, targets->n, out, err);
}

static int publish_first(const struct collection_owner *owner, const struct reference *ref,
                         struct remote *remote, const struct bytes *root,
                         const struct bytes *targets, struct error *err)
{
    const struct remote_file files[2] = {{"root", root->data, root->len},
                                         {"targets", targets->data, targets->len}};
    int rc = remote_trust_post(remote, ref->repository, files, 2, err);
    if (!rc)
        rc = trust_pin_write(owner->verify->home, ref->host, ref->repository, root, err);
    if (rc)
        return rc;
    /* What was published is what a verifier gets: see it before saying so. */
    struct decision decision = {.max_age_s = -1};
    struct trust_session session;
    memcpy(decision.collection, ref->repository, sizeof decision.collection);
    rc = trust_session_open(owner->verify, ref, &decision, &session, err);
    if (!rc)
        trust_session_close(&session);
    return wrap(err, rc, "published, but not as a verifier needs it");
}

static int open_online_keys(struct remote *remote, const char *repository,
                            struct public_key *online[2], struct error *err)
{
    int rc = service_key(remote, repository, "timestamp", &online[0], err);
    return rc ? rc : service_key(remote, repository, "snapshot", &online[1], err);
}

static int compose_and_publish(const struct collection_owner *owner, const struct reference *ref,
                               const struct collection_init_options *o, struct remote *remote,
                               const struct role_signers *root, const struct role_signers *targets,
                               struct error *err)
{
    struct public_key *online[2] = {NULL, NULL};
    CLEANUP(bytes_done) struct bytes root_file = BYTES_INIT, targets_file = BYTES_INIT;
    int rc = open_online_keys(remote, ref->repository, online, err);
    if (!rc)
        rc = compose_root(o, ref->repository, root, targets, online, &root_file, err);
    if (!rc)
        rc = compose_targets(ref->repository, targets, &targets_file, err);
    if (!rc)
        rc = publish_first(owner, ref, remote, &root_file, &targets_file, err);
    public_key_cleanup(&online[0]);
    public_key_cleanup(&online[1]);
    return rc;
}

static void describe(const struct role_signers *s, struct collection_key_info *info, size_t *n)
{
    memcpy(info, s->info, s->n * sizeof s->info[0]);
    *n = s->n;
}

int collection_init(const struct collection_owner *owner, const struct reference *ref,
                    const struct collection_init_options *o, struct collection_init_result *result,
                    struct error *err)
{
    CLEANUP(role_signers_done) struct role_signers root = {.n = 0}, targets = {.n = 0};
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    struct remote_options options = {.host = ref->host,
                                     .repository = ref->repository,
                                     .ca_file = owner->verify->ca_file,
                                     .auth_file = owner->verify->auth_file};
    bool shared = o->n_targets_keys == 0;
    int rc = check_thresholds(o, err);
    if (!rc)
        rc = remote_open(&options, &remote, err);
    if (!rc) /* before anybody is asked for a passphrase */
        rc = check_absent(remote, ref->repository, err);
    if (!rc)
        rc = role_signers_open(owner, o->root_keys, o->n_root_keys, &root, err);
    if (!rc && !shared)
        rc = role_signers_open(owner, o->targets_keys, o->n_targets_keys, &targets, err);
    if (!rc)
        rc = compose_and_publish(owner, ref, o, remote, &root, shared ? &root : &targets, err);
    if (rc)
        return rc;
    describe(&root, result->root, &result->n_root);
    describe(shared ? &root : &targets, result->targets, &result->n_targets);
    result->targets_use_root_keys = shared;
    return OK;
}
