/*
 * What bulla-pkcs11 does with a vendor's module: the adapter over pkcs11-helper.
 *
 * Linked into the helper process only, whose crash costs nobody else anything. One object per
 * process, one thread.
 */
#ifndef BULLA_KEYS_PKCS11_SERVICE_H
#define BULLA_KEYS_PKCS11_SERVICE_H

#include "keys/libcrypto.h"
#include "keys/public_key.h"
#include "keys/token_uri.h"

struct pkcs11_service;

/* Asks for the PIN of the token with this label: 0, or a code where there is none. pin has room
 * for size bytes and is NUL-terminated. */
struct pkcs11_pin_hook {
    int (*ask)(void *self, const char *token, char *pin, size_t size);
    void *self;
};

struct pkcs11_key {
    struct token_name name;
    char subject[128]; /* of its certificate */
    enum key_type type;
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
};

/* module: path or soname of a PKCS#11 library; "" is p11-kit's proxy. E_TOKEN. */
int pkcs11_service_open(const char *module, struct pkcs11_pin_hook hook,
                        struct pkcs11_service **out, struct error *err) MUST_CHECK;
void pkcs11_service_close(struct pkcs11_service *service);
/* Every usable key once. Heap array, freed by the caller. No PIN is asked. */
int pkcs11_service_list(struct pkcs11_service *service, struct pkcs11_key **out, size_t *n,
                        struct error *err) MUST_CHECK;
/* Chooses the one key that uri names, for sign. E_NOTFOUND; E_USAGE: several. */
int pkcs11_service_choose(struct pkcs11_service *service, struct token_uri *uri,
                          struct pkcs11_key *out, struct error *err) MUST_CHECK;
/* Appends the token's signature of a SHA-256 digest: r || s, or RSA-PSS (MGF1 SHA-256, salt 32).
 * A wrong PIN is sent once. E_PASSPHRASE, E_TOKEN. */
int pkcs11_service_sign(struct pkcs11_service *service,
                        const uint8_t digest[static LIBCRYPTO_DIGEST_LEN], struct bytes *out,
                        struct error *err) MUST_CHECK;

#endif
