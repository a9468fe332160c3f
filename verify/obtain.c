#include "verify/obtain.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

void image_done(struct image *image)
{
    manifest_cleanup(&image->parsed);
    image_config_cleanup(&image->config);
}

void obtained_done(struct obtained *o)
{
    verdict_done(&o->verdict);
    image_done(&o->image);
}

static const char *this_architecture(void)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"riscv64", "riscv64"}, {"ppc64le", "ppc64le"}};
    struct utsname host;
    if (uname(&host) == 0)
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (strcmp(host.machine, names[i][0]) == 0)
                return names[i][1];
    return "unknown";
}

static int check_ban(const struct tuf_metadata *targets, const struct digest *d, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    if (targets && tuf_targets_banned(targets, d))
        return fail(err, E_BANNED, "%s is banned by the collection's owner",
                    digest_format(d, text));
    return OK;
}

int image_check_bans(const struct tuf_metadata *targets, const void *data, size_t len,
                     struct error *err)
{
    static const enum digest_alg algorithms[] = {DIGEST_SHA256, DIGEST_SHA512};
    int rc = OK;
    for (size_t i = 0; !rc && i < 2 && targets && tuf_targets_n_banned(targets); i++) {
        struct digest d;
        rc = digest_of(algorithms[i], data, len, &d, err);
        if (!rc)
            rc = check_ban(targets, &d, err);
    }
    return rc;
}

/* targets may be NULL: bans are not looked at. */
static int read_manifest(struct store *s, const struct descriptor *d,
                         const struct tuf_metadata *targets, struct manifest **out,
                         struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    int rc = store_blob_read(s, &d->digest, MANIFEST_MAX_BYTES, &body, err);
    /* C37, TUF 5.7.3 */
    if (!rc && d->size >= 0 && (uint64_t)d->size != body.len)
        rc = fail(err, E_DIGEST, "manifest has %zu bytes, %lld were signed", body.len,
                  (long long)d->size);
    /* By what it is, not by what it is called: a ban names one of its digests. */
    if (!rc)
        rc = image_check_bans(targets, body.data, body.len, err);
    return rc ? rc : manifest_parse(body.data, body.len, d->media_type, out, err);
}

int image_child_here(const struct manifest *index, const struct descriptor **out, struct error *err)
{
    return manifest_select_platform(index, "linux", this_architecture(), out, err);
}

/* Nested indexes are not followed: one index, one child, as stock clients do. */
static int choose_image(struct store *s, const struct descriptor *root,
                        const struct tuf_metadata *targets, struct image *image, struct error *err)
{
    int rc = check_ban(targets, &root->digest, err);
    if (!rc)
        rc = read_manifest(s, root, targets, &image->parsed, err);
    image->manifest = *root;
    if (rc || image->parsed->kind == MANIFEST_IMAGE)
        return rc;
    const struct descriptor *child = NULL;
    rc = image_child_here(image->parsed, &child, err);
    if (rc)
        return rc;
    image->manifest = *child;
    manifest_cleanup(&image->parsed);
    rc = check_ban(targets, &image->manifest.digest, err);
    if (!rc)
        rc = read_manifest(s, &image->manifest, targets, &image->parsed, err);
    if (!rc && image->parsed->kind != MANIFEST_IMAGE)
        rc = fail(err, E_INVALID, "the index's entry for this platform is no image");
    return rc;
}

static int read_config(struct store *s, struct image *image, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    const struct descriptor *want = &image->manifest;
    int rc = store_blob_read(s, &image->parsed->config.digest, IMAGE_CONFIG_MAX_BYTES, &body, err);
    if (!rc && (uint64_t)image->parsed->config.size != body.len)
        rc = fail(err, E_DIGEST, "image config has another length than its manifest says");
    if (!rc)
        rc = image_config_parse(body.data, body.len, &image->config, err);
    if (rc)
        return wrap(err, rc, "image config");
    if (image->config->n_diff_ids != image->parsed->n_layers)
        return fail(err, E_INVALID, "image config names %zu layers, its manifest %zu",
                    image->config->n_diff_ids, image->parsed->n_layers);
    if (*want->os && (strcmp(want->os, image->config->os) != 0 ||
                      strcmp(want->architecture, image->config->architecture) != 0))
        return fail(err, E_INVALID, "the index says %s/%s, the image itself %s/%s", want->os,
                    want->architecture, image->config->os, image->config->architecture);
    return OK;
}

int image_open(struct store *s, const struct descriptor *root, const struct tuf_metadata *targets,
               struct image *out, struct error *err)
{
    CLEANUP(image_done) struct image image = {.parsed = NULL};
    int rc = choose_image(s, root, targets, &image, err);
    if (!rc)
        rc = read_config(s, &image, err);
    if (rc)
        return rc;
    *out = image;
    image.parsed = NULL;
    image.config = NULL;
    return OK;
}

static int load(const struct obtain_options *o, struct obtained *out, struct error *err)
{
    struct bundle_load load = {.store = o->store, .progress = o->progress};
    int rc = bundle_read_image(o->verify->bundle, &out->verdict.manifest, out->verdict.targets,
                               &load, err);
    out->moved =
        (struct transfer_count){.bytes = load.bytes, .blobs = load.blobs, .present = load.present};
    return rc;
}

static int pull_from(const struct obtain_options *o, const struct policy_mirror *place,
                     struct obtained *out, struct error *err)
{
    struct remote_options options = {.host = place->host,
                                     .repository = place->repository,
                                     .ca_file = o->verify->ca_file,
                                     .auth_file = o->verify->auth_file};
    const struct transfer_options transfer = {.store = o->store,
                                              .progress = o->progress,
                                              .parallel = o->parallel,
                                              .notice = o->notice,
                                              .notice_ctx = o->notice_ctx};
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    struct descriptor image;
    int rc = remote_open(&options, &remote, err);
    if (!rc)
        rc = pull_image(remote, place->repository, &out->verdict.manifest, &transfer, &out->moved,
                        &image, err);
    return rc;
}

/* Every byte is checked against the verdict's digest: whoever has it may give it. What is wrong on
 * this machine is wrong with every place. */
static bool another_may_have_it(int rc)
{
    return rc != E_NOMEM && rc != E_SYS && rc != E_INTERRUPTED && rc != E_INTERNAL &&
           rc != E_UNSUPPORTED;
}

static void say_next(const struct obtain_options *o, const struct policy_mirror *place,
                     const struct error *why)
{
    char text[ERROR_MESSAGE_MAX];
    (void)snprintf(text, sizeof text, "%.500s; asking %s/%s", why->message, place->host,
                   place->repository);
    if (o->notice)
        o->notice(o->notice_ctx, text);
}

/* Who gave the verdict first, then the registry and its mirrors in order. */
static int pull(const struct obtain_options *o, const struct reference *ref, struct obtained *out,
                struct error *err)
{
    struct policy_mirror places[1 + POLICY_MAX_MIRRORS];
    struct decision d;
    if (o->verify->bundle)
        return load(o, out, err);
    int rc = policy_decide(o->verify->policy, ref, &d, err);
    if (rc)
        return rc;
    memcpy(places[0].host, ref->host, sizeof places[0].host);
    memcpy(places[0].repository, ref->repository, sizeof places[0].repository);
    memcpy(&places[1], d.mirrors, sizeof d.mirrors);
    size_t first = out->verdict.place <= d.n_mirrors ? out->verdict.place : 0;
    struct error why = ERROR_INIT;
    rc = pull_from(o, &places[first], out, &why);
    for (size_t i = 0; rc && another_may_have_it(rc) && i <= d.n_mirrors; i++) {
        struct error next = ERROR_INIT;
        if (i == first)
            continue;
        say_next(o, &places[i], &why);
        int other = pull_from(o, &places[i], out, &next);
        if (!other || !another_may_have_it(other)) {
            rc = other;
            why = next;
        }
    }
    return rc ? fail(err, rc, "%s", why.message) : OK;
}

static bool has_layers(struct store *s, const struct image *image)
{
    for (size_t i = 0; i < image->parsed->n_layers; i++)
        if (!store_blob_exists(s, &image->parsed->layers[i].digest))
            return false;
    return true;
}

/* A layer that is there is checked whole; a damaged one makes room for a fresh one. */
static int repair_layer(const struct obtain_options *o, const struct digest *diff_id,
                        struct obtained *out, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct error why = ERROR_INIT;
    int rc = store_layer_open(o->store, diff_id, LAYER_CHECK_FULL, NULL, &fd, &why);
    if (rc == OK || rc == E_NOTFOUND)
        return OK;
    if (rc != E_TAMPERED && rc != E_INVALID) {
        *err = why;
        return rc;
    }
    out->n_repaired++;
    return store_layer_discard(o->store, diff_id, err);
}

/* The root document and, where it still reads, what it names besides layers. */
static int discard_documents(struct store *s, const struct descriptor *root, struct error *err)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    int rc = OK;
    if (read_manifest(s, root, NULL, &m, err) == OK) {
        if (m->kind == MANIFEST_IMAGE)
            rc = store_blob_discard(s, &m->config.digest, err);
        for (size_t i = 0; !rc && i < m->n_manifests; i++)
            rc = store_blob_discard(s, &m->manifests[i].digest, err);
    }
    return rc ? rc : store_blob_discard(s, &root->digest, err);
}

/* Blobs are hashed again only where that is asked for: a pull of what is there already. */
static int repair_blobs(const struct obtain_options *o, struct obtained *out, struct error *err)
{
    const struct manifest *m = out->image.parsed;
    for (size_t i = 0; i < m->n_layers; i++) {
        CLEANUP(cleanup_fd) int fd = -1;
        struct digest real;
        int64_t size;
        int rc = store_blob_open(o->store, &m->layers[i].digest, &fd, &size, err);
        if (rc == E_NOTFOUND)
            continue;
        if (!rc)
            rc = digest_of_fd(m->layers[i].digest.alg, fd, &real, NULL, err);
        if (!rc && !digest_equal(&real, &m->layers[i].digest)) {
            out->n_repaired++;
            rc = store_blob_discard(o->store, &m->layers[i].digest, err);
        }
        if (rc)
            return rc;
    }
    return OK;
}

static int unpack(const struct obtain_options *o, struct obtained *out, struct error *err)
{
    const struct image *image = &out->image;
    int rc = OK;
    for (size_t i = 0; !rc && o->unpack && i < image->parsed->n_layers; i++) {
        if (o->repair)
            rc = repair_layer(o, &image->config->diff_ids[i], out, err);
        if (!rc)
            rc = store_layer_unpack(o->store, &image->parsed->layers[i],
                                    &image->config->diff_ids[i], o->progress, err);
        rc = wrap(err, rc, "layer %zu", i + 1);
    }
    return rc;
}

/* C37, TUF 5.7.3: every digest that was signed holds, not only the one the image is fetched by. */
static int check_other_digest(struct store *s, const struct verdict *v, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    char text[DIGEST_TEXT_MAX];
    struct digest real;
    if (v->also.alg == DIGEST_NONE)
        return OK;
    int rc = store_blob_read(s, &v->manifest.digest, MANIFEST_MAX_BYTES, &body, err);
    if (!rc)
        rc = digest_of(v->also.alg, body.data, body.len, &real, err);
    if (!rc && !digest_equal(&real, &v->also))
        rc = fail(err, E_DIGEST, "the manifest is not %s, which was signed as well",
                  digest_format(&v->also, text));
    return rc;
}

/* Written only when it says something new: a start should not wait for the disk. */
static int remember_name(struct store *s, const char *name, const struct descriptor *root,
                         struct error *err)
{
    struct descriptor known;
    struct error why = ERROR_INIT;
    if (store_name_get(s, name, &known, &why) == OK && digest_equal(&known.digest, &root->digest))
        return OK;
    return store_name_set(s, name, root, err);
}

int verify_obtain(const struct obtain_options *o, const struct reference *ref, struct obtained *out,
                  struct error *err)
{
    char name[REFERENCE_TEXT_MAX];
    memset(out, 0, sizeof *out);
    int rc = verify_reference(o->verify, ref, &out->verdict, err);
    if (rc)
        return rc;
    /* Said before anything is fetched for nothing. */
    if (o->unpack && geteuid() != 0)
        return fail(
            err, E_UNSUPPORTED,
            "unpacking and running images needs root in this version: start it as root, for "
            "example with sudo");
    const struct descriptor *root = &out->verdict.manifest;
    rc = image_open(o->store, root, out->verdict.targets, &out->image, err);
    if (rc == E_TAMPERED && o->repair) { /* manifest or config: small, fetched again as a whole */
        out->n_repaired++;
        rc = discard_documents(o->store, root, err) ? rc : E_NOTFOUND;
    }
    if (!rc && o->repair)
        rc = repair_blobs(o, out, err);
    bool missing = rc == E_NOTFOUND || (!rc && !has_layers(o->store, &out->image));
    if (missing && o->pull == PULL_NEVER)
        return fail(err, E_NOTFOUND, "'%s' is not in the local store; 'bulla pull %s' gets it",
                    reference_format(ref, name), name);
    if (missing) {
        image_done(&out->image);
        rc = pull(o, ref, out, err);
        if (!rc)
            rc = image_open(o->store, root, out->verdict.targets, &out->image, err);
    }
    if (!rc)
        rc = check_other_digest(o->store, &out->verdict, err);
    if (!rc)
        rc = unpack(o, out, err);
    return rc ? rc : remember_name(o->store, reference_format(ref, name), root, err);
}
