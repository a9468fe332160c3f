#include "tuf/metadata_internal.h"

#include <inttypes.h>
#include <string.h>

/* Hex digits that number every bin. Source: TUF 4.5, "name_prefix". */
static int suffix_len(const struct tuf_bins *bins)
{
    return (int)((bins->bits + 3) / 4);
}

int tuf_bins_parse(const struct js *object, struct tuf_bins *out, struct error *err)
{
    int64_t bits = 0;
    if (js_type(object) != JS_OBJECT)
        return fail(err, E_INVALID, "'succinct_roles' must be an object");
    int rc = tuf_role_keys_parse(object, &out->keys, err);
    if (!rc)
        rc = js_want_int(object, "bit_length", 1, TUF_MAX_BIN_BITS, &bits, err);
    if (!rc)
        rc = js_want_text(object, "name_prefix", &out->prefix, err);
    if (!rc)
        rc = tuf_check_text(out->prefix, TUF_MAX_NAME, "'name_prefix'", err);
    out->bits = (unsigned)bits;
    return rc;
}

uint64_t tuf_bins_count(const struct tuf_bins *bins)
{
    return UINT64_C(1) << bins->bits;
}

void tuf_bins_name(const struct tuf_bins *bins, uint64_t bin, char out[TUF_BIN_NAME_MAX])
{
    (void)snprintf(out, TUF_BIN_NAME_MAX, "%s-%0*" PRIx64, bins->prefix, suffix_len(bins), bin);
}

int tuf_bins_find(const struct tuf_bins *bins, const char *target, uint64_t *bin, struct error *err)
{
    struct digest d;
    int rc = digest_of(DIGEST_SHA256, target, strlen(target), &d, err);
    if (rc)
        return rc;
    uint32_t first = (uint32_t)d.bytes[0] << 24 | (uint32_t)d.bytes[1] << 16 |
                     (uint32_t)d.bytes[2] << 8 | d.bytes[3];
    *bin = first >> (32 - bins->bits);
    return OK;
}

/* The whole name is compared: a prefix alone would let any role pass for a bin
 * (GHSA-77hh-43cm-v8j6). */
bool tuf_bins_has(const struct tuf_bins *bins, const char *role)
{
    char name[TUF_BIN_NAME_MAX];
    size_t prefix = strlen(bins->prefix);
    uint64_t bin = 0;
    if (strncmp(role, bins->prefix, prefix) != 0 || role[prefix] != '-')
        return false;
    const char *digits = role + prefix + 1;
    if (strlen(digits) != (size_t)suffix_len(bins))
        return false;
    for (const char *c = digits; *c; c++) {
        const char *found = strchr("0123456789abcdef", *c);
        if (!found)
            return false;
        bin = bin << 4 | (uint64_t)(found - "0123456789abcdef");
    }
    if (bin >= tuf_bins_count(bins))
        return false;
    tuf_bins_name(bins, bin, name);
    return strcmp(name, role) == 0;
}

const struct tuf_bins *tuf_targets_bins(const struct tuf_metadata *targets)
{
    return targets->targets.has_bins ? &targets->targets.bins : NULL;
}

const struct tuf_role_keys *tuf_targets_authority(const struct tuf_metadata *delegator,
                                                  const char *role)
{
    const struct targets_part *part = &delegator->targets;
    for (size_t i = 0; i < part->n_delegations; i++)
        if (strcmp(part->delegations[i].name, role) == 0)
            return &part->delegations[i].keys;
    return part->has_bins && tuf_bins_has(&part->bins, role) ? &part->bins.keys : NULL;
}
