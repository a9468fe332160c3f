#include "base/digest.h"

#include <openssl/evp.h>
#include <string.h>

struct digest_stream {
    enum digest_alg alg;
    EVP_MD_CTX *ctx;
};

size_t digest_len(enum digest_alg alg)
{
    switch (alg) {
    case DIGEST_SHA256:
        return 32;
    case DIGEST_SHA512:
        return 64;
    case DIGEST_NONE:
        break;
    }
    return 0;
}

const char *digest_alg_name(enum digest_alg alg)
{
    switch (alg) {
    case DIGEST_SHA256:
        return "sha256";
    case DIGEST_SHA512:
        return "sha512";
    case DIGEST_NONE:
        break;
    }
    return "none";
}

static enum digest_alg alg_of_name(const char *name, size_t len)
{
    if (bytes_equal(name, len, "sha256", 6))
        return DIGEST_SHA256;
    if (bytes_equal(name, len, "sha512", 6))
        return DIGEST_SHA512;
    return DIGEST_NONE;
}

/* image-spec: algorithm ::= component (separator component)*, component [a-z0-9]+, separator
 * [+._-]. */
static bool alg_name_well_formed(const char *name, size_t len)
{
    bool need_char = true;
    for (size_t i = 0; i < len; i++) {
        bool plain = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9');
        if (!plain && (need_char || !strchr("+._-", name[i]) || !name[i]))
            return false;
        need_char = !plain;
    }
    return !need_char;
}

int digest_parse(const char *text, size_t len, struct digest *out, struct error *err)
{
    const char *colon = memchr(text, ':', len);
    if (!colon || !alg_name_well_formed(text, (size_t)(colon - text)))
        return fail(err, E_INVALID, "not a digest (want sha256:<64 hex digits>)");
    enum digest_alg alg = alg_of_name(text, (size_t)(colon - text));
    if (alg == DIGEST_NONE)
        return fail(err, E_UNSUPPORTED, "digest algorithm '%.*s' is not supported",
                    (int)(colon - text > 40 ? 40 : colon - text), text);
    const char *hex = colon + 1;
    size_t hex_len = len - (size_t)(hex - text);
    for (size_t i = 0; i < hex_len; i++)
        if (hex[i] >= 'A' && hex[i] <= 'F')
            return fail(err, E_INVALID, "digest must be lower-case hex");
    struct digest d = {.alg = alg};
    int rc = hex_decode(hex, hex_len, d.bytes, digest_len(alg), err);
    if (rc)
        return wrap(err, rc, "digest");
    *out = d;
    return OK;
}

int digest_parse_text(const char *text, struct digest *out, struct error *err)
{
    return digest_parse(text, strlen(text), out, err);
}

const char *digest_hex(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
    hex_encode(d->bytes, digest_len(d->alg), out);
    return out;
}

const char *digest_format(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
    char hex[2 * DIGEST_BYTES_MAX + 1];
    hex_encode(d->bytes, digest_len(d->alg), hex);
    (void)snprintf(out, DIGEST_TEXT_MAX, "%s:%s", digest_alg_name(d->alg), hex);
    return out;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return a->alg != DIGEST_NONE && a->alg == b->alg &&
           memcmp(a->bytes, b->bytes, digest_len(a->alg)) == 0;
}

static const EVP_MD *md_of(enum digest_alg alg)
{
    return alg == DIGEST_SHA512 ? EVP_sha512() : EVP_sha256();
}

int digest_of(enum digest_alg alg, const void *data, size_t len, struct digest *out,
              struct error *err)
{
    struct digest d = {.alg = alg};
    if (alg == DIGEST_NONE || EVP_Digest(data, len, d.bytes, NULL, md_of(alg), NULL) != 1)
        return fail(err, E_INTERNAL, "hashing failed");
    *out = d;
    return OK;
}

int digest_stream_new(enum digest_alg alg, struct digest_stream **out, struct error *err)
{
    CLEANUP(digest_stream_cleanup) struct digest_stream *s = calloc(1, sizeof *s);
    if (!s)
        return fail_nomem(err);
    s->alg = alg;
    s->ctx = EVP_MD_CTX_new();
    if (!s->ctx)
        return fail_nomem(err);
    if (alg == DIGEST_NONE || EVP_DigestInit_ex(s->ctx, md_of(alg), NULL) != 1)
        return fail(err, E_INTERNAL, "hashing failed to start");
    *out = TAKE_PTR(s);
    return OK;
}

void digest_stream_free(struct digest_stream *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->ctx);
    free(s);
}

void digest_stream_cleanup(struct digest_stream **s)
{
    digest_stream_free(*s);
    *s = NULL;
}

int digest_stream_update(struct digest_stream *s, const void *data, size_t len, struct error *err)
{
    if (EVP_DigestUpdate(s->ctx, data, len) != 1)
        return fail(err, E_INTERNAL, "hashing failed");
    return OK;
}

int digest_stream_peek(const struct digest_stream *s, struct digest *out, struct error *err)
{
    struct digest d = {.alg = s->alg};
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    if (!copy)
        return fail_nomem(err);
    int good =
        EVP_MD_CTX_copy_ex(copy, s->ctx) == 1 && EVP_DigestFinal_ex(copy, d.bytes, NULL) == 1;
    EVP_MD_CTX_free(copy);
    if (!good)
        return fail(err, E_INTERNAL, "hashing failed");
    *out = d;
    return OK;
}

#define READ_BLOCK (256u * 1024u) /* large enough that system calls do not show in a profile */

int digest_of_fd(enum digest_alg alg, int fd, struct digest *out, uint64_t *len, struct error *err)
{
    CLEANUP(digest_stream_cleanup) struct digest_stream *s = NULL;
    CLEANUP(cleanup_free) uint8_t *block = malloc(READ_BLOCK);
    if (!block)
        return fail_nomem(err);
    int rc = digest_stream_new(alg, &s, err);
    uint64_t total = 0;
    while (!rc) {
        ssize_t n = read(fd, block, READ_BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "read");
        if (n == 0)
            break;
        total += (uint64_t)n;
        rc = digest_stream_update(s, block, (size_t)n, err);
    }
    if (!rc)
        rc = digest_stream_peek(s, out, err);
    if (!rc && len)
        *len = total;
    return rc;
}
