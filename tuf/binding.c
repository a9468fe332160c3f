#include "tuf/metadata_internal.h"

#include "base/clock.h"

#include <string.h>

#define BINS_MAX_BITS 11u /* a snapshot that lists them all stays under 512 KiB */

static int check_meta(const struct tuf_metadata *m, struct error *err)
{
    for (size_t i = 0; i < m->meta.n; i++) {
        const struct tuf_meta *meta = &m->meta.items[i];
        if (meta->length < 0 || meta->sha256.alg == DIGEST_NONE)
            return fail(err, E_INVALID, "%s gives no length or SHA-256 for '%s'",
                        tuf_type_name(m->type), m->meta.names[i]);
    }
    if (m->type == TUF_TIMESTAMP && m->issued < 0)
        return fail(err, E_INVALID, "timestamp has no 'x-bulla-issued'");
    return OK;
}

static int check_target(const struct tuf_target *target, struct error *err)
{
    struct digest d;
    if (!tuf_target_name_valid(target->name))
        return fail(err, E_INVALID, "'%s' is neither a tag nor a digest", target->name);
    /* C37, TUF 5.7.3: a hash that nobody can check is none. */
    if (target->sha256.alg == DIGEST_NONE && target->sha512.alg == DIGEST_NONE)
        return fail(err, E_INVALID, "target '%s' has no SHA-256 or SHA-512", target->name);
    /* A name that is a digest promises just that content. */
    if (digest_parse_text(target->name, &d, NULL) == OK && !digest_equal(&d, &target->sha256) &&
        !digest_equal(&d, &target->sha512))
        return fail(err, E_INVALID, "target '%s' names other content", target->name);
    return OK;
}

static int check_bins(const struct tuf_bins *bins, struct error *err)
{
    char name[TUF_BIN_NAME_MAX];
    if (bins->bits > BINS_MAX_BITS)
        return fail(err, E_LIMIT, "2^%u bins, at most 2^%u are allowed", bins->bits, BINS_MAX_BITS);
    tuf_bins_name(bins, 0, name);
    return tuf_role_name_valid(name) ? OK : fail(err, E_INVALID, "'%s' is not a role name", name);
}

static int check_targets(const struct tuf_metadata *m, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < m->targets.n; i++)
        rc = check_target(&m->targets.items[i], err);
    for (size_t i = 0; !rc && i < m->targets.n_delegations; i++)
        if (!tuf_role_name_valid(m->targets.delegations[i].name))
            rc = fail(err, E_INVALID, "'%s' is not a role name", m->targets.delegations[i].name);
    return rc || !m->targets.has_bins ? rc : check_bins(&m->targets.bins, err);
}

static int check_names(const struct tuf_metadata *m, const char *collection, const char *role,
                       struct error *err)
{
    if (!m->collection)
        return fail(err, E_BINDING, "%s does not say which collection it is for", role);
    if (strcmp(m->collection, collection) != 0)
        return fail(err, E_BINDING, "%s is for collection '%s', not '%s'", role, m->collection,
                    collection);
    if (m->type != TUF_TARGETS)
        return OK;
    if (!m->role)
        return fail(err, E_BINDING, "%s does not say which role it is for", role);
    if (strcmp(m->role, role) != 0)
        return fail(err, E_BINDING, "metadata of role '%s' was given as '%s'", m->role, role);
    return OK;
}

int tuf_binding_check(const struct tuf_metadata *m, const char *collection, const char *role,
                      struct error *err)
{
    if (!collection)
        return OK;
    int rc = check_names(m, collection, role, err);
    if (rc)
        return rc;
    switch (m->type) {
    case TUF_ROOT:
        if (!m->root.consistent_snapshot)
            return fail(err, E_INVALID, "root does not set 'consistent_snapshot'");
        return OK;
    case TUF_TIMESTAMP:
    case TUF_SNAPSHOT:
        return check_meta(m, err);
    case TUF_TARGETS:
        break;
    }
    return check_targets(m, err);
}

int tuf_expiry_check(const struct tuf_metadata *m, const char *role, int64_t now_s,
                     struct error *err)
{
    char text[CLOCK_TEXT_MAX];
    if (m->expires <= now_s)
        return fail(err, E_EXPIRED, "%s expired at %s", role, clock_format(m->expires, text));
    return OK;
}
