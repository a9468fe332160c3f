/*
 * pull_image: from one verified descriptor to everything it names. Each step asks by digest and
 * size that an already verified document gave; what the registry says about its answers (type,
 * digest, length headers) decides nothing.
 */
#include "base/log.h"
#include "client/crew.h"
#include "client/known_blobs.h"
#include "client/remote_private.h"

#include <string.h>
#include <sys/utsname.h>

#define KEEP_MIN     (64 << 10) /* smaller blobs are fetched anew sooner than resumed */
#define LOCK_POLL_MS 200
#define LOCK_IDLE_MS (30 * 1000) /* the other process makes no progress for so long: go alone */

struct pull {
    struct remote *remote;
    struct store *store;
    const char *repository;
    struct progress *progress;
    struct transfer_count count; /* the main thread's */
    const struct manifest *manifest;
    size_t *jobs;        /* layers to look after: each digest once */
    atomic_size_t moved; /* the workers' */
    atomic_size_t present;
    atomic_uint_fast64_t bytes;
};

static const char *short_name(const struct descriptor *d, char out[DIGEST_TEXT_MAX])
{
    return digest_format(&d->digest, out);
}

static int check_descriptor(const struct descriptor *d, struct error *err)
{
    if (d->size < 0 || d->digest.alg == DIGEST_NONE)
        return fail(err, E_INVALID, "a descriptor without size or digest");
    return OK;
}

/* --- fetching --- */

/* Manifests come from their own endpoint; remote_manifest_get checks the digest, the commit digest
 * and length. C37, TUF 5.7.3 */
static int fetch_manifest(struct pull *p, const struct descriptor *d, struct error *err)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    char text[DIGEST_TEXT_MAX];
    int rc = remote_manifest_get(p->remote, p->repository, short_name(d, text), &data, NULL, err);
    if (!rc)
        rc = blob_writer_new(p->store, &w, err);
    if (!rc)
        rc = blob_writer_write(w, bytes_text(&data), data.len, err);
    return rc ? rc : blob_writer_commit(w, &d->digest, d->size, err);
}

/* A part that another process is writing: wait while it grows, then see what it left. *w stays NULL
 * where the blob is there, or where nobody can be waited for. */
static int open_part(struct pull *p, const struct remote *r, const struct descriptor *d,
                     struct blob_writer **w, struct error *err)
{
    int64_t seen = -1, idle_ms = 0;
    for (;;) {
        int rc = blob_writer_resume(p->store, &d->digest, w, err);
        if (rc != E_BUSY)
            return rc;
        int64_t now = store_part_size(p->store, &d->digest);
        idle_ms = now == seen ? idle_ms + LOCK_POLL_MS : 0;
        seen = now;
        if (idle_ms >= LOCK_IDLE_MS || store_blob_exists(p->store, &d->digest))
            return OK;
        rc = retry_sleep(LOCK_POLL_MS, r->http_options.stop, err);
        if (rc)
            return rc;
    }
}

/* What cannot be the beginning of this blob must not be found again by the next run. */
static bool is_wrong(int rc)
{
    return rc == E_DIGEST || rc == E_PROTOCOL;
}

static int fetch_into(struct pull *p, struct remote *r, const struct descriptor *d,
                      struct blob_writer *w, struct error *err)
{
    int64_t kept = blob_writer_size(w);
    if (kept)
        log_debug("going on with a blob behind byte %lld", (long long)kept);
    int rc = remote_blob_fetch(r, p->repository, d, w, p->progress, err);
    if (!rc)
        rc = blob_writer_commit(w, &d->digest, d->size, err);
    if (kept && is_wrong(rc)) { /* perhaps only the kept part was: from the first byte, once */
        progress_take_back(p->progress, (uint64_t)blob_writer_size(w));
        rc = blob_writer_restart(w, err);
        if (!rc)
            rc = remote_blob_fetch(r, p->repository, d, w, p->progress, err);
        if (!rc)
            rc = blob_writer_commit(w, &d->digest, d->size, err);
    }
    if (is_wrong(rc))
        blob_writer_forget(w);
    return rc;
}

/* Brings a blob into the store unless it is there; digest and size are checked by the commit. */
static int ensure_blob(struct pull *p, struct remote *r, const struct descriptor *d,
                       struct error *err)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    bool present = store_blob_exists(p->store, &d->digest);
    int rc = OK;
    if (!present && d->size >= KEEP_MIN) {
        rc = open_part(p, r, d, &w, err);
        present = !rc && store_blob_exists(p->store, &d->digest); /* another pull brought it */
    }
    if (!rc && !present && !w)
        rc = blob_writer_new(p->store, &w, err);
    if (!rc && !present)
        rc = fetch_into(p, r, d, w, err);
    if (rc)
        return rc;
    if (present) {
        if (w)
            blob_writer_forget(w);
        progress_add(p->progress, (uint64_t)d->size);
        (void)atomic_fetch_add(&p->present, 1);
    } else {
        (void)atomic_fetch_add(&p->moved, 1);
        (void)atomic_fetch_add(&p->bytes, (uint64_t)d->size);
    }
    return OK;
}

/* The bytes as they are in the store, hashed again: present blobs may have been changed. */
static int read_back(struct pull *p, const struct descriptor *d, size_t max, struct bytes *out,
                     struct error *err)
{
    int rc = store_blob_read(p->store, &d->digest, max, out, err);
    if (!rc && (uint64_t)out->len != (uint64_t)d->size)
        rc = fail(err, E_DIGEST, "it has %zu bytes, not %lld", out->len, (long long)d->size);
    return rc;
}

static int load_manifest(struct pull *p, const struct descriptor *d, struct manifest **out,
                         struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    char text[DIGEST_TEXT_MAX];
    int rc = OK;
    if (d->size > (int64_t)MANIFEST_MAX_BYTES)
        rc = fail(err, E_LIMIT, "it is larger than %u bytes", MANIFEST_MAX_BYTES);
    if (!rc)
        rc = check_descriptor(d, err);
    if (!rc && store_blob_exists(p->store, &d->digest)) {
        p->count.present++;
    } else if (!rc) {
        rc = fetch_manifest(p, d, err);
        p->count.blobs++;
        p->count.bytes += (uint64_t)d->size;
    }
    if (!rc)
        rc = read_back(p, d, MANIFEST_MAX_BYTES, &data, err);
    if (!rc)
        rc = manifest_parse(data.data, data.len, d->media_type, out, err);
    return wrap(err, rc, "manifest %s", short_name(d, text));
}

/* --- platform --- */

/* This machine in the words of image-spec, which are Go's. */
static int machine_architecture(const char **out, struct error *err)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"},   {"armv7l", "arm"},
        {"armv6l", "arm"},   {"i686", "386"},        {"ppc64le", "ppc64le"},
        {"s390x", "s390x"},  {"riscv64", "riscv64"}, {"loongarch64", "loong64"}};
    struct utsname u;
    if (uname(&u))
        return fail_sys(err, errno, "uname");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(u.machine, names[i][0]) == 0) {
            *out = names[i][1];
            return OK;
        }
    return fail(err, E_UNSUPPORTED, "machine type '%s' is not known", u.machine);
}

/* In an index: the one entry for this platform becomes *entry and *m its manifest. */
static int enter_index(struct pull *p, struct descriptor *entry, struct manifest **m,
                       struct error *err)
{
    CLEANUP(manifest_cleanup) struct manifest *child = NULL;
    const struct descriptor *chosen = NULL;
    const char *architecture = NULL;
    int rc = machine_architecture(&architecture, err);
    if (!rc)
        rc = manifest_select_platform(*m, "linux", architecture, &chosen, err);
    if (!rc)
        rc = load_manifest(p, chosen, &child, err);
    if (!rc && child->kind != MANIFEST_IMAGE)
        rc = fail(err, E_UNSUPPORTED, "the entry for linux/%s is itself an index", architecture);
    if (rc)
        return rc;
    *entry = *chosen;
    manifest_free(*m);
    *m = TAKE_PTR(child);
    return OK;
}

static bool agrees(const char *entry, const char *config)
{
    return !*entry || strcmp(entry, config) == 0;
}

/* An entry that says amd64 over a config that says arm64 is a substitution or a mistake. */
static int check_config(const struct image_config *c, const struct manifest *m,
                        const struct descriptor *entry, struct error *err)
{
    if (c->n_diff_ids != m->n_layers)
        return fail(err, E_INVALID, "config lists %zu diff ids for %zu layers", c->n_diff_ids,
                    m->n_layers);
    if (!agrees(entry->os, c->os) || !agrees(entry->architecture, c->architecture) ||
        (*c->variant && !agrees(entry->variant, c->variant)))
        return fail(err, E_INVALID, "the index says %s/%s%s%s but the image's config %s/%s%s%s",
                    entry->os, entry->architecture, *entry->variant ? "/" : "", entry->variant,
                    c->os, c->architecture, *c->variant ? "/" : "", c->variant);
    return OK;
}

/* --- the parts of one image --- */

static int pull_config(struct pull *p, const struct manifest *m, const struct descriptor *entry,
                       struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(image_config_cleanup) struct image_config *c = NULL;
    const char *type = m->config.media_type;
    if (strcmp(type, MEDIA_OCI_CONFIG) != 0 && strcmp(type, MEDIA_DOCKER_CONFIG) != 0)
        return fail(err, E_UNSUPPORTED, "not an image but an artifact of type '%.100s'",
                    *m->artifact_type ? m->artifact_type : type);
    if (m->config.size > (int64_t)IMAGE_CONFIG_MAX_BYTES)
        return fail(err, E_LIMIT, "the image's config is larger than %u bytes",
                    IMAGE_CONFIG_MAX_BYTES);
    int rc = check_descriptor(&m->config, err);
    if (!rc)
        rc = ensure_blob(p, p->remote, &m->config, err);
    if (!rc)
        rc = read_back(p, &m->config, IMAGE_CONFIG_MAX_BYTES, &data, err);
    if (!rc)
        rc = image_config_parse(data.data, data.len, &c, err);
    if (!rc)
        rc = check_config(c, m, entry, err);
    return wrap(err, rc, "config");
}

/* `urls` of foreign layers are never asked: they lead anywhere (CVE-2020-15157). */
static int pull_layer(void *ctx, struct remote *r, size_t i, struct error *err)
{
    struct pull *p = ctx;
    size_t layer = p->jobs[i];
    return wrap(err, ensure_blob(p, r, &p->manifest->layers[layer], err), "layer %zu", layer + 1);
}

/* Each digest once: two workers on one blob would only wait for each other. */
static int list_layers(struct pull *p, size_t *n, uint64_t *total, struct error *err)
{
    const struct manifest *m = p->manifest;
    p->jobs = calloc(m->n_layers + 1, sizeof *p->jobs);
    if (!p->jobs)
        return fail_nomem(err);
    for (size_t i = 0; i < m->n_layers; i++) {
        const struct descriptor *d = &m->layers[i];
        int rc = wrap(err, check_descriptor(d, err), "layer %zu", i + 1);
        if (rc)
            return rc;
        bool again = false;
        for (size_t k = 0; k < *n && !again; k++)
            again = digest_equal(&m->layers[p->jobs[k]].digest, &d->digest);
        if (again)
            continue;
        p->jobs[(*n)++] = i;
        *total += (uint64_t)d->size; /* wraps for absurd sizes: for show only */
    }
    return OK;
}

static int pull_layers(struct pull *p, unsigned parallel, struct error *err)
{
    char label[32];
    size_t n = 0;
    uint64_t total = 0;
    int rc = list_layers(p, &n, &total, err);
    if (!rc && n) {
        (void)snprintf(label, sizeof label, "pull %zu layer%s", n, n == 1 ? "" : "s");
        progress_begin(p->progress, label, total);
        rc = crew_run(p->remote, parallel, n, pull_layer, p, err);
        progress_end(p->progress);
    }
    return rc;
}

/* For mounts: what lies in this repository. */
static void remember(const struct pull *p)
{
    CLEANUP(known_blobs_done) struct known_blobs known = KNOWN_BLOBS_INIT;
    const struct manifest *m = p->manifest;
    const char *host = p->remote->base.authority;
    CLEANUP(cleanup_free) struct digest *all = calloc(m->n_layers + 1, sizeof *all);
    if (!all)
        return;
    all[0] = m->config.digest;
    for (size_t i = 0; i < m->n_layers; i++)
        all[i + 1] = m->layers[i].digest;
    known_blobs_load(p->store, host, &known);
    known_blobs_add(p->store, host, &known, p->repository, all, m->n_layers + 1);
}

static int pull_all(struct pull *p, unsigned parallel, struct descriptor *entry,
                    struct manifest **m, struct error *err)
{
    int rc = load_manifest(p, entry, m, err);
    if (!rc && (*m)->kind == MANIFEST_INDEX)
        rc = enter_index(p, entry, m, err);
    p->manifest = *m;
    if (!rc)
        rc = pull_config(p, *m, entry, err);
    return rc ? rc : pull_layers(p, parallel, err);
}

int pull_image(struct remote *r, const char *repository, const struct descriptor *root,
               const struct transfer_options *options, struct transfer_count *count,
               struct descriptor *image, struct error *err)
{
    struct pull p = {.remote = r,
                     .store = options->store,
                     .repository = repository,
                     .progress = options->progress};
    struct descriptor entry = *root;
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    remote_be_patient(r, options);
    int rc = remote_check_repository(repository, err);
    if (!rc)
        rc = pull_all(&p, options->parallel ? options->parallel : TRANSFER_PARALLEL, &entry, &m,
                      err);
    cleanup_free(&p.jobs);
    if (rc)
        return wrap(err, rc, "pull from %s/%s", r->base.authority, repository);
    remember(&p);
    if (count)
        *count = (struct transfer_count){.bytes = p.count.bytes + p.bytes,
                                         .blobs = p.count.blobs + p.moved,
                                         .present = p.count.present + p.present};
    *image = entry;
    if (!*image->media_type) /* a bare digest: the body's own type */
        memcpy(image->media_type, m->media_type, sizeof image->media_type);
    return OK;
}
