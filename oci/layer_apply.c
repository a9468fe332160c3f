#include "oci/layer_apply.h"

#include "base/path.h"
#include "oci/inode_table.h"
#include "oci/layer_path.h"
#include "oci/layer_stream.h"
#include "oci/layer_tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define OPAQUE_XATTR "trusted.overlay.opaque"

struct apply {
    int root_fd; /* borrowed */
    struct tar_reader *reader;
    struct inode_table known;
    uint64_t n_entries, n_left_out;
    int64_t n_bytes, n_holes; /* over all files */
    size_t root_depth;        /* components of the root folder's own path */
    /* Folder of the entry before: archives go through folders one after the other. */
    char parent_path[LAYER_MAX_PATH + 1];
    int parent_fd; /* −1: none known */
};

/* One entry on its way. */
struct place {
    const struct tar_entry *entry;
    const char *path; /* clean */
    const char *name; /* last component of path */
    int parent_fd;    /* borrowed from struct apply */
};

/* --- folders on the way --- */

static bool is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static void forget_parent(struct apply *a)
{
    cleanup_fd(&a->parent_fd);
}

static int note_folder(struct apply *a, int fd, int64_t mtime_s, uint32_t mtime_ns,
                       struct error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat folder");
    struct inode_note note = {.inode = st.st_ino, .mtime_s = mtime_s, .mtime_ns = mtime_ns};
    return inode_table_set(&a->known, &note, err);
}

static int mark_opaque(int fd, struct error *err)
{
    if (fsetxattr(fd, OPAQUE_XATTR, "y", 1, 0))
        return fail_sys(err, errno, "mark folder as opaque");
    return OK;
}

static int open_folder(int parent_fd, const char *name, int *fd, struct error *err)
{
    return path_open(parent_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, fd, err);
}

/* A folder that the archive does not describe: 0755, root's, no date. */
static int make_folder_on_the_way(struct apply *a, int parent_fd, const char *name,
                                  struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct stat st;
    bool hidden = fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(&st);
    if (hidden && unlinkat(parent_fd, name, 0))
        return fail_sys(err, errno, "remove whiteout '%s'", name);
    if (mkdirat(parent_fd, name, 0700)) {
        if (errno == EEXIST)
            return fail(err, E_INVALID, "'%s' is no folder", name);
        return fail_sys(err, errno, "make folder '%s'", name);
    }
    int rc = open_folder(parent_fd, name, &fd, err);
    if (!rc && (fchown(fd, 0, 0) || fchmod(fd, 0755)))
        rc = fail_sys(err, errno, "set owner and mode of '%s'", name);
    /* Lower layers' folder was taken away in this very layer: it must not shine through. */
    if (!rc && hidden)
        rc = mark_opaque(fd, err);
    return rc ? rc : note_folder(a, fd, 0, 0, err);
}

static size_t count_components(const char *path)
{
    size_t n = 0;
    for (; *path; path++)
        n += *path == '/' && path[1];
    return n;
}

static int depth_of(int fd, size_t *out, struct error *err)
{
    char proc[32], path[PATH_MAX];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(proc, path, sizeof path - 1);
    if (n < 0)
        return fail_sys(err, errno, "read '%s'", proc);
    path[n] = '\0';
    *out = count_components(path);
    return OK;
}

/* Names that go through links can build a tree deeper than any one of them. */
static int check_real_depth(struct apply *a, int fd, struct error *err)
{
    size_t depth;
    int rc = depth_of(fd, &depth, err);
    if (!rc && depth > a->root_depth + LAYER_MAX_DEPTH)
        rc = fail(err, E_LIMIT, "folders are nested deeper than %d", LAYER_MAX_DEPTH);
    return rc;
}

/* One prefix of a path on the way: its folder, made where it is missing. */
static int open_or_make_folder(struct apply *a, const char *prefix, int parent_fd, const char *name,
                               int *fd, struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = path_open(a->root_fd, prefix, PATH_IN_ROOT, O_PATH | O_DIRECTORY, 0, fd, &why);
    /* ENOTDIR: a whiteout of this layer is the one thing that gives way to a folder. */
    if (rc == E_NOTFOUND || (rc == E_SYS && why.sys == ENOTDIR)) {
        rc = make_folder_on_the_way(a, parent_fd, name, err);
        if (!rc)
            rc = open_folder(parent_fd, name, fd, err);
    } else if (rc == E_SYS && why.sys == ELOOP) {
        return fail(err, E_INVALID, "'%s' is a link to itself", prefix);
    } else if (rc) {
        return fail(err, rc, "%s", why.message);
    }
    return rc ? rc : check_real_depth(a, *fd, err);
}

/*
 * Opens `path` folder by folder and makes what is missing. Each prefix is resolved from the root as
 * a whole: that is how its links mean it. path is changed on the way and is as before at the end.
 */
static int open_or_make_parents(struct apply *a, char *path, int *fd, struct error *err)
{
    CLEANUP(cleanup_fd) int at = -1;
    int rc = path_open(a->root_fd, ".", PATH_NO_SYMLINKS, O_PATH | O_DIRECTORY, 0, &at, err);
    for (char *name = path; !rc && name;) {
        CLEANUP(cleanup_fd) int next = -1;
        char *slash = strchr(name, '/');
        if (slash)
            *slash = '\0';
        rc = open_or_make_folder(a, path, at, name, &next, err);
        if (slash)
            *slash = '/';
        cleanup_fd(&at);
        at = TAKE_FD(next);
        name = slash ? slash + 1 : NULL;
    }
    if (!rc)
        *fd = TAKE_FD(at);
    return rc;
}

/* Fills place->name and place->parent_fd. */
static int find_parent(struct apply *a, struct place *p, struct error *err)
{
    const char *slash = strrchr(p->path, '/');
    size_t len = slash ? (size_t)(slash - p->path) : 0;
    p->name = slash ? slash + 1 : p->path;
    if (a->parent_fd >= 0 && strncmp(a->parent_path, p->path, len) == 0 && !a->parent_path[len]) {
        p->parent_fd = a->parent_fd;
        return OK;
    }
    forget_parent(a);
    memcpy(a->parent_path, p->path, len);
    a->parent_path[len] = '\0';
    /* The common case: present, and no links on the way. */
    int rc = path_open(a->root_fd, len ? a->parent_path : ".", PATH_NO_SYMLINKS,
                       O_PATH | O_DIRECTORY, 0, &a->parent_fd, NULL);
    if (rc)
        rc = open_or_make_parents(a, a->parent_path, &a->parent_fd, err);
    p->parent_fd = a->parent_fd;
    return rc;
}

/* --- what was there before --- */

struct displaced {
    bool folder_stays; /* a folder where a folder is wanted */
    bool whiteout;     /* a whiteout of this layer was there */
};

/* As tar does: the later entry wins. Nothing is written through what was there. */
static int displace(const struct place *p, struct displaced *out, struct error *err)
{
    struct stat st;
    if (fstatat(p->parent_fd, p->name, &st, AT_SYMLINK_NOFOLLOW))
        return fail_sys(err, errno, "stat");
    out->whiteout = is_whiteout(&st);
    out->folder_stays = S_ISDIR(st.st_mode) && p->entry->type == TAR_FOLDER;
    if (out->folder_stays)
        return OK;
    return path_remove_tree(p->parent_fd, p->name, err);
}

/* --- attributes --- */

static bool xattr_is_kept(const char *name)
{
    return text_starts(name, "user.") && !text_starts(name, "user.overlay.") &&
           strlen(name) <= XATTR_NAME_MAX;
}

static int set_xattrs(int fd, const struct tar_entry *e, struct error *err)
{
    for (size_t i = 0; i < e->n_xattrs; i++) {
        const struct tar_xattr *x = &e->xattrs[i];
        if (!xattr_is_kept(x->name))
            continue;
        if (x->len > LAYER_MAX_XATTR)
            return fail(err, E_LIMIT, "attribute '%s' is larger than %d bytes", x->name,
                        LAYER_MAX_XATTR);
        if (fsetxattr(fd, x->name, x->value, x->len, 0))
            return fail_sys(err, errno, "set attribute '%s'", x->name);
    }
    return OK;
}

/* Owner before mode: chown takes set-user-id away. */
static int set_owner_and_mode(int fd, const struct tar_entry *e, struct error *err)
{
    if (fchown(fd, e->uid, e->gid))
        return fail_sys(err, errno, "set owner");
    if (fchmod(fd, e->mode))
        return fail_sys(err, errno, "set mode");
    return OK;
}

static void times_of(const struct tar_entry *e, struct timespec times[2])
{
    times[1] = (struct timespec){.tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns};
    times[0] = times[1];
}

static int set_times_of_name(const struct place *p, struct error *err)
{
    struct timespec times[2];
    times_of(p->entry, times);
    if (utimensat(p->parent_fd, p->name, times, AT_SYMLINK_NOFOLLOW))
        return fail_sys(err, errno, "set date");
    return OK;
}

/* --- files --- */

static int count_bytes(struct apply *a, const struct tar_entry *e, struct error *err)
{
    if (e->size > LAYER_MAX_BYTES - a->n_bytes)
        return fail(err, E_LIMIT, "the layer's files have more than %lld bytes",
                    (long long)LAYER_MAX_BYTES);
    a->n_bytes += e->size;
    return OK;
}

/* Holes are counted and hashed as the zeros that readers will see. */
static int hash_hole(struct apply *a, struct digest_stream *hash, int64_t len, struct error *err)
{
    static const uint8_t zeros[65536];
    int rc = OK;
    if (len > LAYER_MAX_HOLES - a->n_holes)
        return fail(err, E_LIMIT, "the layer's sparse files have more than %lld bytes of holes",
                    (long long)LAYER_MAX_HOLES);
    a->n_holes += len;
    while (!rc && len > 0) {
        size_t n = len < (int64_t)sizeof zeros ? (size_t)len : sizeof zeros;
        rc = digest_stream_update(hash, zeros, n, err);
        len -= (int64_t)n;
    }
    return rc;
}

static int write_at(int fd, const uint8_t *data, size_t len, int64_t offset, struct error *err)
{
    while (len) {
        ssize_t n = pwrite(fd, data, len, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "write");
        data += n;
        len -= (size_t)n;
        offset += n;
    }
    return OK;
}

static int write_content(struct apply *a, const struct tar_entry *e, int fd, struct digest *out,
                         struct error *err)
{
    CLEANUP(digest_stream_cleanup) struct digest_stream *hash = NULL;
    int64_t at = 0, offset;
    const void *data;
    size_t len = 1;
    int rc = digest_stream_new(DIGEST_SHA256, &hash, err);
    while (!rc && len) {
        rc = tar_reader_data(a->reader, &data, &len, &offset, err);
        if (rc || !len)
            break;
        rc = hash_hole(a, hash, offset - at, err);
        if (!rc)
            rc = digest_stream_update(hash, data, len, err);
        if (!rc)
            rc = write_at(fd, data, len, offset, err);
        at = offset + (int64_t)len;
    }
    if (!rc)
        rc = hash_hole(a, hash, e->size - at, err);
    if (!rc && at < e->size && ftruncate(fd, e->size))
        rc = fail_sys(err, errno, "set size");
    return rc ? rc : digest_stream_peek(hash, out, err);
}

static int create_file(struct apply *a, const struct place *p, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct digest digest;
    struct timespec times[2];
    struct stat st;
    int rc = path_open(p->parent_fd, p->name, PATH_NO_SYMLINKS, O_WRONLY | O_CREAT | O_EXCL, 0600,
                       &fd, err);
    if (rc)
        return rc;
    rc = count_bytes(a, p->entry, err);
    if (!rc)
        rc = write_content(a, p->entry, fd, &digest, err);
    if (!rc)
        rc = set_xattrs(fd, p->entry, err);
    if (!rc)
        rc = set_owner_and_mode(fd, p->entry, err);
    times_of(p->entry, times);
    if (!rc && futimens(fd, times))
        rc = fail_sys(err, errno, "set date");
    if (!rc && fstat(fd, &st))
        rc = fail_sys(err, errno, "stat");
    if (rc)
        return rc;
    struct inode_note note = {.inode = st.st_ino, .has_digest = true};
    memcpy(note.sha256, digest.bytes, sizeof note.sha256);
    return inode_table_set(&a->known, &note, err);
}

/* --- the other types --- */

static int describe_folder(struct apply *a, const struct tar_entry *e, int fd, struct error *err)
{
    int rc = set_xattrs(fd, e, err);
    if (!rc)
        rc = set_owner_and_mode(fd, e, err);
    /* The date comes last of all: every entry made inside changes it. */
    return rc ? rc : note_folder(a, fd, e->mtime_s, e->mtime_ns, err);
}

static int create_folder(struct apply *a, const struct place *p, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    if (mkdirat(p->parent_fd, p->name, 0700))
        return fail_sys(err, errno, "make folder");
    int rc = open_folder(p->parent_fd, p->name, &fd, err);
    return rc ? rc : describe_folder(a, p->entry, fd, err);
}

static int create_symlink(const struct place *p, struct error *err)
{
    const char *target = p->entry->target;
    if (!*target || strlen(target) > LAYER_MAX_PATH)
        return fail(err, E_INVALID, "symbolic link with an empty or overlong target");
    if (symlinkat(target, p->parent_fd, p->name))
        return fail_sys(err, errno, "make symbolic link");
    if (fchownat(p->parent_fd, p->name, p->entry->uid, p->entry->gid, AT_SYMLINK_NOFOLLOW))
        return fail_sys(err, errno, "set owner");
    return set_times_of_name(p, err);
}

static int create_fifo(const struct place *p, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct stat st;
    if (mkfifoat(p->parent_fd, p->name, 0600))
        return fail_sys(err, errno, "make fifo");
    int rc = path_open(p->parent_fd, p->name, PATH_NO_SYMLINKS, O_RDONLY | O_NONBLOCK, 0, &fd, err);
    if (!rc && (fstat(fd, &st) || !S_ISFIFO(st.st_mode)))
        rc = fail(err, E_TAMPERED, "fifo was exchanged");
    if (!rc)
        rc = set_owner_and_mode(fd, p->entry, err);
    return rc ? rc : set_times_of_name(p, err);
}

/*
 * The target is a name in this archive, resolved below the root. Its own last component is not
 * followed: a link to a link is a second name of that link. What lies outside cannot be named.
 */
static int create_hardlink(struct apply *a, const struct place *p, struct error *err)
{
    char target[LAYER_MAX_PATH + 1];
    CLEANUP(cleanup_fd) int folder = -1;
    const char *last;
    struct stat st, existing;
    int rc = layer_path_clean(p->entry->target, false, target, err);
    if (!rc)
        rc = path_open_parent(a->root_fd, target, PATH_IN_ROOT, &folder, &last, err);
    if (rc == E_NOTFOUND || (!rc && fstatat(folder, last, &st, AT_SYMLINK_NOFOLLOW)))
        return fail(err, E_INVALID, "hard link to '%s', which is not in this layer", target);
    if (rc)
        return rc;
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return fail(err, E_INVALID, "hard link to '%s', which is no file", target);
    if (fstatat(p->parent_fd, p->name, &existing, AT_SYMLINK_NOFOLLOW) == 0 &&
        existing.st_ino == st.st_ino && existing.st_dev == st.st_dev)
        return OK;
    if (linkat(folder, last, p->parent_fd, p->name, 0))
        return fail_sys(err, errno, "make hard link to '%s'", target);
    return OK;
}

static int create(struct apply *a, const struct place *p, struct error *err)
{
    switch (p->entry->type) {
    case TAR_FILE:
        return create_file(a, p, err);
    case TAR_FOLDER:
        return create_folder(a, p, err);
    case TAR_SYMLINK:
        return create_symlink(p, err);
    case TAR_HARDLINK:
        return create_hardlink(a, p, err);
    case TAR_FIFO:
        return create_fifo(p, err);
    case TAR_DEVICE:
        break;
    }
    return fail(err, E_INTERNAL, "device nodes are not made");
}

/* Something is there already. */
static int create_again(struct apply *a, const struct place *p, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct displaced before = {false, false};
    int rc = displace(p, &before, err);
    if (!rc && !before.folder_stays)
        rc = create(a, p, err);
    if (rc || p->entry->type != TAR_FOLDER || (!before.folder_stays && !before.whiteout))
        return rc;
    rc = open_folder(p->parent_fd, p->name, &fd, err);
    if (!rc && before.whiteout)
        rc = mark_opaque(fd, err);
    if (!rc && before.folder_stays)
        rc = describe_folder(a, p->entry, fd, err);
    return rc;
}

/* --- whiteouts --- */

/* An entry of this layer stays visible whether it comes before or after the whiteout; only what
 * lower layers have below a folder of this layer is hidden then. */
static int hide(const struct place *p, const char *hidden, struct error *err)
{
    struct stat st;
    if (fstatat(p->parent_fd, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        CLEANUP(cleanup_fd) int fd = -1;
        if (!S_ISDIR(st.st_mode))
            return OK;
        int rc = open_folder(p->parent_fd, hidden, &fd, err);
        return rc ? rc : mark_opaque(fd, err);
    }
    if (mknodat(p->parent_fd, hidden, S_IFCHR, makedev(0, 0)))
        return fail_sys(err, errno, "make whiteout of '%s'", hidden);
    struct place made = *p;
    made.name = hidden;
    return set_times_of_name(&made, err);
}

static int hide_all(const struct place *p, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = open_folder(p->parent_fd, ".", &fd, err);
    return rc ? rc : mark_opaque(fd, err);
}

static int apply_whiteout(struct apply *a, struct place *p, enum whiteout kind, const char *hidden,
                          struct error *err)
{
    if (p->entry->type != TAR_FILE || p->entry->size)
        return fail(err, E_INVALID, "a whiteout must be an empty file");
    if (kind == WHITEOUT_AUFS) {
        a->n_left_out++;
        return OK;
    }
    int rc = find_parent(a, p, err);
    if (rc)
        return rc;
    return kind == WHITEOUT_OPAQUE ? hide_all(p, err) : hide(p, hidden, err);
}

/* --- entries --- */

static int apply_root(struct apply *a, const struct tar_entry *e, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = open_folder(a->root_fd, ".", &fd, err);
    return rc ? rc : describe_folder(a, e, fd, err);
}

/* Content behind an entry that has none: other readers may see a file there. */
static int refuse_content(struct apply *a, const struct tar_entry *e, struct error *err)
{
    const void *data;
    int64_t offset;
    size_t len = 0;
    if (e->type == TAR_FILE)
        return OK;
    int rc = tar_reader_data(a->reader, &data, &len, &offset, err);
    if (!rc && len)
        rc = fail(err, E_INVALID, "content behind an entry that is no file");
    return rc;
}

static int apply_named(struct apply *a, struct place *p, struct error *err)
{
    enum whiteout kind;
    const char *hidden = NULL;
    int rc = whiteout_of(p->path, &kind, &hidden, err);
    if (rc)
        return rc;
    if (kind != WHITEOUT_NONE)
        return apply_whiteout(a, p, kind, hidden, err);
    if (p->entry->type == TAR_DEVICE) {
        a->n_left_out++;
        return OK;
    }
    rc = find_parent(a, p, err);
    if (!rc) {
        struct error why = ERROR_INIT;
        rc = create(a, p, &why);
        if (rc == E_EXISTS)
            rc = create_again(a, p, err);
        else if (rc)
            rc = fail(err, rc, "%s", why.message);
    }
    return rc;
}

static int apply_entry(struct apply *a, const struct tar_entry *e, struct error *err)
{
    char path[LAYER_MAX_PATH + 1];
    struct place p = {.entry = e, .path = path, .parent_fd = -1};
    if (++a->n_entries > LAYER_MAX_ENTRIES)
        return fail(err, E_LIMIT, "more than %u entries", LAYER_MAX_ENTRIES);
    int rc = layer_path_clean(e->path, e->type == TAR_FOLDER, path, err);
    if (!rc)
        rc = *path ? apply_named(a, &p, err) : apply_root(a, e, err);
    if (!rc)
        rc = refuse_content(a, e, err);
    return wrap(err, rc, "entry '%s'", e->path);
}

/* --- the record --- */

struct recording {
    struct apply *apply;
    struct bytes *record;
    struct tree_scratch scratch;
    uint64_t n;
};

/* Dates of folders are set here: nothing changes inside them any more. */
static int set_folder_date(const struct apply *a, struct tree_entry *entry, struct error *err)
{
    const struct inode_note *note = inode_table_get(&a->known, entry->st.st_ino);
    struct timespec times[2] = {{.tv_sec = 0}, {.tv_sec = 0}};
    if (note)
        times[1] = (struct timespec){.tv_sec = note->mtime_s, .tv_nsec = note->mtime_ns};
    times[0] = times[1];
    if (utimensat(entry->parent_fd, entry->name, times, AT_SYMLINK_NOFOLLOW) ||
        fstatat(entry->parent_fd, entry->name, &entry->st, AT_SYMLINK_NOFOLLOW))
        return fail_sys(err, errno, "set date of '%s'", entry->path);
    return OK;
}

static int record_entry(void *context, struct tree_entry *entry, struct error *err)
{
    struct recording *r = context;
    struct layer_item item;
    int rc = S_ISDIR(entry->st.st_mode) ? set_folder_date(r->apply, entry, err) : OK;
    if (!rc)
        rc = tree_describe(entry, &r->scratch, &item, err);
    if (!rc && item.type == LAYER_ITEM_FILE) {
        const struct inode_note *note = inode_table_get(&r->apply->known, entry->st.st_ino);
        if (!note || !note->has_digest)
            return fail(err, E_INTERNAL, "'%s' was not written by this layer", entry->path);
        memcpy(item.sha256, note->sha256, sizeof item.sha256);
    }
    r->n++;
    return rc ? rc : layer_record_append(r->record, &item, err);
}

static int write_record(struct apply *a, const struct digest *diff_id, struct bytes *record,
                        struct error *err)
{
    struct recording r = {.apply = a, .record = record, .scratch = TREE_SCRATCH_INIT};
    int rc = layer_record_begin(record, diff_id, err);
    if (!rc)
        rc = tree_walk(a->root_fd, record_entry, &r, err);
    tree_scratch_done(&r.scratch);
    /* folders on the way count, too */
    if (!rc && r.n > LAYER_MAX_ENTRIES)
        rc = fail(err, E_LIMIT, "more than %u entries", LAYER_MAX_ENTRIES);
    return rc ? rc : layer_record_finish(record, r.n, a->n_left_out, err);
}

int layer_apply(int root_fd, struct tar_reader *r, const struct digest *diff_id,
                struct bytes *record, struct error *err)
{
    CLEANUP(cleanup_free) struct apply *a = calloc(1, sizeof *a);
    CLEANUP(cleanup_free) struct tar_entry *entry = calloc(1, sizeof *entry);
    bool end = false;
    if (!a || !entry)
        return fail_nomem(err);
    a->root_fd = root_fd;
    a->reader = r;
    a->parent_fd = -1;
    int rc = depth_of(root_fd, &a->root_depth, err);
    while (!rc && !end) {
        rc = tar_reader_next(r, entry, &end, err);
        if (!rc && !end)
            rc = apply_entry(a, entry, err);
    }
    forget_parent(a);
    if (!rc)
        rc = write_record(a, diff_id, record, err);
    inode_table_done(&a->known);
    return rc;
}
