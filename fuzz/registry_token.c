/* Reading Bearer tokens with a key of this process: nothing but what was issued may pass. A fresh
 * token, with one byte of the input put over it, stands in for what a forger starts from. */
#include "base/clock.h"
#include "registry/password.h"
#include "registry/token.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct token_keys *keys;
static char folder[] = "/tmp/bulla-fuzz-XXXXXX", file[128];

static void remove_keys(void)
{
    token_keys_free(keys);
    (void)unlink(file);
    *strrchr(file, '/') = '\0';
    (void)rmdir(file);
    (void)rmdir(folder);
}

static void make_keys(void)
{
    char id[TOKEN_KEY_ID_LEN + 1];
    const struct token_keys_options options = {.data_dir = folder, .keep_s = 300};
    if (password_init(NULL) || !mkdtemp(folder) || token_keys_open(&options, &keys, NULL) ||
        token_keys_current(keys, id, NULL) || atexit(remove_keys))
        abort();
    (void)snprintf(file, sizeof file, "%s/" TOKEN_KEYS_FOLDER "/%s.key", folder, id);
}

static int read_token(const char *text)
{
    struct access_identity who = {.method = ACCESS_BY_NOTHING};
    int rc = token_read(keys, text, clock_now_s(), &who, NULL);
    access_identity_done(&who);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct access_identity bob = {.name = "bob", .serial = 1};
    const struct access_scopes none = {NULL, 0, false};
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT, token = BYTES_INIT;
    if (!keys)
        make_keys();
    const struct token_order order = {&bob, &none, clock_now_s(), 300};
    if (bytes_append(&text, data, size, NULL) || token_issue(keys, &order, &token, NULL))
        return 0;
    if (read_token(bytes_text(&text)) == 0 || read_token(bytes_text(&token)) != 0)
        abort();
    uint8_t *at = size > 2 ? &token.data[((size_t)data[0] << 8 | data[1]) % token.len] : NULL;
    bool changed = at && *at != data[2];
    if (changed)
        *at = data[2];
    if (changed && read_token(bytes_text(&token)) == 0)
        abort();
    return 0;
}
