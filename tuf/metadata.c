#include "tuf/metadata_internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

/* --- signatures --- */

static bool is_hex(const char *text)
{
    return text[strspn(text, "0123456789abcdefABCDEF")] == '\0';
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct tuf_signature *)a)->id.text,
                  ((const struct tuf_signature *)b)->id.text);
}

static int parse_signature(const struct js *v, struct tuf_signature *out, struct error *err)
{
    const char *id, *hex;
    if (js_type(v) != JS_OBJECT)
        return fail(err, E_INVALID, "a signature must be an object");
    int rc = js_want_text(v, "keyid", &id, err);
    if (!rc)
        rc = key_id_parse(id, &out->id, err);
    if (!rc)
        rc = js_want_text(v, "sig", &hex, err);
    if (rc)
        return rc;
    /* "" is what ceremonies leave for a signature still to come; it never verifies. */
    if (strlen(hex) % 2 || !is_hex(hex))
        return fail(err, E_INVALID, "'sig' must be hex digits");
    out->hex = hex;
    return OK;
}

static int parse_signatures(struct tuf_metadata *m, struct error *err)
{
    const struct js *list;
    int rc = js_want_array(m->tree, "signatures", &list, err);
    if (rc)
        return rc;
    size_t n = js_count(list);
    if (n > TUF_MAX_SIGNATURES)
        return fail(err, E_LIMIT, "%zu signatures, at most %u are allowed", n, TUF_MAX_SIGNATURES);
    m->signatures = calloc(n + 1, sizeof *m->signatures);
    if (!m->signatures)
        return fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        rc = parse_signature(js_at(list, i), &m->signatures[i], err);
        if (rc)
            return rc;
        m->n_signatures++;
    }
    qsort(m->signatures, n, sizeof *m->signatures, by_id);
    for (size_t i = 1; i < n; i++)
        if (by_id(&m->signatures[i - 1], &m->signatures[i]) == 0)
            return fail(err, E_INVALID, "two signatures by key %.12s…", m->signatures[i].id.text);
    return OK;
}

/* --- members that every role has --- */

/* "MAJOR.MINOR" or "MAJOR.MINOR.PATCH", decimal. */
static int check_spec_version(const char *text, struct error *err)
{
    size_t parts = 0;
    const char *p = text;
    for (; parts < 3; parts++) {
        size_t digits = strspn(p, "0123456789");
        if (digits == 0 || digits > 9)
            return fail(err, E_INVALID, "'spec_version' is malformed");
        p += digits;
        if (*p != '.')
            break;
        p++;
    }
    if (*p || parts < 1 || parts > 2)
        return fail(err, E_INVALID, "'spec_version' is malformed");
    if (!text_starts(text, "1."))
        return fail(err, E_UNSUPPORTED, "TUF specification '%s' is not supported, 1.x is", text);
    return OK;
}

static int parse_date(const struct js *body, const char *key, int64_t *out, struct error *err)
{
    const char *text = NULL;
    int rc = js_opt_text(body, key, &text, err);
    if (rc || !text)
        return rc;
    return wrap(err, clock_parse(text, out, err), "'%s'", key);
}

static int parse_bindings(struct tuf_metadata *m, struct error *err)
{
    m->issued = -1;
    int rc = js_opt_text(m->body, "x-bulla-collection", &m->collection, err);
    if (!rc && m->collection)
        rc = tuf_check_text(m->collection, TUF_MAX_NAME, "'x-bulla-collection'", err);
    if (!rc)
        rc = js_opt_text(m->body, "x-bulla-role", &m->role, err);
    if (!rc && m->role)
        rc = tuf_check_text(m->role, TUF_MAX_NAME, "'x-bulla-role'", err);
    if (!rc)
        rc = parse_date(m->body, "x-bulla-issued", &m->issued, err);
    return rc;
}

static int parse_common(struct tuf_metadata *m, struct error *err)
{
    const char *type = NULL, *spec = NULL, *expires = NULL;
    int rc = js_want_text(m->body, "_type", &type, err);
    if (rc)
        return rc;
    if (strcmp(type, tuf_type_name(m->type)) != 0)
        return fail(err, E_INVALID, "'_type' is '%.40s', not '%s'", type, tuf_type_name(m->type));
    rc = js_want_text(m->body, "spec_version", &spec, err);
    if (!rc)
        rc = check_spec_version(spec, err);
    if (!rc)
        rc = js_want_int(m->body, "version", 1, TUF_MAX_VERSION, &m->version, err);
    if (!rc)
        rc = js_want_text(m->body, "expires", &expires, err);
    if (!rc)
        rc = parse_date(m->body, "expires", &m->expires, err);
    return rc ? rc : parse_bindings(m, err);
}

/* Stock clients read numbers as doubles: a larger integer, wherever it stands, would change the
 * canonical form there and so what they think was signed. */
static int check_integers(const struct js *v, struct error *err)
{
    int rc = OK;
    if (js_type(v) == JS_INT) {
        int64_t n = js_number(v);
        if (n > TUF_MAX_VERSION || n < -TUF_MAX_VERSION)
            return fail(err, E_INVALID, "integer %" PRId64 " is beyond 2^53 - 1", n);
    } else if (js_type(v) == JS_ARRAY) {
        for (size_t i = 0; !rc && i < js_count(v); i++)
            rc = check_integers(js_at(v, i), err);
    } else if (js_type(v) == JS_OBJECT) {
        js_foreach (v, it) {
            rc = check_integers(it.value, err);
            if (rc)
                break;
        }
    }
    return rc;
}

/* --- life cycle --- */

static int parse_part(struct tuf_metadata *m, struct error *err)
{
    switch (m->type) {
    case TUF_ROOT:
        return tuf_root_parse(m, err);
    case TUF_TIMESTAMP:
    case TUF_SNAPSHOT:
        return tuf_meta_parse(m, err);
    case TUF_TARGETS:
        break;
    }
    return tuf_targets_parse(m, err);
}

static int parse_all(struct tuf_metadata *m, struct error *err)
{
    int rc = js_parse(m->bytes.data, m->bytes.len, &m->tree, err);
    if (rc)
        return rc;
    if (js_type(m->tree) != JS_OBJECT)
        return fail(err, E_INVALID, "the file must be an object");
    rc = js_want_object(m->tree, "signed", &m->body, err);
    if (!rc)
        rc = parse_signatures(m, err);
    if (!rc)
        rc = check_integers(m->body, err);
    if (!rc)
        rc = parse_common(m, err);
    if (!rc)
        rc = parse_part(m, err);
    if (!rc)
        rc = bytes_reserve(&m->canonical, m->bytes.len, err);
    return rc ? rc : js_canonical(m->body, &m->canonical, err);
}

int tuf_metadata_parse(enum tuf_type type, const void *data, size_t len, struct tuf_metadata **out,
                       struct error *err)
{
    const char *name = tuf_type_name(type);
    if (len > tuf_type_max_bytes(type))
        return fail(err, E_LIMIT, "%s has %zu bytes, at most %zu are allowed", name, len,
                    tuf_type_max_bytes(type));
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = calloc(1, sizeof *m);
    if (!m)
        return fail_nomem(err);
    m->refs = 1;
    m->type = type;
    int rc = bytes_append(&m->bytes, data, len, err);
    if (!rc)
        rc = parse_all(m, err);
    if (rc)
        return wrap(err, rc, "%s", name);
    *out = TAKE_PTR(m);
    return OK;
}

struct tuf_metadata *tuf_metadata_ref(struct tuf_metadata *m)
{
    m->refs++;
    return m;
}

static void meta_part_done(struct meta_part *part)
{
    for (size_t i = 0; i < part->n; i++)
        free(part->names[i]);
    free(part->names);
    free(part->items);
    free(part->index.refs);
}

static void targets_part_done(struct targets_part *part)
{
    tuf_delegations_done(part);
    free(part->items);
    free(part->index.refs);
    free(part->banned);
}

void tuf_metadata_free(struct tuf_metadata *m)
{
    if (!m || --m->refs)
        return;
    tuf_keys_done(&m->root.keys);
    for (size_t i = 0; i < 4; i++)
        tuf_role_keys_done(&m->root.roles[i]);
    meta_part_done(&m->meta);
    targets_part_done(&m->targets);
    free(m->signatures);
    bytes_done(&m->canonical);
    bytes_done(&m->bytes);
    js_free(m->tree);
    free(m);
}

void tuf_metadata_cleanup(struct tuf_metadata **m)
{
    int saved = errno;
    tuf_metadata_free(*m);
    *m = NULL;
    errno = saved;
}

/* --- reading --- */

enum tuf_type tuf_metadata_type(const struct tuf_metadata *m)
{
    return m->type;
}

int64_t tuf_metadata_version(const struct tuf_metadata *m)
{
    return m->version;
}

int64_t tuf_metadata_expires(const struct tuf_metadata *m)
{
    return m->expires;
}

const char *tuf_metadata_collection(const struct tuf_metadata *m)
{
    return m->collection;
}

const char *tuf_metadata_role(const struct tuf_metadata *m)
{
    return m->role;
}

int64_t tuf_metadata_issued(const struct tuf_metadata *m)
{
    return m->issued;
}

const struct bytes *tuf_metadata_bytes(const struct tuf_metadata *m)
{
    return &m->bytes;
}

const struct js *tuf_metadata_signed(const struct tuf_metadata *m)
{
    return m->body;
}

size_t tuf_metadata_n_signatures(const struct tuf_metadata *m)
{
    return m->n_signatures;
}
