/* Making a collection: root and targets, version 1. */
#include "signer/change_file.h"
#include "signer/collection_change.h"

#include <inttypes.h>
#include <string.h>

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

static int open_online_keys(struct remote *remote, const char *repository,
                            struct public_key *online[2], struct error *err)
{
    int rc = collection_service_key(remote, repository, "timestamp", &online[0], err);
    return rc ? rc : collection_service_key(remote, repository, "snapshot", &online[1], err);
}

struct init {
    struct draft draft;
    struct collection_role root, targets;
    struct public_key *online[2]; /* timestamp, snapshot */
    struct role_signers signers;
};

static void init_done(struct init *i)
{
    role_signers_done(&i->signers);
    draft_close(&i->draft);
    collection_role_done(&i->root);
    collection_role_done(&i->targets);
    public_key_cleanup(&i->online[0]);
    public_key_cleanup(&i->online[1]);
}

static struct tuf_compose_role compose_role(const struct collection_role *r)
{
    return (struct tuf_compose_role){(const struct public_key *const *)r->keys, r->n_keys,
                                     r->threshold};
}

static int compose(struct init *i, struct error *err)
{
    const struct public_key *timestamp = i->online[0], *snapshot = i->online[1];
    const struct tuf_compose_role roles[4] = {
        [TUF_ROOT] = compose_role(&i->root),
        [TUF_TIMESTAMP] = {&timestamp, 1, 1},
        [TUF_SNAPSHOT] = {&snapshot, 1, 1},
        [TUF_TARGETS] = compose_role(&i->targets),
    };
    struct js *root = NULL, *targets = NULL;
    int rc = draft_root(&i->draft, &root, err);
    if (!rc)
        rc = tuf_compose_root_roles(root, roles, err);
    if (!rc)
        rc = draft_role(&i->draft, "targets", NULL, &targets, err);
    return rc ? rc : draft_compile(&i->draft, err);
}

static int open_keys(struct init *i, const struct collection_owner *owner,
                     const struct collection_init_options *o, struct error *err)
{
    bool shared = o->n_targets_keys == 0;
    int rc =
        collection_role_open(owner, o->root_keys, o->n_root_keys, o->root_threshold, &i->root, err);
    return rc ? rc
              : collection_role_open(owner, shared ? o->root_keys : o->targets_keys,
                                     shared ? o->n_root_keys : o->n_targets_keys,
                                     o->targets_threshold, &i->targets, err);
}

/* In a ceremony only those whose keys are at hand sign; else all. A key in both roles is opened
 * once. */
static int open_signers(struct init *i, const struct collection_owner *owner,
                        const struct collection_init_options *o, struct error *err)
{
    const char *names[2 * COLLECTION_MAX_KEYS];
    size_t n = 0;
    if (o->stage_file)
        return role_signers_open(owner, o->keys, o->n_keys, &i->signers, err);
    for (size_t k = 0; k < o->n_root_keys; k++)
        names[n++] = o->root_keys[k];
    for (size_t k = 0; k < o->n_targets_keys; k++) {
        bool known = false;
        for (size_t r = 0; !known && r < i->root.n_keys; r++)
            known = public_key_equal(i->targets.keys[k], i->root.keys[r]);
        if (!known)
            names[n++] = o->targets_keys[k];
    }
    return role_signers_open(owner, names, n, &i->signers, err);
}

static int describe_role(const struct collection_role *r, const char *const *names,
                         struct collection_key_info *info, size_t *n, struct error *err)
{
    int rc = OK;
    for (*n = 0; !rc && *n < r->n_keys; (*n)++) {
        struct key_id id;
        rc = public_key_id(r->keys[*n], &id, err);
        if (rc)
            break;
        memcpy(info[*n].id, id.text, sizeof id.text);
        (void)snprintf(info[*n].label, sizeof info[0].label, "%s", names[*n]);
    }
    return rc;
}

static int describe(const struct init *i, const struct collection_init_options *o,
                    struct collection_init_result *out, struct error *err)
{
    bool shared = o->n_targets_keys == 0;
    out->targets_use_root_keys = shared;
    int rc = describe_role(&i->root, o->root_keys, out->root, &out->n_root, err);
    if (!rc)
        rc = describe_role(&i->targets, shared ? o->root_keys : o->targets_keys, out->targets,
                           &out->n_targets, err);
    /* A token is better known by its label than by its URI. */
    for (size_t k = 0; k < i->signers.n; k++) {
        for (size_t r = 0; r < out->n_root; r++)
            if (strcmp(out->root[r].id, i->signers.info[k].id) == 0)
                out->root[r] = i->signers.info[k];
        for (size_t t = 0; t < out->n_targets; t++)
            if (strcmp(out->targets[t].id, i->signers.info[k].id) == 0)
                out->targets[t] = i->signers.info[k];
    }
    return rc;
}

static int stage_or_publish(struct init *i, const struct collection_init_options *o,
                            struct collection_init_result *result, struct error *err)
{
    int rc = draft_describe(&i->draft, &result->summary, err);
    if (!rc)
        rc = draft_sign(&i->draft, &i->signers, err);
    if (rc)
        return rc;
    if (o->stage_file)
        return change_file_write(&i->draft, o->stage_file, true, err);
    rc = draft_check_signatures(&i->draft, err);
    return rc ? rc : draft_publish_first(&i->draft, err);
}

int collection_init(const struct collection_owner *owner, const struct reference *ref,
                    const struct collection_init_options *o, struct collection_init_result *result,
                    struct error *err)
{
    CLEANUP(init_done) struct init i = {.signers = {.n = 0}};
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    struct remote_options options = {.host = ref->host,
                                     .ca_file = owner->verify->ca_file,
                                     .auth_file = owner->verify->auth_file};
    *result = (struct collection_init_result){.summary = BYTES_INIT};
    draft_begin(owner, ref, &i.draft);
    int rc = check_thresholds(o, err);
    if (!rc)
        rc = remote_open(&options, &remote, err);
    if (!rc) /* before anybody is asked for a passphrase */
        rc = check_absent(remote, ref->repository, err);
    if (!rc)
        rc = open_keys(&i, owner, o, err);
    if (!rc)
        rc = open_online_keys(remote, ref->repository, i.online, err);
    if (!rc)
        rc = compose(&i, err);
    if (!rc)
        rc = open_signers(&i, owner, o, err);
    if (!rc)
        rc = describe(&i, o, result, err);
    return rc ? rc : stage_or_publish(&i, o, result, err);
}
