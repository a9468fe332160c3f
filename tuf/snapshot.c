/* Timestamp and snapshot: both are tables of what other files must be. */
#include "tuf/metadata_internal.h"

#include <inttypes.h>
#include <string.h>

static int parse_hash(const struct js *v, enum digest_alg alg, struct digest *out,
                      struct error *err)
{
    const char *hex = js_text(v);
    struct digest d = {.alg = alg};
    int rc = hex_decode(hex, strlen(hex), d.bytes, digest_len(alg), err);
    if (rc)
        return wrap(err, rc, "'%s'", digest_alg_name(alg));
    *out = d;
    return OK;
}

int tuf_hashes_parse(const struct js *hashes, struct digest *sha256, struct digest *sha512,
                     bool *known, struct error *err)
{
    *known = false;
    if (js_count(hashes) == 0)
        return fail(err, E_INVALID, "'hashes' is empty");
    js_foreach (hashes, it) {
        int rc = OK;
        if (js_type(it.value) != JS_STRING)
            return fail(err, E_INVALID, "hash '%.32s' must be a string", it.key);
        if (strcmp(it.key, "sha256") == 0)
            rc = parse_hash(it.value, DIGEST_SHA256, sha256, err);
        else if (strcmp(it.key, "sha512") == 0)
            rc = parse_hash(it.value, DIGEST_SHA512, sha512, err);
        else
            continue;
        if (rc)
            return rc;
        *known = true;
    }
    return OK;
}

static int parse_entry(const struct js *v, struct tuf_meta *out, struct error *err)
{
    const struct js *hashes = NULL;
    out->length = -1;
    if (js_type(v) != JS_OBJECT)
        return fail(err, E_INVALID, "must be an object");
    int rc = js_want_int(v, "version", 1, TUF_MAX_VERSION, &out->version, err);
    if (!rc)
        rc = js_opt_int(v, "length", 0, TUF_MAX_VERSION, &out->length, err);
    if (!rc)
        rc = js_opt_object(v, "hashes", &hashes, err);
    if (rc || !hashes)
        return rc;
    bool known;
    rc = tuf_hashes_parse(hashes, &out->sha256, &out->sha512, &known, err);
    /* A hash was meant to be checked: passing over an unknown one would be failing open. */
    if (!rc && !known)
        rc = fail(err, E_UNSUPPORTED, "none of its hashes is SHA-256 or SHA-512");
    return rc;
}

static int add_entry(struct meta_part *part, const char *file, const struct js *v,
                     struct error *err)
{
    int rc = tuf_check_text(file, TUF_MAX_NAME, "a name in 'meta'", err);
    if (rc)
        return rc;
    size_t len = strlen(file);
    if (!text_ends(file, ".json") || len == strlen(".json"))
        return fail(err, E_INVALID, "'%s' in 'meta' is not ROLE.json", file);
    char *name = strndup(file, len - strlen(".json"));
    if (!name)
        return fail_nomem(err);
    size_t i = part->n++;
    part->names[i] = name;
    part->index.refs[i] = (struct name_ref){name, i};
    return wrap(err, parse_entry(v, &part->items[i], err), "'%s'", file);
}

int tuf_meta_parse(struct tuf_metadata *m, struct error *err)
{
    const struct js *meta = NULL;
    struct meta_part *part = &m->meta;
    int rc = js_want_object(m->body, "meta", &meta, err);
    if (rc)
        return rc;
    size_t n = js_count(meta);
    if (m->type == TUF_TIMESTAMP && (n != 1 || !js_get(meta, "snapshot.json")))
        return fail(err, E_INVALID, "'meta' must have one entry, snapshot.json");
    part->items = calloc(n + 1, sizeof *part->items);
    part->names = calloc(n + 1, sizeof *part->names);
    part->index.refs = calloc(n + 1, sizeof *part->index.refs);
    if (!part->items || !part->names || !part->index.refs)
        return fail_nomem(err);
    js_foreach (meta, it) {
        rc = add_entry(part, it.key, it.value, err);
        if (rc)
            return rc;
    }
    part->index.n = part->n;
    name_index_sort(&part->index);
    return OK;
}

const struct tuf_meta *tuf_timestamp_snapshot(const struct tuf_metadata *timestamp)
{
    return &timestamp->meta.items[0];
}

const struct tuf_meta *tuf_snapshot_find(const struct tuf_metadata *snapshot, const char *role)
{
    size_t i = name_index_find(&snapshot->meta.index, role);
    return i == SIZE_MAX ? NULL : &snapshot->meta.items[i];
}

const char *tuf_snapshot_role(const struct tuf_metadata *snapshot, const char *role)
{
    size_t i = name_index_find(&snapshot->meta.index, role);
    return i == SIZE_MAX ? NULL : snapshot->meta.names[i];
}

size_t tuf_snapshot_count(const struct tuf_metadata *snapshot)
{
    return snapshot->meta.n;
}

const struct tuf_meta *tuf_snapshot_at(const struct tuf_metadata *snapshot, size_t i,
                                       const char **role)
{
    *role = snapshot->meta.names[i];
    return &snapshot->meta.items[i];
}

static int check_hash(const struct digest *wanted, const void *data, size_t len, struct error *err)
{
    struct digest real;
    if (wanted->alg == DIGEST_NONE)
        return OK;
    int rc = digest_of(wanted->alg, data, len, &real, err);
    if (rc)
        return rc;
    if (!digest_equal(wanted, &real))
        return fail(err, E_DIGEST, "its %s is not the one that was signed",
                    digest_alg_name(wanted->alg));
    return OK;
}

int tuf_meta_check(const struct tuf_meta *meta, const void *data, size_t len, bool strict,
                   struct error *err)
{
    if (strict && (meta->length < 0 || meta->sha256.alg == DIGEST_NONE))
        return fail(err, E_INVALID, "its length or SHA-256 was not signed");
    if (meta->length >= 0 && (uint64_t)meta->length != len)
        return fail(err, E_DIGEST, "it has %zu bytes, %" PRId64 " were signed", len, meta->length);
    int rc = check_hash(&meta->sha256, data, len, err);
    return rc ? rc : check_hash(&meta->sha512, data, len, err);
}
