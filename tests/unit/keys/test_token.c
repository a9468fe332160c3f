/* Keys on a PKCS#11 token, on SoftHSM through the real helper process. */
#include "keys/helper_process.h"
#include "keys/signing_key.h"

#include "base/file.h"
#include "base/path.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PIN   "123456"
#define LABEL "Bulla test"

static char folder[64];

/* Runs `script` with softhsm.sh sourced; the folder is $1. */
static int shell(const char *script)
{
    char command[2048];
    (void)snprintf(command, sizeof command, "source '%s/../support/softhsm.sh' && %s", TEST_DATA,
                   script);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("bash", "bash", "-euc", command, "bash", folder, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/bulla-token.XXXXXX");
    char conf[96];
    if (!mkdtemp(folder) ||
        shell("softhsm_make_token \"$1\" '" LABEL "' " PIN " 02; "
              "softhsm_make_token \"$1\" '" LABEL "' " PIN " 0a; "
              "SOFTHSM_KEY_TYPE=rsa:2048 softhsm_make_token \"$1\" 'other; token' " PIN " 02"))
        return -1;
    (void)snprintf(conf, sizeof conf, "%s/softhsm2.conf", folder);
    /* Sanitizer runs read its environment from here, too. */
    return setenv("SOFTHSM2_CONF", conf, 1) ||
           setenv("BULLA_PKCS11_MODULE", "/usr/lib/softhsm/libsofthsm2.so", 1);
}

static int tear_down(void **state)
{
    (void)state;
    CLEANUP(cleanup_fd) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return path_remove_tree(tmp, folder + strlen("/tmp/"), NULL);
}

/* --- a source of PINs that counts --- */

struct pins {
    struct secret_source source;
    const char *pin; /* NULL: none to be had */
    int asked;
    char prompt[128];
    pid_t kill; /* ended when the question comes */
};

static int give(struct secret_source *self, const char *prompt, bool confirm, struct secret *out,
                struct error *err)
{
    struct pins *pins = (struct pins *)self;
    assert_false(confirm);
    pins->asked++;
    (void)snprintf(pins->prompt, sizeof pins->prompt, "%s", prompt);
    if (pins->kill)
        (void)kill(pins->kill, SIGABRT); /* sanitizers would handle SIGSEGV */
    if (!pins->pin)
        return (fail)(err, E_PASSPHRASE, "nobody there"); /* not cmocka's macro */
    return secret_copy(pins->pin, strlen(pins->pin), out, err);
}

static struct pins pins_of(const char *pin)
{
    return (struct pins){.source = {.ask = give}, .pin = pin};
}

#define URI_02 "pkcs11:token=Bulla%20test;id=%02"

static struct signing_key *open_key(const char *uri, struct pins *pins)
{
    struct signing_key *key = NULL;
    struct error err = ERROR_INIT;
    int rc = token_open(NULL, uri, pins ? &pins->source : NULL, &key, &err);
    if (rc)
        print_message("# %s\n", err.message);
    assert_int_equal(rc, OK);
    return key;
}

/* The last child: the helper. */
static pid_t helper_pid(void)
{
    char path[64], text[64] = "";
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    CLEANUP(cleanup_file) FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    return (pid_t)strtol(text, NULL, 10);
}

static void no_children_left(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* --- cases --- */

static const struct token_key *find(const struct token_key *keys, size_t n, const char *label)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(keys[i].label, label) == 0)
            return &keys[i];
    return NULL;
}

static void lists_every_key_once(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_free) struct token_key *keys = NULL;
    size_t n = 0;
    assert_int_equal(token_list(NULL, &keys, &n, &err), OK);
    assert_int_equal(n, 3);
    const struct token_key *ec = find(keys, n, "CN=" LABEL " 02");
    const struct token_key *rsa = find(keys, n, "CN=other\\; token 02");
    assert_non_null(ec);
    assert_non_null(rsa);
    assert_string_equal(ec->token, LABEL);
    assert_int_equal(ec->type, KEY_ECDSA_P256);
    assert_int_equal(rsa->type, KEY_RSA);
    assert_non_null(strstr(ec->uri, "token=Bulla%20test"));
    assert_non_null(strstr(ec->uri, "id=%02"));
    assert_non_null(strstr(ec->uri, "type=private"));
    assert_non_null(strstr(rsa->uri, "token=other%3B%20token"));
    no_children_left();
    /* Each listed URI opens exactly the key it stands beside. */
    for (size_t i = 0; i < n; i++) {
        CLEANUP(signing_key_cleanup) struct signing_key *key = open_key(keys[i].uri, NULL);
        struct key_id id;
        assert_int_equal(public_key_id(signing_key_public(key), &id, NULL), OK);
        assert_string_equal(id.text, keys[i].id.text);
    }
}

static void signs_with(const char *uri, const char *label)
{
    struct pins pins = pins_of(PIN);
    CLEANUP(signing_key_cleanup) struct signing_key *key = open_key(uri, &pins);
    assert_string_equal(signing_key_label(key), label);
    assert_int_equal(pins.asked, 0);
    for (int i = 0; i < 3; i++) {
        CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
        struct error err = ERROR_INIT;
        int rc = signing_key_sign(key, "hello", 5, &sig, &err);
        if (rc)
            print_message("# %s\n", err.message);
        assert_int_equal(rc, OK);
        assert_int_equal(
            public_key_verify(signing_key_public(key), "hello", 5, sig.data, sig.len, NULL), OK);
        assert_int_equal(
            public_key_verify(signing_key_public(key), "hullo", 5, sig.data, sig.len, NULL),
            E_SIGNATURE);
    }
    /* One question for three signatures. */
    assert_int_equal(pins.asked, 1);
}

static void signs_ecdsa(void **state)
{
    (void)state;
    signs_with(URI_02, "token '" LABEL "', id 02");
    no_children_left();
}

static void signs_rsa(void **state)
{
    (void)state;
    signs_with("pkcs11:token=other%3B%20token", "token 'other; token', id 02");
}

/* As slot 9C of a YubiKey: the card wants the PIN each time, the person types it once. */
static void signs_with_a_key_that_wants_its_pin_each_time(void **state)
{
    (void)state;
    assert_int_equal(shell("SOFTHSM_ALWAYS_AUTHENTICATE=1 "
                           "softhsm_make_token \"$1\" strict " PIN " 02"),
                     0);
    signs_with("pkcs11:token=strict", "token 'strict', id 02");
    struct pins pins = pins_of("654321");
    CLEANUP(signing_key_cleanup) struct signing_key *key = open_key("pkcs11:token=strict", &pins);
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, NULL), E_PASSPHRASE);
    assert_int_equal(pins.asked, 1);
}

static void public_half_needs_no_pin(void **state)
{
    (void)state;
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    CLEANUP(signing_key_cleanup) struct signing_key *opened = open_key(URI_02, NULL);
    assert_int_equal(public_key_open(NULL, URI_02, &key, NULL), OK);
    assert_true(public_key_equal(key, signing_key_public(opened)));
}

static void wrong_pin_is_sent_once(void **state)
{
    (void)state;
    struct pins pins = pins_of("654321");
    CLEANUP(signing_key_cleanup) struct signing_key *key = open_key(URI_02, &pins);
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, &err), E_PASSPHRASE);
    assert_string_equal(err.message, "token 'Bulla test', id 02: wrong PIN for token 'Bulla test'");
    assert_int_equal(pins.asked, 1);
    assert_string_equal(pins.prompt, "PIN for token 'Bulla test'");
    /* Not even when the caller asks again: three wrong ones lock a card. */
    pins.pin = PIN;
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, &err), E_PASSPHRASE);
    assert_int_equal(pins.asked, 1);
    assert_int_equal(sig.len, 0);
}

/* OpenSC's spy stands between the helper and SoftHSM and writes every call down. */
static void token_sees_one_login(void **state)
{
    (void)state;
    static const char spy[] = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so";
    char path[96];
    if (access(spy, R_OK))
        skip();
    (void)snprintf(path, sizeof path, "%s/calls", folder);
    assert_int_equal(setenv("PKCS11SPY", "/usr/lib/softhsm/libsofthsm2.so", 1), 0);
    assert_int_equal(setenv("PKCS11SPY_OUTPUT", path, 1), 0);
    struct pins pins = pins_of("654321");
    struct signing_key *key = NULL;
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes calls = BYTES_INIT;
    assert_int_equal(token_open(spy, URI_02, &pins.source, &key, NULL), OK);
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, NULL), E_PASSPHRASE);
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, NULL), E_PASSPHRASE);
    signing_key_free(key);
    assert_int_equal(file_read(AT_FDCWD, path, 1u << 20, &calls, NULL), OK);
    const char *first = strstr(bytes_text(&calls), "C_Login");
    assert_non_null(first);
    assert_null(strstr(first + 1, "C_Login"));
}

static void no_pin_is_not_a_wrong_pin(void **state)
{
    (void)state;
    struct pins pins = pins_of(NULL);
    CLEANUP(signing_key_cleanup) struct signing_key *key = open_key(URI_02, &pins);
    CLEANUP(signing_key_cleanup) struct signing_key *nobody = open_key(URI_02, NULL);
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, &err), E_PASSPHRASE);
    assert_non_null(strstr(err.message, "nobody there"));
    assert_int_equal(signing_key_sign(nobody, "hello", 5, &sig, &err), E_PASSPHRASE);
    /* The next try may ask again. */
    pins.pin = PIN;
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, &err), OK);
}

static void unusable_pins_are_not_sent(void **state)
{
    (void)state;
    char long_pin[300];
    memset(long_pin, '1', sizeof long_pin - 1);
    long_pin[sizeof long_pin - 1] = '\0';
    const char *bad[] = {"", long_pin};
    for (size_t i = 0; i < 2; i++) {
        struct pins pins = pins_of(bad[i]);
        CLEANUP(signing_key_cleanup) struct signing_key *key = open_key(URI_02, &pins);
        CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
        assert_int_equal(signing_key_sign(key, "hello", 5, &sig, NULL), E_PASSPHRASE);
    }
}

static void expect_open(const char *uri, int code)
{
    struct signing_key *key = NULL;
    struct error err = ERROR_INIT;
    int rc = token_open(NULL, uri, NULL, &key, &err);
    if (rc != code)
        print_message("# %s: %d %s\n", uri, rc, err.message);
    assert_int_equal(rc, code);
    assert_null(key);
    assert_int_not_equal(err.message[0], '\0');
}

static void refuses_uris_that_name_no_single_key(void **state)
{
    (void)state;
    expect_open("pkcs11:token=Bulla%20test", E_USAGE);
    expect_open("pkcs11:", E_USAGE);
    expect_open("pkcs11:token=absent", E_NOTFOUND);
    expect_open("pkcs11:token=Bulla%20test;id=%03", E_NOTFOUND);
    /* The characters 0 and 2, not the byte. */
    expect_open("pkcs11:token=Bulla%20test;id=02", E_NOTFOUND);
    expect_open("pkcs11:token=Bulla%20test;serial=1;id=%02", E_NOTFOUND);
    expect_open("pkcs11:token=Bulla%20test;manufacturer=nobody;id=%02", E_NOTFOUND);
    expect_open("pkcs11:token=%zz", E_USAGE);
    expect_open("pkcs12:token=x", E_USAGE);
    expect_open(URI_02 ";object=key%2002", E_USAGE);
    expect_open(URI_02 ";slot-id=1", E_USAGE);
    expect_open(URI_02 ";slot-description=x", E_USAGE);
    expect_open(URI_02 ";library-manufacturer=x", E_USAGE);
    expect_open(URI_02 ";type=data", E_USAGE);
    expect_open(URI_02 ";x-colour=blue", E_USAGE);
    struct signing_key *key = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(token_open(NULL, URI_02 ";x-colour=blue", NULL, &key, &err), E_USAGE);
    assert_non_null(strstr(err.message, "attributes that are not known"));
    expect_open(URI_02 "?pin-value=" PIN, E_USAGE);
    expect_open(URI_02 "?pin-source=/etc/hostname", E_USAGE);
    expect_open(URI_02 "?module-name=softhsm2", E_USAGE);
    expect_open(URI_02 "?module-path=/nonexistent/module.so", E_TOKEN);
    char long_uri[2000] = "pkcs11:token=";
    memset(long_uri + strlen(long_uri), 'a', 1900 - strlen(long_uri));
    expect_open(long_uri, E_USAGE);
    no_children_left();
}

static void module_of_the_uri_is_used(void **state)
{
    (void)state;
    assert_int_equal(setenv("BULLA_PKCS11_MODULE", "/nonexistent/module.so", 1), 0);
    expect_open(URI_02, E_TOKEN);
    CLEANUP(signing_key_cleanup)
    struct signing_key *key = open_key(URI_02 "?module-path=/usr/lib/softhsm/libsofthsm2.so", NULL);
    assert_int_equal(setenv("BULLA_PKCS11_MODULE", "/usr/lib/softhsm/libsofthsm2.so", 1), 0);
    assert_string_equal(signing_key_label(key), "token 'Bulla test', id 02");
}

static void unusable_modules_are_reported(void **state)
{
    (void)state;
    struct token_key *keys = NULL;
    size_t n = 7;
    struct error err = ERROR_INIT;
    assert_int_equal(token_list("/nonexistent/module.so", &keys, &n, &err), E_TOKEN);
    assert_non_null(strstr(err.message, "/nonexistent/module.so"));
    /* A library, but not one of PKCS#11. */
    assert_int_equal(token_list("libz.so.1", &keys, &n, &err), E_TOKEN);
    assert_null(keys);
    assert_int_equal(n, 7);
}

static void proxy_is_the_default(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("BULLA_PKCS11_MODULE"), 0);
    CLEANUP(cleanup_free) struct token_key *keys = NULL;
    size_t n = 0;
    struct error err = ERROR_INIT;
    int rc = token_list(NULL, &keys, &n, &err);
    assert_int_equal(setenv("BULLA_PKCS11_MODULE", "/usr/lib/softhsm/libsofthsm2.so", 1), 0);
    if (rc)
        print_message("# %s\n", err.message);
    assert_int_equal(rc, OK);
    /* Which modules p11-kit knows is the machine's business; Debian's softhsm2 registers itself. */
    if (access("/usr/share/p11-kit/modules/softhsm2.module", R_OK) == 0)
        assert_non_null(find(keys, n, "CN=" LABEL " 02"));
}

static void missing_helper_is_reported(void **state)
{
    (void)state;
    struct token_key *keys = NULL;
    size_t n = 0;
    struct error err = ERROR_INIT;
    token_helper_path_for_test("/nonexistent/bulla-pkcs11");
    assert_int_equal(token_list(NULL, &keys, &n, &err), E_TOKEN);
    token_helper_path_for_test(NULL);
    assert_int_equal(token_list(NULL, &keys, &n, &err), E_TOKEN);
    assert_non_null(strstr(err.message, "libexec/bulla"));
    /* A program that says nothing, one that babbles, and one that only waits for its end. */
    token_helper_path_for_test("/bin/true");
    assert_int_equal(token_list(NULL, &keys, &n, &err), E_TOKEN);
    token_helper_path_for_test("/usr/bin/yes");
    assert_int_equal(token_list(NULL, &keys, &n, &err), E_TOKEN);
    token_helper_path_for_test(TEST_BIN "/bulla-pkcs11");
    no_children_left();
}

static void crash_of_the_helper_harms_nobody(void **state)
{
    (void)state;
    struct pins pins = pins_of(PIN);
    CLEANUP(signing_key_cleanup) struct signing_key *key = open_key(URI_02, &pins);
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    struct error err = ERROR_INIT;
    /* In the middle of a signature: while the PIN is asked for. */
    pins.kill = helper_pid();
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, &err), E_TOKEN);
    assert_non_null(strstr(err.message, "crashed (Aborted)"));
    assert_int_equal(sig.len, 0);
    no_children_left();
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, &err), E_TOKEN);
}

static void killed_helper_is_reported(void **state)
{
    (void)state;
    struct pins pins = pins_of(PIN);
    CLEANUP(signing_key_cleanup) struct signing_key *key = open_key(URI_02, &pins);
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    struct error err = ERROR_INIT;
    pid_t helper = helper_pid();
    assert_int_equal(kill(helper, SIGKILL), 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)helper, &info, WEXITED | WNOWAIT), 0);
    /* A write to nobody: no SIGPIPE. */
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, &err), E_TOKEN);
    no_children_left();
}

static void pin_prompts_from_files(void **state)
{
    (void)state;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/pin", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, PIN "\n", sizeof PIN), sizeof PIN);
    cleanup_fd(&fd);
    struct secret_source source;
    secret_source_init(&source, path);
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    assert_int_equal(signing_key_open(NULL, URI_02, NULL, &source, &key, NULL), OK);
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, NULL), OK);
    /* A token key has nothing to seal. */
    CLEANUP(secret_done) struct secret word = SECRET_INIT;
    assert_int_equal(secret_copy("x", 1, &word, NULL), OK);
    sig.len = 0;
    assert_int_equal(signing_key_seal(key, &word, true, &sig, NULL), E_UNSUPPORTED);
}

/* The usual content of a slot: a certificate that the key issued to itself. */
static void self_signed_certificates_are_listed(void **state)
{
    (void)state;
    assert_int_equal(
        shell("softhsm_make_token \"$1\" itself " PIN " 01; cd \"$1\"; "
              "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 "
              "-subj /CN=itself -keyout own.key -out own.pem 2> log; "
              "openssl pkey -in own.key -outform DER -out own.key.der; "
              "openssl x509 -in own.pem -outform DER -out own.der; "
              "tool() { pkcs11-tool --module \"$(softhsm_module)\" --token-label itself --login "
              "--pin " PIN " \"$@\" > log 2>&1; }; "
              "tool --write-object own.key.der --type privkey --id 02; "
              "tool --write-object own.der --type cert --id 02"),
        0);
    CLEANUP(cleanup_free) struct token_key *keys = NULL;
    size_t n = 0;
    assert_int_equal(token_list(NULL, &keys, &n, NULL), OK);
    assert_non_null(find(keys, n, "CN=itself"));
    signs_with("pkcs11:token=itself;id=%02", "token 'itself', id 02");
}

static void certificate_of_another_key_is_found_out(void **state)
{
    (void)state;
    /* The certificate of key 0a under id 02 of a third token. */
    assert_int_equal(
        shell("softhsm_make_token \"$1\" stale " PIN " 02; "
              "module=$(softhsm_module); "
              "pkcs11-tool --module \"$module\" --token-label '" LABEL
              "' --read-object --type cert "
              "--id 0a --output-file \"$1/other.der\" > \"$1/log\" 2>&1; "
              "pkcs11-tool --module \"$module\" --token-label stale --login --pin " PIN
              " --delete-object --type cert --id 02 > \"$1/log\" 2>&1; "
              "pkcs11-tool --module \"$module\" --token-label stale --login --pin " PIN
              " --write-object \"$1/other.der\" --type cert --id 02 > \"$1/log\" 2>&1"),
        0);
    struct pins pins = pins_of(PIN);
    CLEANUP(signing_key_cleanup) struct signing_key *key = open_key("pkcs11:token=stale", &pins);
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(signing_key_sign(key, "hello", 5, &sig, &err), E_TOKEN);
    assert_non_null(strstr(err.message, "does not verify"));
    assert_int_equal(sig.len, 0);
}

/* Last: it takes the tokens away. */
static void removed_token_is_reported(void **state)
{
    (void)state;
    struct pins pins = pins_of(PIN);
    CLEANUP(signing_key_cleanup) struct signing_key *key = open_key(URI_02, &pins);
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(path_remove_tree(at, "tokens", NULL), OK);
    int rc = signing_key_sign(key, "hello", 5, &sig, &err);
    assert_int_equal(rc, E_TOKEN);
    assert_non_null(strstr(err.message, "not there any more"));
    assert_int_equal(sig.len, 0);
    /* SoftHSM does not start without its folder; an empty one is a reader without a card. */
    expect_open(URI_02, E_TOKEN);
    assert_int_equal(mkdirat(at, "tokens", 0700), 0);
    expect_open(URI_02, E_NOTFOUND);
}

int main(void)
{
    token_helper_path_for_test(TEST_BIN "/bulla-pkcs11");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_every_key_once),
        cmocka_unit_test(signs_ecdsa),
        cmocka_unit_test(signs_rsa),
        cmocka_unit_test(signs_with_a_key_that_wants_its_pin_each_time),
        cmocka_unit_test(public_half_needs_no_pin),
        cmocka_unit_test(wrong_pin_is_sent_once),
        cmocka_unit_test(token_sees_one_login),
        cmocka_unit_test(no_pin_is_not_a_wrong_pin),
        cmocka_unit_test(unusable_pins_are_not_sent),
        cmocka_unit_test(refuses_uris_that_name_no_single_key),
        cmocka_unit_test(module_of_the_uri_is_used),
        cmocka_unit_test(unusable_modules_are_reported),
        cmocka_unit_test(proxy_is_the_default),
        cmocka_unit_test(missing_helper_is_reported),
        cmocka_unit_test(crash_of_the_helper_harms_nobody),
        cmocka_unit_test(killed_helper_is_reported),
        cmocka_unit_test(pin_prompts_from_files),
        cmocka_unit_test(self_signed_certificates_are_listed),
        cmocka_unit_test(certificate_of_another_key_is_found_out),
        cmocka_unit_test(removed_token_is_reported),
    };
    return cmocka_run_group_tests_name("keys: token", tests, set_up, tear_down);
}
