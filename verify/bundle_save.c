#include "verify/bundle_save.h"

#include "base/file.h"
#include "oci/archive_writer.h"
#include "oci/temporary.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FURTHER_ROLES 64

/* --- metadata --- */

struct trust_file {
    char name[512];
    struct bytes content;
};

struct trust_files {
    struct trust_file *items;
    size_t n, total;
};

static void files_done(struct trust_files *f)
{
    for (size_t i = 0; i < f->n; i++)
        bytes_done(&f->items[i].content);
    free(f->items);
}

static int add_file(struct trust_files *f, const char *name, const struct bytes *content,
                    struct error *err)
{
    if (f->n == BUNDLE_MAX_FILES ||
        content->len > BUNDLE_MAX_HEAD_BYTES - BUNDLE_NOTE_MAX_BYTES * 3 - f->total)
        return fail(err, E_LIMIT, "the metadata is too large for a bundle");
    if (!f->items)
        f->items = calloc(BUNDLE_MAX_FILES, sizeof *f->items);
    if (!f->items)
        return fail_nomem(err);
    struct trust_file *file = &f->items[f->n++];
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    f->total += content->len;
    return bytes_append(&file->content, content->data, content->len, err);
}

static int add_role(struct trust_files *f, const char *role, const struct tuf_metadata *m,
                    struct error *err)
{
    char name[512];
    trust_file_name(name, sizeof name, tuf_metadata_version(m), role);
    return add_file(f, name, tuf_metadata_bytes(m), err);
}

/* Whether `next` is what follows `root`. */
static bool follows(const struct trust_session *s, const struct bytes *root,
                    const struct bytes *next)
{
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {0, s->collection};
    return tuf_trusted_new(&options, root->data, root->len, &t, NULL) == OK &&
           tuf_trusted_update_root(t, next->data, next->len, NULL, NULL) == OK;
}

/* From the present root down to the first, or as far as there is a chain: where a reader's anchor
 * is in it, is the reader's business. */
static int add_roots(struct trust_session *s, struct trust_files *f, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(s->view.trusted);
    int rc = add_role(f, "root", root, err);
    for (int64_t v = tuf_metadata_version(root) - 1; !rc && v > 0; v--) {
        CLEANUP(bytes_done) struct bytes older = BYTES_INIT;
        char name[64];
        trust_file_name(name, sizeof name, v, "root");
        rc = s->source.get(&s->source, name, TUF_MAX_ROOT_BYTES, &older, err);
        if (rc == E_NOTFOUND || (!rc && !follows(s, &older, &f->items[f->n - 1].content)))
            return OK;
        if (!rc)
            rc = add_file(f, name, &older, err);
    }
    return rc;
}

/* Whether the role is on the list already; if not, and there is room, it is now. */
static bool is_new(const char *roles[MAX_FURTHER_ROLES], size_t *n, const char *role)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(roles[i], role) == 0)
            return false;
    if (*n == MAX_FURTHER_ROLES)
        return false;
    roles[(*n)++] = role;
    return true;
}

static void ask_bin(struct trust_session *s, const char *role, const struct tuf_bins *bins,
                    const char *target)
{
    char name[TUF_BIN_NAME_MAX];
    struct error why = ERROR_INIT;
    uint64_t bin = 0;
    if (tuf_bins_find(bins, target, &bin, &why))
        return;
    tuf_bins_name(bins, bin, name);
    (void)!trust_need_role(&s->view, s->store, &s->source, name, role, &why);
}

/*
 * The search ends at the first role that vouches; a reader's policy may want others beside it, and
 * roles below them. So all that is delegated for the target goes along, level by level, and of
 * split roles the bin that is responsible. What cannot be had, neither the search nor this user's
 * own policy needs: both have passed.
 */
static void ask_further_roles(struct trust_session *s, const char *target)
{
    const char *roles[MAX_FURTHER_ROLES] = {"targets"};
    struct error why = ERROR_INIT;
    for (size_t i = 0, n = 1; i < n; i++) {
        const struct tuf_metadata *m = tuf_trusted_targets(s->view.trusted, roles[i]);
        if (!m)
            continue;
        if (tuf_targets_bins(m))
            ask_bin(s, roles[i], tuf_targets_bins(m), target);
        for (size_t k = 0; k < tuf_targets_n_delegations(m); k++) {
            const struct tuf_delegation *d = tuf_targets_delegation(m, k);
            if (tuf_delegation_covers(d, target) && is_new(roles, &n, d->name))
                (void)!trust_need_role(&s->view, s->store, &s->source, d->name, roles[i], &why);
        }
    }
}

static int collect(struct trust_session *s, const char *target, struct trust_files *f,
                   struct error *err)
{
    const struct tuf_trusted *t = s->view.trusted;
    const struct tuf_metadata *snapshot = tuf_trusted_snapshot(t);
    int rc = add_roots(s, f, err);
    if (!rc)
        rc = add_file(f, "timestamp.json", tuf_metadata_bytes(tuf_trusted_timestamp(t)), err);
    if (!rc)
        rc = add_role(f, "snapshot", snapshot, err);
    if (!rc)
        ask_further_roles(s, target);
    for (size_t i = 0; !rc && i < tuf_snapshot_count(snapshot); i++) {
        const char *role;
        (void)tuf_snapshot_at(snapshot, i, &role);
        const struct tuf_metadata *m = tuf_trusted_targets(t, role);
        if (m)
            rc = add_role(f, role, m, err);
    }
    return rc;
}

/* A fresh verdict and all that it rests on. */
static int ask(const struct verify_options *options, const struct reference *ref, struct verdict *v,
               struct trust_files *f, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct trust_session session;
    int rc = verify_reference_keep(options, ref, v, &session, err);
    if (rc)
        return rc;
    if (v->freshness != FRESH_ONLINE && v->freshness != FRESH_MIRROR)
        rc = fail(err, session.view.offline.code ? session.view.offline.code : E_NETWORK,
                  "a bundle is made of what the registry says now: %s",
                  session.view.offline.message);
    if (!rc)
        rc = collect(&session, *ref->tag ? ref->tag : digest_format(&ref->digest, text), f, err);
    trust_session_close(&session);
    return rc;
}

/* --- the file --- */

static int write_head(struct archive_writer *w, const struct bundle_note *note,
                      const struct trust_files *f, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = bundle_note_write(note, &text, err);
    if (!rc)
        rc = archive_writer_file(w, BUNDLE_NOTE_PATH, text.data, text.len, err);
    for (size_t i = 0; !rc && i < f->n; i++) {
        char path[sizeof BUNDLE_TUF + sizeof f->items[i].name];
        (void)snprintf(path, sizeof path, BUNDLE_TUF "%s", f->items[i].name);
        rc = archive_writer_file(w, path, f->items[i].content.data, f->items[i].content.len, err);
    }
    return rc;
}

/* Each digest once: an image may name a layer twice. */
static int write_blob(struct archive_writer *w, const struct obtain_options *o,
                      const struct descriptor *d, const struct manifest *m, struct error *err)
{
    for (const struct descriptor *before = m->layers; before < d; before++)
        if (digest_equal(&before->digest, &d->digest))
            return OK;
    return archive_writer_blob(w, o->store, d, o->progress, err);
}

static int write_image(struct archive_writer *w, const struct obtain_options *o,
                       const struct descriptor *root, const struct image *image, struct error *err)
{
    const struct manifest *m = image->parsed;
    bool through_index = !digest_equal(&root->digest, &image->manifest.digest);
    progress_begin(o->progress, "save", 0);
    int rc = archive_writer_blob(w, o->store, root, o->progress, err);
    if (!rc && through_index)
        rc = archive_writer_blob(w, o->store, &image->manifest, o->progress, err);
    if (!rc)
        rc = archive_writer_blob(w, o->store, &m->config, o->progress, err);
    for (size_t i = 0; !rc && i < m->n_layers; i++)
        rc = write_blob(w, o, &m->layers[i], m, err);
    progress_end(o->progress);
    return rc;
}

/* Where the signature names no media type, the document does. */
static int complete_root(struct store *s, struct descriptor *root, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    int rc = store_blob_read(s, &root->digest, MANIFEST_MAX_BYTES, &body, err);
    if (!rc)
        rc = manifest_parse(body.data, body.len, root->media_type, &m, err);
    if (!rc)
        memcpy(root->media_type, m->media_type, sizeof root->media_type);
    return rc;
}

static int write_bundle(int fd, const struct bundle_save *save, const struct bundle_note *note,
                        const struct trust_files *f, const struct obtained *o, struct error *err)
{
    CLEANUP(archive_writer_cleanup) struct archive_writer *w = NULL;
    struct descriptor root = o->verdict.manifest;
    char name[REFERENCE_TEXT_MAX];
    int rc = complete_root(save->obtain->store, &root, err);
    if (!rc)
        rc = archive_writer_new(fd, &w, err);
    if (!rc)
        rc = archive_writer_layout(w, &root, reference_format(&note->ref, name), err);
    if (!rc)
        rc = write_head(w, note, f, err);
    if (!rc)
        rc = write_image(w, save->obtain, &root, &o->image, err);
    if (!rc)
        rc = archive_writer_finish(w, err);
    return !rc && fsync(fd) ? fail_sys(err, errno, "sync") : rc;
}

/* Folder and last part of where the bundle goes; *last is inside path. */
static int open_folder(const char *path, int *folder, const char **last, struct error *err)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(cleanup_free)
    char *dir = slash ? text_format("%.*s/", (int)(slash - path), path) : strdup("./");
    if (!dir)
        return fail_nomem(err);
    *last = slash ? slash + 1 : path;
    if (!**last || strcmp(*last, ".") == 0 || strcmp(*last, "..") == 0)
        return fail(err, E_USAGE, "'%s' names no file", path);
    return file_open_dir(dir, false, folder, err);
}

/* Said before anything is asked for nothing. */
static int check_target(int folder, const char *last, const struct bundle_save *save,
                        struct error *err)
{
    struct stat st;
    if (fstatat(folder, last, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? OK : fail_sys(err, errno, "stat '%s'", save->path);
    if (!S_ISREG(st.st_mode))
        return fail(err, E_USAGE, "'%s' is there and is no regular file", save->path);
    return save->replace
               ? OK
               : fail(err, E_EXISTS, "'%s' is there already; --force replaces it", save->path);
}

static int move_there(struct temporary *t, int folder, const char *last,
                      const struct bundle_save *save, struct error *err)
{
    int rc = temporary_move(t, folder, last, save->replace, err);
    if (rc == E_EXISTS)
        return fail(err, rc, "'%s' is there already; --force replaces it", save->path);
    return rc ? rc : file_sync_dir(folder, err);
}

static int obtain_same(const struct bundle_save *save, const struct reference *ref,
                       const struct verdict *asked, struct obtained *out, struct error *err)
{
    struct obtain_options obtain = *save->obtain;
    obtain.unpack = false;
    int rc = verify_obtain(&obtain, ref, out, err);
    if (!rc && !digest_equal(&asked->manifest.digest, &out->verdict.manifest.digest))
        rc = fail(err, E_CONFLICT, "it was signed anew meanwhile; try again");
    return rc;
}

int bundle_save(const struct bundle_save *save, const struct reference *ref,
                struct bundle_saved *out, struct error *err)
{
    CLEANUP(files_done) struct trust_files files = {.n = 0};
    CLEANUP(verdict_done) struct verdict asked = {.targets = NULL};
    CLEANUP(cleanup_fd) int folder = -1; /* outlives the file in it */
    CLEANUP(temporary_done) struct temporary file = TEMPORARY_INIT;
    struct bundle_note note = {.ref = *ref};
    const char *last = NULL;
    memset(out, 0, sizeof *out);
    int rc = open_folder(save->path, &folder, &last, err);
    if (!rc)
        rc = check_target(folder, last, save, err);
    if (!rc)
        rc = temporary_file(folder, &file, err);
    if (!rc)
        rc = ask(save->obtain->verify, ref, &asked, &files, err);
    if (!rc)
        rc = obtain_same(save, ref, &asked, &out->obtained, err);
    if (rc)
        return rc;
    memcpy(note.collection, asked.collection, sizeof note.collection);
    if (*note.ref.tag) /* what was named beside it was checked; the tag is what is signed */
        note.ref.digest = (struct digest){.alg = DIGEST_NONE};
    rc = write_bundle(file.fd, save, &note, &files, &out->obtained, err);
    out->bytes = rc ? 0 : lseek(file.fd, 0, SEEK_CUR);
    if (!rc)
        rc = move_there(&file, folder, last, save, err);
    return rc ? wrap(err, rc, "write '%s'", save->path) : OK;
}
