/* bulla-registry scrub: reads every stored blob again. */
#include "base/args.h"
#include "registry/commands.h"
#include "registry/deployment.h"
#include "registry/index_scrub.h"
#include "registry/scrub.h"

#include "base/json.h"

#include <inttypes.h>
#include <string.h>

#define USERS_SHOWN 20u /* repositories and tags per blob */

struct scrubbing {
    struct server_config config;
    struct index *index;
    struct blobs *blobs;
    struct audit *audit;
    bool json;
    struct js *findings; /* --json */
};

static void scrubbing_done(struct scrubbing *x)
{
    audit_close(x->audit);
    index_cleanup(&x->index);
    blobs_close(x->blobs);
    server_config_done(&x->config);
    js_free(x->findings);
}

static const char *state_name(enum scrub_state state)
{
    static const char *const names[] = {"damaged", "missing", "unreadable"};
    return names[state];
}

/* --- who needs it --- */

struct users_of {
    struct js *list; /* NULL: print */
};

static int show_user(void *context, const char *repository, const char *tag, struct error *err)
{
    const struct users_of *u = context;
    if (!u->list)
        return printf("  needed by %s%s%s\n", repository, tag ? ":" : "", tag ? tag : "") < 0
                   ? fail_sys(err, errno, "write")
                   : 0;
    CLEANUP(js_cleanup) struct js *one = js_object_new();
    int rc = js_set(one, "repository", js_text_new(repository), err);
    if (rc == 0 && tag)
        rc = js_set(one, "tag", js_text_new(tag), err);
    return rc == 0 ? js_push(u->list, TAKE_PTR(one), err) : rc;
}

static int show_users(struct scrubbing *x, const struct digest *d, struct js *list,
                      struct error *err)
{
    struct users_of users = {list};
    const struct index_user_visitor visitor = {show_user, &users};
    struct index_tx *tx = NULL;
    int rc = index_read_begin(x->index, &tx, err);
    if (rc == 0)
        rc = index_blob_users(tx, d, USERS_SHOWN, &visitor, err);
    index_read_end(x->index, tx);
    return rc;
}

static int add_finding(struct scrubbing *x, const struct scrub_finding *f, struct error *err)
{
    CLEANUP(js_cleanup) struct js *one = js_object_new();
    CLEANUP(js_cleanup) struct js *users = js_array_new();
    char text[DIGEST_TEXT_MAX];
    int rc = js_set(one, "digest", js_text_new(digest_format(&f->digest, text)), err);
    if (rc == 0)
        rc = js_set(one, "state", js_text_new(state_name(f->state)), err);
    if (rc == 0)
        rc = js_set(one, "size", js_int_new((int64_t)f->size), err);
    if (rc == 0)
        rc = js_set(one, "why", js_text_new(f->why), err);
    if (rc == 0)
        rc = show_users(x, &f->digest, users, err);
    if (rc == 0)
        rc = js_set(one, "neededBy", TAKE_PTR(users), err);
    return rc == 0 ? js_push(x->findings, TAKE_PTR(one), err) : rc;
}

static int show_finding(void *context, const struct scrub_finding *f, struct error *err)
{
    struct scrubbing *x = context;
    char text[DIGEST_TEXT_MAX];
    if (x->json)
        return add_finding(x, f, err);
    if (printf("%s %s (%" PRIu64 " bytes): %s\n", state_name(f->state),
               digest_format(&f->digest, text), f->size, f->why) < 0)
        return fail_sys(err, errno, "write");
    return show_users(x, &f->digest, NULL, err);
}

/* --- the end --- */

static int print_json(struct scrubbing *x, const struct scrub_report *r, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"blobs", r->blobs},
                   {"bytes", r->bytes},
                   {"damaged", r->damaged},
                   {"missing", r->missing},
                   {"unreadable", r->unreadable}};
    int rc = js_set(root, "whole", js_bool_new(r->whole), err);
    for (size_t i = 0; rc == 0 && i < sizeof numbers / sizeof *numbers; i++)
        rc = js_set(root, numbers[i].name, js_int_new((int64_t)numbers[i].value), err);
    if (rc == 0)
        rc = js_set(root, "findings", TAKE_PTR(x->findings), err);
    if (rc == 0)
        rc = js_write(root, true, &text, err);
    if (rc == 0 && fputs(bytes_text(&text), stdout) < 0)
        rc = fail_sys(err, errno, "write");
    return rc;
}

static int conclude(struct scrubbing *x, const struct scrub_report *r, struct error *err)
{
    int rc = x->json ? print_json(x, r, err) : 0;
    if (rc == 0 && !x->json &&
        printf("read %" PRIu64 " blobs, %" PRIu64 " bytes\n", r->blobs, r->bytes) < 0)
        rc = fail_sys(err, errno, "write");
    if (rc != 0)
        return rc;
    if (r->damaged + r->missing > 0)
        return fail(err, E_TAMPERED,
                    "%" PRIu64 " blobs are damaged and in quarantine, %" PRIu64
                    " are missing: push them again",
                    r->damaged, r->missing);
    if (r->unreadable > 0)
        return fail(err, E_SYS, "%" PRIu64 " blobs could not be read", r->unreadable);
    return 0;
}

static int open_all(const char *file, struct scrubbing *x, struct error *err)
{
    int rc = server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, &x->config, err);
    if (rc == 0)
        rc = command_become_owner(&x->config, err);
    if (rc == 0)
        rc = deployment_check_initialised(&x->config, err);
    if (rc == 0)
        rc = blobs_open(x->config.data_dir, &x->blobs, err);
    if (rc == 0)
        rc = index_open(x->config.data_dir, &x->index, err);
    if (rc == 0)
        rc = index_start(x->index, err);
    const struct audit_options audit = {.data_dir = x->config.data_dir, .index = x->index};
    if (rc == 0)
        rc = audit_open(&audit, &x->audit, err);
    x->findings = js_array_new();
    return rc == 0 && !x->findings ? fail_nomem(err) : rc;
}

static const char help[] =
    "usage: bulla-registry scrub [--rate BYTES/S] [--json] [--config FILE]\n"
    "\n"
    "Reads every stored blob again, beside a running server or without one. A blob whose bytes "
    "are\n"
    "not what its digest promises is set into quarantine and not served any more; pushing it "
    "again\n"
    "heals it. Goes on where the last round was interrupted. --rate: at most so many bytes per\n"
    "second (20m, 512k).\n"
    "\n"
    "exit status: 0 all is well, 1 damaged or missing blobs, 2 usage, 3 could not read\n";

int command_scrub(char **args, struct error *err)
{
    CLEANUP(scrubbing_done) struct scrubbing x = {.index = NULL};
    const char *file = NULL, *rate = NULL;
    struct scrub_report report;
    const struct args_option options[] = {{"--config", &file, NULL},
                                          {"--rate", &rate, NULL},
                                          {"--json", NULL, &x.json},
                                          {NULL, NULL, NULL}};
    struct scrub s = {.found = show_finding, .context = &x};
    if (args[0] && strcmp(args[0], "--help") == 0)
        return fputs(help, stdout) < 0 ? fail_sys(err, errno, "write") : 0;
    int rc = args_parse(args, options, NULL, 0, err);
    if (rc == 0 && rate && text_to_size(rate, &s.rate_bytes_s, err) != 0)
        rc = fail(err, E_USAGE, "'%s' is no rate: bytes per second, as 20m or 512k", rate);
    if (rc == 0)
        rc = open_all(file, &x, err);
    if (rc != 0)
        return rc;
    s.data_dir = x.config.data_dir;
    s.index = x.index;
    s.blobs = x.blobs;
    s.audit = x.audit;
    rc = scrub_run(&s, &report, err);
    return rc == 0 ? conclude(&x, &report, err) : rc;
}
