#include "keys/secret.h"

#include "keys/libsodium.h"
#include "keys/secret_prompt.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int secret_new(size_t len, struct secret *out, struct error *err)
{
    if (len > SECRET_MAX)
        return fail(err, E_LIMIT, "secret is larger than %d bytes", SECRET_MAX);
    uint8_t *data = libsodium_alloc(len + 1);
    if (!data)
        return fail_nomem(err);
    *out = (struct secret){data, len};
    return OK;
}

int secret_copy(const void *data, size_t len, struct secret *out, struct error *err)
{
    struct secret copy = SECRET_INIT;
    int rc = secret_new(len, &copy, err);
    if (rc)
        return rc;
    if (len)
        memcpy(copy.data, data, len);
    *out = copy;
    return OK;
}

void secret_done(struct secret *s)
{
    libsodium_free(s->data);
    *s = (struct secret)SECRET_INIT;
}

struct secret secret_take(struct secret *s)
{
    struct secret taken = *s;
    *s = (struct secret)SECRET_INIT;
    return taken;
}

void secret_wipe(void *data, size_t len)
{
    libsodium_wipe(data, len);
}

/* --- from a file --- */

static int open_secret_file(const char *file, int *out, struct error *err)
{
    /* O_NONBLOCK: opening a fifo must not hang before its type is known. */
    CLEANUP(cleanup_fd) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0)
        return fail(err, E_PASSPHRASE, "open secret file '%s': %s", file, strerrordesc_np(errno));
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat secret file '%s'", file);
    if (!S_ISREG(st.st_mode))
        return fail(err, E_PASSPHRASE, "secret file '%s' is not a regular file", file);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return fail(err, E_PASSPHRASE,
                    "secret file '%s' is open to others (mode %03o); use chmod 600", file,
                    (unsigned)st.st_mode & 0777u);
    *out = TAKE_FD(fd);
    return OK;
}

/* Fills `all` from fd; *got bytes. Straight into locked memory: stdio would leave a copy behind. */
static int read_whole(int fd, struct secret *all, size_t *got, struct error *err)
{
    size_t used = 0;
    while (used < all->len) {
        ssize_t n = read(fd, all->data + used, all->len - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "read secret file");
        if (n == 0)
            break;
        used += (size_t)n;
    }
    *got = used;
    return OK;
}

static int ask_file(const char *file, struct secret *out, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    CLEANUP(secret_done) struct secret all = SECRET_INIT;
    size_t got = 0;
    int rc = open_secret_file(file, &fd, err);
    if (!rc)
        rc = secret_new(SECRET_MAX, &all, err);
    if (!rc)
        rc = read_whole(fd, &all, &got, err);
    if (rc)
        return rc;
    const uint8_t *end = memchr(all.data, '\n', got);
    if (!end && got == all.len)
        return fail(err, E_LIMIT, "first line of '%s' is longer than %d bytes", file, SECRET_MAX);
    size_t len = end ? (size_t)(end - all.data) : got;
    if (len == 0)
        return fail(err, E_PASSPHRASE, "first line of '%s' is empty", file);
    if (memchr(all.data, 0, len))
        return fail(err, E_PASSPHRASE, "first line of '%s' holds a NUL byte", file);
    return secret_copy(all.data, len, out, err);
}

/* --- from the terminal --- */

#define CONFIRM_TRIES 3

static int ask_and_confirm(const char *prompt, struct secret *out, struct error *err)
{
    char again[256];
    (void)snprintf(again, sizeof again, "%s (again)", prompt);
    for (int try = 0; try < CONFIRM_TRIES; try++) {
        CLEANUP(secret_done) struct secret first = SECRET_INIT;
        CLEANUP(secret_done) struct secret second = SECRET_INIT;
        int rc = secret_prompt(prompt, &first, err);
        if (!rc && first.len == 0)
            return fail(err, E_PASSPHRASE, "an empty passphrase protects nothing");
        if (!rc)
            rc = secret_prompt(again, &second, err);
        if (rc)
            return rc;
        if (first.len == second.len && libsodium_same(first.data, second.data, first.len)) {
            *out = secret_take(&first);
            return OK;
        }
    }
    return fail(err, E_PASSPHRASE, "the two entries differ");
}

static int ask(struct secret_source *self, const char *prompt, bool confirm, struct secret *out,
               struct error *err)
{
    if (self->file)
        return wrap(err, ask_file(self->file, out, err), "%s", prompt);
    return confirm ? ask_and_confirm(prompt, out, err) : secret_prompt(prompt, out, err);
}

void secret_source_init(struct secret_source *source, const char *file)
{
    *source = (struct secret_source){.ask = ask, .file = file};
}
