/* The trust API: TUF metadata below /v2/<name>/_trust/, and plain URLs. Source: RFC 7578. */
#include "base/json.h"
#include "client/remote_private.h"
#include "oci/reference.h"

#include <string.h>
#include <sys/random.h>

#define TRUST_PATH_MAX 512
#define ROLE_MAX       128

/* Letters, digits and "._:-" in components that do not begin with a dot. */
static int check_path(const char *path, struct error *err)
{
    size_t len = strnlen(path, TRUST_PATH_MAX + 1);
    bool good = len && len <= TRUST_PATH_MAX && path[0] != '/' && path[0] != '.';
    for (size_t i = 0; good && i < len; i++) {
        bool plain = (path[i] >= 'a' && path[i] <= 'z') || (path[i] >= 'A' && path[i] <= 'Z') ||
                     (path[i] >= '0' && path[i] <= '9') || strchr("._:-/", path[i]);
        good = plain && !(path[i] == '/' && (path[i + 1] == '/' || path[i + 1] == '.'));
    }
    return good ? OK : fail(err, E_USAGE, "'%.120s' is no path of trust metadata", path);
}

static int trust_url(const struct remote *r, const char *repository, const char *path,
                     struct url *out, struct error *err)
{
    int rc = remote_check_repository(repository, err);
    if (!rc)
        rc = check_path(path, err);
    return rc ? rc : remote_url(r, out, err, "/v2/%s/_trust/%s", repository, path);
}

static int take_answer(const struct remote *r, const struct http_response *response,
                       const char *what, struct bytes *out, struct error *err)
{
    int rc = remote_expect(r, response, 200, what, err);
    return rc ? rc : bytes_append(out, bytes_text(&response->body), response->body.len, err);
}

/* max 0 would mean the default of the HTTP adapter. */
static int check_max(size_t max, struct error *err)
{
    return max ? OK : fail(err, E_USAGE, "a limit of 0 bytes");
}

static int get(struct remote *r, const struct url *url, size_t max, struct bytes *out,
               struct error *err)
{
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {.method = HTTP_GET, .url = url, .max_body = max};
    int rc = check_max(max, err);
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    return rc ? rc : take_answer(r, &response, url->path, out, err);
}

int remote_trust_get(struct remote *r, const char *repository, const char *path, size_t max,
                     struct bytes *out, struct error *err)
{
    struct url url;
    int rc = trust_url(r, repository, path, &url, err);
    return rc ? rc : get(r, &url, max, out, err);
}

int remote_url_get(struct remote *r, const char *text, size_t max, struct bytes *out,
                   struct error *err)
{
    struct url url;
    int rc = url_parse(text, strlen(text), &url, err);
    return rc ? rc : get(r, &url, max, out, err);
}

/* --- two at once --- */

struct pair {
    struct url url[2];
    struct http_request request[2];
    struct http_response response[2];
};

static void pair_free(struct pair **p)
{
    if (*p) {
        http_response_done(&(*p)->response[0]);
        http_response_done(&(*p)->response[1]);
        free(*p);
    }
    *p = NULL;
}

static int pair_prepare(struct remote *r, const char *repository, struct remote_get *const *gets,
                        struct pair *p, struct error *err)
{
    for (size_t i = 0; i < 2; i++) {
        int rc = trust_url(r, repository, gets[i]->path, &p->url[i], err);
        if (!rc)
            rc = check_max(gets[i]->max, err);
        if (rc)
            return rc;
        p->request[i] = (struct http_request){
            .method = HTTP_GET,
            .url = &p->url[i],
            .max_body = gets[i]->max,
        };
    }
    int rc = remote_authorize(r, &p->request[0], err); /* the same origin, the same value */
    if (rc)
        return rc;
    p->request[1].authorization = p->request[0].authorization;
    return remote_ready(r, err);
}

int remote_trust_get_pair(struct remote *r, const char *repository, struct remote_get *first,
                          struct remote_get *second, struct error *err)
{
    struct remote_get *const gets[2] = {first, second};
    CLEANUP(pair_free) struct pair *p = calloc(1, sizeof *p);
    if (!p)
        return fail_nomem(err);
    int rc = pair_prepare(r, repository, gets, p, err);
    if (rc)
        return rc;
    struct http_exchange x[2] = {{.request = &p->request[0], .response = &p->response[0]},
                                 {.request = &p->request[1], .response = &p->response[1]}};
    rc = http_perform_all(r->http, x, 2, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < 2; i++) {
        gets[i]->err = x[i].err;
        gets[i]->rc = x[i].rc;
        if (x[i].rc)
            continue;
        /* Rare: a token is missing or has ended. The single request knows what to do. */
        if (p->response[i].status == 401 && p->response[i].challenge[0])
            gets[i]->rc = get(r, &p->url[i], gets[i]->max, gets[i]->out, &gets[i]->err);
        else
            gets[i]->rc =
                take_answer(r, &p->response[i], p->url[i].path, gets[i]->out, &gets[i]->err);
    }
    return OK;
}

/* --- publishing --- */

static int check_role(const char *role, struct error *err)
{
    size_t len = strnlen(role, ROLE_MAX + 1);
    bool good = len && len <= ROLE_MAX;
    for (size_t i = 0; good && i < len; i++)
        good = (role[i] >= 'a' && role[i] <= 'z') || (role[i] >= '0' && role[i] <= '9') ||
               (i && strchr("._-", role[i]));
    return good ? OK : fail(err, E_USAGE, "'%.120s' is no role name", role);
}

static int append_part(struct bytes *body, const char *boundary, const struct remote_file *file,
                       struct error *err)
{
    int rc = bytes_append_format(body, err,
                                 "--%s\r\nContent-Disposition: form-data; name=\"files\"; "
                                 "filename=\"%s\"\r\nContent-Type: application/json\r\n\r\n",
                                 boundary, file->role);
    if (!rc)
        rc = bytes_append(body, file->data, file->len, err);
    return rc ? rc : bytes_append_text(body, "\r\n", err);
}

static int make_boundary(char *out, size_t size, struct error *err)
{
    /* 128 random bits: no content, however chosen, holds the boundary. */
    uint8_t random[16];
    char hex[2 * sizeof random + 1];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail_sys(err, errno, "get random bytes");
    hex_encode(random, sizeof random, hex);
    (void)snprintf(out, size, "bulla-%s", hex);
    return OK;
}

/* 0 where an answer came, whatever its status. */
static int post_form(struct remote *r, const struct url *url, const struct remote_file *files,
                     size_t n, struct http_response *response, struct error *err)
{
    char boundary[48], type[96];
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    int rc = make_boundary(boundary, sizeof boundary, err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = append_part(&body, boundary, &files[i], err);
    if (!rc)
        rc = bytes_append_format(&body, err, "--%s--\r\n", boundary);
    if (rc)
        return rc;
    (void)snprintf(type, sizeof type, "multipart/form-data; boundary=%s", boundary);
    struct http_request request = {
        .method = HTTP_POST, .url = url, .content_type = type, .data = body.data, .len = body.len};
    return remote_call(r, &request, response, err);
}

int remote_trust_post(struct remote *r, const char *repository, const struct remote_file *files,
                      size_t n, struct error *err)
{
    struct url url;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = trust_url(r, repository, "tuf/", &url, err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = check_role(files[i].role, err);
    if (!rc)
        rc = post_form(r, &url, files, n, &response, err);
    if (rc || response.status == 200 || response.status == 201 || response.status == 204)
        return rc;
    return remote_expect(r, &response, 201, "trust metadata", err);
}

#define KEY_MAX_BYTES 16384u

int remote_trust_new_key(struct remote *r, const char *repository,
                         const struct remote_new_key *wanted, struct bytes *out, struct error *err)
{
    struct url url;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = remote_check_repository(repository, err);
    if (!rc)
        rc = check_role(wanted->role, err);
    if (!rc)
        rc = remote_url(r, &url, err, "/v2/%s/_trust/tuf/%s.key%s", repository, wanted->role,
                        wanted->another ? "?another=true" : "");
    struct http_request request = {
        .method = HTTP_POST, .url = &url, .data = "", .max_body = KEY_MAX_BYTES};
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    return rc ? rc : take_answer(r, &response, "new key", out, err);
}

/* --- mirrors --- */

/* Answers of a registry that knows nothing of mirrors are anything: its own 404, a page, JSON. */
static int not_bulla(const struct remote *r, struct error *err)
{
    return fail(err, E_UNSUPPORTED, "registry %s takes no proofs: it is no Bulla registry",
                r->base.authority);
}

int remote_mirror_ask(struct remote *r, const char *repository, struct remote_mirror *out,
                      struct error *err)
{
    struct url url;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    CLEANUP(js_cleanup) struct js *answer = NULL;
    struct http_request request = {.method = HTTP_GET, .url = &url};
    int rc = trust_url(r, repository, "mirror", &url, err);
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    if (rc)
        return rc;
    if (response.status == 404 || response.status == 405 || response.status == 400)
        return not_bulla(r, err);
    rc = remote_expect(r, &response, 200, "whether it mirrors", err);
    if (rc)
        return rc;
    const char *text = bytes_text(&response.body);
    if (js_parse(text, response.body.len, &answer, NULL) != OK ||
        js_type(js_get(answer, "mirrored")) != JS_BOOL)
        return not_bulla(r, err);
    const char *collection = js_text(js_get(answer, "collection"));
    *out = (struct remote_mirror){.collection = ""};
    if (collection && repository_name_valid(collection, strnlen(collection, 256)))
        (void)snprintf(out->collection, sizeof out->collection, "%s", collection);
    return OK;
}

int remote_mirror_post(struct remote *r, const char *repository, const struct remote_file *files,
                       size_t n, struct remote_mirrored *out, struct error *err)
{
    struct url url;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    CLEANUP(js_cleanup) struct js *answer = NULL;
    int rc = trust_url(r, repository, "mirror", &url, err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = check_path(files[i].role, err);
    if (!rc)
        rc = post_form(r, &url, files, n, &response, err);
    if (!rc)
        rc = remote_expect(r, &response, 200, "the proofs", err);
    if (!rc)
        rc = js_parse(bytes_text(&response.body), response.body.len, &answer, err);
    if (rc)
        return rc;
    const struct js *changed = js_get(answer, "changed"), *missing = js_get(answer, "missing");
    *out =
        (struct remote_mirrored){.changed = js_number(changed) != 0, .missing = js_number(missing)};
    return OK;
}
