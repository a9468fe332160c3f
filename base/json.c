#include "base/json.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

static json_t *to_jansson(const struct js *v)
{
    /* jansson's readers take non-const; none of the calls made on borrowed values change them. */
    return (json_t *)(uintptr_t)v;
}

static struct js *from_jansson(json_t *v)
{
    return (struct js *)v;
}

/* --- parsing --- */

struct shape {
    size_t depth, deepest, containers, members;
};

static int check_limits(const struct shape *s, size_t len, struct error *err)
{
    size_t containers = JS_FREE_CONTAINERS + len / JS_BYTES_PER_CONTAINER;
    size_t members = JS_FREE_MEMBERS + len / JS_BYTES_PER_MEMBER;
    if (s->deepest > JS_MAX_DEPTH)
        return fail(err, E_LIMIT, "JSON is nested deeper than %d", JS_MAX_DEPTH);
    if (s->containers > containers)
        return fail(err, E_LIMIT, "JSON has more than %zu objects and arrays in %zu bytes",
                    containers, len);
    if (s->members > members)
        return fail(err, E_LIMIT, "JSON has more than %zu values in %zu bytes", members, len);
    return OK;
}

/*
 * Checked before the parser runs: it recurses, with its own limit far above ours, and it allocates
 * for each value. What is inside strings does not count.
 */
static int check_shape(const char *text, size_t len, struct error *err)
{
    struct shape s = {0, 0, 0, 0};
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            s.containers++;
            if (++s.depth > s.deepest)
                s.deepest = s.depth;
        } else if (c == ',') {
            s.members++;
        } else if ((c == '}' || c == ']') && s.depth) {
            s.depth--;
        }
    }
    return check_limits(&s, len, err);
}

static bool has_real(const json_t *v)
{
    if (json_is_real(v))
        return true;
    if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++)
            if (has_real(json_array_get(v, i)))
                return true;
    } else if (json_is_object(v)) {
        json_t *o = to_jansson((const struct js *)v), *member;
        const char *key;
        json_object_foreach(o, key, member) if (has_real(member)) return true;
    }
    return false;
}

static int parse(const void *data, size_t len, bool reals, struct js **out, struct error *err)
{
    int rc = check_shape(data, len, err);
    if (rc)
        return rc;
    json_error_t why;
    errno = 0;
    json_t *v = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!v) {
        /* jansson reports most failed allocations as bad syntax; only errno tells. "Could not read"
         * must not become "refused". */
        if (errno == ENOMEM || json_error_code(&why) == json_error_out_of_memory)
            return fail_nomem(err);
        return fail(err, E_INVALID, "not valid JSON: %s at line %d, column %d", why.text, why.line,
                    why.column);
    }
    if (!reals && has_real(v)) {
        json_decref(v);
        return fail(err, E_INVALID, "not valid JSON here: a number is not an integer");
    }
    *out = from_jansson(v);
    return OK;
}

int js_parse(const void *data, size_t len, struct js **out, struct error *err)
{
    return parse(data, len, false, out, err);
}

int js_parse_lax(const void *data, size_t len, struct js **out, struct error *err)
{
    return parse(data, len, true, out, err);
}

void js_free(struct js *v)
{
    json_decref(to_jansson(v));
}

void js_cleanup(struct js **v)
{
    js_free(*v);
    *v = NULL;
}

struct js *js_dup(const struct js *v)
{
    return from_jansson(json_deep_copy(to_jansson(v)));
}

bool js_equal(const struct js *a, const struct js *b)
{
    return json_equal(to_jansson(a), to_jansson(b));
}

/* --- reading --- */

enum js_type js_type(const struct js *v)
{
    const json_t *j = to_jansson(v);
    if (!j)
        return JS_NULL;
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return JS_OBJECT;
    case JSON_ARRAY:
        return JS_ARRAY;
    case JSON_STRING:
        return JS_STRING;
    case JSON_INTEGER:
        return JS_INT;
    case JSON_TRUE:
    case JSON_FALSE:
        return JS_BOOL;
    case JSON_REAL:
    case JSON_NULL:
        break;
    }
    return JS_NULL;
}

bool js_is_null(const struct js *v)
{
    return !v || json_is_null(to_jansson(v));
}

const struct js *js_get(const struct js *v, const char *key)
{
    return from_jansson(json_object_get(to_jansson(v), key));
}

size_t js_count(const struct js *v)
{
    if (js_type(v) == JS_ARRAY)
        return json_array_size(to_jansson(v));
    return json_object_size(to_jansson(v));
}

const struct js *js_at(const struct js *array, size_t i)
{
    return from_jansson(json_array_get(to_jansson(array), i));
}

const char *js_text(const struct js *v)
{
    return json_string_value(to_jansson(v));
}

int64_t js_number(const struct js *v)
{
    if (js_type(v) == JS_BOOL)
        return json_is_true(to_jansson(v));
    return json_integer_value(to_jansson(v));
}

static struct js_iter iter_at(const struct js *object, void *state)
{
    struct js_iter it = {NULL, NULL, state};
    (void)object;
    if (state) {
        it.key = json_object_iter_key(state);
        it.value = from_jansson(json_object_iter_value(state));
    }
    return it;
}

struct js_iter js_first(const struct js *object)
{
    return iter_at(object, json_object_iter(to_jansson(object)));
}

struct js_iter js_next(const struct js *object, struct js_iter it)
{
    return iter_at(object, json_object_iter_next(to_jansson(object), it.state));
}

/* --- typed members --- */

static const char *type_phrase(enum js_type type)
{
    static const char *const phrases[] = {"an object",  "an array",      "a string",
                                          "an integer", "true or false", "null"};
    return phrases[type];
}

/* *out = NULL where the member is missing and not needed. */
static int member(const struct js *o, const char *key, enum js_type type, bool needed,
                  const struct js **out, struct error *err)
{
    const struct js *v = js_get(o, key);
    if (!v && !needed) {
        *out = NULL;
        return OK;
    }
    if (!v)
        return fail(err, E_INVALID, "'%s' is missing", key);
    if (js_type(v) != type || json_is_null(to_jansson(v)))
        return fail(err, E_INVALID, "'%s' must be %s", key, type_phrase(type));
    *out = v;
    return OK;
}

static int text_member(const struct js *o, const char *key, bool needed, const char **out,
                       struct error *err)
{
    const struct js *v;
    int rc = member(o, key, JS_STRING, needed, &v, err);
    if (!rc && v)
        *out = js_text(v);
    return rc;
}

int js_want_text(const struct js *o, const char *key, const char **out, struct error *err)
{
    return text_member(o, key, true, out, err);
}

int js_opt_text(const struct js *o, const char *key, const char **out, struct error *err)
{
    return text_member(o, key, false, out, err);
}

static int int_member(const struct js *o, const char *key, bool needed, int64_t min, int64_t max,
                      int64_t *out, struct error *err)
{
    const struct js *v;
    int rc = member(o, key, JS_INT, needed, &v, err);
    if (rc || !v)
        return rc;
    int64_t n = js_number(v);
    if (n < min || n > max)
        return fail(err, E_INVALID, "'%s' must be from %" PRId64 " to %" PRId64, key, min, max);
    *out = n;
    return OK;
}

int js_want_int(const struct js *o, const char *key, int64_t min, int64_t max, int64_t *out,
                struct error *err)
{
    return int_member(o, key, true, min, max, out, err);
}

int js_opt_int(const struct js *o, const char *key, int64_t min, int64_t max, int64_t *out,
               struct error *err)
{
    return int_member(o, key, false, min, max, out, err);
}

static int bool_member(const struct js *o, const char *key, bool needed, bool *out,
                       struct error *err)
{
    const struct js *v;
    int rc = member(o, key, JS_BOOL, needed, &v, err);
    if (!rc && v)
        *out = js_number(v) != 0;
    return rc;
}

int js_want_bool(const struct js *o, const char *key, bool *out, struct error *err)
{
    return bool_member(o, key, true, out, err);
}

int js_opt_bool(const struct js *o, const char *key, bool *out, struct error *err)
{
    return bool_member(o, key, false, out, err);
}

static int tree_member(const struct js *o, const char *key, enum js_type type, bool needed,
                       const struct js **out, struct error *err)
{
    const struct js *v;
    int rc = member(o, key, type, needed, &v, err);
    if (!rc && v)
        *out = v;
    return rc;
}

int js_want_object(const struct js *o, const char *key, const struct js **out, struct error *err)
{
    return tree_member(o, key, JS_OBJECT, true, out, err);
}

int js_opt_object(const struct js *o, const char *key, const struct js **out, struct error *err)
{
    return tree_member(o, key, JS_OBJECT, false, out, err);
}

int js_want_array(const struct js *o, const char *key, const struct js **out, struct error *err)
{
    return tree_member(o, key, JS_ARRAY, true, out, err);
}

int js_opt_array(const struct js *o, const char *key, const struct js **out, struct error *err)
{
    return tree_member(o, key, JS_ARRAY, false, out, err);
}

int js_only_keys(const struct js *o, const char *const *known, struct error *err)
{
    js_foreach (o, it) {
        const char *const *k = known;
        while (*k && strcmp(*k, it.key) != 0)
            k++;
        if (!*k)
            return fail(err, E_INVALID, "unknown member '%s'", it.key);
    }
    return OK;
}

/* --- making --- */

struct js *js_object_new(void)
{
    return from_jansson(json_object());
}

struct js *js_array_new(void)
{
    return from_jansson(json_array());
}

struct js *js_text_new(const char *text)
{
    return from_jansson(json_string(text));
}

struct js *js_int_new(int64_t value)
{
    return from_jansson(json_integer(value));
}

struct js *js_bool_new(bool value)
{
    return from_jansson(json_boolean(value));
}

int js_set(struct js *object, const char *key, struct js *value, struct error *err)
{
    /* jansson releases `value` itself when it fails, and refuses NULL. */
    return json_object_set_new(to_jansson(object), key, to_jansson(value)) ? fail_nomem(err) : OK;
}

int js_push(struct js *array, struct js *value, struct error *err)
{
    return json_array_append_new(to_jansson(array), to_jansson(value)) ? fail_nomem(err) : OK;
}

void js_remove(struct js *object, const char *key)
{
    (void)json_object_del(to_jansson(object), key);
}

struct js *js_edit(struct js *object, const char *key)
{
    return from_jansson(json_object_get(to_jansson(object), key));
}

/* --- writing --- */

static int canonical_text(const char *text, struct bytes *out, struct error *err)
{
    int rc = bytes_append_text(out, "\"", err);
    while (!rc && *text) {
        size_t plain = strcspn(text, "\\\"");
        rc = bytes_append(out, text, plain, err);
        text += plain;
        if (!rc && *text) {
            char pair[2] = {'\\', *text++};
            rc = bytes_append(out, pair, 2, err);
        }
    }
    return rc ? rc : bytes_append_text(out, "\"", err);
}

static int by_code_point(const void *a, const void *b)
{
    /* Byte order of UTF-8 is code point order. */
    return strcmp(((const struct js_iter *)a)->key, ((const struct js_iter *)b)->key);
}

/* Most objects are small, and most texts are in order already. */
#define FEW_MEMBERS 8

static void sort_members(struct js_iter *members, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (by_code_point(&members[i - 1], &members[i]) > 0) {
            qsort(members, n, sizeof *members, by_code_point);
            return;
        }
}

static int canonical_object(const struct js *v, struct bytes *out, struct error *err)
{
    size_t n = js_count(v), i = 0;
    struct js_iter few[FEW_MEMBERS];
    CLEANUP(cleanup_free)
    struct js_iter *many = n > FEW_MEMBERS ? calloc(n, sizeof *many) : NULL;
    struct js_iter *members = n > FEW_MEMBERS ? many : few;
    if (!members)
        return fail_nomem(err);
    js_foreach (v, it)
        members[i++] = it;
    sort_members(members, n);
    int rc = bytes_append_text(out, "{", err);
    for (i = 0; !rc && i < n; i++) {
        if (i)
            rc = bytes_append_text(out, ",", err);
        if (!rc)
            rc = canonical_text(members[i].key, out, err);
        if (!rc)
            rc = bytes_append_text(out, ":", err);
        if (!rc)
            rc = js_canonical(members[i].value, out, err);
    }
    return rc ? rc : bytes_append_text(out, "}", err);
}

static int canonical_array(const struct js *v, struct bytes *out, struct error *err)
{
    int rc = bytes_append_text(out, "[", err);
    for (size_t i = 0; !rc && i < js_count(v); i++) {
        if (i)
            rc = bytes_append_text(out, ",", err);
        if (!rc)
            rc = js_canonical(js_at(v, i), out, err);
    }
    return rc ? rc : bytes_append_text(out, "]", err);
}

int js_canonical(const struct js *v, struct bytes *out, struct error *err)
{
    switch (js_type(v)) {
    case JS_OBJECT:
        return canonical_object(v, out, err);
    case JS_ARRAY:
        return canonical_array(v, out, err);
    case JS_STRING:
        return canonical_text(js_text(v), out, err);
    case JS_INT:
        return bytes_append_format(out, err, "%" PRId64, js_number(v));
    case JS_BOOL:
        return bytes_append_text(out, js_number(v) ? "true" : "false", err);
    case JS_NULL:
        break;
    }
    if (v && json_is_real(to_jansson(v)))
        return fail(err, E_INVALID, "canonical JSON has no reals");
    return bytes_append_text(out, "null", err);
}

struct writing {
    struct bytes *out;
    bool failed; /* kept here: jansson 2.14 goes on after a member's name that was not taken */
};

static int append_block(const char *block, size_t len, void *context)
{
    struct writing *w = context;
    if (!w->failed && bytes_append(w->out, block, len, NULL))
        w->failed = true;
    return w->failed ? -1 : 0;
}

int js_write(const struct js *v, bool pretty, struct bytes *out, struct error *err)
{
    size_t flags = JSON_ENCODE_ANY | (pretty ? JSON_INDENT(2) : JSON_COMPACT);
    struct writing w = {.out = out};
    if (json_dump_callback(to_jansson(v), append_block, &w, flags) || w.failed)
        return fail_nomem(err);
    return pretty ? bytes_append_text(out, "\n", err) : OK;
}
