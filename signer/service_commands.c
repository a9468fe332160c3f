#include "signer/service_commands.h"

#include "base/args.h"
#include "base/config.h"
#include "base/confine.h"
#include "base/json.h"
#include "oci/reference.h"
#include "signer/link.h"
#include "signer/service_audit.h"
#include "signer/service_store.h"

#include <inttypes.h>
#include <string.h>

#define METRICS_TIMEOUT_MS 10000

struct opened {
    struct server_config config;
    struct db *db;
};

static void opened_done(struct opened *o)
{
    db_cleanup(&o->db);
    server_config_done(&o->config);
}

static int load(const char *file, struct opened *o, struct error *err)
{
    return file ? server_config_load(file, &o->config, err)
                : fail(err, E_USAGE, "--config FILE is missing");
}

/* Root's files in the service's folder would shut it out. */
static int become_owner(const struct server_config *config, struct error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    const char *user = config->signer.user ? config->signer.user : config->user;
    if (geteuid() != 0 || !user)
        return OK;
    int rc = confine_find_user(user, &uid, &gid, err);
    return rc || uid == 0 ? rc : confine_become(uid, gid, err);
}

static int open_database(const char *file, struct opened *o, struct error *err)
{
    int rc = load(file, o, err);
    if (!rc)
        rc = become_owner(&o->config, err);
    CLEANUP(cleanup_free) char *path = NULL;
    if (!rc && !(path = text_format("%s/" SERVICE_STORE_FILE, o->config.signer.data_dir)))
        rc = fail_nomem(err);
    return rc ? rc : service_store_open_plain(path, &o->db, err);
}

static int print(const struct bytes *text, struct error *err)
{
    return fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0
               ? OK
               : fail_sys(err, errno ? errno : EIO, "write");
}

static int print_js(const struct js *value, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = js_write(value, true, &text, err);
    return rc ? rc : print(&text, err);
}

/* --- state --- */

static int set_versions(struct js *o, const char *key, const struct service_versions *v,
                        struct error *err)
{
    CLEANUP(js_cleanup) struct js *one = js_object_new();
    if (v->timestamp == 0)
        return OK;
    int rc = js_set(one, "snapshot", js_int_new(v->snapshot), err);
    if (!rc)
        rc = js_set(one, "timestamp", js_int_new(v->timestamp), err);
    return rc ? rc : js_set(o, key, TAKE_PTR(one), err);
}

static int row_json(void *context, const struct service_memory_row *row, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = js_set(o, "collection", js_text_new(row->collection), err);
    if (!rc)
        rc = js_set(o, "doubted", js_bool_new(row->doubted), err);
    if (!rc)
        rc = set_versions(o, "remembered", &row->own, err);
    if (!rc)
        rc = set_versions(o, "shown", &row->shown, err);
    if (!rc)
        rc = set_versions(o, "stated", &row->stated, err);
    return rc ? rc : js_push(context, TAKE_PTR(o), err);
}

static int state_json(struct db *db, const struct service_memory_status *s, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int rc = js_set(o, "doubted", js_bool_new(s->doubted), err);
    if (!rc)
        rc = js_set(o, "why", js_text_new(s->why), err);
    if (!rc)
        rc = service_memory_rows(db, row_json, list, err);
    if (!rc)
        rc = js_set(o, "collections", TAKE_PTR(list), err);
    return rc ? rc : print_js(o, err);
}

static int put_versions(struct bytes *out, const char *what, const struct service_versions *v,
                        struct error *err)
{
    return v->timestamp
               ? bytes_append_format(out, err, ", %s snapshot %" PRId64 " timestamp %" PRId64, what,
                                     v->snapshot, v->timestamp)
               : OK;
}

static int row_text(void *context, const struct service_memory_row *row, struct error *err)
{
    CLEANUP(bytes_done) struct bytes line = BYTES_INIT;
    (void)context;
    int rc = bytes_append_format(&line, err, "%s: %s", row->collection,
                                 row->doubted ? "in doubt" : "signed for");
    if (!rc)
        rc = put_versions(&line, "remembered", &row->own, err);
    if (!rc)
        rc = put_versions(&line, "the registry holds", &row->shown, err);
    if (!rc)
        rc = put_versions(&line, "stated", &row->stated, err);
    if (!rc)
        rc = bytes_append_text(&line, "\n", err);
    return rc ? rc : print(&line, err);
}

static int state_text(struct db *db, const struct service_memory_status *s, struct error *err)
{
    int n = s->doubted ? printf("in doubt: %s\n%" PRId64 " of %" PRId64 " collections wait for "
                                "'bulla-signer resume'\n",
                                s->why, s->n_doubted, s->n_collections)
                       : printf("nothing is in doubt: %" PRId64 " collections\n", s->n_collections);
    return n < 0 ? fail_sys(err, errno, "write") : service_memory_rows(db, row_text, NULL, err);
}

int service_command_state(char **args, struct error *err)
{
    CLEANUP(opened_done) struct opened o = {.db = NULL};
    struct service_memory_status status;
    const char *config = NULL;
    bool json = false;
    const struct args_option options[] = {
        {"--config", &config, NULL}, {"--json", NULL, &json}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (!rc)
        rc = open_database(config, &o, err);
    if (!rc)
        rc = service_memory_status(o.db, &status, err);
    if (rc)
        return rc;
    return json ? state_json(o.db, &status, err) : state_text(o.db, &status, err);
}

/* --- resume --- */

struct resume {
    const char *config, *snapshot, *timestamp, *ahead;
    bool all, set_lost;
};

static int read_version(const char *option, const char *text, int64_t *out, struct error *err)
{
    uint64_t n = 0;
    if (!text)
        return fail(err, E_USAGE, "%s N is missing", option);
    if (text_to_u64(text, strlen(text), TUF_MAX_VERSION - 1, &n, NULL) || n == 0)
        return fail(err, E_USAGE, "%s '%s' is no version", option, text);
    *out = (int64_t)n;
    return OK;
}

static int resume_all(const struct resume *r, struct error *err)
{
    CLEANUP(opened_done) struct opened o = {.db = NULL};
    int64_t ahead = 0, settled = 0, waiting = 0;
    if (r->snapshot || r->timestamp || r->set_lost)
        return fail(err, E_USAGE, "--all takes --ahead N and --config FILE");
    int rc = r->ahead ? read_version("--ahead", r->ahead, &ahead, err) : OK;
    if (!rc)
        rc = open_database(r->config, &o, err);
    if (!rc)
        rc = service_memory_state_all(o.db, ahead, &settled, &waiting, err);
    if (rc)
        return rc;
    return printf("%" PRId64 " collections are signed for again, %" PRId64
                  " wait for the registry to hand over what it has\n",
                  settled, waiting) < 0
               ? fail_sys(err, errno, "write")
               : OK;
}

static int resume_one(const struct resume *r, const char *repository, struct error *err)
{
    CLEANUP(opened_done) struct opened o = {.db = NULL};
    struct service_statement s = {.collection = repository, .set_lost = r->set_lost};
    bool settled = false;
    if (!repository_name_valid(repository, strlen(repository)))
        return fail(err, E_USAGE, "'%s' is not the name of a repository", repository);
    int rc = read_version("--snapshot-version", r->snapshot, &s.versions.snapshot, err);
    if (!rc)
        rc = read_version("--timestamp-version", r->timestamp, &s.versions.timestamp, err);
    if (!rc && r->ahead)
        rc = fail(err, E_USAGE, "--ahead goes with --all");
    if (!rc)
        rc = open_database(r->config, &o, err);
    if (!rc)
        rc = service_memory_state(o.db, &s, &settled, err);
    if (rc)
        return rc;
    return printf(settled ? "'%s' is signed for again\n"
                          : "'%s' waits for the registry to hand over that set: at the next "
                            "publication, or when its timestamp is due\n",
                  repository) < 0
               ? fail_sys(err, errno, "write")
               : OK;
}

/* args_parse wants to know how many words there are. */
static bool has(char **args, const char *word)
{
    for (; *args; args++)
        if (strcmp(*args, word) == 0)
            return true;
    return false;
}

int service_command_resume(char **args, struct error *err)
{
    struct resume r = {.config = NULL};
    const char *words[1] = {NULL};
    const struct args_option options[] = {
        {"--config", &r.config, NULL},
        {"--snapshot-version", &r.snapshot, NULL},
        {"--timestamp-version", &r.timestamp, NULL},
        {"--set-lost", NULL, &r.set_lost},
        {"--all", NULL, &r.all},
        {"--ahead", &r.ahead, NULL},
        {NULL, NULL, NULL},
    };
    int rc = args_parse(args, options, words, has(args, "--all") ? 0 : 1, err);
    if (rc)
        return rc;
    return r.all ? resume_all(&r, err) : resume_one(&r, words[0], err);
}

/* --- audit --- */

static int print_verdict(const struct service_audit_result *r, bool json, struct error *err)
{
    char hex[AUDIT_HASH_HEX + 1];
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    hex_encode(r->last.hash, sizeof r->last.hash, hex);
    if (!json)
        return printf("signer: %" PRIu64 " records, %" PRIu64 " to %" PRIu64 " unbroken; head %s\n",
                      r->n_records, r->first, r->last.seq, hex) < 0
                   ? fail_sys(err, errno, "write")
                   : OK;
    int rc = js_set(o, "verdict", js_text_new(error_verdict(OK)), err);
    if (!rc)
        rc = js_set(o, "first", js_int_new((int64_t)r->first), err);
    if (!rc)
        rc = js_set(o, "records", js_int_new((int64_t)r->n_records), err);
    if (!rc)
        rc = js_set(o, "last", js_int_new((int64_t)r->last.seq), err);
    if (!rc)
        rc = js_set(o, "head", js_text_new(hex), err);
    return rc ? rc : print_js(o, err);
}

static int audit_verify(char **args, struct error *err)
{
    CLEANUP(opened_done) struct opened o = {.db = NULL};
    const char *config = NULL, *head = NULL;
    uint8_t hash[AUDIT_HASH_LEN];
    bool json = false;
    struct service_audit_result result = {0};
    const struct args_option options[] = {{"--config", &config, NULL},
                                          {"--head", &head, NULL},
                                          {"--json", NULL, &json},
                                          {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (!rc && head &&
        (strlen(head) != AUDIT_HASH_HEX ||
         hex_decode(head, AUDIT_HASH_HEX, hash, sizeof hash, NULL)))
        rc = fail(err, E_USAGE, "'%s' is no head: 64 hex digits, as 'audit verify' prints them",
                  head);
    if (!rc)
        rc = open_database(config, &o, err);
    const struct service_audit_walk walk = {.db = o.db, .head = head ? hash : NULL};
    if (!rc)
        rc = service_audit_scan(&walk, &result, err);
    return rc ? rc : print_verdict(&result, json, err);
}

static int print_record(void *context, const char *line, size_t len, struct error *err)
{
    (void)context;
    return fwrite(line, 1, len, stdout) == len && fputc('\n', stdout) != EOF
               ? OK
               : fail_sys(err, errno ? errno : EIO, "write");
}

static int audit_export(char **args, struct error *err)
{
    CLEANUP(opened_done) struct opened o = {.db = NULL};
    struct service_audit_result result;
    const char *config = NULL;
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (!rc)
        rc = open_database(config, &o, err);
    const struct service_audit_walk walk = {.db = o.db, .visit = print_record};
    return rc ? rc : service_audit_scan(&walk, &result, err);
}

int service_command_audit(char **args, struct error *err)
{
    if (*args && strcmp(*args, "verify") == 0)
        return audit_verify(args + 1, err);
    if (*args && strcmp(*args, "export") == 0)
        return audit_export(args + 1, err);
    return fail(err, E_USAGE, "audit takes 'verify' or 'export'");
}

/* --- metrics --- */

int service_command_metrics(char **args, struct error *err)
{
    CLEANUP(opened_done) struct opened o = {.db = NULL};
    CLEANUP(signer_link_cleanup) struct signer_link *link = NULL;
    CLEANUP(signer_status_done) struct signer_status status = {.metrics = BYTES_INIT};
    const char *config = NULL;
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (!rc)
        rc = load(config, &o, err);
    if (!rc)
        rc = signer_link_new(o.config.signer.socket, &link, err);
    if (!rc)
        rc = signer_link_status(link, METRICS_TIMEOUT_MS, &status, err);
    return rc ? rc : print(&status.metrics, err);
}
