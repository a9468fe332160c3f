/* bulla trust init, pin: a collection's first root, and trusting one. */
#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "cli/command.h"
#include "signer/collection.h"

#include <inttypes.h>
#include <string.h>

#define LOOK_WAIT_MS 60000 /* another one's look may meet a slow registry */

static int threshold(struct context *ctx, const char *option, int64_t *out, struct error *err)
{
    const char *text = option_text(&ctx->options, option);
    uint64_t value = 1;
    if (text && (text_to_u64(text, strlen(text), COLLECTION_MAX_KEYS, &value, err) || !value))
        return fail(err, E_USAGE, "--%s '%s' is not a number from 1 to %d", option, text,
                    COLLECTION_MAX_KEYS);
    *out = (int64_t)value;
    return OK;
}

static void say_keys(const struct context *ctx, const char *role,
                     const struct collection_key_info *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        say(ctx, "%-8s %s  %s", role, keys[i].id, keys[i].label);
}

static int ids_to_result(struct context *ctx, const char *name,
                         const struct collection_key_info *keys, size_t n, struct error *err)
{
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int rc = list ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = js_push(list, js_text_new(keys[i].id), err);
    return rc ? rc : result_set(ctx, name, TAKE_PTR(list), err);
}

static int repository_only(const char *text, struct reference *ref, struct error *err)
{
    int rc = parse_reference(text, ref, err);
    if (!rc && ref->digest.alg)
        rc = fail(err, E_USAGE, "name a repository, not a digest");
    return rc;
}

int command_trust_init(struct context *ctx, struct error *err)
{
    struct reference ref;
    struct collection_owner owner;
    const char *root[OPTION_VALUES_MAX], *targets[OPTION_VALUES_MAX], *keys[OPTION_VALUES_MAX];
    struct collection_init_result made;
    struct collection_init_options options = {
        .root_keys = root,
        .n_root_keys = option_list(&ctx->options, "root-key", root, OPTION_VALUES_MAX),
        .targets_keys = targets,
        .n_targets_keys = option_list(&ctx->options, "targets-key", targets, OPTION_VALUES_MAX),
        .stage_file = option_text(&ctx->options, "stage"),
        .keys = keys,
        .n_keys = option_list(&ctx->options, "key", keys, OPTION_VALUES_MAX),
    };
    int rc = repository_only(ctx->options.args[0], &ref, err);
    if (!rc)
        rc = threshold(ctx, "root-threshold", &options.root_threshold, err);
    if (!rc)
        rc = threshold(ctx, "targets-threshold", &options.targets_threshold, err);
    if (!rc)
        rc = context_owner(ctx, &owner, err);
    if (rc)
        return rc;
    if (!options.stage_file && options.n_keys)
        return fail(err, E_USAGE, "all root and targets keys sign: --key goes with --stage");
    rc = collection_init(&owner, &ref, &options, &made, err);
    bytes_done(&made.summary);
    if (rc)
        return wrap(err, rc, "trust init '%s/%s'", ref.host, ref.repository);
    if (options.stage_file)
        say(ctx,
            "staged in '%s': 'bulla trust add-signature' signs it, 'bulla trust publish' ends it",
            options.stage_file);
    else
        say(ctx, "collection '%s' has trust metadata now; its root is pinned here", ref.repository);
    say_keys(ctx, "root", made.root, made.n_root);
    say_keys(ctx, "targets", made.targets, made.n_targets);
    if (made.targets_use_root_keys)
        note(ctx, "warning: the root keys also sign tags; --targets-key keeps them apart");
    rc = ids_to_result(ctx, "rootKeys", made.root, made.n_root, err);
    if (!rc)
        rc = ids_to_result(ctx, "targetsKeys", made.targets, made.n_targets, err);
    return rc ? rc : result_text(ctx, "collection", ref.repository, err);
}

/* --- pin --- */

int role_keys_to_js(const struct tuf_role_keys *keys, struct js *o, struct error *err)
{
    CLEANUP(js_cleanup) struct js *ids = js_array_new();
    int rc = ids ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < keys->n_ids; i++)
        rc = js_push(ids, js_text_new(keys->ids[i].text), err);
    if (!rc)
        rc = js_set(o, "keyids", TAKE_PTR(ids), err);
    return rc ? rc : js_set(o, "threshold", js_int_new(keys->threshold), err);
}

static int say_root(struct context *ctx, const struct bytes *root, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc = tuf_metadata_parse(TUF_ROOT, root->data, root->len, &m, err);
    if (rc)
        return rc;
    const struct tuf_role_keys *keys = tuf_root_role(m, TUF_ROOT);
    say(ctx, "root version %" PRId64 " of '%s', %" PRId64 " of these keys must sign:",
        tuf_metadata_version(m), tuf_metadata_collection(m) ? tuf_metadata_collection(m) : "?",
        keys->threshold);
    for (size_t i = 0; i < keys->n_ids; i++)
        say(ctx, "  %s", keys->ids[i].text);
    struct js *o = result_object(ctx);
    rc = o ? role_keys_to_js(keys, o, err) : fail_nomem(err);
    return rc ? rc : result_int(ctx, "version", tuf_metadata_version(m), err);
}

/* What `trust pin` found out. */
struct pinning {
    struct bytes root;     /* the newest; its chain was verified */
    struct bytes old;      /* pinned already; empty: none */
    bool follows;          /* the newest root came from the pinned one */
    struct error unlinked; /* why it did not */
};

static void pinning_done(struct pinning *p)
{
    bytes_done(&p->root);
    bytes_done(&p->old);
}

static int open_trust(struct context *ctx, int *out, struct error *err)
{
    CLEANUP(cleanup_free) char *path = text_format("%s/trust", ctx->home);
    return path ? file_open_dir(path, true, out, err) : fail_nomem(err);
}

static int forget_look(struct context *ctx, struct error *err)
{
    CLEANUP(cleanup_fd) int trust = -1;
    int rc = open_trust(ctx, &trust, err);
    return rc ? rc : path_remove_tree(trust, "looking", err);
}

/* One at a time: the place to look in is one, and what is decided must still be so when it is
 * written. */
static int lock_look(struct context *ctx, int *lock, struct error *err)
{
    CLEANUP(cleanup_fd) int trust = -1;
    int rc = open_trust(ctx, &trust, err);
    return rc ? rc : file_lock(trust, "looking.lock", LOOK_WAIT_MS, lock, err);
}

/* Looked at in a place of its own: nothing is trusted before it was shown. An anchor may be old
 * (TUF 5.2): an expired collection can be pinned, and then renewed. */
static int look_from(struct context *ctx, const struct reference *ref, const struct bytes *pin,
                     struct bytes *out, struct error *err)
{
    struct decision decision = {.max_age_s = -1, .allow_tofu = true}, mapped;
    struct trust_session s;
    struct verify_options look = ctx->verify;
    CLEANUP(cleanup_free) char *scratch = text_format("%s/trust/looking", ctx->home);
    if (!scratch)
        return fail_nomem(err);
    look.home = scratch;
    /* Under the name that policy gives it here: a mirror's path is not the collection's. */
    int rc = context_policy(ctx, err);
    if (!rc)
        rc = policy_decide(&ctx->policy, ref, &mapped, err);
    if (!rc)
        rc = forget_look(ctx, err);
    if (!rc && pin)
        rc = trust_pin_write(scratch, ref->host, ref->repository, pin, err);
    if (rc)
        return rc;
    memcpy(decision.collection, mapped.collection, sizeof decision.collection);
    rc = trust_session_open_for_owner(&look, ref, &decision, true, &s, err);
    if (rc)
        return rc;
    const struct bytes *root = tuf_metadata_bytes(tuf_trusted_root(s.view.trusted));
    rc = bytes_append(out, root->data, root->len, err);
    trust_session_close(&s);
    return rc;
}

/* The newest root is what a person compares and what is pinned: its chain was verified, from the
 * pinned root on where there is one and it leads there. */
static int newest_root(struct context *ctx, const struct reference *ref, struct pinning *p,
                       struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = trust_pin_read(ctx->home, ref->host, ref->repository, &p->old, &why);
    if (rc && rc != E_NOTFOUND)
        return fail(err, rc, "%s", why.message);
    if (!rc) {
        rc = look_from(ctx, ref, &p->old, &p->root, &p->unlinked);
        p->follows = rc == OK;
        if (!rc || rc == E_NOMEM || rc == E_NETWORK || rc == E_TLS) {
            *err = p->unlinked;
            return rc;
        }
        bytes_clear(&p->root);
    }
    return look_from(ctx, ref, NULL, &p->root, err);
}

static int look(struct context *ctx, const struct reference *ref, struct pinning *p,
                struct error *err)
{
    struct error cleaning = ERROR_INIT;
    int rc = newest_root(ctx, ref, p, err);
    int swept = forget_look(ctx, &cleaning);
    if (rc || !swept)
        return rc;
    *err = cleaning;
    return swept;
}

/* The pin stays where the new root follows from it: versions that this machine knows are kept with
 * it. */
static int decide_pin(struct context *ctx, const struct reference *ref, const struct pinning *p,
                      const char **said, struct error *err)
{
    bool replace = option_given(&ctx->options, "replace");
    if (p->old.len && bytes_equal(p->old.data, p->old.len, p->root.data, p->root.len)) {
        *said = "pinned already";
        return OK;
    }
    if (p->follows && !replace) {
        *said = "pinned already, by an earlier root that leads to this one,";
        return OK;
    }
    if (p->old.len && !replace)
        return fail(err, E_EXISTS,
                    "another root is pinned for '%s/%s' and does not lead to this one (%.200s): "
                    "ask its owners; --replace replaces it",
                    ref->host, ref->repository, p->unlinked.message);
    *said = "pinned";
    return replace ? trust_pin_write(ctx->home, ref->host, ref->repository, &p->root, err)
                   : trust_pin_add(ctx->home, ref->host, ref->repository, &p->root, err);
}

int command_trust_pin(struct context *ctx, struct error *err)
{
    struct reference ref;
    CLEANUP(pinning_done) struct pinning p = {.root = BYTES_INIT};
    CLEANUP(cleanup_fd) int lock = -1;
    const char *said = NULL;
    int rc = repository_only(ctx->options.args[0], &ref, err);
    if (!rc)
        rc = lock_look(ctx, &lock, err);
    if (!rc)
        rc = look(ctx, &ref, &p, err);
    if (!rc)
        rc = say_root(ctx, &p.root, err);
    if (!rc)
        rc = decide_pin(ctx, &ref, &p, &said, err);
    if (!rc)
        say(ctx, "%s for %s/%s; compare the ids with their owner's", said, ref.host,
            ref.repository);
    return rc;
}
