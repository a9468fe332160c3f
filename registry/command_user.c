/* bulla-registry user …: users and the certificates that stand for them. */
#include "base/args.h"
#include "registry/access.h"
#include "registry/command_accounts.h"
#include "registry/http_client_certificate.h"

#include "base/clock.h"
#include "base/file.h"
#include "keys/secret.h"

#include <fcntl.h>
#include <string.h>

#define CERTIFICATE_MAX (64u << 10)

struct change {
    const char *name, *hash;
    struct digest fingerprint;
};

/* What a command is called in the audit log, and what it does. */
struct deed {
    const char *event;
    command_work *work;
};

static int write_change(const char *config, const struct deed *deed, struct change *change,
                        struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    bool certificate = change->fingerprint.alg != DIGEST_NONE;
    const struct command_change c = {
        .event = deed->event,
        .object = change->name,
        .detail = certificate ? digest_format(&change->fingerprint, text) : NULL,
        .work = deed->work,
        .arg = change,
    };
    return command_write(config, &c, err);
}

static int apply_add(struct index_tx *tx, void *arg, struct error *err)
{
    const struct change *change = arg;
    return index_user_add(tx, change->name, change->hash, err);
}

static int apply_password(struct index_tx *tx, void *arg, struct error *err)
{
    const struct change *change = arg;
    return index_user_set_password(tx, change->name, change->hash, err);
}

static int apply_remove(struct index_tx *tx, void *arg, struct error *err)
{
    const struct change *change = arg;
    return index_user_remove(tx, change->name, err);
}

static int apply_disable(struct index_tx *tx, void *arg, struct error *err)
{
    const struct change *change = arg;
    return index_user_set_disabled(tx, change->name, true, err);
}

static int apply_enable(struct index_tx *tx, void *arg, struct error *err)
{
    const struct change *change = arg;
    return index_user_set_disabled(tx, change->name, false, err);
}

static int change_password(char **args, const struct deed *deed, struct error *err)
{
    const char *config = NULL, *name = NULL;
    bool from_stdin = false;
    char hash[PASSWORD_HASH_MAX];
    const struct args_option options[] = {
        {"--config", &config, NULL}, {"--password-stdin", NULL, &from_stdin}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, &name, 1, err);
    if (rc == 0)
        rc = command_check_user(name, err);
    if (rc == 0)
        rc = command_read_password(name, from_stdin, hash, err);
    if (rc != 0)
        return rc;
    struct change change = {.name = name, .hash = hash};
    rc = write_change(config, deed, &change, err);
    secret_wipe(hash, sizeof hash);
    return rc;
}

static int change_user(char **args, const struct deed *deed, struct error *err)
{
    struct change change = {.name = NULL};
    const char *config = NULL;
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, &change.name, 1, err);
    return rc == 0 ? write_change(config, deed, &change, err) : rc;
}

static int user_add(char **args, struct error *err)
{
    static const struct deed deed = {"user.add", apply_add};
    return change_password(args, &deed, err);
}

static int user_passwd(char **args, struct error *err)
{
    static const struct deed deed = {"user.passwd", apply_password};
    return change_password(args, &deed, err);
}

static int user_remove(char **args, struct error *err)
{
    static const struct deed deed = {"user.remove", apply_remove};
    return change_user(args, &deed, err);
}

static int user_disable(char **args, struct error *err)
{
    static const struct deed deed = {"user.disable", apply_disable};
    return change_user(args, &deed, err);
}

static int user_enable(char **args, struct error *err)
{
    static const struct deed deed = {"user.enable", apply_enable};
    return change_user(args, &deed, err);
}

static int print_user(void *context, const struct index_user *user, struct error *err)
{
    struct command_list *list = context;
    if (!list->array)
        return command_print(err, "%s%s\n", user->name, user->disabled ? " (disabled)" : "");
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    int rc = js_set(object, "name", js_text_new(user->name), err);
    if (rc == 0)
        rc = js_set(object, "disabled", js_bool_new(user->disabled), err);
    if (rc == 0)
        rc = command_set_time(object, "created", user->created_s, err);
    return rc == 0 ? command_list_push(list, TAKE_PTR(object), err) : rc;
}

static int list_users(struct index_tx *tx, void *list, struct error *err)
{
    return index_users_each(tx, print_user, list, err);
}

static int user_list(char **args, struct error *err)
{
    return command_list(args, list_users, err);
}

/* --- certificates --- */

static int apply_certificate_add(struct index_tx *tx, void *arg, struct error *err)
{
    const struct change *change = arg;
    return index_certificate_add(tx, &change->fingerprint, change->name, err);
}

static int apply_certificate_remove(struct index_tx *tx, void *arg, struct error *err)
{
    const struct change *change = arg;
    return index_certificate_remove(tx, &change->fingerprint, err);
}

/* 64 hex digits, with or without "sha256:", colons between bytes allowed as openssl prints them. */
static bool parse_fingerprint(const char *text, struct digest *out)
{
    char hex[65];
    size_t n = 0;
    for (const char *p = text_starts(text, "sha256:") ? text + 7 : text; *p; p++) {
        if (*p == ':' && n > 0 && n % 2 == 0)
            continue;
        if (n == 64)
            return false;
        hex[n++] = *p;
    }
    *out = (struct digest){.alg = DIGEST_SHA256};
    return n == 64 && hex_decode(hex, n, out->bytes, 32, NULL) == 0;
}

static int read_fingerprint(const char *text, struct digest *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes pem = BYTES_INIT;
    if (parse_fingerprint(text, out))
        return 0;
    int rc = file_read(AT_FDCWD, text, CERTIFICATE_MAX, &pem, err);
    if (rc == 0)
        rc = http_client_certificate_fingerprint(&pem, out, err);
    return wrap(err, rc, "'%s'", text);
}

static int certificate_add(char **args, struct error *err)
{
    static const struct deed deed = {"user.certificate.add", apply_certificate_add};
    const char *config = NULL, *words[2] = {NULL, NULL};
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    struct change change = {.name = NULL};
    int rc = args_parse(args, options, words, 2, err);
    if (rc == 0)
        rc = read_fingerprint(words[1], &change.fingerprint, err);
    change.name = words[0];
    return rc == 0 ? write_change(config, &deed, &change, err) : rc;
}

static int certificate_remove(char **args, struct error *err)
{
    static const struct deed deed = {"user.certificate.remove", apply_certificate_remove};
    const char *config = NULL, *what = NULL;
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    struct change change = {.name = NULL};
    int rc = args_parse(args, options, &what, 1, err);
    if (rc == 0)
        rc = read_fingerprint(what, &change.fingerprint, err);
    return rc == 0 ? write_change(config, &deed, &change, err) : rc;
}

static int print_certificate(void *context, const char *fingerprint, const char *user,
                             struct error *err)
{
    struct command_list *list = context;
    if (!list->array)
        return command_print(err, "%-16s %s\n", user, fingerprint);
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    int rc = js_set(object, "user", js_text_new(user), err);
    if (rc == 0)
        rc = js_set(object, "fingerprint", js_text_new(fingerprint), err);
    return rc == 0 ? command_list_push(list, TAKE_PTR(object), err) : rc;
}

static int list_certificates(struct index_tx *tx, void *list, struct error *err)
{
    return index_certificates_each(tx, print_certificate, list, err);
}

static int certificate_list(char **args, struct error *err)
{
    return command_list(args, list_certificates, err);
}

static int user_certificate(char **args, struct error *err)
{
    static const struct command_word words[] = {{"add", certificate_add},
                                                {"list", certificate_list},
                                                {"remove", certificate_remove},
                                                {NULL, NULL}};
    return command_dispatch("user certificate", words, args, err);
}

int command_user(char **args, struct error *err)
{
    static const struct command_word words[] = {
        {"add", user_add},         {"certificate", user_certificate},
        {"disable", user_disable}, {"enable", user_enable},
        {"list", user_list},       {"passwd", user_passwd},
        {"remove", user_remove},   {NULL, NULL}};
    return command_dispatch("user", words, args, err);
}
