/*
 * The WWW-Authenticate header of a registry.
 *
 * Pure parsing of bytes a peer sent: bounded, no I/O. Thread-safe.
 * Source: RFC 9110 11.6.1, distribution token specification ("Requesting a Token").
 */
#ifndef BULLA_CLIENT_CHALLENGE_H
#define BULLA_CLIENT_CHALLENGE_H

#include "base/bytes.h"

#define CHALLENGE_VALUE_MAX 1024 /* a scope naming several repositories of 255 bytes fits */

enum challenge_scheme { CHALLENGE_OTHER, CHALLENGE_BASIC, CHALLENGE_BEARER };

/* Values "" where absent. */
struct challenge {
    enum challenge_scheme scheme;
    char realm[CHALLENGE_VALUE_MAX + 1];
    char service[CHALLENGE_VALUE_MAX + 1];
    char scope[CHALLENGE_VALUE_MAX + 1];
};

/* One challenge: scheme, then name=value or name="value" with commas between. A parameter named
 * twice, control characters, values over CHALLENGE_VALUE_MAX and anything that does not parse are
 * E_PROTOCOL; unknown parameters are skipped. out is written on success only. */
int challenge_parse(const char *text, size_t len, struct challenge *out,
                    struct error *err) MUST_CHECK;

#endif
