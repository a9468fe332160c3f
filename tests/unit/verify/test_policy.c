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

static void bad_files_are_refused_with_their_place(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "JSON"},
        {"[]", "object"},
        {"{\"version\":2}", "version"},
        {"{\"version\":1,\"version\":1}", "line 1"},
        {"{\"version\":1,\"sopes\":{}}", "sopes"},
        {"{\"version\":1,\"default\":\"allow\"}", "default"},
        {"{\"version\":1}x", "line 1"},
        {"{\"version\":1,\"scopes\":{\"r.io/A\":{}}}", "/scopes/r.io/A"},
        {"{\"version\":1,\"scopes\":{\"R.io/a\":{}}}", "/scopes/R.io/a"},
        {"{\"version\":1,\"scopes\":{\"r.io/a/\":{}}}", "/scopes/r.io/a/"},
        {"{\"version\":1,\"scopes\":{\"\":{}}}", "/scopes/"},
        {"{\"version\":1,\"scopes\":{\"r.io\":[]}}", "object"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"rot\":{}}}}", "rot"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{}}}}", "root"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{\"file\":\"x\",\"keys\":[\"" ID64
         "\"]}}}}",
         "either"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{\"keys\":[\"abc\"]}}}}", "keys"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{\"keys\":[\"" ID64 "\",\"" ID64 "\"]}}}}",
         "twice"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{\"file\":\"x\",\"minVersion\":0}}}}",
         "minVersion"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{\"file\":\"x\",\"minVersion\":2}}}}",
         "minVersion"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{\"file\":\"x\",\"threshold\":1}}}}",
         "threshold"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"root\":{\"keys\":[\"" ID64
         "\"],\"threshold\":2}}}}",
         "threshold"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"signedBy\":[]}}}", "signedBy"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"signedBy\":[{\"role\":\"a\",\"threshold\":2}]}}}",
         "keys"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"refresh\":\"soon\"}}}", "refresh"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"refresh\":60}}}", "refresh"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"tags\":{\"allow\":[1]}}}}", "strings"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"superseded\":\"maybe\"}}}", "superseded"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"collection\":\"../x\"}}}", "collection"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"run\":{\"user\":\"root\"}}}}", "non-root"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"run\":{\"network\":[\"bridge\"]}}}}", "network"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"run\":{\"memory\":\"lots\"}}}}", "run"},
        {"{\"version\":1,\"scopes\":{\"r.io\":{\"run\":{\"mounts\":[{\"source\":\"data\"}]}}}}",
         "absolute"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct policy_file *f = NULL;
        struct error err = ERROR_INIT;
        int rc = parse(cases[i].text, &f, &err);
        if (rc != E_INVALID && rc != E_USAGE)
            fail_msg("case %zu: %d %s", i, rc, err.message);
        if (!strstr(err.message, cases[i].says))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.message, cases[i].says);
        assert_null(f);
    }
}

/* An enforcement setting that this version cannot honour is an error, not a warning. */
static void unsupported_enforcement_is_an_error(void **state)
{
    struct policy_file *f = NULL;
    struct error err = ERROR_INIT;
    (void)state;
    assert_int_equal(parse("{\"version\":1,\"scopes\":{\"r.io\":{\"hardware\":{}}}}", &f, &err),
                     E_UNSUPPORTED);
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
    /* Tag rules never permit a bare digest. */
    decide_on(rules, NULL, "r.io/a@sha256:" ID64, &d, OK);
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

static void allow_writes_what_it_reads_and_keeps_the_rest(void **state)
{
    const struct scratch *s = *state;
    const char *path = scratch_name(s, "deep/policy.json");
    struct anchor file = {.root_file = (char *)(uintptr_t) "/r.json", .min_version = 1};
    struct anchor keys = {.n_keys = 1, .threshold = 1, .min_version = 3};
    struct error err = ERROR_INIT;
    memcpy(keys.keys[0].text, ID64, sizeof ID64);
    assert_int_equal(policy_allow(path, "r.io/a", &file, &err), OK);
    assert_int_equal(policy_allow(path, "r.io/b", &keys, &err), OK);
    assert_int_equal(policy_allow(path, "r.io/../b", &keys, &err), E_USAGE);
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
    assert_int_equal(policy_allow(scratch_name(s, "policy.json"), "r.io/a", &anchor, &err),
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
        cmocka_unit_test(tag_rules),
        cmocka_unit_test(collections_are_mapped_by_whole_prefix),
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
