#include "client/realm.h"

#include "base/file.h"
#include "base/json.h"
#include "client/remote_private.h"

#include <fcntl.h>
#include <string.h>

#define SYSTEM_FOLDER "/etc/bulla"
#define FILE_NAME     "token-services.json"
#define LOCK_NAME     ".token-services.lock"
#define LOCK_WAIT_MS  5000

/* Registries whose own documentation names another host. */
static const char *const well_known[][2] = {
    {"registry-1.docker.io", "https://auth.docker.io"},
    {"docker.io", "https://auth.docker.io"},
    {"registry.gitlab.com", "https://gitlab.com"},
};

int realm_parse(const char *text, bool plain_http, struct url *out, struct error *err)
{
    struct url url;
    struct error why = ERROR_INIT;
    if (url_parse(text, strlen(text), &url, &why) || strcmp(url.path, "/") != 0 ||
        (!url.https && !plain_http))
        return fail(err, E_USAGE, "'%.260s' is no token service; want https://HOST[:PORT]", text);
    *out = url;
    return OK;
}

/* This user's configuration folder of Bulla; heap text. */
static int user_folder(char **out, struct error *err)
{
    const char *config = secure_getenv("XDG_CONFIG_HOME"), *home = secure_getenv("HOME");
    if (config && *config)
        *out = text_format("%s/bulla", config);
    else if (home && *home)
        *out = text_format("%s/.config/bulla", home);
    else
        return fail(err, E_NOTFOUND, "HOME is not set");
    return *out ? OK : fail_nomem(err);
}

static int read_table(int dir_fd, const char *name, struct js **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *table = NULL;
    struct error missing = ERROR_INIT;
    int rc = file_read(dir_fd, name, REALM_FILE_MAX, &text, &missing);
    if (rc == E_NOTFOUND) {
        *out = js_object_new();
        return *out ? OK : fail_nomem(err);
    }
    if (rc)
        return fail(err, rc, "%s", missing.message);
    rc = js_parse(text.data, text.len, &table, err);
    if (!rc && js_type(table) != JS_OBJECT)
        rc = fail(err, E_INVALID, "must be an object");
    if (!rc)
        *out = TAKE_PTR(table);
    return rc;
}

static bool listed(const struct js *table, const struct url *base, const struct url *realm)
{
    const struct js *services = js_get(table, base->authority);
    for (size_t i = 0; i < js_count(services); i++) {
        struct url service;
        const char *text = js_text(js_at(services, i));
        if (text && realm_parse(text, false, &service, NULL) == OK &&
            url_same_origin(&service, realm))
            return true;
    }
    return false;
}

static int in_file(const char *folder, const struct url *base, const struct url *realm, bool *known,
                   struct error *err)
{
    CLEANUP(js_cleanup) struct js *table = NULL;
    CLEANUP(cleanup_free) char *path = text_format("%s/" FILE_NAME, folder);
    if (!path)
        return fail_nomem(err);
    int rc = read_table(AT_FDCWD, path, &table, err);
    if (!rc)
        *known = *known || listed(table, base, realm);
    return wrap(err, rc, "'%s'", path);
}

int realm_known(const struct url *base, const struct url *realm, bool *known, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = NULL;
    bool found = false;
    for (size_t i = 0; i < sizeof well_known / sizeof well_known[0]; i++) {
        struct url service;
        if (strcmp(base->host, well_known[i][0]) == 0 && base->https && base->port == 443 &&
            realm_parse(well_known[i][1], false, &service, NULL) == OK)
            found = found || url_same_origin(&service, realm);
    }
    int rc = found ? OK : in_file(SYSTEM_FOLDER, base, realm, &found, err);
    if (!rc && !found && user_folder(&folder, NULL) == OK)
        rc = in_file(folder, base, realm, &found, err);
    if (!rc)
        *known = found;
    return rc;
}

int realm_check(const struct remote *r, const struct url *realm, struct error *err)
{
    struct url allowed;
    bool known = url_same_origin(realm, &r->base);
    int rc = OK;
    if (!known && r->token_service) {
        rc = realm_parse(r->token_service, r->http_options.plain_http, &allowed, err);
        known = !rc && url_same_origin(realm, &allowed);
    }
    if (!rc && !known)
        rc = realm_known(&r->base, realm, &known, err);
    if (rc || known)
        return rc;
    return fail(err, E_UNAUTHORIZED,
                "registry %s wants tokens from %s, but credentials are sent to the registry "
                "itself only; if both belong together, run 'bulla login %s --token-service "
                "%s://%s'",
                r->base.authority, realm->authority, r->base.authority,
                realm->https ? "https" : "http", realm->authority);
}

/* Adds service to the host's list unless it is there. */
static int add_service(struct js *table, const char *host, const char *service, struct error *err)
{
    struct js *list = js_edit(table, host);
    for (size_t i = 0; i < js_count(list); i++)
        if (js_text(js_at(list, i)) && strcmp(js_text(js_at(list, i)), service) == 0)
            return OK;
    if (list)
        return js_type(list) == JS_ARRAY ? js_push(list, js_text_new(service), err)
                                         : fail(err, E_INVALID, "'%s' must be a list", host);
    CLEANUP(js_cleanup) struct js *fresh = js_array_new();
    int rc = fresh ? js_push(fresh, js_text_new(service), err) : fail_nomem(err);
    return rc ? rc : js_set(table, host, TAKE_PTR(fresh), err);
}

int realm_allow(const char *host, const char *service, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = NULL;
    CLEANUP(cleanup_fd) int dir_fd = -1;
    CLEANUP(cleanup_fd) int lock = -1;
    CLEANUP(js_cleanup) struct js *table = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = user_folder(&folder, err);
    if (!rc)
        rc = file_open_dir(folder, true, &dir_fd, err);
    if (!rc)
        rc = file_lock(dir_fd, LOCK_NAME, LOCK_WAIT_MS, &lock, err);
    if (!rc)
        rc = read_table(dir_fd, FILE_NAME, &table, err);
    if (!rc)
        rc = add_service(table, host, service, err);
    if (!rc)
        rc = js_write(table, true, &text, err);
    if (!rc)
        rc = file_write_atomic(dir_fd, FILE_NAME, text.data, text.len, 0600, err);
    return wrap(err, rc, "record of token services");
}
