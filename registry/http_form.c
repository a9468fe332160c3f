#include "registry/http_form.h"

#include <microhttpd.h>
#include <string.h>

#define FORM_BUFFER 4096u

struct http_form {
    struct MHD_PostProcessor *processor;
    struct http_part *parts;
    size_t n, bytes;
    struct http_form_limits limits;
    int rc;
    struct error err;
};

static struct http_part *new_part(struct http_form *f, const char *key, const char *file_name)
{
    if (f->n == f->limits.parts) {
        f->rc = fail(&f->err, E_LIMIT, "more than %zu parts in one form", f->limits.parts);
        return NULL;
    }
    struct http_part *part = &f->parts[f->n++];
    snprintf(part->name, sizeof part->name, "%s", key ? key : "");
    snprintf(part->file_name, sizeof part->file_name, "%s", file_name ? file_name : "");
    return part;
}

static enum MHD_Result on_form_data(void *context, enum MHD_ValueKind kind, const char *key,
                                    const char *file_name, const char *content_type,
                                    const char *encoding, const char *data, uint64_t offset,
                                    size_t size)
{
    (void)kind, (void)content_type, (void)encoding;
    struct http_form *f = context;
    struct http_part *part =
        offset == 0 || f->n == 0 ? new_part(f, key, file_name) : &f->parts[f->n - 1];
    if (!part)
        return MHD_NO;
    f->rc = bytes_append(&part->data, data, size, &f->err);
    return f->rc == 0 ? MHD_YES : MHD_NO;
}

int http_form_new(struct MHD_Connection *connection, const struct http_form_limits *limits,
                  struct http_form **out, struct error *err)
{
    struct http_form *f = calloc(1, sizeof *f);
    if (!f)
        return fail_nomem(err);
    f->limits = *limits;
    f->parts = calloc(limits->parts, sizeof *f->parts);
    f->processor = MHD_create_post_processor(connection, FORM_BUFFER, on_form_data, f);
    if (!f->parts || !f->processor) {
        http_form_free(f);
        return fail(err, E_INVALID, "multipart form cannot be read");
    }
    *out = f;
    return 0;
}

void http_form_free(struct http_form *f)
{
    if (!f)
        return;
    if (f->processor)
        MHD_destroy_post_processor(f->processor);
    for (size_t i = 0; f->parts && i < f->n; i++)
        bytes_done(&f->parts[i].data);
    free(f->parts);
    free(f);
}

void http_form_feed(struct http_form *f, const char *data, size_t len)
{
    if (f->rc != 0)
        return;
    f->bytes += len;
    if (f->bytes > f->limits.bytes)
        f->rc = fail(&f->err, E_LIMIT, "form is larger than %zu bytes", f->limits.bytes);
    else if (MHD_post_process(f->processor, data, len) != MHD_YES && f->rc == 0)
        f->rc = fail(&f->err, E_INVALID, "malformed multipart form");
}

/* The processor notices a missing end only when it is destroyed. */
void http_form_finish(struct http_form *f)
{
    if (MHD_destroy_post_processor(f->processor) != MHD_YES && f->rc == 0)
        f->rc = fail(&f->err, E_INVALID, "multipart form ends too early");
    f->processor = NULL;
}

void http_form_refuse(struct http_form *f, const struct error *why)
{
    if (f->rc != 0)
        return;
    f->rc = why->code;
    f->err = *why;
}

int http_form_parts(const struct http_form *f, const struct http_part **parts, size_t *n,
                    struct error *err)
{
    if (f->rc != 0) {
        if (err)
            *err = f->err;
        return f->rc;
    }
    *parts = f->parts;
    *n = f->n;
    return 0;
}

bool http_form_failed(const struct http_form *f)
{
    return f->rc != 0;
}

size_t http_form_max_bytes(const struct http_form *f)
{
    return f->limits.bytes;
}
