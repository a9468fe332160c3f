/*
 * Which CA certificates a registry's own certificate is checked against.
 *
 * Thread-safe. Source: containers-certs.d(5) (only ca.crt is read).
 */
#ifndef BULLA_CLIENT_CERTS_H
#define BULLA_CLIENT_CERTS_H

#include "base/bytes.h"

#define CERTS_FILE_MAX (1u << 20) /* a whole system bundle is 220 KiB */

/*
 * Appends the PEM text of `file`, or where file is NULL of the first FOLDER/<authority>/ca.crt that
 * exists. out stays empty where nothing names a CA: then the system's store counts. authority is
 * host[:port] and must have passed url_parse. E_NOTFOUND (file), E_INVALID (no certificate in it),
 * E_SYS.
 */
int certs_find(const char *file, const char *const *folders, const char *authority,
               struct bytes *out, struct error *err) MUST_CHECK;
/* The certs.d folders of Bulla, docker and podman; NULL-terminated. */
extern const char *const certs_folders[];

#endif
