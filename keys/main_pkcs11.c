/*
 * bulla-pkcs11: loads a vendor's PKCS#11 module, so that its faults stay here.
 *
 * Standard input is the socket to the program that started it; it ends when that closes.
 */
#include "keys/pkcs11_protocol.h"
#include "keys/pkcs11_service.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

struct helper {
    struct pkcs11_channel channel;
    struct pkcs11_service *service;
};

/* pkcs11-helper's hook: the PIN comes from the other side, which has the terminal. */
static int ask_pin(void *self, const char *token, char *pin, size_t size)
{
    struct helper *helper = self;
    struct pkcs11_message question = {.type = PKCS11_PIN_NEEDED,
                                      .field = {pkcs11_field_of_text(token)}};
    struct pkcs11_message answer;
    int rc = pkcs11_channel_send(&helper->channel, &question, NULL);
    if (!rc)
        rc = pkcs11_channel_receive(&helper->channel, -1, &answer, NULL);
    if (!rc && answer.type != PKCS11_PIN)
        rc = E_PASSPHRASE;
    if (!rc)
        rc = pkcs11_field_text(&answer.field[0], pin, size, NULL);
    secret_wipe(helper->channel.buffer.data, helper->channel.buffer.len);
    return rc;
}

static int load_module(struct helper *helper, const char *module, struct error *err)
{
    pkcs11_service_close(helper->service);
    helper->service = NULL;
    struct pkcs11_pin_hook hook = {ask_pin, helper};
    return pkcs11_service_open(module, hook, &helper->service, err);
}

static int send_key(struct helper *helper, const struct pkcs11_key *key, struct error *err)
{
    char uri[512];
    int rc = token_uri_format(&key->name, uri, sizeof uri, err);
    if (rc)
        return rc;
    struct pkcs11_message answer = {.type = PKCS11_KEY,
                                    .number = (int32_t)key->type,
                                    .field = {pkcs11_field_of_text(uri),
                                              pkcs11_field_of_text(key->name.label),
                                              pkcs11_field_of_text(key->subject),
                                              {key->spki, key->spki_len},
                                              {key->name.id, key->name.id_len}}};
    return pkcs11_channel_send(&helper->channel, &answer, err);
}

static int do_list(struct helper *helper, const struct pkcs11_message *request, struct error *err)
{
    char module[PKCS11_MODULE_MAX + 1];
    CLEANUP(cleanup_free) struct pkcs11_key *keys = NULL;
    size_t n = 0;
    int rc = pkcs11_field_text(&request->field[0], module, sizeof module, err);
    if (!rc)
        rc = load_module(helper, module, err);
    if (!rc)
        rc = pkcs11_service_list(helper->service, &keys, &n, err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = send_key(helper, &keys[i], err);
    if (rc)
        return rc;
    struct pkcs11_message answer = {.type = PKCS11_DONE};
    return pkcs11_channel_send(&helper->channel, &answer, err);
}

static int do_open(struct helper *helper, const struct pkcs11_message *request, struct error *err)
{
    char module[PKCS11_MODULE_MAX + 1], text[PKCS11_URI_MAX + 1];
    CLEANUP(token_uri_cleanup) struct token_uri *uri = NULL;
    struct pkcs11_key key;
    int rc = pkcs11_field_text(&request->field[0], module, sizeof module, err);
    if (!rc)
        rc = pkcs11_field_text(&request->field[1], text, sizeof text, err);
    if (!rc)
        rc = token_uri_parse(text, &uri, err);
    if (rc)
        return rc;
    const char *named = token_uri_module(uri);
    rc = load_module(helper, named ? named : module, err);
    if (!rc)
        rc = pkcs11_service_choose(helper->service, uri, &key, err);
    return rc ? rc : send_key(helper, &key, err);
}

static int do_sign(struct helper *helper, const struct pkcs11_message *request, struct error *err)
{
    uint8_t digest[LIBCRYPTO_DIGEST_LEN];
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    if (request->field[0].len != sizeof digest || !helper->service)
        return fail(err, E_PROTOCOL, "nothing to sign, or no key");
    memcpy(digest, request->field[0].data, sizeof digest);
    int rc = pkcs11_service_sign(helper->service, digest, &sig, err);
    if (rc)
        return rc;
    struct pkcs11_message answer = {.type = PKCS11_SIGNATURE, .field = {{sig.data, sig.len}}};
    return pkcs11_channel_send(&helper->channel, &answer, err);
}

static int handle(struct helper *helper, const struct pkcs11_message *request, struct error *err)
{
    switch (request->type) {
    case PKCS11_LIST:
        return do_list(helper, request, err);
    case PKCS11_OPEN:
        return do_open(helper, request, err);
    case PKCS11_SIGN:
        return do_sign(helper, request, err);
    default:
        return fail(err, E_PROTOCOL, "message %d is no request", (int)request->type);
    }
}

static void serve(struct helper *helper)
{
    struct pkcs11_message request;
    /* No time limit: the other side may be waiting for a person. It ends us by closing. */
    while (pkcs11_channel_receive(&helper->channel, -1, &request, NULL) == OK) {
        struct error err = ERROR_INIT;
        int rc = handle(helper, &request, &err);
        if (!rc)
            continue;
        struct pkcs11_message answer = {
            .type = PKCS11_FAILED, .number = rc, .field = {pkcs11_field_of_text(err.message)}};
        if (pkcs11_channel_send(&helper->channel, &answer, NULL))
            return;
    }
}

/* PINs pass through here: no core dumps, no debugger of the same user, no set-id programs. */
static bool harden(void)
{
    struct rlimit none = {0, 0};
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           setrlimit(RLIMIT_CORE, &none) == 0;
}

/* A module that prints to standard output must not write into the protocol. */
static int take_socket(void)
{
    int type = 0;
    socklen_t len = sizeof type;
    if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM)
        return -1;
    CLEANUP(cleanup_fd) int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    CLEANUP(cleanup_fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return -1;
    return TAKE_FD(fd);
}

int main(int argc, char **argv)
{
    struct helper helper = {.service = NULL};
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("bulla-pkcs11 %s\n", BULLA_VERSION);
        return EXIT_DONE;
    }
    int fd = argc == 1 ? take_socket() : -1;
    if (fd < 0) {
        (void)fprintf(stderr, "bulla-pkcs11: started by bulla for PKCS#11 tokens, not by hand\n");
        return EXIT_USAGE;
    }
    if (!harden() || pkcs11_channel_init(&helper.channel, fd, NULL)) {
        cleanup_fd(&fd);
        return EXIT_COULD_NOT;
    }
    serve(&helper);
    pkcs11_service_close(helper.service);
    pkcs11_channel_done(&helper.channel);
    return EXIT_DONE;
}
