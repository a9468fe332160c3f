#include "verify/trust_store.h"

#include "base/file.h"
#include "base/path.h"
#include "tuf/metadata.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_WAIT_MS     30000
#define FILE_NAME_MAX    255
#define STATE_FOLDER_MAX 640

struct trust_store {
    int folder;
    int lock;
};

void trust_store_close(struct trust_store *s)
{
    if (!s)
        return;
    cleanup_fd(&s->lock);
    cleanup_fd(&s->folder);
    free(s);
}

void trust_store_cleanup(struct trust_store **s)
{
    trust_store_close(*s);
    *s = NULL;
}

static int finish_open(int folder, struct trust_store **out, struct error *err)
{
    CLEANUP(trust_store_cleanup) struct trust_store *s = calloc(1, sizeof *s);
    if (!s) {
        cleanup_fd(&folder);
        return fail_nomem(err);
    }
    s->folder = folder;
    s->lock = -1;
    int rc = file_lock(s->folder, "lock", LOCK_WAIT_MS, &s->lock, err);
    if (!rc)
        *out = TAKE_PTR(s);
    return rc;
}

int trust_store_open_folder(const char *path, struct trust_store **out, struct error *err)
{
    int folder = -1;
    int rc = file_open_dir(path, true, &folder, err);
    return rc ? rc : finish_open(folder, out, err);
}

/* Pins are anchors, and state is what protects from rollback: who may write here decides what is
 * valid. */
static int check_private(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat '%s'", path);
    if (st.st_uid != geteuid())
        return fail(err, E_NO_TRUST, "'%s' belongs to user %u, not to the caller (user %u)", path,
                    st.st_uid, geteuid());
    if (st.st_mode & 022)
        return fail(err, E_NO_TRUST, "others may write to '%s' (mode %04o); take that right away",
                    path, st.st_mode & 07777u);
    return OK;
}

/* HOME/trust/<below>, made if missing and `make`. The parts of `below` are names that passed their
 * grammar; openat2 still keeps a mistake there inside HOME/trust. */
static int open_below(const char *home, const char *below, bool make, int *fd, struct error *err)
{
    CLEANUP(cleanup_fd) int trust = -1;
    CLEANUP(cleanup_free) char *path = text_format("%s/trust", home);
    if (!path)
        return fail_nomem(err);
    int rc = file_open_dir(path, make, &trust, err);
    if (!rc)
        rc = check_private(trust, path, err);
    if (!rc && make)
        rc = path_make_dirs(trust, below, 0700, err);
    if (!rc)
        rc = path_open(trust, below, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, fd, err);
    return rc;
}

int trust_store_open(const char *home, const char *anchor_id, const char *collection,
                     struct trust_store **out, struct error *err)
{
    char below[STATE_FOLDER_MAX];
    int folder = -1;
    /* "_" cannot start a path component of a repository: state and sub-collections never collide.
     */
    int n = snprintf(below, sizeof below, "state/%s/%s/_", anchor_id, collection);
    if (n < 0 || (size_t)n >= sizeof below)
        return fail(err, E_LIMIT, "collection name is too long");
    int rc = open_below(home, below, true, &folder, err);
    if (!rc)
        rc = finish_open(folder, out, err);
    return wrap(err, rc, "trust state of '%s'", collection);
}

/* <role>.json, everything but [A-Za-z0-9_.-~] percent-encoded. */
static int file_name(const char *role, char out[FILE_NAME_MAX + 1], struct error *err)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-~.";
    size_t used = 0;
    for (const char *p = role; *p; p++) {
        bool keep = strchr(plain, *p) && !(p == role && *p == '.');
        if (used + 3 + sizeof ".json" > FILE_NAME_MAX)
            return fail(err, E_LIMIT, "role name is too long");
        used += (size_t)snprintf(out + used, FILE_NAME_MAX + 1 - used, keep ? "%c" : "%%%02X",
                                 (unsigned char)*p);
    }
    (void)snprintf(out + used, FILE_NAME_MAX + 1 - used, ".json");
    return OK;
}

int trust_store_read(struct trust_store *s, const char *role, size_t max, struct bytes *out,
                     struct error *err)
{
    char name[FILE_NAME_MAX + 1];
    int rc = file_name(role, name, err);
    return rc ? rc : file_read(s->folder, name, max, out, err);
}

int trust_store_write(struct trust_store *s, const char *role, const struct bytes *data,
                      struct error *err)
{
    char name[FILE_NAME_MAX + 1];
    int rc = file_name(role, name, err);
    return rc ? rc : file_write_atomic(s->folder, name, data->data, data->len, 0600, err);
}

int trust_store_remove(struct trust_store *s, const char *role, struct error *err)
{
    char name[FILE_NAME_MAX + 1];
    int rc = file_name(role, name, err);
    if (rc)
        return rc;
    if (unlinkat(s->folder, name, 0) && errno != ENOENT)
        return fail_sys(err, errno, "remove '%s'", name);
    return file_sync_dir(s->folder, err);
}

int trust_store_write_root(struct trust_store *s, int64_t version, const struct bytes *data,
                           struct error *err)
{
    char name[64];
    int rc = path_make_dirs(s->folder, "roots", 0700, err);
    (void)snprintf(name, sizeof name, "roots/%" PRId64 ".json", version);
    if (!rc)
        rc = file_write_atomic(s->folder, name, data->data, data->len, 0600, err);
    return rc ? rc : trust_store_write(s, "root", data, err);
}

int64_t trust_store_last_success(struct trust_store *s)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    uint64_t value;
    if (file_read(s->folder, "last-success", 32, &text, NULL) ||
        text_to_u64(bytes_text(&text), text.len, INT64_MAX, &value, NULL))
        return 0;
    return (int64_t)value;
}

int trust_store_note_success(struct trust_store *s, int64_t now_s, struct error *err)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRId64, now_s);
    return file_write_atomic(s->folder, "last-success", text, (size_t)n, 0600, err);
}

bool trust_store_was_published(struct trust_store *s)
{
    return faccessat(s->folder, "published", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int trust_store_note_published(struct trust_store *s, struct error *err)
{
    return trust_store_was_published(s)
               ? OK
               : file_write_atomic(s->folder, "published", "", 0, 0600, err);
}

static int pin_folder(const char *host, const char *repository, char out[STATE_FOLDER_MAX],
                      struct error *err)
{
    int n = snprintf(out, STATE_FOLDER_MAX, "pins/%s/%s/_", host, repository);
    return n < 0 || n >= STATE_FOLDER_MAX ? fail(err, E_LIMIT, "repository name is too long") : OK;
}

int trust_pin_read(const char *home, const char *host, const char *repository, struct bytes *out,
                   struct error *err)
{
    char below[STATE_FOLDER_MAX];
    CLEANUP(cleanup_fd) int folder = -1;
    int rc = pin_folder(host, repository, below, err);
    if (!rc)
        rc = open_below(home, below, false, &folder, err);
    if (!rc)
        rc = file_read(folder, "root.json", TUF_MAX_ROOT_BYTES, out, err);
    return rc;
}

int trust_pin_write(const char *home, const char *host, const char *repository,
                    const struct bytes *root, struct error *err)
{
    char below[STATE_FOLDER_MAX];
    CLEANUP(cleanup_fd) int folder = -1;
    int rc = pin_folder(host, repository, below, err);
    if (!rc)
        rc = open_below(home, below, true, &folder, err);
    if (!rc)
        rc = file_write_atomic(folder, "root.json", root->data, root->len, 0600, err);
    return wrap(err, rc, "pin root of '%s/%s'", host, repository);
}

int trust_pin_add(const char *home, const char *host, const char *repository,
                  const struct bytes *root, struct error *err)
{
    char below[STATE_FOLDER_MAX];
    CLEANUP(cleanup_fd) int folder = -1;
    CLEANUP(bytes_done) struct bytes pinned = BYTES_INIT;
    int rc = pin_folder(host, repository, below, err);
    if (!rc)
        rc = open_below(home, below, true, &folder, err);
    if (!rc)
        rc = file_create_atomic(folder, "root.json", root->data, root->len, 0600, err);
    if (rc == E_EXISTS)
        rc = file_read(folder, "root.json", TUF_MAX_ROOT_BYTES, &pinned, err);
    if (!rc && pinned.len && !bytes_equal(pinned.data, pinned.len, root->data, root->len))
        rc = fail(err, E_CONFLICT, "another root was pinned at the same time; try again");
    return wrap(err, rc, "pin root of '%s/%s'", host, repository);
}
