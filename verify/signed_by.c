#include "verify/signed_by.h"

#include <inttypes.h>
#include <string.h>

#define MAX_SIGNERS 64
#define MAX_BALLOTS (POLICY_MAX_SIGNED_BY * MAX_SIGNERS)
#define UNUSED      SIZE_MAX

/* Who of a role's files answers for a name, and by whose keys. */
struct voucher {
    const struct tuf_metadata *metadata;
    const struct tuf_keys *keys;
    const struct tuf_role_keys *role_keys;
};

/* An entry, and which of the keys below may count for it. */
struct claim {
    const struct signed_by *entry;
    int64_t wanted;
    size_t keys[MAX_SIGNERS];
    size_t n;
};

/* All entries of one policy file. A key that is written in two ways, under two ids, is one. */
struct count {
    struct claim claims[POLICY_MAX_SIGNED_BY];
    size_t n_claims;
    const struct public_key *keys[MAX_BALLOTS];
    size_t counts_for[MAX_BALLOTS]; /* the claim, or UNUSED */
    size_t n_keys;
};

static const struct tuf_delegation *delegation_of(const struct tuf_metadata *targets,
                                                  const char *role)
{
    for (size_t i = 0; targets && i < tuf_targets_n_delegations(targets); i++) {
        const struct tuf_delegation *d = tuf_targets_delegation(targets, i);
        if (strcmp(d->name, role) == 0)
            return d;
    }
    return NULL;
}

/* --- one entry: who answers --- */

/* Along the path, each role verified by the one before it. */
static int go_along(struct trust_session *s, const char *path, const char *name, char *role,
                    struct voucher *v, struct error *err)
{
    char delegator[TUF_MAX_ROLE_NAME + 1];
    for (const char *p = path;;) {
        size_t len = strcspn(p, "/");
        memcpy(delegator, role, sizeof delegator);
        (void)snprintf(role, TUF_MAX_ROLE_NAME + 1, "%.*s", (int)len, p);
        const struct tuf_metadata *from = v->metadata;
        const struct tuf_delegation *d = delegation_of(from, role);
        if (!d || !tuf_delegation_covers(d, name))
            return fail(err, E_POLICY,
                        "policy wants role '%s' to vouch for '%s'; it is not delegated by '%s'",
                        path, name, delegator);
        int rc = trust_need_role(&s->view, s->store, &s->source, role, delegator, err);
        if (rc)
            return rc;
        *v = (struct voucher){tuf_trusted_targets(s->view.trusted, role), tuf_targets_keys(from),
                              &d->keys};
        if (!p[len])
            return OK;
        p += len + 1;
    }
}

/* A role that is split answers through the one bin that is responsible for the name. */
static int go_into_bin(struct trust_session *s, const char *role, const char *name,
                       struct voucher *voucher, struct error *err)
{
    const struct tuf_metadata *m = voucher->metadata;
    const struct tuf_bins *bins = m ? tuf_targets_bins(m) : NULL;
    char bin_name[TUF_BIN_NAME_MAX];
    struct tuf_target ignored;
    uint64_t bin = 0;
    if (!bins || tuf_targets_find(m, name, &ignored))
        return OK;
    int rc = tuf_bins_find(bins, name, &bin, err);
    if (rc)
        return rc;
    tuf_bins_name(bins, bin, bin_name);
    rc = trust_need_role(&s->view, s->store, &s->source, bin_name, role, err);
    if (!rc)
        *voucher = (struct voucher){tuf_trusted_targets(s->view.trusted, bin_name),
                                    tuf_targets_keys(m), &bins->keys};
    return rc;
}

static int find_voucher(struct trust_session *s, const struct signed_by *entry, const char *name,
                        struct voucher *out, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(s->view.trusted);
    char role[TUF_MAX_ROLE_NAME + 1] = "targets";
    *out = (struct voucher){tuf_trusted_targets(s->view.trusted, role), tuf_root_keys(root),
                            tuf_root_role(root, TUF_TARGETS)};
    int rc = strcmp(entry->role, role) == 0 ? OK : go_along(s, entry->role, name, role, out, err);
    return rc ? rc : go_into_bin(s, role, name, out, err);
}

static bool vouches(const struct voucher *v, const char *name, const struct digest *digest)
{
    struct tuf_target t;
    if (!v->metadata || !tuf_targets_find(v->metadata, name, &t))
        return false;
    return digest_equal(&t.sha256, digest) || (!t.sha256.alg && digest_equal(&t.sha512, digest));
}

/* --- whose keys count --- */

static bool is_pinned(const struct signed_by *entry, const struct key_id *id)
{
    for (size_t i = 0; i < entry->n_keys; i++)
        if (strcmp(entry->keys[i].text, id->text) == 0)
            return true;
    return !entry->n_keys;
}

static size_t key_number(struct count *c, const struct public_key *key)
{
    for (size_t i = 0; i < c->n_keys; i++)
        if (public_key_equal(c->keys[i], key))
            return i;
    c->keys[c->n_keys] = key;
    c->counts_for[c->n_keys] = UNUSED;
    return c->n_keys++;
}

static int add_claim(struct count *c, const struct signed_by *entry, const struct voucher *v,
                     struct error *err)
{
    struct claim *claim = &c->claims[c->n_claims++];
    struct key_id signers[MAX_SIGNERS];
    size_t n = 0;
    int rc =
        tuf_verify_threshold(v->metadata, v->keys, v->role_keys, signers, MAX_SIGNERS, &n, err);
    if (rc)
        return rc;
    claim->entry = entry;
    claim->wanted = entry->n_keys ? entry->threshold : v->role_keys->threshold;
    for (size_t i = 0; i < n && i < MAX_SIGNERS; i++)
        if (is_pinned(entry, &signers[i]))
            claim->keys[claim->n++] = key_number(c, tuf_keys_find(v->keys, &signers[i])->key);
    if ((int64_t)claim->n < claim->wanted)
        return fail(err, E_POLICY, "policy pins keys for role '%s'; %zu of %" PRId64 " signed",
                    entry->role, claim->n, claim->wanted);
    return OK;
}

/* One more key for this claim, where need be by giving another claim another key (an augmenting
 * path: a refusal means that there is no way to share the keys out). */
static bool take_key(struct count *c, size_t number, bool tried[static MAX_BALLOTS])
{
    const struct claim *claim = &c->claims[number];
    for (size_t i = 0; i < claim->n; i++) {
        size_t key = claim->keys[i];
        if (tried[key] || c->counts_for[key] == number)
            continue;
        tried[key] = true;
        if (c->counts_for[key] == UNUSED || take_key(c, c->counts_for[key], tried)) {
            c->counts_for[key] = number;
            return true;
        }
    }
    return false;
}

static int share_out(struct count *c, struct error *err)
{
    for (size_t i = 0; i < c->n_claims; i++)
        for (int64_t k = 0; k < c->claims[i].wanted; k++) {
            bool tried[MAX_BALLOTS] = {false};
            if (!take_key(c, i, tried))
                return fail(err, E_POLICY,
                            "policy wants role '%s' to vouch with keys of its own; those that "
                            "signed vouched for another role of 'signedBy' already",
                            c->claims[i].entry->role);
        }
    return OK;
}

static int check_scope(struct trust_session *s, const struct policy_scope *scope, const char *name,
                       const struct digest *digest, struct error *err)
{
    CLEANUP(cleanup_free) struct count *count = calloc(1, sizeof *count);
    if (!count)
        return fail_nomem(err);
    for (size_t i = 0; i < scope->n_signed_by; i++) {
        const struct signed_by *entry = &scope->signed_by[i];
        struct voucher v;
        int rc = find_voucher(s, entry, name, &v, err);
        if (!rc && !vouches(&v, name, digest))
            rc = fail(err, E_POLICY, "policy wants role '%s' to vouch for this digest; it does not",
                      entry->role);
        if (!rc)
            rc = add_claim(count, entry, &v, err);
        if (rc)
            return rc;
    }
    return share_out(count, err);
}

int signed_by_check(struct trust_session *s, const struct decision *d, const char *name,
                    const struct digest *digest, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < d->n_scopes; i++) /* each policy file is a rule of its own */
        rc = check_scope(s, d->scopes[i], name, digest, err);
    return rc;
}
