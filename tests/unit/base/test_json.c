#include "base/json.h"
#include "tests/support/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct js *parsed(const char *text)
{
    struct error err = ERROR_INIT;
    struct js *v = NULL;
    if (js_parse(text, strlen(text), &v, &err))
        fail_msg("%s: %s", text, err.message);
    return v;
}

static void refused(const char *text, size_t len, int code)
{
    struct error err = ERROR_INIT;
    struct js *const untouched = (struct js *)(uintptr_t)1, *v = untouched;
    int rc = js_parse(text, len, &v, &err);
    if (rc != code)
        fail_msg("'%.60s': code %d (%s) where %d is due", text, rc, err.message, code);
    assert_ptr_equal(v, untouched);
    assert_true(err.message[0] != '\0');
}

static void what_is_not_strict_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "nul",
        "True",
        "NaN",
        "Infinity",
        "-Infinity",
        "undefined",
        "//c\n1",
        "/**/1",
        "[1]//c",
        /* one value, nothing behind it */
        "{}{}",
        "{} x",
        "1 2",
        "[]]",
        "null,",
        "{}\x1f",
        /* duplicates, also where escapes make them look different */
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"x\":{\"a\":1,\"b\":2,\"a\":3}}",
        "{\"layers\":[],\"config\":{},\"layers\":[]}",
        /* numbers */
        "1.0",
        "1e2",
        "1E2",
        "-0.0",
        "[0.5]",
        "{\"a\":{\"b\":[1,2.0]}}",
        "01",
        "-01",
        "+1",
        "1.",
        ".5",
        "0x10",
        "- 1",
        "--1",
        "9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "1e400",
        /* strings */
        "\"\\u0000\"",
        "{\"\\u0000\":1}",
        "\"a\nb\"",
        "\"\t\"",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"unfinished",
        "\"\\\"",
        "\"\x80\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "\"\xf5\x80\x80\x80\"",
        "\"\xe2\x82\"",
        "\xef\xbb\xbf{}",
        "{\"\xff\":1}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(bad[i], strlen(bad[i]), E_INVALID);
}

static void nul_and_length_are_respected(void **state)
{
    (void)state;
    refused("{}\0", 3, E_INVALID);
    refused("\0{}", 3, E_INVALID);
    refused("{\"a\0b\":1}", 9, E_INVALID);
    refused("\"a\0b\"", 5, E_INVALID);
    refused("{\"a\":1}", 6, E_INVALID); /* the length rules, not what lies behind */
}

static void what_is_strict_is_read(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}",
        "[]",
        "0",
        "-1",
        "-0",
        "9223372036854775807",
        "-9223372036854775808",
        "true",
        "null",
        "\"\"",
        " \t\r\n{ } \n",
        "\"\\u00e4\\ud83d\\udc02\\n\\/\"",
        "\"\xc3\xa4\xf0\x9f\x90\x82\"",
        "{\"A\":1,\"a\":2}",
        "[[[]],{\"a\":[{}]}]",
        "\"\x7f\"",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        js_free(parsed(good[i]));
}

static void errors_name_line_and_column(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct js *v = NULL;
    static const char text[] = "{\n  \"a\": 1,\n  \"a\": 2\n}";
    assert_int_equal(js_parse(text, strlen(text), &v, &err), E_INVALID);
    assert_non_null(strstr(err.message, "line 3"));
    assert_non_null(strstr(err.message, "column"));
}

static void nested(char *text, size_t depth, const char *open, const char *close)
{
    *text = '\0';
    for (size_t i = 0; i < depth; i++)
        strcat(text, open);
    strcat(text, "1");
    for (size_t i = 0; i < depth; i++)
        strcat(text, close);
}

static void depth_is_limited(void **state)
{
    (void)state;
    char text[1024];
    nested(text, JS_MAX_DEPTH, "[", "]");
    js_free(parsed(text));
    nested(text, JS_MAX_DEPTH, "{\"a\":", "}");
    js_free(parsed(text));
    nested(text, JS_MAX_DEPTH + 1, "[", "]");
    refused(text, strlen(text), E_LIMIT);
    nested(text, JS_MAX_DEPTH + 1, "{\"a\":", "}");
    refused(text, strlen(text), E_LIMIT);
    /* Brackets in strings, and escaped quotes before them, are no depth. */
    js_free(parsed("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\""));
    js_free(parsed("[\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\\\",1]"));
    CLEANUP(cleanup_free) char *huge = malloc(1u << 20);
    memset(huge, '[', 1u << 20);
    refused(huge, 1u << 20, E_LIMIT);
}

/* n times `part`, as one array. */
static size_t repeated(char *text, const char *part, size_t n)
{
    char *p = text;
    *p++ = '[';
    for (size_t i = 0; i < n; i++)
        p = stpcpy(stpcpy(p, i ? "," : ""), part);
    *p++ = ']';
    return (size_t)(p - text);
}

static void values_are_limited(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_free) char *text = malloc(8u << 20);
    assert_non_null(text);
    /* Short documents may have what they like. */
    struct js *v = NULL;
    assert_int_equal(js_parse(text, repeated(text, "{}", JS_FREE_CONTAINERS - 1), &v, &err), OK);
    js_free(v);
    assert_int_equal(js_parse(text, repeated(text, "1", JS_FREE_MEMBERS), &v, &err), OK);
    js_free(v);
    refused(text, repeated(text, "{}", 1u << 20), E_LIMIT);
    refused(text, repeated(text, "[]", 1u << 20), E_LIMIT);
    refused(text, repeated(text, "1", 2u << 20), E_LIMIT);
    /* A large index as they are: 16,384 entries with platforms and annotations. */
    static const char entry[] =
        "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:"
        "0000000000000000000000000000000000000000000000000000000000000000\",\"size\":1234,"
        "\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"},\"annotations\":{\"a\":\"b\"}}";
    assert_int_equal(js_parse(text, repeated(text, entry, 16384), &v, &err), OK);
    js_free(v);
    /* Commas and brackets in strings are nothing. */
    text[0] = '"';
    memset(text + 1, '{', 4u << 20);
    memset(text + 1, ',', 2u << 20);
    text[(4u << 20) + 1] = '"';
    assert_int_equal(js_parse(text, (4u << 20) + 2, &v, &err), OK);
    js_free(v);
}

static void foreign_documents_may_have_reals(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(js_cleanup) struct js *v = NULL;
    static const char text[] = "{\"a\":1.5,\"b\":2}";
    assert_int_equal(js_parse_lax(text, strlen(text), &v, &err), OK);
    assert_int_equal(js_type(js_get(v, "a")), JS_NULL);
    assert_int_equal(js_number(js_get(v, "a")), 0);
    int64_t n = 7;
    assert_int_equal(js_want_int(v, "a", 0, 9, &n, &err), E_INVALID);
    assert_int_equal(n, 7);
    assert_int_equal(js_number(js_get(v, "b")), 2);
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    assert_int_equal(js_canonical(v, &out, &err), E_INVALID);
    struct js *duplicate = NULL;
    assert_int_equal(js_parse_lax("{\"a\":1,\"a\":2}", 13, &duplicate, &err), E_INVALID);
}

static void members_have_types(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(js_cleanup)
    struct js *v =
        parsed("{\"s\":\"t\",\"i\":5,\"b\":true,\"o\":{\"x\":1},\"a\":[1,\"2\",null],\"n\":null}");
    const char *text = "before";
    int64_t n = -1;
    bool b = false;
    const struct js *o = NULL;
    assert_int_equal(js_want_text(v, "s", &text, &err), OK);
    assert_string_equal(text, "t");
    text = "before";
    assert_int_equal(js_want_text(v, "i", &text, &err), E_INVALID);
    assert_string_equal(err.message, "'i' must be a string");
    assert_int_equal(js_want_text(v, "none", &text, &err), E_INVALID);
    assert_string_equal(err.message, "'none' is missing");
    assert_int_equal(js_opt_text(v, "none", &text, &err), OK);
    assert_int_equal(js_opt_text(v, "n", &text, &err), E_INVALID); /* null is not "missing" */
    assert_int_equal(js_opt_text(v, "b", &text, &err), E_INVALID);
    assert_string_equal(text, "before");
    assert_int_equal(js_want_int(v, "i", 5, 5, &n, &err), OK);
    assert_int_equal(n, 5);
    n = -1;
    assert_int_equal(js_want_int(v, "i", 6, 9, &n, &err), E_INVALID);
    assert_int_equal(js_want_int(v, "i", 0, 4, &n, &err), E_INVALID);
    assert_int_equal(js_want_int(v, "b", 0, 9, &n, &err), E_INVALID);
    assert_int_equal(js_want_int(v, "s", 0, 9, &n, &err), E_INVALID);
    assert_int_equal(js_opt_int(v, "none", 0, 9, &n, &err), OK);
    assert_int_equal(n, -1);
    assert_int_equal(js_want_bool(v, "b", &b, &err), OK);
    assert_true(b);
    assert_int_equal(js_want_bool(v, "i", &b, &err), E_INVALID);
    assert_int_equal(js_opt_bool(v, "n", &b, &err), E_INVALID);
    assert_int_equal(js_want_object(v, "o", &o, &err), OK);
    assert_int_equal(js_count(o), 1);
    assert_int_equal(js_want_object(v, "a", &o, &err), E_INVALID);
    assert_int_equal(js_want_array(v, "a", &o, &err), OK);
    assert_int_equal(js_count(o), 3);
    assert_string_equal(js_text(js_at(o, 1)), "2");
    assert_null(js_at(o, 3));
    assert_int_equal(js_want_array(v, "o", &o, &err), E_INVALID);
    assert_int_equal(js_opt_array(v, "none", &o, &err), OK);
    assert_int_equal(js_opt_object(v, "s", &o, &err), E_INVALID);
    /* Nothing, or another type, is answered, not dereferenced. */
    assert_null(js_get(NULL, "x"));
    assert_null(js_get(o, "x"));
    assert_null(js_text(NULL));
    assert_int_equal(js_type(NULL), JS_NULL);
    assert_int_equal(js_count(NULL), 0);
    assert_int_equal(js_number(NULL), 0);
    assert_int_equal(js_want_text(NULL, "x", &text, &err), E_INVALID);
}

static void unknown_members_are_named(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(js_cleanup) struct js *v = parsed("{\"a\":1,\"A\":2}");
    assert_int_equal(js_only_keys(v, (const char *const[]){"a", NULL}, &err), E_INVALID);
    assert_string_equal(err.message, "unknown member 'A'");
    assert_int_equal(js_only_keys(v, (const char *const[]){"A", "b", "a", NULL}, &err), OK);
}

static void order_is_kept(void **state)
{
    (void)state;
    CLEANUP(js_cleanup) struct js *v = parsed("{\"z\":1,\"a\":2,\"m\":3}");
    static const char *const order[] = {"z", "a", "m"};
    size_t i = 0;
    js_foreach (v, it) {
        assert_string_equal(it.key, order[i]);
        assert_int_equal(js_number(it.value), ++i);
    }
    assert_int_equal(i, 3);
}

static void canonical_form(void **state)
{
    (void)state;
    /* Source: the first five are securesystemslib's encode_canonical documentation and tests. */
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"\"\"", "\"\""},
        {"[1, 2, 3]", "[1,2,3]"},
        {"[]", "[]"},
        {"{\"A\": [99]}", "{\"A\":[99]}"},
        {"{\"x\" : 3, \"y\" : 2}", "{\"x\":3,\"y\":2}"},
        {"{\"y\":2,\"x\":3,\"\":null,\"X\":true}", "{\"\":null,\"X\":true,\"x\":3,\"y\":2}"},
        {"\"a\\\"b\\\\c\\/d\"", "\"a\\\"b\\\\c/d\""},
        {"\"\\n\\t\\u0001\\u007f\"", "\"\n\t\x01\x7f\""}, /* raw: only \ and " are escaped */
        {"\"\\u00e4\\ud83d\\udc02\"", "\"\xc3\xa4\xf0\x9f\x90\x82\""},
        {"-0", "0"},
        {"[-9223372036854775808,9223372036854775807]",
         "[-9223372036854775808,9223372036854775807]"},
        {"{\"\\ud83d\\udc02\":1,\"\\uff41\":2,\"ab\":3,\"a\":4}",
         "{\"a\":4,\"ab\":3,\"\xef\xbd\x81\":2,\"\xf0\x9f\x90\x82\":1}"},
        {"{\"a\":{\"d\":[{\"z\":false,\"y\":\"\"}],\"c\":1}}",
         "{\"a\":{\"c\":1,\"d\":[{\"y\":\"\",\"z\":false}]}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        CLEANUP(js_cleanup) struct js *v = parsed(cases[i].in);
        CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
        assert_int_equal(js_canonical(v, &out, &err), OK);
        assert_string_equal(bytes_text(&out), cases[i].out);
    }
}

static void documents_are_made_and_changed(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(js_cleanup) struct js *v = js_object_new();
    struct js *list = js_array_new();
    assert_int_equal(js_push(list, js_int_new(1), &err), OK);
    assert_int_equal(js_push(list, js_bool_new(false), &err), OK);
    assert_int_equal(js_set(v, "list", list, &err), OK);
    assert_int_equal(js_set(v, "text", js_text_new("a\"b\n"), &err), OK);
    assert_int_equal(js_set(v, "gone", js_int_new(1), &err), OK);
    js_remove(v, "gone");
    js_remove(v, "never there");
    assert_int_equal(js_push(js_edit(v, "list"), js_text_new("x"), &err), OK);
    assert_null(js_edit(v, "none"));
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    assert_int_equal(js_write(v, false, &out, &err), OK);
    assert_string_equal(bytes_text(&out), "{\"list\":[1,false,\"x\"],\"text\":\"a\\\"b\\n\"}");
    CLEANUP(js_cleanup) struct js *copy = js_dup(v);
    assert_true(js_equal(v, copy));
    assert_int_equal(js_push(js_edit(copy, "list"), js_int_new(2), &err), OK);
    assert_false(js_equal(v, copy));
    assert_int_equal(js_count(js_get(v, "list")), 3); /* a deep copy */
    bytes_clear(&out);
    assert_int_equal(js_write(v, true, &out, &err), OK);
    assert_true(text_ends(bytes_text(&out), "}\n"));
    /* A maker that failed is reported where it is used. */
    assert_int_equal(js_set(v, "x", NULL, &err), E_NOMEM);
    assert_int_equal(js_push(js_edit(v, "list"), NULL, &err), E_NOMEM);
    assert_null(js_text_new("\xff"));
}

static int parse_write_make(void *context, struct error *err)
{
    (void)context;
    static const char text[] = "{\"b\":[1,2,{\"c\":\"d\"}],\"a\":\"\\u00e4\",\"n\":null}";
    CLEANUP(js_cleanup) struct js *v = NULL;
    CLEANUP(js_cleanup) struct js *made = NULL;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    int rc = js_parse(text, strlen(text), &v, err);
    if (!rc)
        rc = js_canonical(v, &out, err);
    if (!rc)
        rc = js_write(v, true, &out, err);
    if (!rc)
        made = js_object_new();
    if (!rc && !made)
        rc = fail_nomem(err);
    if (!rc)
        rc = js_set(made, "copy", js_dup(v), err);
    if (!rc)
        rc = js_set(made, "text", js_text_new("text"), err);
    return rc;
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    alloc_fail_each(parse_write_make, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_strict_is_refused),
        cmocka_unit_test(nul_and_length_are_respected),
        cmocka_unit_test(what_is_strict_is_read),
        cmocka_unit_test(errors_name_line_and_column),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(values_are_limited),
        cmocka_unit_test(foreign_documents_may_have_reals),
        cmocka_unit_test(members_have_types),
        cmocka_unit_test(unknown_members_are_named),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(canonical_form),
        cmocka_unit_test(documents_are_made_and_changed),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
