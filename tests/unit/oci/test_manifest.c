#include "oci/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define D1     "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2     "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define EMPTY  "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" /* {} */
#define CONFIG "{\"mediaType\":\"" MEDIA_OCI_CONFIG "\",\"digest\":\"" D1 "\",\"size\":7}"
#define LAYER  "{\"mediaType\":\"" MEDIA_OCI_LAYER_GZIP "\",\"digest\":\"" D2 "\",\"size\":9}"
#define IMAGE  "\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER "]"

static int parse(const char *text, const char *type, struct manifest **m)
{
    struct error err = ERROR_INIT;
    *m = NULL;
    int rc = manifest_parse(text, strlen(text), type, m, &err);
    assert_int_equal(rc, err.code);
    assert_true(rc == OK || *m == NULL);
    return rc;
}

static void reads_an_image(void **state)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    char text[DIGEST_TEXT_MAX];
    (void)state;
    assert_int_equal(parse("{" IMAGE ",\"annotations\":{\"a\":\"b\"},\"unknown\":[1]}",
                           MEDIA_OCI_MANIFEST "; charset=utf-8", &m),
                     OK);
    assert_int_equal(m->kind, MANIFEST_IMAGE);
    assert_string_equal(m->media_type, MEDIA_OCI_MANIFEST);
    assert_string_equal(digest_format(&m->config.digest, text), D1);
    assert_int_equal(m->n_layers, 1);
    assert_string_equal(digest_format(&m->layers[0].digest, text), D2);
    assert_int_equal(m->layers[0].size, 9);
    assert_string_equal(m->artifact_type, MEDIA_OCI_CONFIG);
    assert_string_equal(js_text(js_get(m->annotations, "a")), "b");
    assert_false(m->has_subject);
}

static void reads_docker_and_typeless_documents(void **state)
{
    CLEANUP(manifest_cleanup) struct manifest *docker = NULL;
    CLEANUP(manifest_cleanup) struct manifest *index = NULL;
    CLEANUP(manifest_cleanup) struct manifest *empty = NULL;
    CLEANUP(manifest_cleanup) struct manifest *bare = NULL;
    (void)state;
    assert_int_equal(
        parse("{\"mediaType\":\"" MEDIA_DOCKER_MANIFEST "\"," IMAGE "}", NULL, &docker), OK);
    assert_int_equal(docker->kind, MANIFEST_IMAGE);
    assert_int_equal(parse("{\"schemaVersion\":2,\"manifests\":[" LAYER "]}", "", &index), OK);
    assert_int_equal(index->kind, MANIFEST_INDEX);
    assert_string_equal(index->media_type, MEDIA_OCI_INDEX);
    assert_int_equal(index->config.digest.alg, DIGEST_NONE);
    assert_int_equal(parse("{\"schemaVersion\":2,\"manifests\":[]}", MEDIA_DOCKER_LIST, &empty),
                     OK);
    assert_int_equal(empty->n_manifests, 0);
    assert_int_equal(
        parse("{\"schemaVersion\":2,\"layers\":null,\"config\":" CONFIG "}", "", &bare), OK);
    assert_int_equal(bare->n_layers, 0);
}

static void reads_subject_and_artifact_type(void **state)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    (void)state;
    assert_int_equal(parse("{" IMAGE ",\"subject\":" LAYER ",\"artifactType\":\"text/plain\"}",
                           MEDIA_OCI_MANIFEST, &m),
                     OK);
    assert_true(m->has_subject);
    assert_int_equal(m->subject.size, 9);
    assert_string_equal(m->artifact_type, "text/plain");
}

struct bad_case {
    const char *text, *type;
    int code;
};

static void refuses_ambiguous_and_broken_documents(void **state)
{
    static const struct bad_case cases[] = {
        /* CVE-2021-41190: manifest and index at once */
        {"{" IMAGE ",\"manifests\":[]}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"manifests\":[]}", MEDIA_OCI_INDEX, E_INVALID},
        {"{" IMAGE ",\"manifests\":null}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", MEDIA_OCI_INDEX, E_INVALID},
        {"{\"schemaVersion\":2,\"manifests\":[],\"config\":" CONFIG "}", "", E_INVALID},
        {"{" IMAGE ",\"fsLayers\":[]}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{\"mediaType\":\"" MEDIA_OCI_INDEX "\"," IMAGE "}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{\"mediaType\":\"" MEDIA_DOCKER_MANIFEST "\"," IMAGE "}", MEDIA_OCI_MANIFEST, E_INVALID},
        /* readers that ignore case */
        {"{" IMAGE ",\"layers\":[]}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"Layers\":[]}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"layer\xC5\xBF\":[]}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"MANIFESTS\":[]}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"subject\":{\"mediaType\":\"a/b\",\"digest\":\"" D1
         "\",\"size\":1,\"Digest\":\"" D2 "\"}}",
         MEDIA_OCI_MANIFEST, E_INVALID},
        /* types */
        {"{" IMAGE "}", "application/json", E_UNSUPPORTED},
        {"{" IMAGE "}", "nonsense", E_INVALID},
        {"{\"schemaVersion\":2}", "", E_UNSUPPORTED},
        {"{\"schemaVersion\":2}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}", "", E_UNSUPPORTED},
        {"{\"schemaVersion\":3}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{\"schemaVersion\":2.0}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{\"config\":" CONFIG ",\"layers\":[]}", "", E_INVALID},
        {"[]", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE "} x", MEDIA_OCI_MANIFEST, E_INVALID},
        {"", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"annotations\":{\"a\":1}}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"annotations\":[]}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"artifactType\":\"x\"}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{" IMAGE ",\"subject\":7}", MEDIA_OCI_MANIFEST, E_INVALID},
        {"{\"schemaVersion\":2,\"config\":7,\"layers\":[]}", "", E_INVALID},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}", "", E_INVALID},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(manifest_cleanup) struct manifest *m = NULL;
        int rc = parse(cases[i].text, cases[i].type, &m);
        if (rc != cases[i].code)
            fail_msg("case %zu gave %d: %s", i, rc, cases[i].text);
    }
}

static int parse_any(const char *text, const char *type, struct manifest **m)
{
    manifest_cleanup(m);
    return manifest_parse_any(text, strlen(text), type, m, NULL);
}

static void keeps_documents_of_other_types(void **state)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    char text[DIGEST_TEXT_MAX];
    (void)state;
    assert_int_equal(parse_any("{\"blobs\":[" LAYER ",7],\"subject\":" CONFIG
                               ",\"artifactType\":\"a/b\",\"annotations\":{\"k\":\"v\"},\"x\":1.5}",
                               "application/vnd.oci.artifact.manifest.v1+json", &m),
                     OK);
    assert_int_equal(m->kind, MANIFEST_OTHER);
    assert_int_equal(m->n_layers, 1);
    assert_string_equal(digest_format(&m->layers[0].digest, text), D2);
    assert_true(m->has_subject);
    assert_string_equal(digest_format(&m->subject.digest, text), D1);
    assert_string_equal(m->artifact_type, "a/b");
    assert_string_equal(js_text(js_get(m->annotations, "k")), "v");
    /* members of the same names may be something else there */
    assert_int_equal(parse_any("{\"schemaVersion\":3,\"layers\":{},\"config\":7,\"subject\":\"x\","
                               "\"artifactType\":[],\"annotations\":{\"k\":1},\"manifests\":[" LAYER
                               "]}",
                               "application/vnd.example+json", &m),
                     OK);
    assert_int_equal(m->config.digest.alg, DIGEST_NONE);
    assert_false(m->has_subject);
    assert_null(m->annotations);
    assert_int_equal(m->n_layers, 0);
    assert_int_equal(m->n_manifests, 1);
    /* still refused */
    assert_int_equal(parse_any("{\"mediaType\":\"a/b\"}", "application/x", &m), E_INVALID);
    assert_int_equal(parse_any("[]", "application/x", &m), E_INVALID);
    assert_int_equal(parse_any("{\"schemaVersion\":1}", "application/json", &m), E_UNSUPPORTED);
    assert_int_equal(parse_any("{\"layers\":[],\"Layers\":[]}", "application/x", &m), E_INVALID);
    assert_null(m);
    /* reals are nobody's business, but never a size */
    assert_int_equal(parse_any("{" IMAGE ",\"x\":1.5}", MEDIA_OCI_MANIFEST, &m), OK);
    assert_int_equal(m->kind, MANIFEST_IMAGE);
}

static int parse_descriptor(const char *text)
{
    CLEANUP(js_cleanup) struct js *o = NULL;
    struct error err = ERROR_INIT;
    struct descriptor d = {.size = 99};
    assert_int_equal(js_parse_lax(text, strlen(text), &o, &err), OK);
    int rc = descriptor_parse(o, &d, &err);
    assert_true(rc == OK || d.size == 99);
    return rc;
}

static void refuses_broken_descriptors(void **state)
{
    static const struct bad_case cases[] = {
        {"{\"mediaType\":\"a/b\",\"digest\":\"" D1 "\",\"size\":-1}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" D1 "\",\"size\":1.5}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" D1 "\",\"size\":\"1\"}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" D1 "\"}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"sha256:../../x\",\"size\":1}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" D1 "0\",\"size\":1}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"md5:00\",\"size\":1}", NULL, E_UNSUPPORTED},
        {"{\"mediaType\":\"a/b\",\"size\":1}", NULL, E_INVALID},
        {"{\"mediaType\":\"ab\",\"digest\":\"" D1 "\",\"size\":1}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\\n\",\"digest\":\"" D1 "\",\"size\":1}", NULL, E_INVALID},
        {"{\"digest\":\"" D1 "\",\"size\":1}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" D1 "\",\"size\":1,\"platform\":7}", NULL,
         E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" D1 "\",\"size\":1,\"platform\":{\"os\":"
         "\"0123456789012345678901234567890123456789\"}}",
         NULL, E_INVALID},
        {"[]", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" D1 "\",\"size\":9223372036854775807}", NULL, OK},
        /* embedded content: "{}" */
        {"{\"mediaType\":\"a/b\",\"digest\":\"" EMPTY "\",\"size\":2,\"data\":\"e30=\"}", NULL, OK},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" EMPTY "\",\"size\":3,\"data\":\"e30=\"}", NULL,
         E_DIGEST},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" EMPTY "\",\"size\":2,\"data\":\"e31=\"}", NULL,
         E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" EMPTY "\",\"size\":2,\"data\":\"W10=\"}", NULL,
         E_DIGEST},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" EMPTY "\",\"size\":2,\"data\":\"e30\"}", NULL,
         E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" EMPTY "\",\"size\":2,\"data\":7}", NULL, E_INVALID},
        {"{\"mediaType\":\"a/b\",\"digest\":\"" EMPTY "\",\"size\":2,\"Data\":\"e30=\"}", NULL,
         E_INVALID},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (parse_descriptor(cases[i].text) != cases[i].code)
            fail_msg("case %zu: %s", i, cases[i].text);
}

#define ENTRY(digest, platform)                                                                    \
    "{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"digest\":\"" digest "\",\"size\":1" platform "}"

static void selects_exactly_one_platform(void **state)
{
    static const char text[] =
        "{\"schemaVersion\":2,\"manifests\":[" ENTRY(
            "sha256:0000000000000000000000000000000000000000000000000000000000000000",
            ",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}") "," ENTRY("sha256:"
                                                                                         "000000000"
                                                                                         "000000000"
                                                                                         "000000000"
                                                                                         "000000000"
                                                                                         "000000000"
                                                                                         "000000000"
                                                                                         "000000000"
                                                                                         "1",
                                                                                         "") "," ENTRY("sha256:0000000000000000000000000000000000000000000000000000000000000002",
                                                                                                       ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\",\"variant\":\"v3\"}") "," ENTRY(D1,
                                                                                                                                                                                                   ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}") "," ENTRY(D2, ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}") "," ENTRY(D2, ",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"}") "]}";
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    const struct descriptor *d = NULL;
    struct error err = ERROR_INIT;
    char digest[DIGEST_TEXT_MAX];
    (void)state;
    assert_int_equal(parse(text, "", &m), OK);
    assert_int_equal(manifest_select_platform(m, "linux", "amd64", &d, &err), OK);
    assert_string_equal(digest_format(&d->digest, digest), D1);
    assert_int_equal(manifest_select_platform(m, "linux", "arm64", &d, &err), OK);
    assert_string_equal(digest_format(&d->digest, digest), D2);
    d = NULL;
    assert_int_equal(manifest_select_platform(m, "unknown", "unknown", &d, &err), E_NOTFOUND);
    assert_int_equal(manifest_select_platform(m, "", "", &d, &err), E_NOTFOUND);
    assert_int_equal(manifest_select_platform(m, "linux", "AMD64", &d, &err), E_NOTFOUND);
    assert_null(d);
}

static void limits_hold(void **state)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    (void)state;
    assert_int_equal(
        bytes_append_text(&text, "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER,
                          NULL),
        OK);
    for (int i = 0; i < MANIFEST_MAX_LAYERS; i++)
        assert_int_equal(bytes_append_text(&text, "," LAYER, NULL), OK);
    assert_int_equal(bytes_append_text(&text, "]}", NULL), OK);
    assert_int_equal(parse(bytes_text(&text), "", &m), E_LIMIT);
    bytes_clear(&text);
    assert_int_equal(bytes_reserve(&text, MANIFEST_MAX_BYTES + 1, NULL), OK);
    memset(text.data, ' ', MANIFEST_MAX_BYTES + 1);
    struct error err = ERROR_INIT;
    assert_int_equal(manifest_parse(text.data, MANIFEST_MAX_BYTES + 1, "", &m, &err), E_LIMIT);
}

static void writes_a_descriptor(void **state)
{
    struct descriptor d = {.media_type = "a/b", .digest = {.alg = DIGEST_SHA256}, .size = 5};
    CLEANUP(js_cleanup) struct js *o = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    (void)state;
    assert_int_equal(descriptor_to_js(&d, &o, NULL), OK);
    assert_int_equal(js_write(o, false, &text, NULL), OK);
    assert_string_equal(bytes_text(&text),
                        "{\"mediaType\":\"a/b\",\"digest\":\"sha256:"
                        "0000000000000000000000000000000000000000000000000000000000000000\","
                        "\"size\":5}");
}

static void knows_foreign_layers(void **state)
{
    CLEANUP(js_cleanup) struct js *o = NULL;
    struct descriptor d;
    static const char text[] =
        "{\"mediaType\":\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"digest\":"
        "\"" D1 "\",\"size\":1,\"urls\":[\"http://attacker.example/\"]}";
    (void)state;
    assert_int_equal(js_parse(text, strlen(text), &o, NULL), OK);
    assert_int_equal(descriptor_parse(o, &d, NULL), OK);
    assert_true(d.non_distributable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_an_image),
        cmocka_unit_test(reads_docker_and_typeless_documents),
        cmocka_unit_test(reads_subject_and_artifact_type),
        cmocka_unit_test(refuses_ambiguous_and_broken_documents),
        cmocka_unit_test(keeps_documents_of_other_types),
        cmocka_unit_test(refuses_broken_descriptors),
        cmocka_unit_test(selects_exactly_one_platform),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(writes_a_descriptor),
        cmocka_unit_test(knows_foreign_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
