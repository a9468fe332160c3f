#include "tuf/metadata_internal.h"

#include <string.h>

static int parse_target(const char *name, const struct js *v, struct tuf_target *out,
                        struct error *err)
{
    const struct js *hashes = NULL;
    bool known; /* a target with foreign hashes only is refused when it is used: TUF 5.7.3 */
    out->name = name;
    if (js_type(v) != JS_OBJECT)
        return fail(err, E_INVALID, "must be an object");
    int rc = tuf_check_text(name, TUF_MAX_NAME, "its name", err);
    if (!rc)
        rc = js_want_int(v, "length", 0, TUF_MAX_VERSION, &out->length, err);
    if (!rc)
        rc = js_want_object(v, "hashes", &hashes, err);
    if (!rc)
        rc = tuf_hashes_parse(hashes, &out->sha256, &out->sha512, &known, err);
    return rc ? rc : js_opt_object(v, "custom", &out->custom, err);
}

static int parse_targets(const struct js *targets, struct targets_part *out, struct error *err)
{
    size_t n = js_count(targets);
    out->items = calloc(n + 1, sizeof *out->items);
    out->index.refs = calloc(n + 1, sizeof *out->index.refs);
    if (!out->items || !out->index.refs)
        return fail_nomem(err);
    js_foreach (targets, it) {
        size_t i = out->n++;
        int rc = parse_target(it.key, it.value, &out->items[i], err);
        if (rc)
            return wrap(err, rc, "target '%.128s'", it.key);
        out->index.refs[i] = (struct name_ref){it.key, i};
    }
    out->index.n = out->n;
    name_index_sort(&out->index);
    return OK;
}

static int compare_digests(const void *a, const void *b)
{
    const struct digest *x = a, *y = b;
    if (x->alg != y->alg)
        return x->alg < y->alg ? -1 : 1;
    return memcmp(x->bytes, y->bytes, digest_len(x->alg));
}

static int parse_banned(const struct js *list, struct targets_part *out, struct error *err)
{
    size_t n = js_count(list);
    if (n > TUF_MAX_BANNED)
        return fail(err, E_LIMIT, "%zu banned digests, at most %u are allowed", n, TUF_MAX_BANNED);
    out->banned = calloc(n + 1, sizeof *out->banned);
    if (!out->banned)
        return fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const char *text = js_text(js_at(list, i));
        if (!text)
            return fail(err, E_INVALID, "a banned digest must be a string");
        int rc = digest_parse_text(text, &out->banned[i], err);
        if (rc)
            return wrap(err, rc, "'x-bulla-banned'");
        out->n_banned++;
    }
    qsort(out->banned, n, sizeof *out->banned, compare_digests);
    return OK;
}

int tuf_targets_parse(struct tuf_metadata *m, struct error *err)
{
    const struct js *targets = NULL, *delegations = NULL, *banned = NULL;
    int rc = js_want_object(m->body, "targets", &targets, err);
    if (!rc)
        rc = parse_targets(targets, &m->targets, err);
    if (!rc)
        rc = js_opt_object(m->body, "delegations", &delegations, err);
    if (!rc && delegations)
        rc = wrap(err, tuf_delegations_parse(delegations, &m->targets, err), "delegations");
    if (!rc)
        rc = js_opt_array(m->body, "x-bulla-banned", &banned, err);
    if (!rc && banned)
        rc = parse_banned(banned, &m->targets, err);
    return rc;
}

bool tuf_targets_find(const struct tuf_metadata *targets, const char *name, struct tuf_target *out)
{
    size_t i = name_index_find(&targets->targets.index, name);
    if (i == SIZE_MAX)
        return false;
    *out = targets->targets.items[i];
    return true;
}

size_t tuf_targets_count(const struct tuf_metadata *targets)
{
    return targets->targets.n;
}

void tuf_targets_at(const struct tuf_metadata *targets, size_t i, struct tuf_target *out)
{
    *out = targets->targets.items[i];
}

size_t tuf_targets_n_delegations(const struct tuf_metadata *targets)
{
    return targets->targets.n_delegations;
}

const struct tuf_delegation *tuf_targets_delegation(const struct tuf_metadata *targets, size_t i)
{
    return &targets->targets.delegations[i];
}

const struct tuf_keys *tuf_targets_keys(const struct tuf_metadata *targets)
{
    return &targets->targets.keys;
}

size_t tuf_targets_n_banned(const struct tuf_metadata *targets)
{
    return targets->targets.n_banned;
}

const struct digest *tuf_targets_banned_at(const struct tuf_metadata *targets, size_t i)
{
    return &targets->targets.banned[i];
}

bool tuf_targets_banned(const struct tuf_metadata *targets, const struct digest *d)
{
    const struct targets_part *part = &targets->targets;
    return d->alg != DIGEST_NONE && part->n_banned &&
           bsearch(d, part->banned, part->n_banned, sizeof *part->banned, compare_digests);
}
