/*
 * pull_image: from one verified descriptor to everything it names. Each step asks by digest and
 * size that an already verified document gave; what the registry says about its answers (type,
 * digest, length headers) decides nothing.
 */
#include "client/remote.h"
#include "client/remote_private.h"

#include <string.h>
#include <sys/utsname.h>

struct pull {
    struct remote *remote;
    struct store *store;
    const char *repository;
    struct progress *progress;
    struct transfer_count count;
};

static const char *short_name(const struct descriptor *d, char out[DIGEST_TEXT_MAX])
{
    return digest_format(&d->digest, out);
}

/* --- fetching --- */

/* Manifests come from their own endpoint; remote_manifest_get checks the digest. */
static int fetch_manifest(struct pull *p, const struct descriptor *d, struct blob_writer *w,
                          struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    char text[DIGEST_TEXT_MAX];
    int rc = remote_manifest_get(p->remote, p->repository, short_name(d, text), &data, NULL, err);
    return rc ? rc : blob_writer_write(w, bytes_text(&data), data.len, err);
}

static int fetch_blob(struct pull *p, const struct descriptor *d, struct blob_writer *w,
                      struct error *err)
{
    char label[32], hex[DIGEST_TEXT_MAX];
    (void)snprintf(label, sizeof label, "pull %.12s", digest_hex(&d->digest, hex));
    progress_begin(p->progress, label, (uint64_t)d->size);
    int rc = remote_blob_fetch(p->remote, p->repository, d, w, p->progress, err);
    progress_end(p->progress);
    return rc;
}

/* Brings d into the store unless it is there; digest and size are checked by the commit. */
static int ensure(struct pull *p, const struct descriptor *d,
                  int (*fetch)(struct pull *, const struct descriptor *, struct blob_writer *,
                               struct error *),
                  struct error *err)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    if (d->size < 0 || d->digest.alg == DIGEST_NONE)
        return fail(err, E_INVALID, "a descriptor without size or digest");
    if (store_blob_exists(p->store, &d->digest)) {
        p->count.present++;
        return OK;
    }
    int rc = blob_writer_new(p->store, &w, err);
    if (!rc)
        rc = fetch(p, d, w, err);
    if (!rc)
        rc = blob_writer_commit(w, &d->digest, d->size, err);
    if (!rc) {
        p->count.blobs++;
        p->count.bytes += (uint64_t)d->size;
    }
    return rc;
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
        rc = ensure(p, d, fetch_manifest, err);
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
    int rc = ensure(p, &m->config, fetch_blob, err);
    if (!rc)
        rc = read_back(p, &m->config, IMAGE_CONFIG_MAX_BYTES, &data, err);
    if (!rc)
        rc = image_config_parse(data.data, data.len, &c, err);
    if (!rc)
        rc = check_config(c, m, entry, err);
    return wrap(err, rc, "config");
}

/* `urls` of foreign layers are never asked: they lead anywhere (CVE-2020-15157). */
static int pull_layers(struct pull *p, const struct manifest *m, struct error *err)
{
    for (size_t i = 0; i < m->n_layers; i++) {
        int rc = ensure(p, &m->layers[i], fetch_blob, err);
        if (rc)
            return wrap(err, rc, "layer %zu", i + 1);
    }
    return OK;
}

int pull_image(struct remote *r, const char *repository, const struct descriptor *root,
               struct store *s, struct progress *progress, struct transfer_count *count,
               struct descriptor *image, struct error *err)
{
    struct pull p = {.remote = r, .store = s, .repository = repository, .progress = progress};
    struct descriptor entry = *root;
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    int rc = remote_check_repository(repository, err);
    if (!rc)
        rc = load_manifest(&p, &entry, &m, err);
    if (!rc && m->kind == MANIFEST_INDEX)
        rc = enter_index(&p, &entry, &m, err);
    if (!rc)
        rc = pull_config(&p, m, &entry, err);
    if (!rc)
        rc = pull_layers(&p, m, err);
    if (rc)
        return wrap(err, rc, "pull from %s/%s", r->base.authority, repository);
    if (count)
        *count = p.count;
    *image = entry;
    if (!*image->media_type) /* a bare digest: the body's own type */
        memcpy(image->media_type, m->media_type, sizeof image->media_type);
    return OK;
}
