#include "signer/protocol.h"

#include "tuf/trusted.h"

#include <string.h>

/* The digit is the form's version. */
static const uint8_t magic[4] = {'B', 'S', 'G', '1'};

enum answer_status { ANSWER_DONE = 0, ANSWER_FAILED = 1 };

/* --- writing --- */

static int put_number(struct bytes *out, uint64_t value, size_t width, struct error *err)
{
    uint8_t raw[8];
    for (size_t i = 0; i < width; i++)
        raw[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    return bytes_append(out, raw, width, err);
}

/* A field behind its own length of `width` bytes. */
static int put_field(struct bytes *out, size_t width, const void *data, size_t len,
                     struct error *err)
{
    if (len > PROTOCOL_MAX_BYTES || (uint64_t)len >> (8 * width))
        return fail(err, E_LIMIT, "field of %zu bytes is too long for a message", len);
    int rc = put_number(out, len, width, err);
    return rc ? rc : bytes_append(out, data, len, err);
}

static int put_text(struct bytes *out, size_t width, const char *text, struct error *err)
{
    return put_field(out, width, text, strlen(text), err);
}

/* Puts the header in front of a payload. */
static int put_frame(struct bytes *out, const struct bytes *payload, struct error *err)
{
    if (payload->len > PROTOCOL_MAX_BYTES)
        return fail(err, E_LIMIT, "message of %zu bytes, at most %u are allowed", payload->len,
                    PROTOCOL_MAX_BYTES);
    int rc = bytes_reserve(out, PROTOCOL_HEADER_BYTES + payload->len, err);
    if (rc)
        return rc;
    size_t before = out->len;
    rc = bytes_append(out, magic, sizeof magic, err);
    if (!rc)
        rc = put_number(out, payload->len, 4, err);
    if (!rc)
        rc = bytes_append(out, payload->data, payload->len, err);
    if (rc)
        out->len = before;
    return rc;
}

/* Whoever shows a collection shows all of it, with the roots that a client follows at once. */
static size_t max_files(enum protocol_kind kind)
{
    return kind == PROTOCOL_SHOW ? PROTOCOL_MAX_FILES + TUF_MAX_ROOT_ROTATIONS : TUF_MAX_CHANGES;
}

static int put_changes(const struct protocol_request *request, struct bytes *out, struct error *err)
{
    if (request->n_changes > max_files(request->kind))
        return fail(err, E_LIMIT, "%zu files in one publication, at most %zu are allowed",
                    request->n_changes, max_files(request->kind));
    int rc = put_number(out, request->n_changes, 2, err);
    for (size_t i = 0; i < request->n_changes && !rc; i++) {
        const struct tuf_file *file = &request->changes[i];
        rc = put_text(out, 1, file->role, err);
        if (!rc)
            rc = put_field(out, 4, file->data, file->len, err);
    }
    return rc;
}

static bool has_changes(enum protocol_kind kind)
{
    return kind == PROTOCOL_PUBLISH || kind == PROTOCOL_SHOW || kind == PROTOCOL_FILES;
}

static bool is_key_kind(enum protocol_kind kind)
{
    return kind == PROTOCOL_KEY || kind == PROTOCOL_NEW_KEY;
}

int protocol_write_request(const struct protocol_request *request, struct bytes *out,
                           struct error *err)
{
    CLEANUP(bytes_done) struct bytes payload = BYTES_INIT;
    int rc = put_number(&payload, (uint64_t)request->kind, 1, err);
    if (!rc)
        rc = put_text(&payload, 2, request->collection, err);
    if (!rc && is_key_kind(request->kind))
        rc = put_number(&payload, (uint64_t)request->role, 1, err);
    if (!rc && request->kind == PROTOCOL_NEW_KEY)
        rc = put_number(&payload, request->another, 1, err);
    if (!rc && has_changes(request->kind))
        rc = put_changes(request, &payload, err);
    if (!rc && (request->kind == PROTOCOL_ROOTS || request->kind == PROTOCOL_CHANGED))
        rc = put_number(&payload, (uint64_t)request->since, 8, err);
    return rc ? rc : put_frame(out, &payload, err);
}

int protocol_write_failure(const struct error *failure, struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes payload = BYTES_INIT;
    int code = failure->code < 0 ? failure->code : E_INTERNAL;
    int rc = put_number(&payload, ANSWER_FAILED, 1, err);
    if (!rc)
        rc = put_number(&payload, (uint64_t)-code, 2, err);
    if (!rc)
        rc = put_text(&payload, 2, failure->message, err);
    return rc ? rc : put_frame(out, &payload, err);
}

static int put_done(struct bytes *payload, enum protocol_kind kind, struct error *err)
{
    int rc = put_number(payload, ANSWER_DONE, 1, err);
    return rc ? rc : put_number(payload, (uint64_t)kind, 1, err);
}

int protocol_write_key(enum protocol_kind kind, const struct bytes *json, struct bytes *out,
                       struct error *err)
{
    return protocol_write_object(kind, json, out, err);
}

int protocol_write_object(enum protocol_kind kind, const struct bytes *json, struct bytes *out,
                          struct error *err)
{
    CLEANUP(bytes_done) struct bytes payload = BYTES_INIT;
    int rc = put_done(&payload, kind, err);
    if (!rc)
        rc = put_field(&payload, 4, json->data, json->len, err);
    return rc ? rc : put_frame(out, &payload, err);
}

/* The rest of a large collection stays as it is, and where it is. */
static bool goes_along(enum protocol_kind kind, const char *role)
{
    return (kind != PROTOCOL_PUBLISH && kind != PROTOCOL_REFRESH) ||
           strcmp(role, tuf_type_name(TUF_ROOT)) == 0 ||
           strcmp(role, tuf_type_name(TUF_SNAPSHOT)) == 0 ||
           strcmp(role, tuf_type_name(TUF_TIMESTAMP)) == 0;
}

int protocol_write_set(enum protocol_kind kind, const struct signer_set *set, struct bytes *out,
                       struct error *err)
{
    CLEANUP(bytes_done) struct bytes payload = BYTES_INIT;
    if (set->n_files > PROTOCOL_MAX_FILES)
        return fail(err, E_LIMIT, "collection of %zu files, at most %u are allowed", set->n_files,
                    PROTOCOL_MAX_FILES);
    int rc = put_done(&payload, kind, err);
    if (!rc)
        rc = put_number(&payload, set->n_files, 2, err);
    for (size_t i = 0; i < set->n_files && !rc; i++) {
        const struct signer_set_file *file = &set->files[i];
        rc = put_text(&payload, 1, file->role, err);
        if (!rc)
            rc = put_number(&payload, (uint64_t)file->version, 8, err);
        if (!rc)
            rc = put_field(&payload, 4, file->data.data,
                           goes_along(kind, file->role) ? file->data.len : 0, err);
    }
    return rc ? rc : put_frame(out, &payload, err);
}

/* --- reading --- */

struct cursor {
    const uint8_t *at;
    size_t left;
};

static int take_raw(struct cursor *c, size_t len, const uint8_t **out, struct error *err)
{
    if (len > c->left)
        return fail(err, E_PROTOCOL, "message ends in the middle of a field");
    *out = c->at;
    c->at += len;
    c->left -= len;
    return OK;
}

static int take_number(struct cursor *c, size_t width, uint64_t *out, struct error *err)
{
    const uint8_t *raw = NULL;
    int rc = take_raw(c, width, &raw, err);
    if (rc)
        return rc;
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | raw[i];
    *out = value;
    return OK;
}

static int take_field(struct cursor *c, size_t width, const uint8_t **out, size_t *len,
                      struct error *err)
{
    uint64_t announced = 0;
    int rc = take_number(c, width, &announced, err);
    if (rc)
        return rc;
    if (announced > c->left)
        return fail(err, E_PROTOCOL, "field is longer than its message");
    *len = (size_t)announced;
    return take_raw(c, *len, out, err);
}

/* Copies a text of at most size - 1 bytes without NUL inside. */
static int take_text(struct cursor *c, size_t width, char *out, size_t size, struct error *err)
{
    const uint8_t *raw = NULL;
    size_t len = 0;
    int rc = take_field(c, width, &raw, &len, err);
    if (rc)
        return rc;
    if (len >= size)
        return fail(err, E_LIMIT, "name of %zu bytes, at most %zu are allowed", len, size - 1);
    if (memchr(raw, 0, len))
        return fail(err, E_PROTOCOL, "name with a NUL byte");
    if (len)
        memcpy(out, raw, len);
    out[len] = 0;
    return OK;
}

static int take_end(const struct cursor *c, struct error *err)
{
    return c->left ? fail(err, E_PROTOCOL, "%zu bytes behind the end of the message", c->left) : OK;
}

int protocol_read_header(const uint8_t header[static PROTOCOL_HEADER_BYTES], size_t *len,
                         struct error *err)
{
    if (memcmp(header, magic, sizeof magic) != 0)
        return fail(err, E_PROTOCOL, "not a message of the signing service");
    struct cursor c = {header + sizeof magic, 4};
    uint64_t announced = 0;
    int rc = take_number(&c, 4, &announced, err);
    if (rc)
        return rc;
    if (announced > PROTOCOL_MAX_BYTES)
        return fail(err, E_LIMIT, "message of %llu bytes, at most %u are allowed",
                    (unsigned long long)announced, PROTOCOL_MAX_BYTES);
    *len = (size_t)announced;
    return OK;
}

static int read_key_role(struct cursor *c, struct protocol_request *out, struct error *err)
{
    uint64_t role = 0;
    int rc = take_number(c, 1, &role, err);
    if (rc)
        return rc;
    if (role != TUF_SNAPSHOT && role != TUF_TIMESTAMP)
        return fail(err, E_INVALID, "only snapshot and timestamp keys are kept here");
    out->role = (enum tuf_type)role;
    return OK;
}

static int read_new_key(struct cursor *c, struct protocol_request *out, struct error *err)
{
    uint64_t another = 0;
    int rc = read_key_role(c, out, err);
    if (!rc)
        rc = take_number(c, 1, &another, err);
    if (rc)
        return rc;
    if (another > 1)
        return fail(err, E_PROTOCOL, "neither yes nor no");
    out->another = another == 1;
    return OK;
}

/* Role holders sign root and targets roles; the other two are only made by the service. */
static bool publishable(const char *role)
{
    return strcmp(role, tuf_type_name(TUF_ROOT)) == 0 ||
           strcmp(role, tuf_type_name(TUF_TARGETS)) == 0 || tuf_role_name_valid(role);
}

static bool role_known(const char *role)
{
    return publishable(role) || strcmp(role, tuf_type_name(TUF_SNAPSHOT)) == 0 ||
           strcmp(role, tuf_type_name(TUF_TIMESTAMP)) == 0;
}

static int read_change(struct cursor *c, bool shown, char name[TUF_MAX_ROLE_NAME + 1],
                       struct tuf_file *file, struct error *err)
{
    const uint8_t *data = NULL;
    size_t len = 0;
    int rc = take_text(c, 1, name, TUF_MAX_ROLE_NAME + 1, err);
    if (!rc)
        rc = take_field(c, 4, &data, &len, err);
    if (rc)
        return rc;
    if (!publishable(name) && !(shown && role_known(name)))
        return fail(err, E_INVALID, "role '%s' cannot be published", name);
    *file = (struct tuf_file){.role = name, .data = data, .len = len};
    return OK;
}

static int read_changes(struct cursor *c, struct protocol_request *out, struct error *err)
{
    uint64_t n = 0;
    int rc = take_number(c, 2, &n, err);
    if (rc)
        return rc;
    if (n == 0)
        return fail(err, E_INVALID, "publication without files");
    if (n > max_files(out->kind))
        return fail(err, E_LIMIT, "%llu files in one publication, at most %zu are allowed",
                    (unsigned long long)n, max_files(out->kind));
    out->changes = calloc((size_t)n, sizeof *out->changes);
    out->names = calloc((size_t)n, sizeof *out->names);
    if (!out->changes || !out->names)
        return fail_nomem(err);
    for (size_t i = 0; i < n && !rc; i++)
        rc = read_change(c, out->kind == PROTOCOL_SHOW, out->names[i], &out->changes[i], err);
    out->n_changes = (size_t)n;
    return rc;
}

static int read_since(struct cursor *c, struct protocol_request *out, struct error *err)
{
    uint64_t since = 0;
    int rc = take_number(c, 8, &since, err);
    if (rc)
        return rc;
    if (since > (out->kind == PROTOCOL_ROOTS ? (uint64_t)TUF_MAX_VERSION : INT64_MAX))
        return fail(err, E_INVALID, "there is no root of that version");
    out->since = (int64_t)since;
    return OK;
}

static int read_request(struct cursor *c, struct protocol_request *out, struct error *err)
{
    uint64_t kind = 0;
    int rc = take_number(c, 1, &kind, err);
    if (rc)
        return rc;
    bool whole = kind == PROTOCOL_STATUS || kind == PROTOCOL_CHANGED;
    if (!whole && kind != PROTOCOL_SHOW && (kind < PROTOCOL_KEY || kind > PROTOCOL_FILES))
        return fail(err, E_PROTOCOL, "unknown kind of request");
    out->kind = (enum protocol_kind)kind;
    rc = take_text(c, 2, out->collection, sizeof out->collection, err);
    if (rc)
        return rc;
    if (whole ? out->collection[0] != 0
              : !repository_name_valid(out->collection, strlen(out->collection)))
        return fail(err, E_INVALID, "'%s' is not the name of a collection", out->collection);
    if (kind == PROTOCOL_KEY)
        rc = read_key_role(c, out, err);
    else if (kind == PROTOCOL_NEW_KEY)
        rc = read_new_key(c, out, err);
    else if (has_changes(out->kind))
        rc = read_changes(c, out, err);
    else if (kind == PROTOCOL_ROOTS || kind == PROTOCOL_CHANGED)
        rc = read_since(c, out, err);
    return rc ? rc : take_end(c, err);
}

void protocol_request_done(struct protocol_request *request)
{
    cleanup_free(&request->changes);
    cleanup_free(&request->names);
    request->n_changes = 0;
}

int protocol_read_request(const void *payload, size_t len, struct protocol_request *out,
                          struct error *err)
{
    struct cursor c = {payload, len};
    CLEANUP(protocol_request_done) struct protocol_request request = {0};
    int rc = read_request(&c, &request, err);
    if (rc)
        return rc;
    *out = request;
    request = (struct protocol_request){0};
    return OK;
}

/* Turns a peer's failure into ours. The message is escaped and cut by fail(). */
static int read_failure(struct cursor *c, struct error *err)
{
    char message[ERROR_MESSAGE_MAX];
    uint64_t code = 0;
    int rc = take_number(c, 2, &code, err);
    if (!rc)
        rc = take_text(c, 2, message, sizeof message, err);
    if (!rc)
        rc = take_end(c, err);
    if (rc)
        return wrap(err, E_PROTOCOL, "answer of the signing service");
    if (code == 0 || code > (uint64_t)-E_INTERNAL)
        return fail(err, E_PROTOCOL, "the signing service failed with an unknown code");
    return fail(err, -(int)code, "%s", message);
}

static int read_status(struct cursor *c, enum protocol_kind kind, struct error *err)
{
    uint64_t status = 0, answered = 0;
    int rc = take_number(c, 1, &status, err);
    if (rc)
        return rc;
    if (status == ANSWER_FAILED)
        return read_failure(c, err);
    rc = take_number(c, 1, &answered, err);
    if (rc)
        return rc;
    if (status != ANSWER_DONE || answered != (uint64_t)kind)
        return fail(err, E_PROTOCOL, "answer to another request");
    return OK;
}

int protocol_read_key(enum protocol_kind kind, const void *payload, size_t len, struct bytes *json,
                      struct error *err)
{
    return protocol_read_object(kind, payload, len, json, err);
}

int protocol_read_object(enum protocol_kind kind, const void *payload, size_t len,
                         struct bytes *json, struct error *err)
{
    struct cursor c = {payload, len};
    const uint8_t *data = NULL;
    size_t data_len = 0;
    int rc = read_status(&c, kind, err);
    if (!rc)
        rc = take_field(&c, 4, &data, &data_len, err);
    if (!rc)
        rc = take_end(&c, err);
    return rc ? rc : bytes_append(json, data, data_len, err);
}

static int read_set_file(struct cursor *c, struct signer_set_file *file, struct error *err)
{
    char role[TUF_MAX_ROLE_NAME + 1];
    uint64_t version = 0;
    const uint8_t *data = NULL;
    size_t len = 0;
    int rc = take_text(c, 1, role, sizeof role, err);
    if (!rc)
        rc = take_number(c, 8, &version, err);
    if (!rc)
        rc = take_field(c, 4, &data, &len, err);
    if (rc)
        return rc;
    if (!role_known(role) || version < 1 || version > TUF_MAX_VERSION)
        return fail(err, E_PROTOCOL, "answer with a role or version that cannot be");
    file->version = (int64_t)version;
    file->role = text_format("%s", role);
    return file->role ? bytes_append(&file->data, data, len, err) : fail_nomem(err);
}

int protocol_read_set(enum protocol_kind kind, const void *payload, size_t len,
                      struct signer_set *out, struct error *err)
{
    struct cursor c = {payload, len};
    CLEANUP(signer_set_done) struct signer_set set = {0};
    uint64_t n = 0;
    int rc = read_status(&c, kind, err);
    if (!rc)
        rc = take_number(&c, 2, &n, err);
    if (rc)
        return rc;
    if (n > PROTOCOL_MAX_FILES)
        return fail(err, E_PROTOCOL, "answer with %llu files", (unsigned long long)n);
    set.files = calloc(n ? (size_t)n : 1, sizeof *set.files);
    if (!set.files)
        return fail_nomem(err);
    for (size_t i = 0; i < n && !rc; i++) {
        set.n_files++;
        rc = read_set_file(&c, &set.files[i], err);
    }
    if (!rc)
        rc = take_end(&c, err);
    if (rc)
        return rc;
    *out = set;
    set = (struct signer_set){0};
    return OK;
}
