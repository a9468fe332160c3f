#include "runner/idrange.h"

#include "base/bytes.h"
#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MAX_ACCOUNT_FILE ((size_t)64 << 20) /* large directories are exported to such files too */

static void mark(uint64_t first, uint64_t count, bool used[IDRANGE_COUNT])
{
    const uint64_t start = IDRANGE_FIRST;
    const uint64_t end = start + (uint64_t)IDRANGE_COUNT * IDRANGE_SIZE;
    uint64_t last = first + count; /* both ≤ 2^32: no overflow */
    if (first < start)
        first = start;
    if (last > end)
        last = end;
    for (uint64_t id = first; id < last; id = (id / IDRANGE_SIZE + 1) * IDRANGE_SIZE)
        used[(id - start) / IDRANGE_SIZE] = true;
}

/* Field `index` of a line of colon-separated fields as a number. */
static bool field_number(const char *line, size_t len, int index, uint64_t *out)
{
    const char *end = line + len;
    for (; index > 0; index--) {
        const char *colon = memchr(line, ':', (size_t)(end - line));
        if (!colon)
            return false;
        line = colon + 1;
    }
    const char *colon = memchr(line, ':', (size_t)(end - line));
    size_t width = (size_t)((colon ? colon : end) - line);
    return text_to_u64(line, width, UINT32_MAX, out, NULL) == OK;
}

void idrange_mark_accounts(const char *text, bool used[IDRANGE_COUNT])
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        uint64_t id;
        if (field_number(text, len, 2, &id))
            mark(id, 1, used);
        /* passwd: the primary group too; group: the member list, which is no number. */
        if (field_number(text, len, 3, &id))
            mark(id, 1, used);
        text += len + (text[len] == '\n');
    }
}

void idrange_mark_subordinate(const char *text, bool used[IDRANGE_COUNT])
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        uint64_t first, count;
        if (field_number(text, len, 1, &first) && field_number(text, len, 2, &count))
            mark(first, count, used);
        text += len + (text[len] == '\n');
    }
}

static int mark_file(const char *path, void (*marker)(const char *, bool *),
                     bool used[IDRANGE_COUNT], struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = file_read(AT_FDCWD, path, MAX_ACCOUNT_FILE, &text, err);
    if (rc == E_NOTFOUND)
        return OK;
    if (rc)
        return rc;
    marker(bytes_text(&text), used);
    return OK;
}

static int mark_host(bool used[IDRANGE_COUNT], struct error *err)
{
    int rc = mark_file("/etc/passwd", idrange_mark_accounts, used, err);
    if (!rc)
        rc = mark_file("/etc/group", idrange_mark_accounts, used, err);
    if (!rc)
        rc = mark_file("/etc/subuid", idrange_mark_subordinate, used, err);
    if (!rc)
        rc = mark_file("/etc/subgid", idrange_mark_subordinate, used, err);
    return rc;
}

int idrange_take_index(int state_fd, uint32_t index, struct idrange *out, struct error *err)
{
    char name[32];
    snprintf(name, sizeof name, "range-%u", index);
    int fd = -1;
    int rc = file_lock(state_fd, name, 0, &fd, err);
    if (rc)
        return rc;
    out->index = index;
    out->base = IDRANGE_FIRST + index * IDRANGE_SIZE;
    out->lock_fd = fd;
    return OK;
}

int idrange_take(int state_fd, struct idrange *out, struct error *err)
{
    bool used[IDRANGE_COUNT] = {false};
    int rc = mark_host(used, err);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < IDRANGE_COUNT; i++) {
        if (used[i])
            continue;
        rc = idrange_take_index(state_fd, i, out, err);
        if (rc != E_BUSY)
            return rc;
    }
    return fail(err, E_BUSY, "every id range for containers is in use");
}

void idrange_release(struct idrange *r)
{
    cleanup_fd(&r->lock_fd);
}
