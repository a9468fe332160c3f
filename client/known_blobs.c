#include "client/known_blobs.h"

#include "base/file.h"
#include "base/path.h"
#include "oci/reference.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FOLDER   "known"
#define LINE_MAX (DIGEST_TEXT_MAX + 1 + REFERENCE_REPOSITORY_MAX + 1)

/* authority passed url_parse: letters, digits and ".-:[]"; a dot is never first. */
static int open_file(struct store *s, const char *authority, int flags, int *fd)
{
    CLEANUP(cleanup_fd) int dir_fd = -1;
    int rc = store_folder_open(s, FOLDER, &dir_fd, NULL);
    return rc ? rc : path_open(dir_fd, authority, PATH_NO_SYMLINKS, flags, 0600, fd, NULL);
}

void known_blobs_load(struct store *s, const char *authority, struct known_blobs *out)
{
    CLEANUP(cleanup_fd) int fd = -1;
    *out = (struct known_blobs)KNOWN_BLOBS_INIT;
    /* A little more than the limit: adding looks at the size before it writes. */
    if (open_file(s, authority, O_RDONLY, &fd) ||
        file_read_fd(fd, 2 * KNOWN_BLOBS_MAX, &out->text, NULL))
        bytes_clear(&out->text);
}

void known_blobs_done(struct known_blobs *k)
{
    bytes_done(&k->text);
}

/* The line at `at` ("DIGEST REPOSITORY") where it is about d; its repository's length in *len. */
static const char *repository_at(const char *at, const char *digest, size_t digest_len, size_t *len)
{
    if (strncmp(at, digest, digest_len) != 0 || at[digest_len] != ' ')
        return NULL;
    const char *name = at + digest_len + 1;
    *len = strcspn(name, "\n");
    return name[*len] == '\n' ? name : NULL;
}

bool known_blobs_find(const struct known_blobs *k, const struct digest *d, const char *not_this,
                      char *out)
{
    char digest[DIGEST_TEXT_MAX];
    bool found = false;
    digest_format(d, digest);
    size_t digest_len = strlen(digest);
    for (const char *at = bytes_text(&k->text); at && *at; at = strchr(at, '\n')) {
        at += *at == '\n';
        size_t len = 0;
        const char *name = repository_at(at, digest, digest_len, &len);
        if (!name || len > REFERENCE_REPOSITORY_MAX || !repository_name_valid(name, len) ||
            (strlen(not_this) == len && strncmp(name, not_this, len) == 0))
            continue;
        memcpy(out, name, len);
        out[len] = '\0';
        found = true;
    }
    return found;
}

static bool is_known(const struct known_blobs *k, const struct digest *d, const char *repository)
{
    char line[LINE_MAX + 1], digest[DIGEST_TEXT_MAX];
    (void)snprintf(line, sizeof line, "%s %s\n", digest_format(d, digest), repository);
    return strstr(bytes_text(&k->text), line) != NULL;
}

/* Makes room: the younger half stays, from a line's beginning on. The file is locked. */
static int drop_older_half(int fd)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    if (lseek(fd, 0, SEEK_SET) != 0 || file_read_fd(fd, 2 * KNOWN_BLOBS_MAX, &text, NULL) ||
        ftruncate(fd, 0))
        return ftruncate(fd, 0) ? E_SYS : OK;
    const char *half = strchr(bytes_text(&text) + text.len / 2, '\n');
    return half ? file_write_fd(fd, half + 1, strlen(half + 1), NULL) : OK;
}

void known_blobs_add(struct store *s, const char *authority, const struct known_blobs *known,
                     const char *repository, const struct digest *digests, size_t n)
{
    CLEANUP(bytes_done) struct bytes lines = BYTES_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    struct stat st;
    int rc = OK;
    for (size_t i = 0; !rc && i < n && lines.len < KNOWN_BLOBS_MAX / 2; i++) {
        char digest[DIGEST_TEXT_MAX];
        if (!known || !is_known(known, &digests[i], repository))
            rc = bytes_append_format(&lines, NULL, "%s %s\n", digest_format(&digests[i], digest),
                                     repository);
    }
    if (rc || lines.len == 0 || open_file(s, authority, O_RDWR | O_CREAT | O_APPEND, &fd))
        return;
    if (flock(fd, LOCK_EX) == 0 && fstat(fd, &st) == 0 &&
        (st.st_size + (off_t)lines.len <= (off_t)KNOWN_BLOBS_MAX || drop_older_half(fd) == OK))
        rc = file_write_fd(fd, lines.data, lines.len, NULL);
}
