/*
 * Client certificates, on a connection and in files: what the server asks GnuTLS about them.
 *
 * Thread-safe per session.
 */
#ifndef BULLA_REGISTRY_HTTP_CLIENT_CERTIFICATE_H
#define BULLA_REGISTRY_HTTP_CLIENT_CERTIFICATE_H

#include "base/digest.h"

/*
 * SHA-256 over the DER form of the certificate whose key the peer of `session` (gnutls_session_t)
 * proved to hold, where the server's client authorities vouch for it now, for the purpose of
 * clients. E_NOTFOUND: none was shown; E_TLS says what is wrong with it.
 */
int http_client_certificate_check(void *session, struct digest *out, struct error *err) MUST_CHECK;
/* The same fingerprint of the first certificate in PEM text. E_INVALID. */
int http_client_certificate_fingerprint(const struct bytes *pem, struct digest *out,
                                        struct error *err) MUST_CHECK;

#endif
