#include "keys/libcrypto.h"

#include "keys/libsodium.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

/* Any EVP_PKEY of ours has passed check_key. The struct exists only as a name outside this file. */
struct libcrypto_key;

static EVP_PKEY *inner(const struct libcrypto_key *key)
{
    /* OpenSSL takes non-const pointers for what it does not change. */
    union {
        const struct libcrypto_key *ours;
        EVP_PKEY *theirs;
    } both = {.ours = key};
    return both.theirs;
}

static struct libcrypto_key *outer(EVP_PKEY *key)
{
    union {
        EVP_PKEY *theirs;
        struct libcrypto_key *ours;
    } both = {.theirs = key};
    return both.ours;
}

static void pkey_cleanup(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void pkey_ctx_cleanup(EVP_PKEY_CTX **ctx)
{
    EVP_PKEY_CTX_free(*ctx);
}

static void md_ctx_cleanup(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}

static void bn_cleanup(BIGNUM **n)
{
    BN_clear_free(*n);
}

static void group_cleanup(EC_GROUP **group)
{
    EC_GROUP_free(*group);
}

static void point_cleanup(EC_POINT **point)
{
    EC_POINT_clear_free(*point);
}

static void ecdsa_cleanup(ECDSA_SIG **sig)
{
    ECDSA_SIG_free(*sig);
}

static void x509_cleanup(X509 **certificate)
{
    X509_free(*certificate);
}

/* OpenSSL keeps a queue of errors per thread; ours is struct error, so theirs is emptied. */
static int refuse(struct error *err, int code, const char *what)
{
    ERR_clear_error();
    return fail(err, code, "%s", what);
}

static int check_p256(EVP_PKEY *key, struct error *err)
{
    char group[32];
    int explicit_curve = 0;
    if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0)
        return refuse(err, E_INVALID, "ecdsa key is not on the curve P-256");
    /* A curve spelled out in the key may have another generator (the fault of CVE-2020-0601). */
    if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                               &explicit_curve) == 1 &&
        explicit_curve)
        return refuse(err, E_INVALID, "ecdsa key spells its curve out instead of naming it");
    CLEANUP(pkey_ctx_cleanup) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (!ctx)
        return fail_nomem(err);
    if (EVP_PKEY_public_check(ctx) != 1)
        return refuse(err, E_INVALID, "ecdsa key is not a point of the curve P-256");
    return OK;
}

static int check_rsa(EVP_PKEY *key, struct error *err)
{
    CLEANUP(bn_cleanup) BIGNUM *n = NULL;
    CLEANUP(bn_cleanup) BIGNUM *e = NULL;
    int bits = EVP_PKEY_get_bits(key);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return fail(err, E_INVALID, "rsa key has %d bits (want %d to %d)", bits, RSA_BITS_MIN,
                    RSA_BITS_MAX);
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        return refuse(err, E_INVALID, "rsa key is incomplete");
    /* OpenSSL itself refuses exponents above 64 bits with large moduli, but only on use. */
    if (!BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > 64)
        return fail(err, E_INVALID, "rsa key has an unusable modulus or exponent");
    return OK;
}

static int check_key(enum libcrypto_type type, EVP_PKEY *key, struct error *err)
{
    int want = type == LIBCRYPTO_P256 ? EVP_PKEY_EC : EVP_PKEY_RSA;
    if (EVP_PKEY_get_base_id(key) != want)
        return fail(err, E_INVALID, "key is not of the stated type");
    return type == LIBCRYPTO_P256 ? check_p256(key, err) : check_rsa(key, err);
}

int libcrypto_key_parse(enum libcrypto_type type, const void *der, size_t len,
                        struct libcrypto_key **out, struct error *err)
{
    if (len == 0 || len > SPKI_MAX)
        return fail(err, E_INVALID, "public key of %zu bytes", len);
    const unsigned char *at = der;
    CLEANUP(pkey_cleanup) EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)len);
    if (!key)
        return refuse(err, E_INVALID, "public key is no SubjectPublicKeyInfo or not on its curve");
    if (at != (const unsigned char *)der + len)
        return fail(err, E_INVALID, "public key is followed by other bytes");
    int rc = check_key(type, key, err);
    if (!rc)
        *out = outer(TAKE_PTR(key));
    return rc;
}

/* SubjectPublicKeyInfo of a P-256 key up to the point. Source: RFC 5480, 2. */
static const uint8_t p256_spki_head[] = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
};

int libcrypto_key_from_point(const void *point, size_t len, struct libcrypto_key **out,
                             struct error *err)
{
    uint8_t spki[sizeof p256_spki_head + P256_POINT_LEN];
    if (len != P256_POINT_LEN || ((const uint8_t *)point)[0] != 0x04)
        return fail(err, E_INVALID, "ecdsa key is not an uncompressed point");
    memcpy(spki, p256_spki_head, sizeof p256_spki_head);
    memcpy(spki + sizeof p256_spki_head, point, P256_POINT_LEN);
    return libcrypto_key_parse(LIBCRYPTO_P256, spki, sizeof spki, out, err);
}

static int append_p256_spki(EVP_PKEY *key, struct bytes *out, struct error *err)
{
    CLEANUP(bn_cleanup) BIGNUM *x = NULL;
    CLEANUP(bn_cleanup) BIGNUM *y = NULL;
    uint8_t point[P256_POINT_LEN] = {0x04};
    /* From the coordinates, so that a compressed point in the input comes out uncompressed. */
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) != 1 ||
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) != 1 ||
        BN_bn2binpad(x, point + 1, 32) != 32 || BN_bn2binpad(y, point + 33, 32) != 32)
        return refuse(err, E_INTERNAL, "ecdsa key could not be written");
    size_t before = out->len;
    int rc = bytes_append(out, p256_spki_head, sizeof p256_spki_head, err);
    if (!rc)
        rc = bytes_append(out, point, sizeof point, err);
    if (rc)
        out->len = before;
    return rc;
}

int libcrypto_key_der(const struct libcrypto_key *key, struct bytes *out, struct error *err)
{
    EVP_PKEY *pkey = inner(key);
    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC)
        return append_p256_spki(pkey, out, err);
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    if (len <= 0)
        return refuse(err, E_INTERNAL, "rsa key could not be written");
    int rc = bytes_append(out, der, (size_t)len, err);
    OPENSSL_free(der);
    return rc;
}

struct libcrypto_key *libcrypto_key_dup(const struct libcrypto_key *key)
{
    EVP_PKEY *pkey = inner(key);
    return EVP_PKEY_up_ref(pkey) == 1 ? outer(pkey) : NULL;
}

void libcrypto_key_free(struct libcrypto_key *key)
{
    EVP_PKEY_free(inner(key));
}

void libcrypto_key_cleanup(struct libcrypto_key **key)
{
    libcrypto_key_free(*key);
    *key = NULL;
}

static bool use_pss(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_AUTO) == 1;
}

int libcrypto_verify(const struct libcrypto_key *key, const void *msg, size_t len, const void *sig,
                     size_t sig_len, struct error *err)
{
    EVP_PKEY *pkey = inner(key);
    EVP_PKEY_CTX *pctx = NULL; /* owned by ctx */
    bool rsa = EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA;
    int size = EVP_PKEY_get_size(pkey);
    /* ECDSA: size is the longest DER form, and OpenSSL compares its own encoding of (r, s) with
     * sig, so one signature has one form. RSA: exactly the modulus' length. */
    if (size <= 0 || sig_len > (size_t)size || (rsa && sig_len != (size_t)size))
        return fail(err, E_SIGNATURE, "signature has %zu bytes", sig_len);
    CLEANUP(md_ctx_cleanup) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        return fail_nomem(err);
    if (EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, pkey) != 1 || (rsa && !use_pss(pctx)))
        return refuse(err, E_INTERNAL, "signature check could not start");
    /* Negative results mean malformed input here: anything but 1 is a wrong signature. */
    if (EVP_DigestVerify(ctx, sig, sig_len, msg, len) != 1)
        return refuse(err, E_SIGNATURE,
                      rsa ? "rsa-pss signature is wrong" : "ecdsa signature is wrong");
    return OK;
}

int libcrypto_p256_generate(uint8_t scalar[static P256_SCALAR_LEN], struct error *err)
{
    CLEANUP(pkey_cleanup) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(bn_cleanup) BIGNUM *secret = NULL;
    if (!key || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &secret) != 1 ||
        BN_bn2binpad(secret, scalar, P256_SCALAR_LEN) != P256_SCALAR_LEN)
        return refuse(err, E_INTERNAL, "ecdsa key could not be made");
    return OK;
}

int libcrypto_p256_public(const uint8_t scalar[static P256_SCALAR_LEN],
                          uint8_t point[static P256_POINT_LEN], struct error *err)
{
    CLEANUP(group_cleanup) EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    CLEANUP(bn_cleanup) BIGNUM *secret = BN_bin2bn(scalar, P256_SCALAR_LEN, NULL);
    if (!group || !secret)
        return fail_nomem(err);
    /* OpenSSL's multiplication is constant-time only for scalars marked so. */
    BN_set_flags(secret, BN_FLG_CONSTTIME);
    if (BN_is_zero(secret) || BN_cmp(secret, EC_GROUP_get0_order(group)) >= 0)
        return fail(err, E_INVALID, "ecdsa private key is out of range");
    CLEANUP(point_cleanup) EC_POINT *product = EC_POINT_new(group);
    if (!product)
        return fail_nomem(err);
    if (EC_POINT_mul(group, product, secret, NULL, NULL, NULL) != 1 ||
        EC_POINT_point2oct(group, product, POINT_CONVERSION_UNCOMPRESSED, point, P256_POINT_LEN,
                           NULL) != P256_POINT_LEN)
        return refuse(err, E_INTERNAL, "ecdsa public key could not be derived");
    return OK;
}

/* little: the scalar in the machine's order, in locked memory: OpenSSL takes it from there. */
static EVP_PKEY *import_scalar(uint8_t *little, uint8_t *point)
{
    char group[] = "prime256v1";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, little, P256_SCALAR_LEN),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, P256_POINT_LEN),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    CLEANUP(pkey_ctx_cleanup) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
        return NULL;
    return key;
}

static int open_scalar(const uint8_t scalar[static P256_SCALAR_LEN], EVP_PKEY **out,
                       struct error *err)
{
    uint8_t point[P256_POINT_LEN];
    int rc = libcrypto_p256_public(scalar, point, err);
    if (rc)
        return rc;
    uint8_t *native = libsodium_alloc(P256_SCALAR_LEN);
    if (!native)
        return fail_nomem(err);
    for (size_t i = 0; i < P256_SCALAR_LEN; i++)
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        native[i] = scalar[P256_SCALAR_LEN - 1 - i];
#else
        native[i] = scalar[i];
#endif
    *out = import_scalar(native, point);
    libsodium_free(native);
    return *out ? OK : refuse(err, E_INTERNAL, "ecdsa private key could not be loaded");
}

int libcrypto_p256_sign(const uint8_t scalar[static P256_SCALAR_LEN], const void *msg, size_t len,
                        struct bytes *out, struct error *err)
{
    CLEANUP(pkey_cleanup) EVP_PKEY *key = NULL;
    int rc = open_scalar(scalar, &key, err);
    if (rc)
        return rc;
    uint8_t sig[80];
    size_t sig_len = sizeof sig;
    CLEANUP(md_ctx_cleanup) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        return fail_nomem(err);
    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(ctx, sig, &sig_len, msg, len) != 1)
        return refuse(err, E_INTERNAL, "ecdsa signing failed");
    return bytes_append(out, sig, sig_len, err);
}

int libcrypto_p256_signature_der(const uint8_t raw[static P256_RAW_LEN], struct bytes *out,
                                 struct error *err)
{
    CLEANUP(ecdsa_cleanup) ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, 32, NULL);
    BIGNUM *s = BN_bin2bn(raw + 32, 32, NULL);
    /* ECDSA_SIG_set0 takes both numbers over, or neither. */
    if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return fail_nomem(err);
    }
    if (BN_is_zero(r) || BN_is_zero(s))
        return fail(err, E_INVALID, "ecdsa signature of zero");
    uint8_t der[80], *at = der;
    int len = i2d_ECDSA_SIG(sig, &at);
    if (len <= 0 || (size_t)len > sizeof der)
        return refuse(err, E_INTERNAL, "ecdsa signature could not be written");
    return bytes_append(out, der, (size_t)len, err);
}

static int certificate_key(X509 *certificate, struct libcrypto_certificate *out, struct error *err)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    if (!key)
        return refuse(err, E_INVALID, "certificate holds no readable key");
    int id = EVP_PKEY_get_base_id(key);
    if (id != EVP_PKEY_EC && id != EVP_PKEY_RSA)
        return fail(err, E_UNSUPPORTED, "certificate is for a key type that cannot be used");
    out->type = id == EVP_PKEY_EC ? LIBCRYPTO_P256 : LIBCRYPTO_RSA;
    CLEANUP(bytes_done) struct bytes der = BYTES_INIT;
    int rc = check_key(out->type, key, err);
    if (rc == E_INVALID)
        return fail(err, E_UNSUPPORTED, "certificate is for a key that cannot be used");
    if (!rc)
        rc = libcrypto_key_der(outer(key), &der, err);
    if (rc)
        return rc;
    if (der.len > sizeof out->spki)
        return fail(err, E_LIMIT, "certificate's key is too large");
    memcpy(out->spki, der.data, der.len);
    out->spki_len = der.len;
    return OK;
}

int libcrypto_certificate_parse(const void *der, size_t len, struct libcrypto_certificate *out,
                                struct error *err)
{
    if (len == 0 || len > 65536)
        return fail(err, E_INVALID, "certificate of %zu bytes", len);
    const unsigned char *at = der;
    CLEANUP(x509_cleanup) X509 *certificate = d2i_X509(NULL, &at, (long)len);
    if (!certificate)
        return refuse(err, E_INVALID, "not a certificate");
    struct libcrypto_certificate found = {.spki_len = 0};
    int rc = certificate_key(certificate, &found, err);
    if (rc)
        return rc;
    BIO *text = BIO_new(BIO_s_mem());
    if (!text)
        return fail_nomem(err);
    /* UTF-8 stays readable; control characters are escaped by OpenSSL. */
    unsigned long how = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    if (X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, how) >= 0) {
        int n = BIO_read(text, found.subject, (int)sizeof found.subject - 1);
        found.subject[n > 0 ? n : 0] = '\0';
    }
    BIO_free(text);
    *out = found;
    return OK;
}
