/* bulla-registry gc: what nothing needs, and what holds the rest. */
#include "base/args.h"
#include "registry/commands.h"
#include "registry/deployment.h"
#include "registry/gc.h"
#include "registry/index_gc.h"
#include "registry/service.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/confine.h"
#include "base/file.h"
#include "base/json.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

struct collecting {
    const char *why; /* digest, or NULL */
    bool dry_run, json;
    struct server_config config;
    struct blobs *blobs;
    struct index *index;
    int lock_fd; /* no server runs while it is held; -1: one does */
    uint64_t n, links, blobs_n;
    int64_t bytes;
};

static void collecting_done(struct collecting *c)
{
    index_close(c->index);
    blobs_close(c->blobs);
    cleanup_fd(&c->lock_fd);
    server_config_done(&c->config);
}

/* Takes value, like js_set. */
static void put(struct js *object, const char *name, struct js *value, int *rc, struct error *err)
{
    if (*rc == 0)
        *rc = js_set(object, name, value, err);
    else
        js_free(value);
}

static int print_line(const struct js *object, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = js_write(object, false, &text, err);
    return rc == 0 && puts(bytes_text(&text)) < 0 ? fail_sys(err, errno, "write") : rc;
}

/* --- --why --- */

static int print_reason_json(const struct index_reason *reason, const char *until,
                             struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = 0;
    put(o, "repository", js_text_new(reason->repository), &rc, err);
    put(o, "holds", js_text_new(reason->kind), &rc, err);
    if (reason->name[0])
        put(o, "name", js_text_new(reason->name), &rc, err);
    put(o, "digest", js_text_new(reason->digest), &rc, err);
    if (until)
        put(o, "until", js_text_new(until), &rc, err);
    return rc == 0 ? print_line(o, err) : rc;
}

static int print_reason_text(const struct collecting *c, const struct index_reason *reason,
                             const char *until, struct error *err)
{
    static const struct {
        const char *kind, *text;
    } words[] = {{"tag", "tag"},
                 {"signed", "signed target"},
                 {"referrer", "it refers to"},
                 {"untagged", "untagged manifest"},
                 {"lease", "lease"},
                 {"publication", "publication under way"}};
    const char *text = reason->kind;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].kind, reason->kind) == 0)
            text = words[i].text;
    bool direct = strcmp(reason->digest, c->why) == 0;
    int n = printf("%s: %s%s%s%s%s%s%s\n", reason->repository, text, reason->name[0] ? " '" : "",
                   reason->name, reason->name[0] ? "'" : "", until ? " until " : "",
                   until ? until : "", direct ? "" : ", through");
    if (n > 0 && !direct)
        n = printf("    %s\n", reason->digest);
    return n < 0 ? fail_sys(err, errno, "write") : 0;
}

static int print_reason(void *context, const struct index_reason *reason, struct error *err)
{
    struct collecting *c = context;
    char text[CLOCK_TEXT_MAX], *until = NULL;
    bool lease = strcmp(reason->kind, "lease") == 0;
    if (reason->begun_s != 0) {
        clock_format(reason->begun_s + (lease ? c->config.gc.lease_s : 0), text);
        until = text;
    }
    c->n++;
    return c->json ? print_reason_json(reason, until, err)
                   : print_reason_text(c, reason, until, err);
}

static int explain(struct collecting *c, struct index_tx *tx, struct error *err)
{
    struct digest d = {.alg = DIGEST_NONE};
    const struct index_reason_visitor visitor = {print_reason, c};
    bool known = false;
    if (digest_parse_text(c->why, &d, err) != 0)
        return fail(err, E_USAGE, "'%s' is not a digest: sha256:… with 64 lower-case digits",
                    c->why);
    int rc = index_gc_is_known(tx, &d, &known, err);
    if (rc == 0 && !known)
        return fail(err, E_NOTFOUND, "%s is not in this registry", c->why);
    if (rc == 0)
        rc = index_gc_why(tx, &d, clock_now_s() - c->config.gc.lease_s, &visitor, err);
    if (rc == 0 && c->n == 0 && !c->json && puts("nothing holds it: the next run removes it") < 0)
        rc = fail_sys(err, errno, "write");
    return rc;
}

/* --- --dry-run --- */

static int print_preview(void *context, const struct index_gc_preview *p, struct error *err)
{
    struct collecting *c = context;
    if (p->repository) {
        c->links++;
    } else {
        c->blobs_n++;
        c->bytes += p->size;
    }
    if (!c->json) {
        int n = printf("%s%s%s %" PRId64 " bytes\n", p->repository ? p->repository : "storage",
                       p->repository ? ": unlink " : ": remove ", p->digest, p->size);
        return n < 0 ? fail_sys(err, errno, "write") : 0;
    }
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = 0;
    put(o, "removes", js_text_new(p->repository ? "link" : "blob"), &rc, err);
    if (p->repository)
        put(o, "repository", js_text_new(p->repository), &rc, err);
    put(o, "digest", js_text_new(p->digest), &rc, err);
    put(o, "bytes", js_int_new(p->size), &rc, err);
    return rc == 0 ? print_line(o, err) : rc;
}

static int preview(struct collecting *c, struct index_tx *tx, struct error *err)
{
    const struct index_gc_visitor visitor = {print_preview, c};
    return index_gc_preview(tx, clock_now_s() - c->config.gc.lease_s, &visitor, err);
}

/* --- a run --- */

static int print_summary(const struct collecting *c, struct error *err)
{
    if (!c->json) {
        int n = printf("%s %" PRIu64 " links and %" PRIu64 " blobs, %" PRId64 " bytes%s\n",
                       c->dry_run ? "would remove" : "removed", c->links, c->blobs_n, c->bytes,
                       !c->dry_run && c->lock_fd < 0 && c->blobs_n > 0
                           ? "; the server frees the space in its next round"
                           : "");
        return n < 0 ? fail_sys(err, errno, "write") : 0;
    }
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = 0;
    put(o, "dryRun", js_bool_new(c->dry_run), &rc, err);
    if (!c->dry_run)
        put(o, "examined", js_int_new((int64_t)c->n), &rc, err);
    put(o, "links", js_int_new((int64_t)c->links), &rc, err);
    put(o, "blobs", js_int_new((int64_t)c->blobs_n), &rc, err);
    put(o, "bytes", js_int_new(c->bytes), &rc, err);
    return rc == 0 ? print_line(o, err) : rc;
}

/* A running server may be about to record what it has just made visible: then nothing is removed
 * for good here. While the lock is held no server can start. */
static int lock_out_server(struct collecting *c, struct error *err)
{
    CLEANUP(cleanup_fd) int dir_fd = -1;
    int rc = file_open_dir(c->config.data_dir, false, &dir_fd, err);
    if (rc == 0)
        rc = file_lock(dir_fd, SERVICE_LOCK_NAME, 0, &c->lock_fd, err);
    return rc == E_BUSY ? 0 : rc;
}

static int collect(struct collecting *c, struct error *err)
{
    struct gc_report report = {0, 0, 0, 0};
    int rc = lock_out_server(c, err);
    if (rc == 0)
        rc = blobs_open(c->config.data_dir, &c->blobs, err);
    const struct gc gc = {.index = c->index,
                          .blobs = c->blobs,
                          .discard = c->lock_fd >= 0,
                          .lease_s = c->config.gc.lease_s};
    if (rc == 0)
        rc = gc_run(&gc, &report, err);
    c->n = report.examined;
    c->links = report.links;
    c->blobs_n = report.blobs;
    c->bytes = report.bytes;
    return rc;
}

static int look(struct collecting *c, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(c->index, &tx, err);
    if (rc == 0)
        rc = c->why ? explain(c, tx, err) : preview(c, tx, err);
    index_read_end(c->index, tx);
    return rc;
}

/* The configured user; without one (a unit may say it) whoever the data folder belongs to. Stays 0
 * where that is root. */
static int find_owner(const struct server_config *config, uid_t *uid, gid_t *gid, struct error *err)
{
    struct stat st;
    if (config->user)
        return confine_find_user(config->user, uid, gid, err);
    if (stat(config->data_dir, &st) != 0)
        return errno == ENOENT ? 0 : fail_sys(err, errno, "data folder '%s'", config->data_dir);
    *uid = st.st_uid;
    *gid = st.st_gid;
    return 0;
}

int command_become_owner(const struct server_config *config, struct error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    if (geteuid() != 0)
        return 0;
    int rc = find_owner(config, &uid, &gid, err);
    return rc == 0 && uid != 0 ? confine_become(uid, gid, err) : rc;
}

int command_gc(char **args, struct error *err)
{
    CLEANUP(collecting_done) struct collecting c = {.lock_fd = -1};
    const char *file = NULL;
    const struct args_option options[] = {{"--config", &file, NULL},
                                          {"--why", &c.why, NULL},
                                          {"--dry-run", NULL, &c.dry_run},
                                          {"--json", NULL, &c.json},
                                          {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc == 0 && c.why && c.dry_run)
        rc = fail(err, E_USAGE, "'--why' removes nothing: leave '--dry-run' out");
    if (rc == 0)
        rc = server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, &c.config, err);
    if (rc == 0)
        rc = command_become_owner(&c.config, err);
    if (rc == 0)
        rc = deployment_check_initialised(&c.config, err);
    if (rc == 0)
        rc = index_open(c.config.data_dir, &c.index, err);
    if (rc == 0)
        rc = index_start(c.index, err);
    if (rc == 0)
        rc = c.why || c.dry_run ? look(&c, err) : collect(&c, err);
    return rc == 0 && !c.why ? print_summary(&c, err) : rc;
}
