#include "tests/unit/registry/contract_crash.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

struct handle {
    struct contract_crash *crash;
    void *inner;
};

static int step(struct contract_crash *c, struct error *err)
{
    if (c->left == 0) {
        c->dead = true;
        c->left = c->recovers ? UINT_MAX : 0;
        return fail_sys(err, EIO, "stopped");
    }
    c->left--;
    return 0;
}

static const struct blob_store_ops *inner_ops(const struct contract_crash *c)
{
    return c->inner.ops;
}

static int wrap_handle(struct contract_crash *c, void *inner, void **out)
{
    struct handle *h = malloc(sizeof *h);
    if (!h)
        abort();
    *h = (struct handle){c, inner};
    *out = h;
    return 0;
}

static int upload_open(void *store, const char *id, bool create, void **upload, struct error *err)
{
    struct contract_crash *c = store;
    void *inner = NULL;
    int rc = step(c, err);
    if (rc == 0)
        rc = inner_ops(c)->upload_open(c->inner.self, id, create, &inner, err);
    return rc == 0 ? wrap_handle(c, inner, upload) : rc;
}

static void upload_close(void *upload)
{
    struct handle *h = upload;
    inner_ops(h->crash)->upload_close(h->inner);
    free(h);
}

static int upload_write(void *upload, const void *data, size_t len, uint64_t offset,
                        struct error *err)
{
    struct handle *h = upload;
    int rc = step(h->crash, err);
    return rc == 0 ? inner_ops(h->crash)->upload_write(h->inner, data, len, offset, err) : rc;
}

static int upload_read(void *upload, void *out, size_t max, uint64_t offset, size_t *got,
                       struct error *err)
{
    struct handle *h = upload;
    int rc = step(h->crash, err);
    return rc == 0 ? inner_ops(h->crash)->upload_read(h->inner, out, max, offset, got, err) : rc;
}

static int upload_flush(void *upload, struct error *err)
{
    struct handle *h = upload;
    int rc = step(h->crash, err);
    return rc == 0 ? inner_ops(h->crash)->upload_flush(h->inner, err) : rc;
}

static int upload_publish(void *store, void *upload, const struct digest *d, uint64_t len,
                          struct error *err)
{
    struct contract_crash *c = store;
    struct handle *h = upload;
    int rc = step(c, err);
    return rc == 0 ? inner_ops(c)->upload_publish(c->inner.self, h->inner, d, len, err) : rc;
}

static void upload_remove(void *store, const char *id)
{
    struct contract_crash *c = store;
    struct error ignored;
    if (step(c, &ignored) == 0)
        inner_ops(c)->upload_remove(c->inner.self, id);
}

static int note_write(void *store, const char *id, const char *text, struct error *err)
{
    struct contract_crash *c = store;
    int rc = step(c, err);
    return rc == 0 ? inner_ops(c)->note_write(c->inner.self, id, text, err) : rc;
}

static int move_blob(void *store, const struct digest *d, enum blob_place from, enum blob_place to,
                     struct error *err)
{
    struct contract_crash *c = store;
    int rc = step(c, err);
    return rc == 0 ? inner_ops(c)->move(c->inner.self, d, from, to, err) : rc;
}

static int remove_blob(void *store, const struct digest *d, enum blob_place place,
                       struct error *err)
{
    struct contract_crash *c = store;
    int rc = step(c, err);
    return rc == 0 ? inner_ops(c)->remove(c->inner.self, d, place, err) : rc;
}

static void close_store(void *store)
{
    struct contract_crash *c = store;
    inner_ops(c)->close(c->inner.self);
}

static int stat_blob(void *store, const struct digest *d, enum blob_place place,
                     struct blob_info *out, struct error *err)
{
    struct contract_crash *c = store;
    int rc = step(c, err);
    return rc == 0 ? inner_ops(c)->stat(c->inner.self, d, place, out, err) : rc;
}

static int walk(void *store, enum blob_place place, const struct blob_visitor *visitor,
                struct error *err)
{
    struct contract_crash *c = store;
    int rc = step(c, err);
    return rc == 0 ? inner_ops(c)->walk(c->inner.self, place, visitor, err) : rc;
}

static const struct blob_store_ops ops = {
    .close = close_store,
    .upload_open = upload_open,
    .upload_close = upload_close,
    .upload_write = upload_write,
    .upload_read = upload_read,
    .upload_flush = upload_flush,
    .upload_publish = upload_publish,
    .upload_remove = upload_remove,
    .note_write = note_write,
    .move = move_blob,
    .remove = remove_blob,
    .stat = stat_blob,
    .walk = walk,
};

struct blob_store contract_crash_store(struct contract_crash *crash)
{
    return (struct blob_store){&ops, crash};
}
