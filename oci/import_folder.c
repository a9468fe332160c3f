#include "oci/import_folder.h"

#include "base/path.h"
#include "oci/layer_path.h"
#include "oci/layer_tree.h"
#include "oci/tar.h"

#include <fcntl.h>
#include <search.h>
#include <string.h>

#define READ_BLOCK (1u << 20)

/* First name of a file that has several. */
struct known_link {
    dev_t device;
    ino_t inode;
    char *path;
};

struct folder_import {
    struct tar_writer *tar;
    struct progress *progress;
    size_t n_skipped;
    void *links; /* tsearch tree of struct known_link */
    struct tree_scratch scratch;
    struct bytes names; /* of extended attributes */
    struct tar_entry entry;
    uint8_t *block;
};

/* --- hard links --- */

static int by_inode(const void *a, const void *b)
{
    const struct known_link *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

static void free_link(void *link)
{
    free(((struct known_link *)link)->path);
    free(link);
}

/* *first: the name that the archive has already, or NULL: this is the first. */
static int find_link(struct folder_import *f, const struct tree_entry *e, const char **first,
                     struct error *err)
{
    struct known_link *link = calloc(1, sizeof *link);
    if (!link)
        return fail_nomem(err);
    *link = (struct known_link){e->st.st_dev, e->st.st_ino, strdup(e->path)};
    struct known_link **found = link->path ? tsearch(link, &f->links, by_inode) : NULL;
    if (!found) {
        free_link(link);
        return fail_nomem(err);
    }
    *first = *found == link ? NULL : (*found)->path;
    if (*first)
        free_link(link);
    return OK;
}

/* --- attributes --- */

static uint32_t little_endian(const uint8_t *p, size_t len)
{
    uint32_t value = 0;
    for (size_t i = 0; i < len; i++)
        value |= (uint32_t)p[i] << (8 * i);
    return value;
}

/* From the record's form (name length, name, value length, value) to the archive's. */
static int take_xattrs(struct folder_import *f, const struct layer_item *item, struct error *err)
{
    const uint8_t *p = item->xattrs, *end = p + item->xattrs_len;
    bytes_clear(&f->names);
    /* No growth while pointers into it are held: the names together are shorter than all of it. */
    int rc = bytes_reserve(&f->names, item->xattrs_len + TAR_MAX_XATTRS, err);
    f->entry.n_xattrs = 0;
    while (!rc && p < end) {
        size_t name_len = little_endian(p, 2);
        const char *name = (const char *)f->names.data + f->names.len;
        rc = bytes_append(&f->names, p + 2, name_len, err);
        if (!rc)
            rc = bytes_append(&f->names, "", 1, err);
        p += 2 + name_len;
        size_t len = little_endian(p, 4);
        bool kept = text_starts(name, "user.") && !text_starts(name, "user.overlay.");
        if (!rc && kept && f->entry.n_xattrs == TAR_MAX_XATTRS)
            rc = fail(err, E_LIMIT, "more than %d extended attributes", TAR_MAX_XATTRS);
        if (!rc && kept)
            f->entry.xattrs[f->entry.n_xattrs++] = (struct tar_xattr){name, p + 4, len};
        p += 4 + len;
    }
    return rc;
}

/* --- entries --- */

static enum tar_type type_of(const struct layer_item *item)
{
    switch (item->type) {
    case LAYER_ITEM_FOLDER:
        return TAR_FOLDER;
    case LAYER_ITEM_SYMLINK:
        return TAR_SYMLINK;
    case LAYER_ITEM_FIFO:
        return TAR_FIFO;
    case LAYER_ITEM_FILE:
    case LAYER_ITEM_WHITEOUT:
        break;
    }
    return TAR_FILE;
}

static int fill_entry(struct folder_import *f, const struct tree_entry *e, struct error *err)
{
    struct layer_item item;
    const char *first = NULL;
    int rc = tree_describe(e, &f->scratch, &item, err);
    if (!rc)
        rc = take_xattrs(f, &item, err);
    if (!rc && item.type == LAYER_ITEM_FILE && e->st.st_nlink > 1)
        rc = find_link(f, e, &first, err);
    if (rc)
        return rc;
    f->entry.path = *e->path ? e->path : "./";
    f->entry.target = first ? first : item.target;
    f->entry.type = first ? TAR_HARDLINK : type_of(&item);
    f->entry.mode = item.mode;
    f->entry.uid = item.uid;
    f->entry.gid = item.gid;
    f->entry.size = first ? 0 : (int64_t)item.size;
    f->entry.mtime_s = item.mtime_s;
    return OK;
}

static int copy_content(struct folder_import *f, const struct tree_entry *e, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int64_t left = e->st.st_size;
    int rc = path_open(e->parent_fd, e->name, PATH_NO_SYMLINKS, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0,
                       &fd, err);
    while (!rc && left) {
        size_t want = left < (int64_t)READ_BLOCK ? (size_t)left : READ_BLOCK;
        ssize_t n = read(fd, f->block, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "read");
        if (n == 0)
            return fail(err, E_INVALID, "shrank while it was read");
        left -= n;
        progress_add(f->progress, (uint64_t)n);
        rc = tar_writer_data(f->tar, f->block, (size_t)n, err);
    }
    return rc;
}

static int import_entry(void *context, struct tree_entry *e, struct error *err)
{
    struct folder_import *f = context;
    enum whiteout kind = WHITEOUT_NONE;
    const char *hidden;
    mode_t mode = e->st.st_mode;
    if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode) && !S_ISFIFO(mode)) {
        f->n_skipped++;
        return OK;
    }
    int rc = whiteout_of(e->path, &kind, &hidden, err);
    if (!rc && kind != WHITEOUT_NONE)
        rc = fail(err, E_INVALID, "the name means a whiteout in a layer");
    if (!rc)
        rc = fill_entry(f, e, err);
    if (!rc)
        rc = tar_writer_entry(f->tar, &f->entry, err);
    if (!rc && f->entry.type == TAR_FILE)
        rc = copy_content(f, e, err);
    return wrap(err, rc, "'%s'", e->path);
}

static int write_tree(struct folder_import *f, int root_fd, struct layer_writer *writer,
                      struct error *err)
{
    f->block = malloc(READ_BLOCK);
    if (!f->block)
        return fail_nomem(err);
    int rc = tar_writer_new(layer_writer_write, writer, &f->tar, err);
    if (!rc)
        rc = tree_walk(root_fd, import_entry, f, err);
    return rc ? rc : tar_writer_finish(f->tar, err);
}

int import_folder(int root_fd, struct layer_writer *writer, struct progress *progress,
                  size_t *n_skipped, struct error *err)
{
    struct folder_import *f = calloc(1, sizeof *f);
    if (!f)
        return fail_nomem(err);
    f->progress = progress;
    int rc = write_tree(f, root_fd, writer, err);
    if (!rc)
        *n_skipped = f->n_skipped;
    tar_writer_free(f->tar);
    tree_scratch_done(&f->scratch);
    bytes_done(&f->names);
    tdestroy(f->links, free_link);
    free(f->block);
    free(f);
    return rc;
}
