#include "runner/user.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_DATABASE ((size_t)1 << 20) /* far above real images; CVE-2026-47262: unbounded ones */
#define MAX_NAME     255
#define MAX_FIELDS   7

struct field {
    const char *text;
    size_t len;
};

struct line {
    struct field fields[MAX_FIELDS];
    size_t n;
};

static bool is_number(struct field f)
{
    for (size_t i = 0; i < f.len; i++)
        if (f.text[i] < '0' || f.text[i] > '9')
            return false;
    return f.len > 0;
}

static bool same(struct field a, struct field b)
{
    return a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
}

/* An id that exists in the container. Never wraps, never truncates (CVE-2024-40635). */
static int parse_id(struct field f, const char *what, uint32_t *out, struct error *err)
{
    uint64_t id;
    if (!is_number(f) || text_to_u64(f.text, f.len, USER_MAX_ID, &id, NULL))
        return fail(err, E_INVALID, "%s '%.*s' is not a number from 0 to %d", what,
                    (int)(f.len < MAX_NAME ? f.len : MAX_NAME), f.text, USER_MAX_ID);
    *out = (uint32_t)id;
    return OK;
}

/* Missing: empty text. */
static int read_database(int root_fd, const char *path, struct bytes *out, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    /* O_NONBLOCK: a FIFO in its place must not hang us. */
    int rc = path_open(root_fd, path, PATH_IN_ROOT, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd, err);
    if (rc == E_NOTFOUND)
        return OK;
    struct stat st;
    if (!rc && fstat(fd, &st))
        rc = fail_sys(err, errno, "look at it");
    if (!rc && !S_ISREG(st.st_mode))
        rc = fail(err, E_INVALID, "it is no file");
    if (!rc)
        rc = file_read_fd(fd, MAX_DATABASE, out, err);
    if (!rc && out->len && memchr(out->data, 0, out->len))
        rc = fail(err, E_INVALID, "it contains a NUL byte");
    return wrap(err, rc, "read the image's '/%s'", path);
}

/* The next line, split at colons; false at the end. More fields than MAX_FIELDS: counted only. */
static bool next_line(const char **rest, struct line *out)
{
    if (!**rest)
        return false;
    const char *p = *rest;
    const char *end = p + strcspn(p, "\n");
    out->n = 0;
    for (;;) {
        const char *colon = memchr(p, ':', (size_t)(end - p));
        const char *stop = colon ? colon : end;
        if (out->n < MAX_FIELDS)
            out->fields[out->n] = (struct field){p, (size_t)(stop - p)};
        out->n++;
        if (!colon)
            break;
        p = colon + 1;
    }
    *rest = end + (*end == '\n');
    return true;
}

/* Finds the first entry whose name, or whose id field, is `key`. */
static bool find_entry(const char *text, struct field key, struct line *out)
{
    bool by_id = is_number(key);
    uint64_t wanted = 0;
    if (by_id && text_to_u64(key.text, key.len, USER_MAX_ID, &wanted, NULL))
        return false;
    while (next_line(&text, out)) {
        uint64_t id;
        if (by_id && out->n >= 3 && is_number(out->fields[2]) &&
            text_to_u64(out->fields[2].text, out->fields[2].len, USER_MAX_ID, &id, NULL) == OK &&
            id == wanted)
            return true;
        if (!by_id && same(out->fields[0], key))
            return true;
    }
    return false;
}

static int take_home(struct field home, struct run_user *user, struct error *err)
{
    if (home.len >= sizeof user->home)
        return fail(err, E_LIMIT, "the home folder in the image's '/etc/passwd' is too long");
    if (home.len && home.text[0] == '/') {
        memcpy(user->home, home.text, home.len);
        user->home[home.len] = '\0';
    }
    return OK;
}

static int find_user(int root_fd, struct field name, struct run_user *user, struct bytes *passwd,
                     struct field *login, struct error *err)
{
    uint32_t uid = 0, gid = 0;
    struct line entry;
    int rc = is_number(name) ? parse_id(name, "user", &uid, err) : OK;
    if (!rc)
        rc = read_database(root_fd, "etc/passwd", passwd, err);
    if (rc)
        return rc;
    if (!find_entry(bytes_text(passwd), name, &entry)) {
        if (!is_number(name))
            return fail(err, E_NOTFOUND, "no user '%.*s' in the image's '/etc/passwd'",
                        (int)name.len, name.text);
        user->uid = uid;
        user->gid = uid;
        return OK;
    }
    if (entry.n != 7)
        return fail(err, E_INVALID, "malformed entry of user '%.*s' in the image's '/etc/passwd'",
                    (int)name.len, name.text);
    rc = parse_id(entry.fields[2], "the image's user id", &uid, err);
    if (!rc)
        rc = parse_id(entry.fields[3], "the image's group id", &gid, err);
    if (!rc)
        rc = take_home(entry.fields[5], user, err);
    if (rc)
        return rc;
    user->uid = uid;
    user->gid = gid;
    *login = entry.fields[0];
    return OK;
}

static int find_group(int root_fd, struct field name, gid_t *out, struct error *err)
{
    uint32_t gid = 0;
    if (is_number(name)) {
        int rc = parse_id(name, "group", &gid, err);
        if (!rc)
            *out = gid;
        return rc;
    }
    CLEANUP(bytes_done) struct bytes group = BYTES_INIT;
    struct line entry;
    int rc = read_database(root_fd, "etc/group", &group, err);
    if (rc)
        return rc;
    if (!find_entry(bytes_text(&group), name, &entry))
        return fail(err, E_NOTFOUND, "no group '%.*s' in the image's '/etc/group'", (int)name.len,
                    name.text);
    if (entry.n != 4)
        return fail(err, E_INVALID, "malformed entry of group '%.*s' in the image's '/etc/group'",
                    (int)name.len, name.text);
    rc = parse_id(entry.fields[2], "the image's group id", &gid, err);
    if (!rc)
        *out = gid;
    return rc;
}

static bool is_member(struct field members, struct field login)
{
    const char *p = members.text;
    const char *end = p + members.len;
    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end;
        if (same((struct field){p, (size_t)(stop - p)}, login))
            return true;
        p = stop + (comma != NULL);
    }
    return false;
}

static int find_supplementary(int root_fd, struct field login, struct run_user *user,
                              struct error *err)
{
    CLEANUP(bytes_done) struct bytes group = BYTES_INIT;
    struct line entry;
    int rc = read_database(root_fd, "etc/group", &group, err);
    const char *rest = rc ? "" : bytes_text(&group);
    while (!rc && next_line(&rest, &entry)) {
        uint32_t gid = 0;
        if (entry.n != 4 || !is_member(entry.fields[3], login))
            continue;
        if (user->n_groups == USER_MAX_GROUPS)
            return fail(err, E_LIMIT, "more than %d groups of user '%.*s' in the image",
                        USER_MAX_GROUPS, (int)login.len, login.text);
        rc = parse_id(entry.fields[2], "the image's group id", &gid, err);
        if (!rc && gid != user->gid)
            user->groups[user->n_groups++] = gid;
    }
    return rc;
}

int user_lookup(int root_fd, const char *text, struct run_user *out, struct error *err)
{
    struct run_user user = {.home = "/"};
    CLEANUP(bytes_done) struct bytes passwd = BYTES_INIT;
    const char *colon = strchr(text, ':');
    struct field name = {text, colon ? (size_t)(colon - text) : strlen(text)};
    struct field group = {colon ? colon + 1 : "", colon ? strlen(colon + 1) : 0};
    struct field login = {NULL, 0};
    if (!*text)
        name = (struct field){"0", 1};
    if (!name.len || (colon && !group.len) || memchr(group.text, ':', group.len) ||
        name.len > MAX_NAME || group.len > MAX_NAME)
        return fail(err, E_INVALID, "malformed user '%s': expected USER or USER:GROUP", text);
    /* Neither file is a place for names of several lines. */
    if (strchr(text, '\n'))
        return fail(err, E_INVALID, "malformed user '%s': a line break", text);
    int rc = find_user(root_fd, name, &user, &passwd, &login, err);
    if (!rc && !*text && user.uid != 0)
        rc = fail(err, E_INTERNAL, "root was looked up as user %u", user.uid);
    if (!rc && group.len)
        rc = find_group(root_fd, group, &user.gid, err);
    else if (!rc && login.len)
        rc = find_supplementary(root_fd, login, &user, err);
    if (!rc)
        *out = user;
    return rc;
}
