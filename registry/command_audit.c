/* bulla-registry audit verify, audit export. */
#include "base/args.h"
#include "registry/audit_scan.h"
#include "registry/commands.h"
#include "registry/deployment.h"
#include "registry/index_audit.h"

#include "base/clock.h"
#include "base/file.h"

#include <inttypes.h>
#include <string.h>

struct opened {
    struct server_config config;
    struct index *index;
    int data_fd;
};

static void opened_done(struct opened *o)
{
    index_cleanup(&o->index);
    server_config_done(&o->config);
    cleanup_fd(&o->data_fd);
}

static int open_data(const char *config, struct opened *o, struct error *err)
{
    int rc = server_config_load(config ? config : COMMAND_DEFAULT_CONFIG, &o->config, err);
    if (rc == 0)
        rc = deployment_check_initialised(&o->config, err);
    if (rc == 0)
        rc = file_open_dir(o->config.data_dir, false, &o->data_fd, err);
    return rc == 0 ? index_open(o->config.data_dir, &o->index, err) : rc;
}

/* E_NOTFOUND: neither index nor folder have heard of this log. */
static int expected(struct opened *o, enum audit_chain chain, struct audit_expect *out,
                    struct error *err)
{
    CLEANUP(cleanup_free) struct audit_segment *list = NULL;
    struct index_audit_anchor anchor = {0};
    struct index_tx *tx = NULL;
    size_t n = 0;
    int rc = index_read_begin(o->index, &tx, err);
    if (rc != 0)
        return rc;
    rc = index_audit_get(tx, chain, &anchor, err);
    index_read_end(o->index, tx);
    if (rc == E_NOTFOUND) {
        int listed = audit_segments(o->data_fd, chain, &list, &n, err);
        if (listed != 0)
            return listed;
        return n ? fail(err, E_TAMPERED, "the index knows nothing of this log") : rc;
    }
    if (rc == 0)
        *out = (struct audit_expect){.base = anchor.base, .anchor = anchor.head.link};
    return rc;
}

/* The first segments may be removed while they are read: then the index knows by now. */
static int scan_chain(struct opened *o, struct audit_walk *walk, struct audit_result *out,
                      struct error *err)
{
    const uint8_t *head = walk->expect.head;
    int rc = E_TAMPERED;
    for (int attempt = 0; attempt < 3; attempt++) {
        struct audit_link base = walk->expect.base;
        rc = expected(o, walk->chain, &walk->expect, err);
        walk->expect.head = head;
        if (rc != 0 || (attempt > 0 && audit_link_equal(&base, &walk->expect.base)))
            return attempt > 0 && rc == 0 ? E_TAMPERED : rc;
        rc = audit_scan(walk, out, err);
        if (rc != E_TAMPERED && rc != E_NOTFOUND)
            return rc;
    }
    return rc;
}

/* --- verify --- */

struct verdict {
    enum audit_chain chain;
    int rc;
    struct audit_result result;
    struct error err;
};

static int verdict_json(const struct verdict *v, struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    char hex[AUDIT_HASH_HEX + 1];
    hex_encode(v->result.last.hash, AUDIT_HASH_LEN, hex);
    int rc = js_set(o, "verdict", js_text_new(error_verdict(v->rc)), err);
    if (rc == 0)
        rc = js_set(o, "first", js_int_new((int64_t)v->result.first), err);
    if (rc == 0)
        rc = js_set(o, "records", js_int_new((int64_t)v->result.n_records), err);
    if (rc == 0)
        rc = js_set(o, "last", js_int_new((int64_t)v->result.last.seq), err);
    if (rc == 0)
        rc = js_set(o, "head", js_text_new(hex), err);
    if (rc == 0)
        rc = js_set(o, "brokenWrites", js_int_new((int64_t)v->result.n_repaired), err);
    if (rc == 0 && v->rc != 0)
        rc = js_set(o, "error", js_text_new(v->err.message), err);
    if (rc == 0)
        *out = TAKE_PTR(o);
    return rc;
}

static int print_json(const struct verdict *verdicts, size_t n, int worst, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct js *logs = js_object_new();
    int rc = js_set(root, "verdict", js_text_new(error_verdict(worst)), err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct js *one = NULL;
        rc = verdict_json(&verdicts[i], &one, err);
        if (rc == 0)
            rc = js_set(logs, audit_chain_name(verdicts[i].chain), one, err);
    }
    if (rc == 0)
        rc = js_set(root, "logs", TAKE_PTR(logs), err);
    js_free(logs);
    if (rc == 0)
        rc = js_write(root, true, &text, err);
    if (rc == 0 && fputs(bytes_text(&text), stdout) < 0)
        rc = fail_sys(err, errno, "write");
    return rc;
}

static int print_text(const struct verdict *v, struct error *err)
{
    char hex[AUDIT_HASH_HEX + 1];
    const struct audit_result *r = &v->result;
    hex_encode(r->last.hash, AUDIT_HASH_LEN, hex);
    int n = v->rc == 0
                ? printf("%s: %" PRIu64 " records, %" PRIu64 " to %" PRIu64 " unbroken; head %s\n",
                         audit_chain_name(v->chain), r->n_records, r->first, r->last.seq, hex)
                : 0;
    if (n >= 0 && v->rc == 0 && (r->n_repaired || r->cut_off))
        n = printf("%s: %" PRIu64 " broken writes, %s at the end\n", audit_chain_name(v->chain),
                   r->n_repaired + (r->cut_off > 0), r->cut_off ? "one" : "none");
    return n < 0 ? fail_sys(err, errno, "write") : 0;
}

static void judge(struct opened *o, enum audit_chain chain, const uint8_t *head, struct verdict *v)
{
    struct audit_walk walk = {.data_fd = o->data_fd, .chain = chain, .expect = {.head = head}};
    *v = (struct verdict){.chain = chain};
    v->rc = scan_chain(o, &walk, &v->result, &v->err);
    if (v->rc == E_NOTFOUND && !head)
        v->rc = 0; /* nothing was recorded yet */
    if (v->rc == 0 && v->result.mismatch)
        v->rc = fail(&v->err, E_TAMPERED,
                     "record %" PRIu64 " says that the log was not the one the index knew",
                     v->result.mismatch);
    v->rc = wrap(&v->err, v->rc, "log '%s'", audit_chain_name(chain));
}

/* Refused outweighs what could not be determined. */
static const struct verdict *worst_of(const struct verdict *v, size_t n)
{
    const struct verdict *worst = &v[0];
    for (size_t i = 1; i < n; i++)
        if (error_exit_status(worst->rc) != EXIT_REFUSED && v[i].rc != 0)
            worst = &v[i];
    return worst;
}

static int parse_head(const char *text, uint8_t out[AUDIT_HASH_LEN], struct error *err)
{
    if (strlen(text) != AUDIT_HASH_HEX ||
        hex_decode(text, AUDIT_HASH_HEX, out, AUDIT_HASH_LEN, NULL) != 0)
        return fail(err, E_USAGE, "'%s' is no head: 64 hex digits, as 'audit verify' prints them",
                    text);
    return 0;
}

static int verify(char **args, struct error *err)
{
    CLEANUP(opened_done) struct opened o = {.data_fd = -1};
    const char *config = NULL, *head = NULL;
    uint8_t head_hash[AUDIT_HASH_LEN];
    bool json = false;
    struct verdict v[AUDIT_CHAINS];
    const struct args_option options[] = {{"--config", &config, NULL},
                                          {"--head", &head, NULL},
                                          {"--json", NULL, &json},
                                          {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc == 0 && head)
        rc = parse_head(head, head_hash, err);
    if (rc == 0)
        rc = open_data(config, &o, err);
    if (rc != 0)
        return rc;
    judge(&o, AUDIT_CHANGES, head ? head_hash : NULL, &v[0]);
    judge(&o, AUDIT_ACCESS, NULL, &v[1]);
    const struct verdict *worst = worst_of(v, AUDIT_CHAINS);
    rc = json ? print_json(v, AUDIT_CHAINS, worst->rc, err) : 0;
    for (int i = 0; rc == 0 && !json && i < AUDIT_CHAINS; i++)
        rc = print_text(&v[i], err);
    if (rc == 0 && worst->rc != 0)
        return fail(err, worst->rc, "%s", worst->err.message);
    return rc;
}

/* --- export --- */

struct export
{
    enum audit_chain chain;
    int64_t since_s, until_s; /* INT64_MIN, INT64_MAX: no limit */
    bool csv;
};

static const char *const columns[] = {"log", "seq",  "time",    "event",      "result", "status",
                                      "who", "from", "request", "repository", "object", "detail"};

/* A spreadsheet must not take a cell for a formula. */
static int put_cell(const char *text, bool first)
{
    int n = first ? 0 : fputs(",", stdout);
    if (n >= 0)
        n = fputs(text[0] && strchr("=+-@", text[0]) ? "\"'" : "\"", stdout);
    for (const char *p = text; n >= 0 && *p; p++)
        n = fputs(*p == '"' ? "\"\"" : (const char[]){*p, '\0'}, stdout);
    return n >= 0 ? fputs("\"", stdout) : n;
}

static int print_csv(const struct js *record, struct error *err)
{
    int n = 0;
    for (size_t i = 0; n >= 0 && i < sizeof columns / sizeof *columns; i++) {
        const struct js *value = js_get(record, columns[i]);
        char number[24] = "";
        if (js_type(value) == JS_INT)
            snprintf(number, sizeof number, "%" PRId64, js_number(value));
        n = put_cell(js_text(value) ? js_text(value) : number, i == 0);
    }
    return n < 0 || putchar('\n') < 0 ? fail_sys(err, errno, "write") : 0;
}

static int export_record(void *context, const char *line, size_t len, struct error *err)
{
    const struct export *x = context;
    CLEANUP(js_cleanup) struct js *record = NULL;
    const char *when = NULL;
    int64_t time_s = 0;
    int rc = audit_record_parse(x->chain, line, len, &record, err);
    if (rc == 0)
        rc = js_want_text(record, "time", &when, err);
    if (rc == 0)
        rc = clock_parse(when, &time_s, err);
    if (rc != 0 || time_s < x->since_s || time_s >= x->until_s)
        return rc;
    if (x->csv)
        return print_csv(record, err);
    return printf("%.*s\n", (int)len, line) < 0 ? fail_sys(err, errno, "write") : 0;
}

static int export_chain(struct opened *o, struct export *x, enum audit_chain chain,
                        struct error *err)
{
    struct audit_walk walk = {
        .data_fd = o->data_fd, .chain = chain, .visit = export_record, .context = x};
    struct audit_result result;
    x->chain = chain;
    int rc = expected(o, chain, &walk.expect, err);
    if (rc == E_NOTFOUND)
        return 0;
    if (rc == 0)
        rc = audit_scan(&walk, &result, err);
    return wrap(err, rc, "log '%s'", audit_chain_name(chain));
}

static int parse_time(const char *text, int64_t *out, struct error *err)
{
    if (!text)
        return 0;
    return clock_parse(text, out, NULL) == 0
               ? 0
               : fail(err, E_USAGE, "'%s' is no time: write 2026-01-31T00:00:00Z", text);
}

static int choose_chains(const char *log, bool wanted[AUDIT_CHAINS], struct error *err)
{
    bool found = !log;
    for (int i = 0; i < AUDIT_CHAINS; i++) {
        wanted[i] = !log || strcmp(log, audit_chain_name((enum audit_chain)i)) == 0;
        found = found || wanted[i];
    }
    return found ? 0 : fail(err, E_USAGE, "'%s' is no log: changes, access", log);
}

static int export(char **args, struct error *err)
{
    CLEANUP(opened_done) struct opened o = {.data_fd = -1};
    struct export x = {.since_s = INT64_MIN, .until_s = INT64_MAX};
    const char *config = NULL, *since = NULL, *until = NULL, *log = NULL;
    bool json = false, wanted[AUDIT_CHAINS];
    const struct args_option options[] = {{"--config", &config, NULL}, {"--since", &since, NULL},
                                          {"--until", &until, NULL},   {"--log", &log, NULL},
                                          {"--json", NULL, &json},     {"--csv", NULL, &x.csv},
                                          {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc == 0 && json && x.csv)
        rc = fail(err, E_USAGE, "--json or --csv, not both");
    if (rc == 0)
        rc = parse_time(since, &x.since_s, err);
    if (rc == 0)
        rc = parse_time(until, &x.until_s, err);
    if (rc == 0)
        rc = choose_chains(log, wanted, err);
    if (rc == 0)
        rc = open_data(config, &o, err);
    for (size_t i = 0; rc == 0 && x.csv && i < sizeof columns / sizeof *columns; i++)
        if (printf("%s%s", columns[i], i + 1 < sizeof columns / sizeof *columns ? "," : "\n") < 0)
            rc = fail_sys(err, errno, "write");
    for (int i = 0; rc == 0 && i < AUDIT_CHAINS; i++)
        if (wanted[i])
            rc = export_chain(&o, &x, (enum audit_chain)i, err);
    return rc;
}

static const char help[] =
    "usage: bulla-registry audit verify [--head HASH] [--json] [--config FILE]\n"
    "       bulla-registry audit export [--since TIME] [--until TIME] [--log changes|access]\n"
    "                                   [--json|--csv] [--config FILE]\n"
    "\n"
    "verify reads the whole log: every record must follow the one before, and the records that\n"
    "the index (and --head, the hash of a record written down elsewhere) know must be there.\n"
    "export writes the records, oldest first, as lines of JSON or as CSV; it verifies on the way.\n"
    "TIME: 2026-01-31T00:00:00Z.\n"
    "\n"
    "exit status: 0 unbroken, 1 changed or cut off, 2 usage, 3 could not be read\n";

int command_audit(char **args, struct error *err)
{
    const char *word = args[0] ? args[0] : "";
    if (strcmp(word, "verify") == 0 && !(args[1] && strcmp(args[1], "--help") == 0))
        return verify(args + 1, err);
    if (strcmp(word, "export") == 0 && !(args[1] && strcmp(args[1], "--help") == 0))
        return export(args + 1, err);
    if (strcmp(word, "--help") == 0 || (args[0] && args[1]))
        return fputs(help, stdout) < 0 ? fail_sys(err, errno, "write") : 0;
    return fail(err, E_USAGE, "'audit %s': no such command, see bulla-registry audit --help", word);
}
