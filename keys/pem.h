/*
 * The PEM form of a public key: `-----BEGIN PUBLIC KEY-----` around base64 of the DER bytes.
 *
 * Private to keys/. Pure and thread-safe. Source: RFC 7468, 13.
 */
#ifndef BULLA_KEYS_PEM_H
#define BULLA_KEYS_PEM_H

#include "base/bytes.h"

#define PEM_MAX 8192 /* an RSA key of 8192 bits needs 1,500 */

/* Appends the DER bytes. One block and nothing but white space around it. E_INVALID. */
int pem_decode(const char *text, struct bytes *out, struct error *err) MUST_CHECK;
/* Appends lines of 64 characters, each ended by a newline. */
int pem_encode(const void *der, size_t len, struct bytes *out, struct error *err) MUST_CHECK;

#endif
