#include "registry/http_client_certificate.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

static int refused(unsigned status, struct error *err)
{
    gnutls_datum_t text = {NULL, 0};
    char why[200] = "";
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0)
        snprintf(why, sizeof why, ": %s", (const char *)text.data);
    gnutls_free(text.data);
    return fail(err, E_TLS, "the client certificate is not accepted%s", why);
}

int http_client_certificate_check(void *session, struct digest *out, struct error *err)
{
    gnutls_session_t tls = session;
    unsigned n = 0, status = GNUTLS_CERT_INVALID;
    /* A certificate that was made for servers says nothing about who calls. */
    char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st data = {GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)purpose, 0};
    const gnutls_datum_t *list = gnutls_certificate_get_peers(tls, &n);
    if (!list || n == 0)
        return fail(err, E_NOTFOUND, "no client certificate was shown");
    int rc = gnutls_certificate_verify_peers(tls, &data, 1, &status);
    if (rc != 0)
        return fail(err, E_TLS, "the client certificate cannot be checked: %s",
                    gnutls_strerror(rc));
    if (status != 0)
        return refused(status, err);
    return digest_of(DIGEST_SHA256, list[0].data, list[0].size, out, err);
}

int http_client_certificate_fingerprint(const struct bytes *pem, struct digest *out,
                                        struct error *err)
{
    gnutls_x509_crt_t certificate = NULL;
    gnutls_datum_t der = {NULL, 0};
    const gnutls_datum_t text = {pem->data, (unsigned)pem->len};
    int rc = gnutls_x509_crt_init(&certificate);
    if (rc == 0)
        rc = gnutls_x509_crt_import(certificate, &text, GNUTLS_X509_FMT_PEM);
    if (rc == 0)
        rc = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_DER, &der);
    if (rc != 0)
        rc = fail(err, E_INVALID, "no certificate in PEM form: %s", gnutls_strerror(rc));
    else
        rc = digest_of(DIGEST_SHA256, der.data, der.size, out, err);
    gnutls_free(der.data);
    if (certificate)
        gnutls_x509_crt_deinit(certificate);
    return rc;
}
