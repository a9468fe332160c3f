#include "registry/devca.h"

#include "keys/secret.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

struct extension {
    int nid;
    const char *value;
};

struct request {
    const char *name;
    int days;
    const struct extension *extensions;
    size_t n_extensions;
};

static int fail_openssl(struct error *err, const char *what)
{
    char text[160];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    ERR_clear_error();
    return fail(err, E_INTERNAL, "%s: %s", what, text);
}

static bool set_serial(X509 *x)
{
    uint8_t random[16];
    if (RAND_bytes(random, sizeof random) != 1)
        return false;
    random[0] &= 0x7f; /* positive, RFC 5280, 4.1.2.2 */
    BIGNUM *n = BN_bin2bn(random, sizeof random, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    return ok;
}

static bool set_names(X509 *x, const X509 *issuer, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(x);
    return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                                      -1, 0) == 1 &&
           X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1;
}

static bool add_extensions(X509 *x, X509 *issuer, const struct request *request)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    for (size_t i = 0; i < request->n_extensions; i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, request->extensions[i].nid,
                                                request->extensions[i].value);
        bool ok = e && X509_add_ext(x, e, -1) == 1;
        X509_EXTENSION_free(e);
        if (!ok)
            return false;
    }
    return true;
}

/* issuer and issuer_key NULL: signs itself. */
static int make_certificate(EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                            const struct request *request, X509 **out)
{
    X509 *x = X509_new();
    if (!x)
        return E_NOMEM;
    bool ok = X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
              set_names(x, issuer ? issuer : x, request->name) &&
              X509_gmtime_adj(X509_getm_notBefore(x), -300) && /* clocks differ a little */
              X509_time_adj_ex(X509_getm_notAfter(x), request->days, 0, NULL) &&
              X509_set_pubkey(x, key) == 1 && add_extensions(x, issuer ? issuer : x, request) &&
              X509_sign(x, issuer_key ? issuer_key : key, EVP_sha256()) > 0;
    if (!ok) {
        X509_free(x);
        return E_INTERNAL;
    }
    *out = x;
    return 0;
}

static int take_memory(BIO *bio, bool written, struct bytes *out, struct error *err)
{
    char *data = NULL;
    long len = bio ? BIO_get_mem_data(bio, &data) : 0;
    int rc = written && len > 0 ? bytes_append(out, data, (size_t)len, err)
                                : fail_openssl(err, "write PEM");
    BIO_free(bio);
    return rc;
}

static int certificate_pem(X509 *x, struct bytes *out, struct error *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return take_memory(bio, bio && PEM_write_bio_X509(bio, x) == 1, out, err);
}

static int key_pem(EVP_PKEY *key, struct bytes *out, struct error *err)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    bool written = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    return take_memory(bio, written, out, err);
}

static bool unspecified(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static int make_pair(const char *address, EVP_PKEY *ca_key, EVP_PKEY *key, X509 *pair[2])
{
    static const struct extension ca_extensions[] = {
        {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
        {NID_key_usage, "critical,keyCertSign,cRLSign"},
        {NID_subject_key_identifier, "hash"}};
    char names[256];
    snprintf(names, sizeof names, "DNS:localhost,IP:127.0.0.1,IP:::1%s%s",
             unspecified(address) ? "" : ",IP:", unspecified(address) ? "" : address);
    const struct extension extensions[] = {{NID_basic_constraints, "critical,CA:FALSE"},
                                           {NID_key_usage, "critical,digitalSignature"},
                                           {NID_ext_key_usage, "serverAuth"},
                                           {NID_subject_key_identifier, "hash"},
                                           {NID_authority_key_identifier, "keyid:always"},
                                           {NID_subject_alt_name, names}};
    const struct request ca = {"Bulla development CA", DEVCA_CA_DAYS, ca_extensions,
                               sizeof ca_extensions / sizeof *ca_extensions};
    const struct request server = {"localhost", DEVCA_CERT_DAYS, extensions,
                                   sizeof extensions / sizeof *extensions};
    int rc = make_certificate(ca_key, NULL, NULL, &ca, &pair[0]);
    return rc == 0 ? make_certificate(key, pair[0], ca_key, &server, &pair[1]) : rc;
}

int devca_make(const char *address, struct devca *out, struct error *err)
{
    struct devca made = {BYTES_INIT, BYTES_INIT, BYTES_INIT, BYTES_INIT};
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *pair[2] = {NULL, NULL};
    int rc = ca_key && key ? make_pair(address, ca_key, key, pair) : E_INTERNAL;
    if (rc != 0)
        rc = fail_openssl(err, "make development certificates");
    if (rc == 0)
        rc = certificate_pem(pair[0], &made.ca_certificate, err);
    if (rc == 0)
        rc = key_pem(ca_key, &made.ca_key, err);
    if (rc == 0)
        rc = certificate_pem(pair[1], &made.certificate, err);
    if (rc == 0)
        rc = key_pem(key, &made.key, err);
    X509_free(pair[0]);
    X509_free(pair[1]);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    if (rc == 0)
        *out = made;
    else
        devca_done(&made);
    return rc;
}

void devca_done(struct devca *ca)
{
    secret_wipe(ca->ca_key.data, ca->ca_key.len);
    secret_wipe(ca->key.data, ca->key.len);
    bytes_done(&ca->ca_certificate);
    bytes_done(&ca->ca_key);
    bytes_done(&ca->certificate);
    bytes_done(&ca->key);
}
