/*
 * bulla-tuf-client: the command line that TUF client conformance suites drive, over the very code
 * that bulla uses. Tests only, never installed: it alone speaks plain HTTP and follows the bare
 * specification (no collection binding).
 *
 *   bulla-tuf-client --metadata-dir DIR init ROOT
 *   bulla-tuf-client --metadata-url URL --metadata-dir DIR refresh
 *   bulla-tuf-client --metadata-url URL --metadata-dir DIR --target-name PATH… --target-dir DIR
 *                    --target-base-url URL download
 *
 * Exit status: 0 or 1, nothing else.
 */
#include "base/clock.h"
#include "base/file.h"
#include "client/remote.h"
#include "verify/refresh.h"

#include <fcntl.h>
#include <string.h>

#define MAX_TARGETS      64
#define TARGET_MAX_BYTES (256u << 20)

struct front {
    const char *metadata_dir, *metadata_url, *target_dir, *target_url, *command, *argument;
    const char *targets[MAX_TARGETS];
    size_t n_targets;
    struct trust_source source;
    struct remote *remote;
    struct trust_store *store;
    struct trust_view view;
};

static int usage(struct error *err)
{
    return fail(err, E_USAGE, "see the head of main_tuf_client.c for the usage");
}

static const char **place_of(struct front *f, const char *option)
{
    if (strcmp(option, "--metadata-dir") == 0)
        return &f->metadata_dir;
    if (strcmp(option, "--metadata-url") == 0)
        return &f->metadata_url;
    if (strcmp(option, "--target-dir") == 0)
        return &f->target_dir;
    if (strcmp(option, "--target-base-url") == 0)
        return &f->target_url;
    if (strcmp(option, "--target-name") == 0 && f->n_targets < MAX_TARGETS)
        return &f->targets[f->n_targets++];
    return NULL;
}

static int parse(struct front *f, int argc, char **argv, struct error *err)
{
    for (int i = 1; i < argc; i++) {
        if (text_starts(argv[i], "--")) {
            const char **place = place_of(f, argv[i]);
            if (!place || i + 1 == argc)
                return usage(err);
            *place = argv[++i];
        } else if (!f->command) {
            f->command = argv[i];
        } else if (!f->argument) {
            f->argument = argv[i];
        } else {
            return usage(err);
        }
    }
    return f->command && f->metadata_dir ? OK : usage(err);
}

static int get(struct trust_source *self, const char *name, size_t max, struct bytes *out,
               struct error *err)
{
    struct front *f = (struct front *)((char *)self - offsetof(struct front, source));
    size_t len = strlen(f->metadata_url);
    CLEANUP(cleanup_free)
    char *url = text_format("%s%s%s", f->metadata_url,
                            len && f->metadata_url[len - 1] == '/' ? "" : "/", name);
    return url ? remote_url_get(f->remote, url, max, out, err) : fail_nomem(err);
}

static int init(struct front *f, struct error *err)
{
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT;
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {clock_now_s(), NULL};
    if (!f->argument)
        return usage(err);
    int rc = file_read(AT_FDCWD, f->argument, TUF_MAX_ROOT_BYTES, &root, err);
    if (!rc)
        rc = tuf_trusted_new(&options, root.data, root.len, &t, err);
    return rc ? rc : trust_store_write(f->store, "root", &root, err);
}

static int refresh(struct front *f, struct error *err)
{
    struct bytes none = BYTES_INIT;
    struct refresh_options options = {
        .now_s = clock_now_s(), .root = &none, .max_age_s = -1, .must_ask = true};
    struct remote_options remote = {.host = "127.0.0.1", .plain_http = true};
    if (!f->metadata_url)
        return usage(err);
    int rc = remote_open(&remote, &f->remote, err);
    return rc ? rc : trust_refresh(&options, f->store, &f->source, &f->view, err);
}

/* Everything but unreserved characters percent-encoded: one file per target, inside the folder. */
static char *local_name(const char *target)
{
    char *out = calloc(strlen(target) * 3 + 1, 1), *p = out;
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-~";
    for (; out && *target; target++)
        p += sprintf(p, strchr(plain, *target) || (*target == '.' && p != out) ? "%c" : "%%%02X",
                     (unsigned char)*target);
    return out;
}

static int check(const struct tuf_target *t, const struct bytes *data, struct error *err)
{
    struct tuf_meta meta = {
        .version = 1, .length = t->length, .sha256 = t->sha256, .sha512 = t->sha512};
    return tuf_meta_check(&meta, data->data, data->len, false, err);
}

/* dir/HASH.base where the repository has consistent snapshots. */
static char *target_url(const struct front *f, const struct tuf_target *t)
{
    char hex[DIGEST_TEXT_MAX];
    const char *slash = strrchr(t->name, '/'), *base = slash ? slash + 1 : t->name;
    size_t len = strlen(f->target_url);
    const char *join = len && f->target_url[len - 1] == '/' ? "" : "/";
    digest_hex(t->sha256.alg ? &t->sha256 : &t->sha512, hex);
    if (!tuf_root_consistent_snapshot(tuf_trusted_root(f->view.trusted)))
        return text_format("%s%s%s", f->target_url, join, t->name);
    return text_format("%s%s%.*s%s.%s", f->target_url, join, (int)(base - t->name), t->name, hex,
                       base);
}

static int fetch(struct front *f, int dir, const struct tuf_target *t, const char *name,
                 struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(cleanup_free) char *url = target_url(f, t);
    if (!url)
        return fail_nomem(err);
    if (t->length < 0 || t->length > (int64_t)TARGET_MAX_BYTES)
        return fail(err, E_LIMIT, "target '%s' is too large", t->name);
    int rc = remote_url_get(f->remote, url, (size_t)t->length, &data, err);
    if (!rc)
        rc = check(t, &data, err);
    return rc ? rc : file_write_atomic(dir, name, data.data, data.len, 0644, err);
}

static int download_one(struct front *f, const char *target, struct error *err)
{
    struct tuf_found found;
    CLEANUP(cleanup_fd) int dir = -1;
    CLEANUP(cleanup_free) char *name = local_name(target);
    CLEANUP(bytes_done) struct bytes present = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc =
        name ? trust_find(&f->view, f->store, &f->source, target, &found, err) : fail_nomem(err);
    if (!rc && !found.target.sha256.alg && !found.target.sha512.alg)
        rc = fail(err, E_DIGEST, "target '%s' has no hash that is known here", target);
    if (!rc)
        rc = file_open_dir(f->target_dir, true, &dir, err);
    if (rc)
        return rc;
    if (file_read(dir, name, TARGET_MAX_BYTES, &present, &why) == OK &&
        check(&found.target, &present, &why) == OK)
        return OK;
    return fetch(f, dir, &found.target, name, err);
}

static int download(struct front *f, struct error *err)
{
    if (!f->target_dir || !f->target_url || !f->n_targets)
        return usage(err);
    int rc = refresh(f, err);
    for (size_t i = 0; !rc && i < f->n_targets; i++)
        rc = download_one(f, f->targets[i], err);
    return rc;
}

static int act(struct front *f, struct error *err)
{
    int rc = trust_store_open_folder(f->metadata_dir, &f->store, err);
    if (rc)
        return rc;
    if (strcmp(f->command, "init") == 0)
        return init(f, err);
    if (strcmp(f->command, "refresh") == 0)
        return refresh(f, err);
    return strcmp(f->command, "download") == 0 ? download(f, err) : usage(err);
}

int main(int argc, char **argv)
{
    struct front f = {.source = {get, NULL}};
    struct error err = ERROR_INIT;
    int rc = parse(&f, argc, argv, &err);
    if (!rc)
        rc = act(&f, &err);
    trust_view_done(&f.view);
    trust_store_cleanup(&f.store);
    remote_cleanup(&f.remote);
    if (rc)
        (void)fprintf(stderr, "bulla-tuf-client: %s\n", err.message);
    return rc ? 1 : 0;
}
