#include "base/file.h"
#include "tests/support/scratch.h"
#include "verify/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ID64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct reference ref_of(const char *text)
{
    struct reference ref;
    struct error err = ERROR_INIT;
    assert_int_equal(reference_parse(text, &ref, &err), OK);
    return ref;
}

static int parse(const char *text, struct policy_file **out, struct error *err)
{
    return policy_file_parse(text, strlen(text), "/etc/bulla/policy.json", out, err);
}

static void every_setting_is_read(void **state)
{
    static const char text[] =
        "{\"version\":1,\"default\":\"deny\",\"scopes\":{\"r.io/acme\":{\"collection\":\"acme/\","
        "\"root\":{\"file\":\"acme.root.json\"},\"signedBy\":[\"releases\",{\"role\":\"security\","
        "\"keys\":[\"" ID64 "\"],\"threshold\":1}],\"tags\":{\"allow\":[\"v*\"],\"deny\":[\"v0\"]},"
        "\"refresh\":\"2m\",\"maxAge\":\"12h\",\"offlineGrace\":\"0\",\"superseded\":\"refuse\","
        "\"run\":{\"user\":\"non-root\",\"network\":[\"none\"],\"readOnly\":true,"
        "\"capabilities\":[],\"memory\":\"512m\",\"pids\":256,"
        "\"mounts\":[{\"source\":\"/srv/data\",\"readOnly\":true}]}}}}";
    CLEANUP(policy_file_cleanup) struct policy_file *f = NULL;
    struct error err = ERROR_INIT;
    (void)state;
    assert_int_equal(parse(text, &f, &err), OK);
    assert_int_equal(policy_file_n_scopes(f), 1);
    const struct policy_scope *s = policy_file_scope(f, 0);
    assert_string_equal(s->anchor.root_file, "/etc/bulla/acme.root.json");
    assert_int_equal(s->n_signed_by, 2);
    assert_string_equal(s->signed_by[1].keys[0].text, ID64);
    assert_int_equal(s->refresh_s, 120);
    assert_int_equal(s->max_age_s, 43200);
    assert_true(s->refuse_superseded);
    assert_true(s->run.user_non_root && s->run.read_only && s->run.has_capabilities);
    assert_int_equal(s->run.memory, 512u << 20);
    assert_int_equal(s->run.pids, 256);
    assert_string_equal(s->run.mounts[0].source, "/srv/data");
}

/* One scope's members, inside a policy. */
#define SCOPE(members) "{\"version\":1,\"scopes\":{\"r.io/a\":{" members "}}}"
#define IN_SCOPE       "/scopes/r.io~1a"

/* Syntax by line and column, meaning by a JSON pointer to the member itself. */
static const struct {
    const char *text, *says;
} bad_files[] = {
    {"", "JSON"},
    {"[]", "must be an object"},
    {"{\"version\":2}", ": /version: "},
    {"{}", ": /version: "},
    {"{\"version\":\"1\"}", ": /version: "},
    {"{\"version\":1,\"version\":1}", "line 1, column"},
    {"{\"version\":1,\n\"default\":\"deny\",\n  oops}", "line 3, column 6"},
    {"{\"version\":1.0}", "not an integer"},
    {"{\"version\":1,\"sopes\":{}}", ": /sopes: unknown member"},
    {"{\"version\":1,\"default\":\"allow\"}", ": /default: "},
    {"{\"version\":1,\"default\":null}", ": /default: "},
    {"{\"version\":1,\"scopes\":[]}", ": /scopes: "},
    {"{\"version\":1}x", "line 1, column"},
    {"{\"version\":1,\"scopes\":{\"r.io/A\":{}}}", ": /scopes/r.io~1A: "},
    {"{\"version\":1,\"scopes\":{\"R.io/a\":{}}}", ": /scopes/R.io~1a: "},
    {"{\"version\":1,\"scopes\":{\"r.io/a/\":{}}}", ": /scopes/r.io~1a~1: "},
    {"{\"version\":1,\"scopes\":{\"r.io~a\":{}}}", ": /scopes/r.io~0a: "},
    {"{\"version\":1,\"scopes\":{\"\":{}}}", ": /scopes/: "},
    {"{\"version\":1,\"scopes\":{\"r.io\":[]}}", ": /scopes/r.io: must be an object"},
    {SCOPE("\"rot\":{}"), IN_SCOPE "/rot: unknown member"},
    {SCOPE("\"root\":{}"), IN_SCOPE "/root: "},
    {SCOPE("\"mirrors\":\"m.io\""), IN_SCOPE "/mirrors: "},
    {SCOPE("\"mirrors\":[1]"), IN_SCOPE "/mirrors/0: "},
    {SCOPE("\"mirrors\":[\"m.io/a\",\"https://m.io/a\"]"), IN_SCOPE "/mirrors/1: must be HOST"},
    {SCOPE("\"mirrors\":[\"m.io/a/\"]"), IN_SCOPE "/mirrors/0: must be HOST"},
    {SCOPE("\"mirrors\":[\"m.io/a\",\"m.io/a\"]"), IN_SCOPE "/mirrors/1: is named twice"},
    {SCOPE("\"mirrors\":[\"r.io/a\"]"), IN_SCOPE "/mirrors/0: is the scope itself"},
    {SCOPE("\"mirrors\":[\"a.io\",\"b.io\",\"c.io\",\"d.io\",\"e.io\",\"f.io\",\"g.io\",\"h.io\","
           "\"i.io\"]"),
     IN_SCOPE "/mirrors/8: has more than 8"},
    {SCOPE("\"root\":{\"fle\":\"x\"}"), IN_SCOPE "/root/fle: unknown"},
    {SCOPE("\"root\":{\"file\":\"\"}"), IN_SCOPE "/root/file: "},
    {SCOPE("\"root\":{\"file\":\"x\",\"keys\":[\"" ID64 "\"]}"), "either"},
    {SCOPE("\"root\":{\"keys\":[]}"), IN_SCOPE "/root/keys: "},
    {SCOPE("\"root\":{\"keys\":[\"abc\"]}"), IN_SCOPE "/root/keys/0: "},
    {SCOPE("\"root\":{\"keys\":[\"" ID64 "\",\"" ID64 "\"]}"),
     IN_SCOPE "/root/keys/1: names a key twice"},
    {SCOPE("\"root\":{\"file\":\"x\",\"minVersion\":0}"), IN_SCOPE "/root/minVersion: "},
    {SCOPE("\"root\":{\"file\":\"x\",\"minVersion\":2}"), "minVersion"},
    {SCOPE("\"root\":{\"file\":\"x\",\"threshold\":1}"), "threshold"},
    {SCOPE("\"root\":{\"keys\":[\"" ID64 "\"],\"threshold\":2}"), IN_SCOPE "/root/threshold: "},
    {SCOPE("\"signedBy\":[]"), IN_SCOPE "/signedBy: "},
    {SCOPE("\"signedBy\":\"targets\""), IN_SCOPE "/signedBy: "},
    {SCOPE("\"signedBy\":[\"a\",1]"), IN_SCOPE "/signedBy/1: "},
    {SCOPE("\"signedBy\":[\"a\",\"a\"]"), IN_SCOPE "/signedBy/1: names a role twice"},
    {SCOPE("\"signedBy\":[\"\"]"), IN_SCOPE "/signedBy/0: "},
    {SCOPE("\"signedBy\":[\"Bad\"]"), IN_SCOPE "/signedBy/0: "},
    {SCOPE("\"signedBy\":[\"root\"]"), IN_SCOPE "/signedBy/0: "},
    {SCOPE("\"signedBy\":[\"targets/a\"]"), IN_SCOPE "/signedBy/0: "},
    {SCOPE("\"signedBy\":[\"a/\"]"), IN_SCOPE "/signedBy/0: "},
    {SCOPE("\"signedBy\":[\"/a\"]"), IN_SCOPE "/signedBy/0: "},
    {SCOPE("\"signedBy\":[\"a/b/c/d/e/f/g/h/i\"]"), IN_SCOPE "/signedBy/0: "},
    {SCOPE("\"signedBy\":[{\"role\":\"a//b\"}]"), IN_SCOPE "/signedBy/0/role: "},
    {SCOPE("\"signedBy\":[{\"keys\":[\"" ID64 "\"]}]"), IN_SCOPE "/signedBy/0/role: "},
    {SCOPE("\"signedBy\":[{\"role\":\"a\",\"threshold\":2}]"), IN_SCOPE "/signedBy/0/threshold: "},
    {SCOPE("\"signedBy\":[{\"role\":\"a\",\"threshold\":2,\"keys\":[\"" ID64 "\"]}]"),
     IN_SCOPE "/signedBy/0/threshold: "},
    {SCOPE("\"refresh\":\"soon\""), IN_SCOPE "/refresh: "},
    {SCOPE("\"refresh\":60"), IN_SCOPE "/refresh: "},
    {SCOPE("\"maxAge\":\"-1s\""), IN_SCOPE "/maxAge: "},
    {SCOPE("\"offlineGrace\":true"), IN_SCOPE "/offlineGrace: "},
    {SCOPE("\"tags\":{\"allow\":[\"v*\",1]}"), IN_SCOPE "/tags/allow/1: must be a string"},
    {SCOPE("\"tags\":{\"alow\":[]}"), IN_SCOPE "/tags/alow: "},
    {SCOPE("\"superseded\":\"maybe\""), IN_SCOPE "/superseded: "},
    {SCOPE("\"tofu\":\"yes\""), IN_SCOPE "/tofu: "},
    {SCOPE("\"collection\":\"../x\""), IN_SCOPE "/collection: "},
    {SCOPE("\"collection\":\"\""), IN_SCOPE "/collection: "},
    {SCOPE("\"collection\":\"/\""), IN_SCOPE "/collection: "},
    {SCOPE("\"run\":{\"user\":\"root\"}"), IN_SCOPE "/run/user: "},
    {SCOPE("\"run\":{\"network\":[\"none\",\"bridge\"]}"), IN_SCOPE "/run/network/1: "},
    {SCOPE("\"run\":{\"memory\":\"lots\"}"), IN_SCOPE "/run/memory: "},
    {SCOPE("\"run\":{\"memory\":\"0\"}"), IN_SCOPE "/run/memory: "},
    {SCOPE("\"run\":{\"pids\":0}"), IN_SCOPE "/run/pids: "},
    {SCOPE("\"run\":{\"readOnly\":\"yes\"}"), IN_SCOPE "/run/readOnly: "},
    {SCOPE("\"run\":{\"capabilities\":[1]}"), IN_SCOPE "/run/capabilities/0: "},
    {SCOPE("\"run\":{\"mounts\":[{\"source\":\"data\"}]}"),
     IN_SCOPE "/run/mounts/0/source: must be an absolute path"},
    {SCOPE("\"run\":{\"mounts\":[{\"source\":\"/d\",\"ro\":true}]}"),
     IN_SCOPE "/run/mounts/0/ro: "},
    {SCOPE("\"run\":{\"mounts\":[\"/d\"]}"), IN_SCOPE "/run/mounts/0: "},
};

static void bad_files_are_refused_with_their_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        struct policy_file *f = NULL;
        struct error err = ERROR_INIT;
        int rc = parse(bad_files[i].text, &f, &err);
        if (rc != E_INVALID && rc != E_USAGE)
            fail_msg("case %zu: %d %s", i, rc, err.message);
        if (!strstr(err.message, bad_files[i].says))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.message, bad_files[i].says);
        assert_null(f);
    }
}

/* An enforcement setting that this version cannot honour is an error, not a warning. */
static void unsupported_enforcement_is_an_error(void **state)
{
    struct policy_file *f = NULL;
    struct error err = ERROR_INIT;
    (void)state;
    assert_int_equal(parse(SCOPE("\"hardware\":{}"), &f, &err), E_UNSUPPORTED);
    assert_non_null(strstr(err.message, IN_SCOPE "/hardware: cannot be enforced"));
    assert_null(f);
}

static void longest_scope_of_whole_components_matches(void **state)
{
    static const char text[] = "{\"version\":1,\"scopes\":{\"r.io\":{},\"r.io/acme\":{},"
                               "\"r.io/acme/app\":{},\"r.io:5443/acme\":{}}}";
    static const struct {
        const char *ref, *scope;
    } cases[] = {
        {"r.io/acme/app:v1", "r.io/acme/app"},  {"r.io/acme/app/sub:v1", "r.io/acme/app"},
        {"r.io/acme/other:v1", "r.io/acme"},    {"r.io/acme-evil/app:v1", "r.io"},
        {"r.io/acme/app-evil:v1", "r.io/acme"}, {"r.io:5443/acme/app:v1", "r.io:5443/acme"},
        {"r.io:5444/acme/app:v1", NULL},        {"other.io/acme/app:v1", NULL},
        {"r.io.evil.io/acme:v1", NULL},
    };
    CLEANUP(policy_file_cleanup) struct policy_file *f = NULL;
    struct error err = ERROR_INIT;
    (void)state;
    assert_int_equal(parse(text, &f, &err), OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reference ref = ref_of(cases[i].ref);
        const struct policy_scope *s = policy_file_match(f, &ref);
        if (!cases[i].scope)
            assert_null(s);
        else
            assert_string_equal(s ? s->name : "(none)", cases[i].scope);
    }
}

static void decide_on(const char *system, const char *user, const char *ref_text,
                      struct decision *out, int want)
{
    static struct policy p; /* the decision borrows from it until the next call */
    struct error err = ERROR_INIT;
    struct reference ref = ref_of(ref_text);
    policy_done(&p);
    if (system) {
        assert_int_equal(parse(system, &p.files[p.n_files], &err), OK);
        p.paths[p.n_files] = strdup("/etc/bulla/policy.json");
        p.is_system[p.n_files++] = true;
    }
    if (user) {
        assert_int_equal(parse(user, &p.files[p.n_files], &err), OK);
        p.paths[p.n_files] = strdup("/home/u/policy.json");
        p.is_system[p.n_files++] = false;
    }
    assert_int_equal(policy_decide(&p, &ref, out, &err), want);
}

static void nothing_is_allowed_without_a_scope(void **state)
{
    struct decision d;
    (void)state;
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
    assert_false(d.allowed);
    decide_on("{\"version\":1}", NULL, "r.io/a:v1", &d, OK);
    assert_false(d.allowed);
    assert_non_null(strstr(d.reason, "policy allow"));
    decide_on("{\"version\":1,\"scopes\":{\"r.io\":{}}}", NULL, "r.io/a:v1", &d, OK);
    assert_true(d.allowed);
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
}

static void all_files_must_allow_and_constraints_intersect(void **state)
{
    static const char system[] =
        "{\"version\":1,\"scopes\":{\"r.io\":{\"refresh\":\"30s\",\"maxAge\":\"2h\","
        "\"offlineGrace\":\"1h\",\"root\":{\"file\":\"/s\"}}}}";
    static const char user[] = "{\"version\":1,\"scopes\":{\"r.io/a\":{\"maxAge\":\"1h\","
                               "\"offlineGrace\":\"0\",\"superseded\":\"refuse\"}}}";
    struct decision d;
    (void)state;
    decide_on(system, user, "r.io/a:v1", &d, OK);
    assert_true(d.allowed);
    assert_int_equal(d.refresh_s, 30);
    assert_int_equal(d.max_age_s, 3600);
    assert_int_equal(d.offline_grace_s, 0);
    assert_true(d.refuse_superseded);
    assert_string_equal(d.anchor->root_file, "/s");
    decide_on(system, user, "r.io/b:v1", &d, OK);
    assert_false(d.allowed);
    /* The user's file may not replace the system's anchor. */
    decide_on(system, "{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{\"file\":\"/u\"}}}}",
              "r.io/a:v1", &d, E_POLICY);
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
}

static void all_rules_of_all_files_hold(void **state)
{
    static const char *const rules[] = {
        SCOPE("\"tags\":{\"allow\":[\"v*\"]},\"tofu\":true,\"offlineGrace\":\"1h\""),
        SCOPE("\"tags\":{\"deny\":[\"v0*\"]},\"superseded\":\"refuse\",\"offlineGrace\":\"2h\""),
    };
    struct decision d;
    (void)state;
    for (size_t i = 0; i < 2; i++) { /* whichever stands in which file */
        decide_on(rules[i], rules[1 - i], "r.io/a:v1", &d, OK);
        assert_true(d.allowed && d.refuse_superseded && !d.allow_tofu);
        assert_int_equal(d.offline_grace_s, 3600);
        decide_on(rules[i], rules[1 - i], "r.io/a:v0.1", &d, OK);
        assert_true(d.denied && !d.allowed);
        decide_on(rules[i], rules[1 - i], "r.io/a:w1", &d, OK);
        assert_true(d.denied && !d.allowed);
        /* A denial stays one whatever the other file is silent about. */
        decide_on(rules[i], "{\"version\":1}", i ? "r.io/a:v0" : "r.io/a:w1", &d, OK);
        assert_true(d.denied && !d.allowed);
    }
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
}

/* A scope has what is written in it; the wider one is another rule, not its beginning. */
static void nothing_is_inherited(void **state)
{
    static const char rules[] =
        "{\"version\":1,\"scopes\":{\"r.io\":{\"maxAge\":\"1h\",\"tags\":{\"deny\":[\"v1\"]},"
        "\"collection\":\"x/\",\"root\":{\"file\":\"/r\"},\"signedBy\":[\"a\"]},\"r.io/a\":{}}}";
    struct decision d;
    (void)state;
    decide_on(rules, NULL, "r.io/a:v1", &d, OK);
    assert_true(d.allowed && !d.anchor && d.max_age_s == -1 && !d.scopes[0]->n_signed_by);
    assert_string_equal(d.collection, "a");
    decide_on(rules, NULL, "r.io/b:v1", &d, OK);
    assert_true(d.denied);
    assert_string_equal(d.collection, "x/b");
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
}

/* Where the system has a scope, its word on anchor and collection is the only one, even none. */
static void only_the_system_binds_where_it_has_a_scope(void **state)
{
    static const char *const users[] = {SCOPE("\"root\":{\"file\":\"/u\"}"),
                                        SCOPE("\"collection\":\"other\"")};
    struct decision d;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        decide_on("{\"version\":1,\"scopes\":{\"r.io\":{}}}", users[i], "r.io/a:v1", &d, E_POLICY);
        decide_on(SCOPE("\"collection\":\"s\""), users[i], "r.io/a:v1", &d, E_POLICY);
        decide_on("{\"version\":1,\"scopes\":{\"r.io/b\":{}}}", users[i], "r.io/a:v1", &d, OK);
        assert_false(d.allowed);
        decide_on(NULL, users[i], "r.io/a:v1", &d, OK);
        assert_true(d.allowed);
    }
    decide_on(SCOPE("\"collection\":\"s\",\"root\":{\"file\":\"/s\"}"), SCOPE(""), "r.io/a:v1", &d,
              OK);
    assert_string_equal(d.collection, "s");
    assert_string_equal(d.anchor->root_file, "/s");
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
}

static void tag_rules(void **state)
{
    static const char rules[] = "{\"version\":1,\"scopes\":{\"r.io\":{\"tags\":{\"allow\":[\"v*\","
                                "\"?.0\"],\"deny\":[\"v0*\"]}}}}";
    struct decision d;
    (void)state;
    decide_on(rules, NULL, "r.io/a:v1", &d, OK);
    assert_true(d.allowed && !d.denied);
    decide_on(rules, NULL, "r.io/a:2.0", &d, OK);
    assert_true(d.allowed);
    decide_on(rules, NULL, "r.io/a:v0.1", &d, OK);
    assert_true(!d.allowed && d.denied);
    decide_on(rules, NULL, "r.io/a", &d, OK); /* latest */
    assert_true(d.denied);
    /* Tag rules never permit a bare digest implicitly. */
    decide_on(rules, NULL, "r.io/a@sha256:" ID64, &d, OK);
    assert_true(d.denied);
    decide_on(SCOPE("\"tags\":{\"allow\":[\"*\"]}"), NULL, "r.io/a@sha256:" ID64, &d, OK);
    assert_true(d.denied);
    decide_on(SCOPE("\"tags\":{\"allow\":[\"sha256:*\"]}"), NULL, "r.io/a@sha256:" ID64, &d, OK);
    assert_true(d.allowed);
    decide_on(SCOPE("\"tags\":{\"allow\":[\"sha256:*\"]}"), NULL, "r.io/a:v1", &d, OK);
    assert_true(d.denied);
    decide_on(SCOPE("\"tags\":{\"deny\":[\"sha256:*\"]}"), NULL, "r.io/a@sha256:" ID64, &d, OK);
    assert_true(d.denied);
    decide_on(SCOPE(""), NULL, "r.io/a@sha256:" ID64, &d, OK);
    assert_true(d.allowed);
    /* Beside a digest, the tag is what the rules are about. */
    decide_on(rules, NULL, "r.io/a:v1@sha256:" ID64, &d, OK);
    assert_true(d.allowed);
    decide_on(rules, NULL, "r.io/a:v0@sha256:" ID64, &d, OK);
    assert_true(d.denied);
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
}

static void collections_are_mapped_by_whole_prefix(void **state)
{
    struct decision d;
    (void)state;
    decide_on("{\"version\":1,\"scopes\":{\"m.io/mirror\":{\"collection\":\"acme/\"}}}", NULL,
              "m.io/mirror/app/x:v1", &d, OK);
    assert_string_equal(d.collection, "acme/app/x");
    decide_on("{\"version\":1,\"scopes\":{\"m.io/app\":{\"collection\":\"acme/app\"}}}", NULL,
              "m.io/app:v1", &d, OK);
    assert_string_equal(d.collection, "acme/app");
    decide_on("{\"version\":1,\"scopes\":{\"m.io\":{\"collection\":\"acme/app\"}}}", NULL,
              "m.io/app:v1", &d, E_INVALID);
    decide_on("{\"version\":1,\"scopes\":{\"m.io\":{\"collection\":\"acme/\"}}}", NULL,
              "m.io/app:v1", &d, OK);
    assert_string_equal(d.collection, "acme/app");
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
}

static void mirrors_stand_for_the_scope_in_order(void **state)
{
    struct decision d;
    (void)state;
    decide_on(
        "{\"version\":1,\"scopes\":{\"r.io/acme\":{\"mirrors\":[\"m.io:5000/cache/x\",\"n.io\"]}}}",
        "{\"version\":1,\"scopes\":{\"r.io\":{\"mirrors\":[\"n.io\",\"o.io\"]}}}",
        "r.io/acme/app:v1", &d, OK);
    assert_int_equal(d.n_mirrors, 4);
    assert_string_equal(d.mirrors[0].host, "m.io:5000");
    assert_string_equal(d.mirrors[0].repository, "cache/x/app");
    assert_string_equal(d.mirrors[1].host, "n.io");
    assert_string_equal(d.mirrors[1].repository, "app");
    assert_string_equal(d.mirrors[2].host, "n.io");
    assert_string_equal(d.mirrors[2].repository, "acme/app");
    assert_string_equal(d.mirrors[3].repository, "acme/app");
    decide_on("{\"version\":1,\"scopes\":{\"r.io/acme/app\":{\"mirrors\":[\"m.io/other\"]}}}", NULL,
              "r.io/acme/app:v1", &d, OK);
    assert_string_equal(d.mirrors[0].repository, "other");
    /* Nothing is left that could be a repository's name. */
    decide_on("{\"version\":1,\"scopes\":{\"r.io/acme\":{\"mirrors\":[\"m.io\"]}}}", NULL,
              "r.io/acme:v1", &d, E_INVALID);
    decide_on(NULL, NULL, "r.io/a:v1", &d, OK);
    assert_int_equal(d.n_mirrors, 0);
}

static void allow_writes_what_it_reads_and_keeps_the_rest(void **state)
{
    const struct scratch *s = *state;
    const char *path = scratch_name(s, "deep/policy.json");
    struct anchor file = {.root_file = (char *)(uintptr_t) "/r.json", .min_version = 1};
    struct anchor keys = {.n_keys = 1, .threshold = 1, .min_version = 3};
    struct error err = ERROR_INIT;
    memcpy(keys.keys[0].text, ID64, sizeof ID64);
    assert_int_equal(policy_allow(path, "r.io/a", &file, NULL, &err), OK);
    assert_int_equal(policy_allow(path, "r.io/b", &keys, NULL, &err), OK);
    assert_int_equal(policy_allow(path, "r.io/../b", &keys, NULL, &err), E_USAGE);
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(policy_file_cleanup) struct policy_file *f = NULL;
    assert_int_equal(file_read(s->fd, "deep/policy.json", 65536, &text, &err), OK);
    assert_int_equal(policy_file_parse(text.data, text.len, path, &f, &err), OK);
    assert_int_equal(policy_file_n_scopes(f), 2);
    assert_string_equal(policy_file_scope(f, 0)->anchor.root_file, "/r.json");
    assert_int_equal(policy_file_scope(f, 1)->anchor.min_version, 3);
    assert_int_equal(policy_file_scope(f, 1)->anchor.threshold, 1);
}

/* What we would refuse to read must never be written over. */
static void allow_leaves_a_bad_file_alone(void **state)
{
    const struct scratch *s = *state;
    struct anchor anchor = {.root_file = (char *)(uintptr_t) "/r.json", .min_version = 1};
    struct error err = ERROR_INIT;
    scratch_write_text(s, "policy.json", "{\"version\":1,\"oops\":1}");
    assert_int_equal(policy_allow(scratch_name(s, "policy.json"), "r.io/a", &anchor, NULL, &err),
                     E_INVALID);
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    assert_int_equal(file_read(s->fd, "policy.json", 65536, &text, &err), OK);
    assert_string_equal(bytes_text(&text), "{\"version\":1,\"oops\":1}");
}

/* Where nobody named the file, its owner and mode must vouch for it. */
static void files_of_others_are_no_policy(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct policy p;
    scratch_write_text(s, "user.json", "{\"version\":1}");
    struct policy_options o = {.system_path = scratch_name(s, "none.json"),
                               .user_path = scratch_name(s, "user.json")};
    assert_int_equal(chmod(o.user_path, 0666), 0);
    assert_int_equal(policy_load(&o, &p, &err), E_POLICY);
    assert_non_null(strstr(err.message, "others may write"));
    assert_int_equal(chmod(o.user_path, 0644), 0);
    assert_int_equal(policy_load(&o, &p, &err), OK);
    policy_done(&p);
    if (geteuid() != 0)
        return;
    assert_int_equal(chown(o.user_path, 65534, (gid_t)-1), 0);
    assert_int_equal(policy_load(&o, &p, &err), E_POLICY);
    o.override = o.user_path; /* named: meant */
    assert_int_equal(policy_load(&o, &p, &err), OK);
    policy_done(&p);
}

static void loading_follows_the_layers(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct policy p;
    scratch_write_text(s, "system.json", "{\"version\":1}");
    scratch_write_text(s, "user.json", "{\"version\":1}");
    struct policy_options o = {.system_path = scratch_name(s, "system.json"),
                               .user_path = scratch_name(s, "user.json")};
    assert_int_equal(policy_load(&o, &p, &err), OK);
    assert_int_equal(p.n_files, 2);
    policy_done(&p);
    o.override = scratch_name(s, "missing.json");
    assert_int_equal(policy_load(&o, &p, &err), E_NOTFOUND); /* never "no policy, go on" */
    o.override = scratch_name(s, "user.json");
    assert_int_equal(policy_load(&o, &p, &err), OK);
    assert_int_equal(p.n_files, 2); /* the system's file stays in force */
    assert_true(p.is_system[0] && !p.is_system[1]);
    policy_done(&p);
    o.is_root = true;
    assert_int_equal(policy_load(&o, &p, &err), OK);
    assert_int_equal(p.n_files, 1);
    policy_done(&p);
    scratch_write_text(s, "user.json", "{");
    assert_int_equal(policy_load(&o, &p, &err), E_INVALID);
}

static void globs(void **state)
{
    (void)state;
    assert_true(policy_glob("v*", "v1"));
    assert_true(policy_glob("*", ""));
    assert_true(policy_glob("a*b*c", "aXbYbZc"));
    assert_true(policy_glob("?", "x"));
    assert_false(policy_glob("v*", "x1"));
    assert_false(policy_glob("a*b", "ab1"));
    assert_false(policy_glob("", "x"));
    assert_false(policy_glob("?", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_is_read),
        cmocka_unit_test(bad_files_are_refused_with_their_place),
        cmocka_unit_test(unsupported_enforcement_is_an_error),
        cmocka_unit_test(longest_scope_of_whole_components_matches),
        cmocka_unit_test(nothing_is_allowed_without_a_scope),
        cmocka_unit_test(all_files_must_allow_and_constraints_intersect),
        cmocka_unit_test(all_rules_of_all_files_hold),
        cmocka_unit_test(nothing_is_inherited),
        cmocka_unit_test(only_the_system_binds_where_it_has_a_scope),
        cmocka_unit_test(tag_rules),
        cmocka_unit_test(collections_are_mapped_by_whole_prefix),
        cmocka_unit_test(mirrors_stand_for_the_scope_in_order),
        cmocka_unit_test_setup_teardown(allow_writes_what_it_reads_and_keeps_the_rest,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(allow_leaves_a_bad_file_alone, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(files_of_others_are_no_policy, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(loading_follows_the_layers, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(globs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
