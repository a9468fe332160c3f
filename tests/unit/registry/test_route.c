/* From raw paths to operations: what is reachable, and what is refused before anything is looked
 * up. */
#include "registry/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID32  "00112233445566778899aabbccddeeff"

struct good {
    const char *path;
    enum route_kind kind;
    const char *repository, *rest; /* rest: tag, role, target or upload */
};

static const struct good good[] = {
    {"/v2", ROUTE_BASE, "", ""},
    {"/v2/", ROUTE_BASE, "", ""},
    {"/v2/_catalog", ROUTE_CATALOG, "", ""},
    {"/v2/a/tags/list", ROUTE_TAGS, "a", ""},
    {"/v2/acme/app/manifests/v1", ROUTE_MANIFEST, "acme/app", "v1"},
    {"/v2/acme/app/manifests/sha256:" HEX64, ROUTE_MANIFEST, "acme/app", ""},
    {"/v2/acme/app/manifests/sha256%3a" HEX64, ROUTE_MANIFEST, "acme/app", ""},
    {"/v2/acme/app/blobs/sha256:" HEX64, ROUTE_BLOB, "acme/app", ""},
    {"/v2/acme/app/blobs/sha512:" HEX64 HEX64, ROUTE_BLOB, "acme/app", ""},
    {"/v2/acme/app/blobs/uploads/", ROUTE_UPLOADS, "acme/app", ""},
    {"/v2/acme/app/blobs/uploads", ROUTE_UPLOADS, "acme/app", ""},
    {"/v2/acme/app/blobs/uploads/" ID32, ROUTE_UPLOAD, "acme/app", ID32},
    {"/v2/acme/app/referrers/sha256:" HEX64, ROUTE_REFERRERS, "acme/app", ""},
    {"/v2/acme/app/_trust/tuf/", ROUTE_TRUST, "acme/app", ""},
    {"/v2/acme/app/_trust/tuf/timestamp.json", ROUTE_TRUST_FILE, "acme/app", "timestamp"},
    {"/v2/acme/app/_trust/tuf/12.root.json", ROUTE_TRUST_FILE, "acme/app", "root"},
    {"/v2/acme/app/_trust/tuf/3.rel.1.json", ROUTE_TRUST_FILE, "acme/app", "rel.1"},
    {"/v2/acme/app/_trust/tuf/snapshot.key", ROUTE_TRUST_KEY, "acme/app", "snapshot"},
    {"/v2/acme/app/_trust/targets/" HEX64 ".v1.2", ROUTE_TRUST_TARGET, "acme/app", "v1.2"},
    {"/v2/acme/app/_trust/targets/" HEX64 ".sha256:" HEX64, ROUTE_TRUST_TARGET, "acme/app",
     "sha256:" HEX64},
    {"/v2/acme/app/_trust/mirror", ROUTE_TRUST_MIRROR, "acme/app", ""},
    /* keywords as components of names */
    {"/v2/blobs/manifests/v1", ROUTE_MANIFEST, "blobs", "v1"},
    {"/v2/a/blobs/uploads/manifests/v1", ROUTE_MANIFEST, "a/blobs/uploads", "v1"},
    {"/v2/a/manifests/tags/list", ROUTE_TAGS, "a/manifests", ""},
    {"/v2/a/blobs/uploads/blobs/uploads/", ROUTE_UPLOADS, "a/blobs/uploads", ""},
    {"/v2/uploads/blobs/sha256:" HEX64, ROUTE_BLOB, "uploads", ""},
    {"/v2/v2/tags/list", ROUTE_TAGS, "v2", ""},
};

static void good_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const struct good *g = &good[i];
        struct route route;
        struct error err = ERROR_INIT;
        const char *code = NULL;
        int rc = route_parse(g->path, &route, &code, &err);
        if (rc != 0)
            fail_msg("%s: %s", g->path, err.message);
        if (route.kind != g->kind || strcmp(route.repository, g->repository) != 0)
            fail_msg("%s: kind %d, repository '%s'", g->path, route.kind, route.repository);
        char rest[256];
        snprintf(rest, sizeof rest, "%s%s%s%s", route.tag, route.upload, route.role, route.target);
        assert_string_equal(rest, g->rest);
    }
}

static void versions_and_digests(void **state)
{
    (void)state;
    struct route route;
    const char *code = NULL;
    char text[DIGEST_TEXT_MAX];
    assert_int_equal(route_parse("/v2/a/_trust/tuf/12.root.json", &route, &code, NULL), 0);
    assert_int_equal(route.version, 12);
    assert_int_equal(route_parse("/v2/a/_trust/tuf/timestamp.json", &route, &code, NULL), 0);
    assert_int_equal(route.version, 0);
    assert_int_equal(route_parse("/v2/a/blobs/sha256:" HEX64, &route, &code, NULL), 0);
    assert_string_equal(digest_format(&route.digest, text), "sha256:" HEX64);
    assert_int_equal(route_parse("/v2/a/manifests/v1", &route, &code, NULL), 0);
    assert_int_equal(route.digest.alg, DIGEST_NONE);
}

struct bad {
    const char *path, *code;
    int rc;
};

static const struct bad bad[] = {
    {"", "UNSUPPORTED", E_NOTFOUND},
    {"v2/", "UNSUPPORTED", E_NOTFOUND},
    {"*", "UNSUPPORTED", E_NOTFOUND},
    {"https://evil.example/v2/", "UNSUPPORTED", E_NOTFOUND},
    {"/", "UNSUPPORTED", E_NOTFOUND},
    {"/v1/", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a", "UNSUPPORTED", E_NOTFOUND},
    {"/v2//", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/_catalog/", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/tags/list/", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/%6danifests/v1", "UNSUPPORTED", E_NOTFOUND},
    /* names */
    {"/v2/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/manifests/v1", "NAME_INVALID", E_INVALID},
    {"/v2//tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a//b/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a/../b/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a/%2e%2e/b/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a%2Fb/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a%00b/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/A/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a_trust/_trust/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a/_trust/tuf/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/-a/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a./tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a b/tags/list", "NAME_INVALID", E_INVALID},
    {"/v2/a\\b/tags/list", "NAME_INVALID", E_INVALID},
    /* tags and digests */
    {"/v2/a/manifests/", "NAME_INVALID", E_INVALID},
    {"/v2/a/manifests/.x", "NAME_INVALID", E_INVALID},
    {"/v2/a/manifests/a%2Fb", "NAME_INVALID", E_INVALID},
    {"/v2/a/manifests/a%00", "NAME_INVALID", E_INVALID},
    {"/v2/a/manifests/sha256:totallywrong", "DIGEST_INVALID", E_INVALID},
    {"/v2/a/blobs/sha256:..%2F..%2Fx", "DIGEST_INVALID", E_INVALID},
    {"/v2/a/blobs/sha256:../../x", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/blobs/SHA256:" HEX64, "DIGEST_INVALID", E_INVALID},
    {"/v2/a/blobs/sha256-" HEX64, "DIGEST_INVALID", E_INVALID},
    {"/v2/a/blobs/sha256:" HEX64 "0", "DIGEST_INVALID", E_INVALID},
    {"/v2/a/blobs/sha256:0123456789abcdef", "DIGEST_INVALID", E_INVALID},
    {"/v2/a/blobs/sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
     "DIGEST_INVALID", E_INVALID},
    {"/v2/a/blobs/sha512:" HEX64, "DIGEST_INVALID", E_INVALID},
    {"/v2/a/blobs/", "DIGEST_INVALID", E_INVALID},
    /* uploads */
    {"/v2/a/blobs/uploads/1", "BLOB_UPLOAD_UNKNOWN", E_NOTFOUND},
    {"/v2/a/blobs/uploads/..%2F..%2F", "BLOB_UPLOAD_UNKNOWN", E_NOTFOUND},
    {"/v2/a/blobs/uploads/" ID32 "0", "BLOB_UPLOAD_UNKNOWN", E_NOTFOUND},
    /* trust */
    {"/v2/a/_trust/tuf/x", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/tuf/.json", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/tuf/0.root.json", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/tuf/01.root.json", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/tuf/99999999999999999999.root.json", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/tuf/1.Root.json", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/tuf/1.%2e%2e.json", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/targets/" HEX64, "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/targets/" HEX64 ".", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/a/_trust/targets/0.v1", "UNSUPPORTED", E_NOTFOUND},
    {"/v2/_trust/tuf/", "NAME_INVALID", E_INVALID},
};

static void bad_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct route route = {.kind = ROUTE_REFERRERS};
        struct error err = ERROR_INIT;
        const char *code = NULL;
        int rc = route_parse(bad[i].path, &route, &code, &err);
        if (rc != bad[i].rc || strcmp(code, bad[i].code) != 0)
            fail_msg("'%s': %d %s: %s", bad[i].path, rc, code, err.message);
        assert_int_equal(route.kind, ROUTE_REFERRERS);
    }
}

static void unknown_algorithm_is_said(void **state)
{
    (void)state;
    struct route route;
    const char *code = NULL;
    assert_int_equal(
        route_parse("/v2/a/blobs/md5:0123456789abcdef0123456789abcdef", &route, &code, NULL),
        E_UNSUPPORTED);
    assert_string_equal(code, "DIGEST_INVALID");
}

static void long_names(void **state)
{
    (void)state;
    char path[2048] = "/v2/";
    struct route route;
    const char *code = NULL;
    memset(path + 4, 'a', 255);
    strcpy(path + 4 + 255, "/tags/list");
    assert_int_equal(route_parse(path, &route, &code, NULL), 0);
    memset(path + 4, 'a', 256);
    strcpy(path + 4 + 256, "/tags/list");
    assert_int_equal(route_parse(path, &route, &code, NULL), E_INVALID);
    assert_string_equal(code, "NAME_INVALID");
    memset(path + 4, '/', 1500);
    strcpy(path + 4 + 1500, "/tags/list");
    assert_int_equal(route_parse(path, &route, &code, NULL), E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_paths), cmocka_unit_test(versions_and_digests),
        cmocka_unit_test(bad_paths),  cmocka_unit_test(unknown_algorithm_is_said),
        cmocka_unit_test(long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
