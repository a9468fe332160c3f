#include "runner/options.h"

#include "base/bytes.h"

#include <limits.h>
#include <string.h>

#define MIN_MEMORY     ((uint64_t)4 << 20)
#define MIN_CPU_MILLI  10u /* the kernel's smallest quota is 1 ms of the 100 ms period */
#define MAX_CPUS       4096u
#define MAX_PIDS       4194304u /* Linux: PID_MAX_LIMIT */
#define MAX_TMPFS_SIZE ((uint64_t)1 << 44)

int options_check_path(const char *path, const char *what, struct error *err)
{
    if (path[0] != '/')
        return fail(err, E_USAGE, "%s '%s' is not an absolute path", what, path);
    if (strlen(path) >= PATH_MAX)
        return fail(err, E_USAGE, "%s is too long", what);
    for (const char *p = path; *p;) {
        p += strspn(p, "/");
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.')
            return fail(err, E_USAGE, "%s '%s' contains '..'", what, path);
        p += len;
    }
    return OK;
}

size_t options_depth(const char *path)
{
    size_t n = 0;
    for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
        n++;
        path += strcspn(path, "/");
    }
    return n;
}

/* A place to mount at, its spelling made plain ("/tmp/" is "/tmp"): the same place must be
 * recognised as such. */
static int take_destination(char *path, const char *what, struct error *err)
{
    int rc = options_check_path(path, what, err);
    if (!rc && options_depth(path) == 0)
        rc = fail(err, E_USAGE, "%s '%s' is the container's root: name a folder in it", what, path);
    for (size_t len = strlen(path); !rc && len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';
    return rc;
}

void options_sort_volumes(struct run_volume *volumes, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct run_volume v = volumes[i];
        size_t k = i;
        for (; k && options_depth(volumes[k - 1].destination) > options_depth(v.destination); k--)
            volumes[k] = volumes[k - 1];
        volumes[k] = v;
    }
}

int options_parse_volume(char *text, struct run_volume *out, struct error *err)
{
    struct run_volume v = {.source = text};
    char *colon = strchr(text, ':');
    if (!colon)
        return fail(err, E_USAGE, "volume '%s' is not SOURCE:DESTINATION[:ro]", text);
    *colon = '\0';
    char *destination = colon + 1;
    v.destination = destination;
    char *mode = strchr(destination, ':');
    if (mode) {
        *mode++ = '\0';
        v.read_only = strcmp(mode, "ro") == 0;
        if (!v.read_only && strcmp(mode, "rw") != 0)
            return fail(err, E_USAGE, "unknown volume option '%s': 'ro' and 'rw' exist", mode);
    }
    int rc = options_check_path(v.source, "volume source", err);
    if (!rc)
        rc = take_destination(destination, "volume destination", err);
    if (!rc)
        *out = v;
    return rc;
}

static int parse_octal(const char *text, mode_t *out, struct error *err)
{
    mode_t mode = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 4)
        return fail(err, E_USAGE, "tmpfs mode '%s' is not an octal number", text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '7')
            return fail(err, E_USAGE, "tmpfs mode '%s' is not an octal number", text);
        mode = mode * 8 + (mode_t)(text[i] - '0');
    }
    *out = mode & 01777; /* nosuid makes the rest void */
    return OK;
}

static int parse_tmpfs_option(const char *word, struct run_tmpfs *t, struct error *err)
{
    if (text_starts(word, "size=")) {
        if (text_to_size(word + 5, &t->size_bytes, NULL) || t->size_bytes == 0 ||
            t->size_bytes > MAX_TMPFS_SIZE)
            return fail(err, E_USAGE, "tmpfs size '%s' is not a size", word + 5);
        return OK;
    }
    if (text_starts(word, "mode="))
        return parse_octal(word + 5, &t->mode, err);
    if (strcmp(word, "rw") == 0 || strcmp(word, "nosuid") == 0 || strcmp(word, "nodev") == 0)
        return OK; /* always so */
    return fail(err, E_USAGE, "unknown tmpfs option '%s': 'size=' and 'mode=' exist", word);
}

int options_parse_tmpfs(char *text, struct run_tmpfs *out, struct error *err)
{
    struct run_tmpfs t = {.destination = text};
    int rc = OK;
    char *rest = strchr(text, ':');
    if (rest)
        *rest++ = '\0';
    for (char *word = strsep(&rest, ","); !rc && word; word = strsep(&rest, ","))
        rc = parse_tmpfs_option(word, &t, err);
    if (!rc)
        rc = take_destination(text, "tmpfs destination", err);
    if (!rc)
        *out = t;
    return rc;
}

int options_parse_cpus(const char *text, uint32_t *milli, struct error *err)
{
    uint64_t whole = 0, part = 0;
    const char *dot = strchr(text, '.');
    size_t whole_len = dot ? (size_t)(dot - text) : strlen(text);
    size_t part_len = dot ? strlen(dot + 1) : 0;
    bool bad = text_to_u64(text, whole_len, MAX_CPUS, &whole, NULL) != OK;
    if (dot)
        bad = bad || part_len > 3 || text_to_u64(dot + 1, part_len, 999, &part, NULL) != OK;
    for (size_t i = part_len; i < 3; i++)
        part *= 10;
    if (bad || whole * 1000 + part < MIN_CPU_MILLI)
        return fail(err, E_USAGE, "'%s' is not a number of CPUs (0.01 to %u)", text, MAX_CPUS);
    *milli = (uint32_t)(whole * 1000 + part);
    return OK;
}

int options_parse_memory(const char *text, uint64_t *bytes, struct error *err)
{
    uint64_t value;
    if (text_to_size(text, &value, NULL) || value < MIN_MEMORY || value > INT64_MAX)
        return fail(err, E_USAGE, "'%s' is not a memory size of at least 4m", text);
    *bytes = value;
    return OK;
}

int options_parse_pids(const char *text, uint32_t *pids, struct error *err)
{
    uint64_t value = 0;
    if (strcmp(text, "-1") != 0 && text_to_u64(text, strlen(text), MAX_PIDS, &value, NULL))
        return fail(err, E_USAGE, "'%s' is not a number of processes", text);
    *pids = value ? (uint32_t)value : RUN_PIDS_NO_LIMIT;
    return OK;
}

int options_check_network(const char *text, struct error *err)
{
    if (strcmp(text, "none") == 0)
        return OK;
    if (strcmp(text, "private") == 0 || strcmp(text, "host") == 0 ||
        text_starts(text, "container:"))
        return fail(err, E_UNSUPPORTED, "network '%s' is not available yet: only 'none' is", text);
    return fail(err, E_USAGE, "unknown network '%s': 'none' exists", text);
}
