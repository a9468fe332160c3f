/*
 * A development certificate authority: the adapter over OpenSSL's X.509.
 *
 * For `init`, so that TLS is never switched off "for now". ECDSA P-256 throughout. Not for a fleet:
 * there is no revocation and no renewal. Thread-safe.
 */
#ifndef BULLA_REGISTRY_DEVCA_H
#define BULLA_REGISTRY_DEVCA_H

#include "base/bytes.h"

#define DEVCA_CA_DAYS   3650
#define DEVCA_CERT_DAYS 825 /* what clients with an upper limit still take */

/* PEM texts, owned by the caller. */
struct devca {
    struct bytes ca_certificate, ca_key, certificate, key;
};

/* A new authority and one server certificate by it for localhost, 127.0.0.1, ::1 and `address` (an
 * IP address; an unspecified one is left out). E_INTERNAL where OpenSSL fails. */
int devca_make(const char *address, struct devca *out, struct error *err) MUST_CHECK;
void devca_done(struct devca *ca);

#endif
