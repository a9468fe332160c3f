#include "oci/layer_tree.h"

#include "base/path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* --- walking --- */

struct walk {
    tree_visit_fn *visit;
    void *context;
    char path[LAYER_MAX_PATH + 1];
    size_t len;
    unsigned depth;
};

struct name_list {
    struct bytes text; /* NUL-terminated names, one behind the other */
    const char **names;
    size_t n;
};

static void name_list_done(struct name_list *l)
{
    bytes_done(&l->text);
    free(l->names);
    l->names = NULL;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int read_names(DIR *dir, struct name_list *out, struct error *err)
{
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (!e && errno)
            return fail_sys(err, errno, "read folder");
        if (!e)
            break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int rc = bytes_append(&out->text, e->d_name, strlen(e->d_name) + 1, err);
        if (rc)
            return rc;
        out->n++;
    }
    out->names = calloc(out->n + 1, sizeof *out->names);
    if (!out->names)
        return fail_nomem(err);
    const char *at = bytes_text(&out->text);
    for (size_t i = 0; i < out->n; i++) {
        out->names[i] = at;
        at += strlen(at) + 1;
    }
    qsort(out->names, out->n, sizeof *out->names, by_bytes);
    return OK;
}

static int walk_folder(struct walk *w, int parent_fd, const char *name, struct error *err);

static int walk_entry(struct walk *w, int parent_fd, const char *name, struct error *err)
{
    struct tree_entry entry = {.path = w->path, .name = name, .parent_fd = parent_fd};
    if (fstatat(parent_fd, name, &entry.st, AT_SYMLINK_NOFOLLOW))
        return fail_sys(err, errno, "stat '%s'", w->path);
    bool folder = S_ISDIR(entry.st.st_mode);
    int rc = w->visit(w->context, &entry, err);
    return rc || !folder ? rc : walk_folder(w, parent_fd, name, err);
}

static int walk_child(struct walk *w, int dir_fd, const char *name, struct error *err)
{
    size_t before = w->len, n = strlen(name);
    if (before + 1 + n > LAYER_MAX_PATH)
        return fail(err, E_LIMIT, "a path is longer than %d bytes", LAYER_MAX_PATH);
    if (before)
        w->path[w->len++] = '/';
    memcpy(w->path + w->len, name, n + 1);
    w->len += n;
    int rc = walk_entry(w, dir_fd, name, err);
    w->len = before;
    w->path[before] = '\0';
    return rc;
}

static int walk_folder(struct walk *w, int parent_fd, const char *name, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    CLEANUP(name_list_done) struct name_list list = {BYTES_INIT, NULL, 0};
    if (w->depth == LAYER_MAX_DEPTH)
        return fail(err, E_LIMIT, "folders are nested deeper than %d", LAYER_MAX_DEPTH);
    int rc = path_open(parent_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (rc)
        return wrap(err, rc, "'%s'", w->path);
    CLEANUP(cleanup_dir) DIR *dir = fdopendir(fd);
    if (!dir)
        return fail_sys(err, errno, "read folder '%s'", w->path);
    int dir_fd = TAKE_FD(fd); /* owned by dir from here on */
    rc = wrap(err, read_names(dir, &list, err), "'%s'", w->path);
    w->depth++;
    for (size_t i = 0; !rc && i < list.n; i++)
        rc = walk_child(w, dir_fd, list.names[i], err);
    w->depth--;
    return rc;
}

int tree_walk(int root_fd, tree_visit_fn *visit, void *context, struct error *err)
{
    CLEANUP(cleanup_free) struct walk *w = calloc(1, sizeof *w);
    if (!w)
        return fail_nomem(err);
    w->visit = visit;
    w->context = context;
    return walk_entry(w, root_fd, ".", err);
}

/* --- describing --- */

void tree_scratch_done(struct tree_scratch *s)
{
    bytes_done(&s->target);
    bytes_done(&s->xattrs);
    bytes_done(&s->names);
}

static int read_target(const struct tree_entry *entry, struct tree_scratch *s, struct error *err)
{
    bytes_clear(&s->target);
    int rc = bytes_reserve(&s->target, LAYER_MAX_PATH + 1, err);
    if (rc)
        return rc;
    ssize_t n =
        readlinkat(entry->parent_fd, entry->name, (char *)s->target.data, LAYER_MAX_PATH + 1);
    if (n < 0)
        return fail_sys(err, errno, "read link '%s'", entry->path);
    if (n > LAYER_MAX_PATH)
        return fail(err, E_LIMIT, "target of '%s' is too long", entry->path);
    s->target.data[n] = '\0';
    s->target.len = (size_t)n;
    return OK;
}

/* What the host's own security modules label files with is no content of the layer. */
static bool xattr_is_of_host(const char *name)
{
    return strcmp(name, "security.selinux") == 0 || strcmp(name, "security.ima") == 0 ||
           strcmp(name, "security.evm") == 0;
}

/*
 * Attribute calls that do not follow links exist by path only. The name is taken from our own
 * descriptor of its folder through /proc, so that nothing above it is resolved again.
 */
static void proc_path(const struct tree_entry *entry, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "/proc/self/fd/%d/%s", entry->parent_fd, entry->name);
}

static int list_names(const char *path, struct bytes *out, struct error *err)
{
    bytes_clear(out);
    int rc = bytes_reserve(out, 4096, err);
    ssize_t n = rc ? 0 : llistxattr(path, (char *)out->data, 4096);
    if (n < 0 && errno == ERANGE) {
        rc = bytes_reserve(out, XATTR_LIST_MAX, err);
        n = rc ? 0 : llistxattr(path, (char *)out->data, XATTR_LIST_MAX);
    }
    if (!rc && n < 0 && errno != ENOTSUP)
        rc = fail_sys(err, errno, "list attributes");
    if (!rc && n > 0)
        out->len = (size_t)n;
    return rc;
}

static int append_xattr(const char *path, const char *name, struct bytes *out, struct error *err)
{
    size_t name_len = strlen(name);
    int rc = bytes_reserve(out, 2 + name_len + 4 + XATTR_SIZE_MAX, err);
    if (rc)
        return rc;
    uint8_t *at = out->data + out->len;
    ssize_t n = lgetxattr(path, name, at + 2 + name_len + 4, XATTR_SIZE_MAX);
    if (n < 0)
        return fail_sys(err, errno, "read attribute '%s'", name);
    at[0] = (uint8_t)name_len;
    at[1] = (uint8_t)(name_len >> 8);
    memcpy(at + 2, name, name_len);
    for (int i = 0; i < 4; i++)
        at[2 + name_len + (size_t)i] = (uint8_t)((size_t)n >> (8 * i));
    out->len += 2 + name_len + 4 + (size_t)n;
    return OK;
}

static int read_xattrs(const struct tree_entry *entry, struct tree_scratch *s, struct error *err)
{
    char path[PATH_MAX];
    const char *names[256];
    size_t n = 0;
    proc_path(entry, path);
    bytes_clear(&s->xattrs);
    int rc = list_names(path, &s->names, err);
    for (size_t at = 0; !rc && at < s->names.len;) {
        const char *name = (const char *)s->names.data + at;
        at += strlen(name) + 1;
        if (xattr_is_of_host(name))
            continue;
        if (n == sizeof names / sizeof names[0])
            return fail(err, E_LIMIT, "'%s' has too many attributes", entry->path);
        names[n++] = name;
    }
    if (n > 1)
        qsort(names, n, sizeof names[0], by_bytes);
    for (size_t i = 0; !rc && i < n; i++)
        rc = append_xattr(path, names[i], &s->xattrs, err);
    return wrap(err, rc, "'%s'", entry->path);
}

static int item_type(const struct tree_entry *entry, enum layer_item_type *out, struct error *err)
{
    mode_t mode = entry->st.st_mode;
    if (S_ISREG(mode))
        *out = LAYER_ITEM_FILE;
    else if (S_ISDIR(mode))
        *out = LAYER_ITEM_FOLDER;
    else if (S_ISLNK(mode))
        *out = LAYER_ITEM_SYMLINK;
    else if (S_ISFIFO(mode))
        *out = LAYER_ITEM_FIFO;
    else if (S_ISCHR(mode) && entry->st.st_rdev == makedev(0, 0))
        *out = LAYER_ITEM_WHITEOUT;
    else
        return fail(err, E_TAMPERED, "'%s' is a device or socket, which no layer has", entry->path);
    return OK;
}

int tree_describe(const struct tree_entry *entry, struct tree_scratch *s, struct layer_item *out,
                  struct error *err)
{
    struct layer_item item = {.path = entry->path, .target = ""};
    int rc = item_type(entry, &item.type, err);
    if (!rc && item.type == LAYER_ITEM_SYMLINK) {
        rc = read_target(entry, s, err);
        item.target = bytes_text(&s->target);
    }
    if (!rc)
        rc = read_xattrs(entry, s, err);
    if (rc)
        return rc;
    item.mode = entry->st.st_mode & 07777;
    item.uid = entry->st.st_uid;
    item.gid = entry->st.st_gid;
    item.mtime_s = entry->st.st_mtim.tv_sec;
    item.mtime_ns = (uint32_t)entry->st.st_mtim.tv_nsec;
    item.size = item.type == LAYER_ITEM_FILE ? (uint64_t)entry->st.st_size : 0;
    item.xattrs = s->xattrs.data;
    item.xattrs_len = s->xattrs.len;
    *out = item;
    return OK;
}
