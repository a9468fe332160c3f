/*
 * Strict JSON, and OLPC canonical JSON for what is signed.
 *
 * The adapter over jansson; no jansson type leaves json.c. Values form a tree owned by its root:
 * `struct js *` results of js_parse and of the makers are owned and freed with js_free; values got
 * from inside a tree are borrowed `const struct js *` and live as long as the root. Parsing accepts
 * one value and nothing behind it, valid UTF-8 without NUL, no duplicate keys, no reals, integers
 * of at most 64 bits, and a bounded depth. Objects keep their order of appearance. Not thread-safe
 * per tree.
 */
#ifndef BULLA_BASE_JSON_H
#define BULLA_BASE_JSON_H

#include "base/bytes.h"

struct js;
enum js_type { JS_OBJECT, JS_ARRAY, JS_STRING, JS_INT, JS_BOOL, JS_NULL };

#define JS_MAX_DEPTH 32 /* TUF and OCI documents need at most 9 */
/* In memory an empty object takes seventy times its two bytes: documents of more values than any
 * honest one of that length has are refused. */
#define JS_FREE_CONTAINERS     16384 /* objects and arrays that any document may have… */
#define JS_BYTES_PER_CONTAINER 32    /* …and one more for this many bytes */
#define JS_FREE_MEMBERS        65536
#define JS_BYTES_PER_MEMBER    12

/* Parses len bytes. E_INVALID (message with line and column), E_LIMIT (depth, number of values),
 * E_NOMEM. */
int js_parse(const void *data, size_t len, struct js **out, struct error *err) MUST_CHECK;
/* As js_parse, but reals are allowed and read as JS_NULL: for foreign documents (image configs)
 * whose reals we never use. */
int js_parse_lax(const void *data, size_t len, struct js **out, struct error *err) MUST_CHECK;
void js_free(struct js *v);
void js_cleanup(struct js **v);
/* A deep, owned copy; NULL when memory is out. */
struct js *js_dup(const struct js *v);
bool js_equal(const struct js *a, const struct js *b);

/* v may be NULL: JS_NULL. */
enum js_type js_type(const struct js *v);
/* True for NULL and for null itself; false for a real, which js_type calls JS_NULL, too. */
bool js_is_null(const struct js *v);
/* Member of an object; NULL where v is no object or has none. */
const struct js *js_get(const struct js *v, const char *key);
/* Number of members or elements; 0 for anything else. */
size_t js_count(const struct js *v);
/* Element i of an array; NULL beyond the end. */
const struct js *js_at(const struct js *array, size_t i);
/* C string of a JS_STRING; NULL for any other type. Borrowed. */
const char *js_text(const struct js *v);
/* Value of a JS_INT or JS_BOOL; 0 for any other type. */
int64_t js_number(const struct js *v);

/* Iterates members in order of appearance:
 *     struct js_iter it; for (it = js_first(o); it.key; it = js_next(o, it)) … it.key, it.value
 * The object must not change meanwhile. */
struct js_iter {
    const char *key;
    const struct js *value;
    void *state;
};
struct js_iter js_first(const struct js *object);
struct js_iter js_next(const struct js *object, struct js_iter it);
#define js_foreach(object, it)                                                                     \
    for (struct js_iter it = js_first(object); it.key; it = js_next(object, it))

/* Typed members. `want_` fails with E_INVALID ("'expires' must be a string") where the member is
 * missing or of another type; `opt_` leaves *out as it is where the member is missing. Outputs are
 * borrowed and written only on success. */
int js_want_text(const struct js *o, const char *key, const char **out,
                 struct error *err) MUST_CHECK;
int js_opt_text(const struct js *o, const char *key, const char **out,
                struct error *err) MUST_CHECK;
int js_want_int(const struct js *o, const char *key, int64_t min, int64_t max, int64_t *out,
                struct error *err) MUST_CHECK;
int js_opt_int(const struct js *o, const char *key, int64_t min, int64_t max, int64_t *out,
               struct error *err) MUST_CHECK;
int js_want_bool(const struct js *o, const char *key, bool *out, struct error *err) MUST_CHECK;
int js_opt_bool(const struct js *o, const char *key, bool *out, struct error *err) MUST_CHECK;
int js_want_object(const struct js *o, const char *key, const struct js **out,
                   struct error *err) MUST_CHECK;
int js_opt_object(const struct js *o, const char *key, const struct js **out,
                  struct error *err) MUST_CHECK;
int js_want_array(const struct js *o, const char *key, const struct js **out,
                  struct error *err) MUST_CHECK;
int js_opt_array(const struct js *o, const char *key, const struct js **out,
                 struct error *err) MUST_CHECK;
/* E_INVALID naming the first member that is not in the NULL-terminated list. */
int js_only_keys(const struct js *o, const char *const *known, struct error *err) MUST_CHECK;

/* Makers: owned results, NULL when memory is out, or text is not UTF-8 (js_set and js_push then
 * report E_NOMEM). */
struct js *js_object_new(void);
struct js *js_array_new(void);
struct js *js_text_new(const char *text);
struct js *js_int_new(int64_t value);
struct js *js_bool_new(bool value);
/* Take ownership of value in every case. value == NULL is E_NOMEM, so makers nest directly. */
int js_set(struct js *object, const char *key, struct js *value, struct error *err) MUST_CHECK;
int js_push(struct js *array, struct js *value, struct error *err) MUST_CHECK;
void js_remove(struct js *object, const char *key);
/* Borrowed, changeable member; NULL where there is none. */
struct js *js_edit(struct js *object, const char *key);

/* Appends OLPC canonical JSON: members sorted by code point, no blanks, only \ and " escaped, other
 * characters raw. Source: TUF specification 1.0.34, 4.2.1 (wiki.laptop.org/go/Canonical_JSON). */
int js_canonical(const struct js *v, struct bytes *out, struct error *err) MUST_CHECK;
/* Appends ordinary JSON: one line, or indented by two with a newline at the end. */
int js_write(const struct js *v, bool pretty, struct bytes *out, struct error *err) MUST_CHECK;

#endif
