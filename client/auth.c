#include "client/auth.h"

#include "base/file.h"
#include "base/json.h"
#include "client/helper.h"
#include "client/remote.h"
#include "client/url.h"

#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#define LOCK_NAME    ".bulla-auth.lock"
#define LOCK_WAIT_MS 5000

void auth_wipe(struct bytes *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    bytes_done(b);
}

void auth_wipe_text(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void credentials_done(struct credentials *c)
{
    auth_wipe_text(&c->user);
    auth_wipe_text(&c->password);
    auth_wipe_text(&c->identity);
}

void auth_entry_done(struct auth_entry *e)
{
    credentials_done(&e->credentials);
    cleanup_free(&e->helper);
}

/* --- one entry --- */

static int check_user(const char *user, struct error *err)
{
    /* RFC 7617: the first ':' ends the user name. */
    if (!*user || strchr(user, ':'))
        return fail(err, E_USAGE, "a user name must not be empty or contain ':'");
    return OK;
}

int auth_basic(const char *user, const char *password, struct bytes *out, struct error *err)
{
    CLEANUP(auth_wipe) struct bytes pair = BYTES_INIT;
    int rc = check_user(user, err);
    if (!rc && strlen(password) > AUTH_PASSWORD_MAX)
        rc = fail(err, E_LIMIT, "the password is longer than %u bytes", AUTH_PASSWORD_MAX);
    if (!rc) /* all room at once: a buffer that grows leaves copies behind */
        rc = bytes_reserve(&pair, strlen(user) + strlen(password) + 1, err);
    if (!rc)
        rc = bytes_append_format(&pair, err, "%s:%s", user, password);
    if (!rc)
        rc = bytes_reserve(out, 6 + 4 * (pair.len / 3 + 1), err);
    if (!rc)
        rc = bytes_append_text(out, "Basic ", err);
    if (!rc)
        rc = base64_encode(pair.data, pair.len, out, err);
    return rc;
}

/* base64("user:password") */
static int decode_auth(const char *text, struct credentials *out, struct error *err)
{
    CLEANUP(auth_wipe) struct bytes pair = BYTES_INIT;
    size_t len = strlen(text);
    if (len > 2 * AUTH_PASSWORD_MAX)
        return fail(err, E_INVALID, "'auth' is too long");
    int rc = base64_decode(text, len, &pair, err);
    if (rc)
        return wrap(err, rc, "'auth'");
    char *colon = pair.len ? memchr(pair.data, ':', pair.len) : NULL;
    if (!colon || memchr(pair.data, '\0', pair.len) || (uint8_t *)colon == pair.data)
        return fail(err, E_INVALID, "'auth' is not the base64 form of user:password");
    *colon = '\0';
    out->user = strdup((const char *)pair.data);
    out->password = strdup(colon + 1);
    if (out->user && out->password)
        return OK;
    credentials_done(out);
    return fail_nomem(err);
}

int auth_identity(const char *token, struct bytes *out, struct error *err)
{
    size_t len = strlen(token);
    if (len > AUTH_PASSWORD_MAX)
        return fail(err, E_LIMIT, "the identity token is longer than %u bytes", AUTH_PASSWORD_MAX);
    return bytes_append(out, token, len, err);
}

static int copy_text(const char *text, char **out, struct error *err)
{
    *out = strdup(text);
    return *out ? OK : fail_nomem(err);
}

static int take_helper(const char *name, struct auth_entry *out, struct error *err)
{
    if (!helper_name_valid(name))
        return fail(err, E_INVALID, "'%.80s' is no name of a credential helper", name);
    return copy_text(name, &out->helper, err);
}

static int decode_entry(const struct js *root, const struct js *entry, struct auth_entry *out,
                        struct error *err)
{
    const char *auth = NULL, *identity = NULL, *helper = NULL;
    int rc = js_opt_text(entry, "auth", &auth, err);
    if (!rc)
        rc = js_opt_text(entry, "identitytoken", &identity, err);
    if (!rc)
        rc = js_opt_text(root, "credsStore", &helper, err);
    if (rc)
        return rc;
    if (identity && *identity)
        return copy_text(identity, &out->credentials.identity, err);
    if (auth && *auth)
        return decode_auth(auth, &out->credentials, err);
    /* Docker writes an empty entry where a helper keeps the secret. */
    return helper && *helper ? take_helper(helper, out, err) : OK;
}

/* Docker's old keys: "https://HOST/v1/". Its own registry has three names. */
static bool is_legacy_key(const char *key, const char *host)
{
    static const char *const hub[] = {"docker.io", "registry-1.docker.io", "index.docker.io"};
    struct url url;
    bool ours = false, theirs = false;
    if (url_parse(key, strlen(key), &url, NULL))
        return false;
    for (size_t i = 0; i < sizeof hub / sizeof hub[0]; i++) {
        ours = ours || strcmp(host, hub[i]) == 0;
        theirs = theirs || strcmp(url.authority, hub[i]) == 0;
    }
    return strcmp(url.authority, host) == 0 || (ours && theirs);
}

/* The entry of the longest key that is host/repository or a parent of it; NULL: none. */
static const struct js *best_entry(const struct js *auths, const char *host, char *key)
{
    for (char *slash = key + strlen(key); slash; slash = strrchr(key, '/')) {
        *slash = '\0';
        const struct js *entry = js_get(auths, key);
        if (entry)
            return entry;
    }
    js_foreach (auths, it)
        if (is_legacy_key(it.key, host)) {
            (void)snprintf(key, strlen(host) + 1, "%s", host);
            return it.value;
        }
    return NULL;
}

static int find_entry(const struct js *root, const char *host, const char *repository,
                      struct auth_entry *out, struct error *err)
{
    const struct js *auths = NULL, *helpers = NULL;
    const char *helper = NULL;
    CLEANUP(cleanup_free)
    char *key = repository ? text_format("%s/%s", host, repository) : text_format("%s", host);
    if (!key)
        return fail_nomem(err);
    int rc = js_opt_object(root, "auths", &auths, err);
    if (!rc)
        rc = js_opt_object(root, "credHelpers", &helpers, err);
    if (!rc)
        rc = js_opt_text(helpers, host, &helper, err);
    if (rc)
        return rc;
    if (helper && *helper)
        return wrap(err, take_helper(helper, out, err), "'%s'", host);
    const struct js *entry = best_entry(auths, host, key);
    if (!entry)
        return OK;
    if (js_type(entry) != JS_OBJECT)
        return fail(err, E_INVALID, "'%s' must be an object", key);
    return wrap(err, decode_entry(root, entry, out, err), "'%s'", key);
}

int auth_parse(const void *data, size_t len, const char *host, const char *repository,
               struct auth_entry *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = NULL;
    CLEANUP(auth_entry_done) struct auth_entry found = {CREDENTIALS_INIT, NULL};
    /* Lax: docker's config.json holds other people's settings, with reals among them. */
    int rc = js_parse_lax(data, len, &root, err);
    if (rc)
        return rc;
    if (js_type(root) != JS_OBJECT)
        return fail(err, E_INVALID, "not a JSON object");
    rc = find_entry(root, host, repository, &found, err);
    if (rc)
        return rc;
    *out = found;
    found = (struct auth_entry){CREDENTIALS_INIT, NULL};
    return OK;
}

/* --- the files --- */

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* $HOME, else what the user database says. Heap text. */
static int home_dir(char **out, struct error *err)
{
    const char *home = environment("HOME");
    char buffer[4096];
    struct passwd entry, *found = NULL;
    if (!home && getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found)
        home = found->pw_dir;
    if (!home)
        return fail(err, E_NOTFOUND, "this user has no home folder; set REGISTRY_AUTH_FILE");
    char *copy = strdup(home);
    if (!copy)
        return fail_nomem(err);
    *out = copy;
    return OK;
}

static int config_auth_path(char **out, struct error *err)
{
    CLEANUP(cleanup_free) char *home = NULL;
    const char *config = environment("XDG_CONFIG_HOME");
    int rc = config ? OK : home_dir(&home, err);
    if (rc)
        return rc;
    char *path = config ? text_format("%s/containers/auth.json", config)
                        : text_format("%s/.config/containers/auth.json", home);
    if (!path)
        return fail_nomem(err);
    *out = path;
    return OK;
}

static int docker_config_path(char **out, struct error *err)
{
    CLEANUP(cleanup_free) char *home = NULL;
    const char *folder = environment("DOCKER_CONFIG");
    int rc = folder ? OK : home_dir(&home, err);
    if (rc)
        return rc;
    char *path = folder ? text_format("%s/config.json", folder)
                        : text_format("%s/.docker/config.json", home);
    if (!path)
        return fail_nomem(err);
    *out = path;
    return OK;
}

/* XDG_RUNTIME_DIR's file; podman's place without that variable is /run/containers/UID. */
static int runtime_auth_path(char **out, struct error *err)
{
    const char *runtime = environment("XDG_RUNTIME_DIR");
    char *path = runtime ? text_format("%s/containers/auth.json", runtime)
                         : text_format("/run/containers/%u/auth.json", (unsigned)getuid());
    if (!path)
        return fail_nomem(err);
    *out = path;
    return OK;
}

int auth_file_path(char **out, struct error *err)
{
    const char *named = environment("REGISTRY_AUTH_FILE");
    if (named) {
        char *copy = strdup(named);
        if (!copy)
            return fail_nomem(err);
        *out = copy;
        return OK;
    }
    return environment("XDG_RUNTIME_DIR") ? runtime_auth_path(out, err)
                                          : config_auth_path(out, err);
}

static bool knows(const struct credentials *c)
{
    return c->user || c->identity;
}

static int find_in_file(const char *file, const char *host, const char *repository,
                        struct credentials *out, struct error *err)
{
    CLEANUP(auth_wipe) struct bytes content = BYTES_INIT;
    CLEANUP(auth_entry_done) struct auth_entry entry = {CREDENTIALS_INIT, NULL};
    int rc = file_read(AT_FDCWD, file, AUTH_FILE_MAX, &content, err);
    if (rc == E_NOTFOUND)
        return OK;
    if (!rc && content.len) /* podman makes empty files */
        rc = auth_parse(content.data, content.len, host, repository, &entry, err);
    if (!rc && entry.helper)
        rc = helper_get(entry.helper, host, &entry.credentials, err);
    if (rc)
        return wrap(err, rc, "'%s'", file);
    *out = entry.credentials;
    entry.credentials = (struct credentials)CREDENTIALS_INIT;
    return OK;
}

/* Where root has used podman, /run/containers is root's alone: nothing in it is this user's. */
static bool is_closed_to_us(const char *path, const struct error *why)
{
    static const char folder[] = "/run/containers";
    return why->sys == EACCES && text_starts(path, folder) && access(folder, X_OK) != 0;
}

int auth_find(const char *file, const char *host, const char *repository, struct credentials *out,
              struct error *err)
{
    static int (*const usual[])(char **, struct error *) = {runtime_auth_path, config_auth_path,
                                                            docker_config_path};
    struct credentials found = CREDENTIALS_INIT;
    if (!file)
        file = environment("REGISTRY_AUTH_FILE");
    int rc = file ? find_in_file(file, host, repository, &found, err) : OK;
    for (size_t i = 0; !file && !rc && !knows(&found) && i < sizeof usual / sizeof usual[0]; i++) {
        CLEANUP(cleanup_free) char *path = NULL;
        struct error no_home = ERROR_INIT;
        rc = usual[i](&path, &no_home);
        if (rc == E_NOTFOUND) { /* a service account without home: there is no such file */
            rc = OK;
            continue;
        }
        if (rc && err)
            *err = no_home;
        if (rc)
            continue;
        struct error why = ERROR_INIT;
        rc = find_in_file(path, host, repository, &found, &why);
        if (rc && is_closed_to_us(path, &why))
            rc = OK;
        if (rc && err)
            *err = why;
    }
    if (!rc)
        *out = found;
    return rc;
}

/* --- changing the file --- */

static int load_for_change(int dir_fd, const char *name, struct js **out, struct error *err)
{
    CLEANUP(auth_wipe) struct bytes content = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *root = NULL;
    int rc = file_read(dir_fd, name, AUTH_FILE_MAX, &content, err);
    if (rc && rc != E_NOTFOUND)
        return rc;
    if (rc == E_NOTFOUND || content.len == 0) {
        root = js_object_new();
        if (!root)
            return fail_nomem(err);
    } else {
        /* Strict: what cannot be kept exactly must not be rewritten. */
        rc = js_parse(content.data, content.len, &root, err);
        if (rc)
            return rc;
    }
    const struct js *auths = NULL;
    if (js_type(root) != JS_OBJECT)
        return fail(err, E_INVALID, "not a JSON object");
    rc = js_opt_object(root, "auths", &auths, err);
    if (!rc && !auths)
        rc = js_set(root, "auths", js_object_new(), err);
    if (rc)
        return rc;
    *out = TAKE_PTR(root);
    return OK;
}

static int save(int dir_fd, const char *name, const struct js *root, struct error *err)
{
    CLEANUP(auth_wipe) struct bytes text = BYTES_INIT;
    int rc = js_write(root, true, &text, err);
    return rc ? rc : file_write_atomic(dir_fd, name, text.data, text.len, 0600, err);
}

/* Opens the folder of `file`, making it; *name borrows the last component. */
static int open_folder(const char *file, int *dir_fd, const char **name, struct error *err)
{
    const char *slash = strrchr(file, '/');
    CLEANUP(cleanup_free)
    char *folder = slash ? strndup(file, (size_t)(slash - file) + (slash == file)) : strdup(".");
    if (!folder)
        return fail_nomem(err);
    *name = slash ? slash + 1 : file;
    if (!**name)
        return fail(err, E_USAGE, "'%s' names no file", file);
    return file_open_dir(folder, true, dir_fd, err);
}

/* The helper that keeps what belongs to host; NULL: the file itself does. Borrowed from root. */
static int helper_for(const struct js *root, const char *host, const char **out, struct error *err)
{
    const struct js *helpers = NULL;
    const char *name = NULL;
    int rc = js_opt_object(root, "credHelpers", &helpers, err);
    if (!rc)
        rc = js_opt_text(helpers, host, &name, err);
    if (!rc && !(name && *name))
        rc = js_opt_text(root, "credsStore", &name, err);
    if (rc)
        return rc;
    *out = name && *name ? name : NULL;
    return OK;
}

struct change {
    const char *host;
    const char *user, *password; /* NULL: the entry goes */
    char *helper;                /* out: who keeps it; NULL: the file */
};

/* Into the file itself, or into a helper and as docker's empty entry. */
static int store_entry(struct js *auths, struct change *c, struct error *err)
{
    CLEANUP(auth_wipe) struct bytes basic = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *entry = js_object_new();
    int rc = auth_basic(c->user, c->password, &basic, err);
    if (!rc && !entry)
        rc = fail_nomem(err);
    if (!rc && c->helper)
        rc = helper_store(c->helper, c->host, c->user, c->password, err);
    else if (!rc)
        rc = js_set(entry, "auth", js_text_new(bytes_text(&basic) + strlen("Basic ")), err);
    return rc ? rc : js_set(auths, c->host, TAKE_PTR(entry), err);
}

static int erase_entry(struct js *auths, struct change *c, struct error *err)
{
    bool listed = js_get(auths, c->host) != NULL;
    if (!listed && !c->helper)
        return fail(err, E_NOTFOUND, "not logged in to '%s'", c->host);
    int rc = c->helper ? helper_erase(c->helper, c->host, err) : OK;
    if (!rc && listed)
        js_remove(auths, c->host);
    return rc;
}

static int change_entry(struct js *root, struct change *c, struct error *err)
{
    const char *helper = NULL;
    int rc = helper_for(root, c->host, &helper, err);
    if (!rc && helper)
        rc = copy_text(helper, &c->helper, err);
    if (rc)
        return rc;
    struct js *auths = js_edit(root, "auths");
    return c->user ? store_entry(auths, c, err) : erase_entry(auths, c, err);
}

static int change_file(const char *file, struct change *c, struct error *err)
{
    CLEANUP(cleanup_fd) int dir_fd = -1;
    CLEANUP(cleanup_fd) int lock = -1;
    CLEANUP(js_cleanup) struct js *root = NULL;
    const char *name = NULL;
    int rc = open_folder(file, &dir_fd, &name, err);
    if (!rc)
        rc = file_lock(dir_fd, LOCK_NAME, LOCK_WAIT_MS, &lock, err);
    if (!rc)
        rc = load_for_change(dir_fd, name, &root, err);
    if (!rc)
        rc = change_entry(root, c, err);
    if (!rc)
        rc = save(dir_fd, name, root, err);
    return wrap(err, rc, "'%s'", file);
}

static int hand_over(struct change *c, int rc, char **helper)
{
    if (!rc && helper)
        *helper = TAKE_PTR(c->helper);
    cleanup_free(&c->helper);
    return rc;
}

int auth_store(const char *file, const char *host, const char *user, const char *password,
               char **helper, struct error *err)
{
    struct change c = {.host = host, .user = user, .password = password};
    int rc = check_user(user, err);
    if (!rc)
        rc = change_file(file, &c, err);
    return hand_over(&c, rc, helper);
}

int auth_erase(const char *file, const char *host, char **helper, struct error *err)
{
    struct change c = {.host = host};
    return hand_over(&c, change_file(file, &c, err), helper);
}
