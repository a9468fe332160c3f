/*
 * The language between a Bulla program and its helper bulla-pkcs11, over one stream socket.
 *
 * A frame is a 32-bit length of what follows, a type byte, a 32-bit number, then each of the type's
 * fields as 16-bit length and bytes; all big-endian. Neither side trusts the other: a vendor's
 * module lives in the helper. Frames are built and read in locked memory, because one of them
 * carries the PIN. One thread per channel.
 */
#ifndef BULLA_KEYS_PKCS11_PROTOCOL_H
#define BULLA_KEYS_PKCS11_PROTOCOL_H

#include "keys/secret.h"

#define PKCS11_FRAME_MAX  SECRET_MAX
#define PKCS11_FIELDS_MAX 5
#define PKCS11_PIN_MAX    255
#define PKCS11_URI_MAX    1023
#define PKCS11_MODULE_MAX 1023

enum pkcs11_message_type {
    PKCS11_LIST = 1, /* module → KEY…, DONE or FAILED */
    PKCS11_OPEN,     /* module, URI → KEY or FAILED; SIGN then uses that key */
    PKCS11_SIGN,     /* SHA-256 → SIGNATURE or FAILED, PIN_NEEDED any number of times before */
    PKCS11_PIN,      /* PIN: the answer to PIN_NEEDED */
    PKCS11_NO_PIN,   /* nobody could be asked */
    PKCS11_KEY,      /* URI, token label, subject, SubjectPublicKeyInfo, CKA_ID; number: key_type */
    PKCS11_DONE,
    PKCS11_PIN_NEEDED, /* token label */
    PKCS11_SIGNATURE,  /* ECDSA: r || s; RSA: as it is */
    PKCS11_FAILED,     /* message; number: error code */
    PKCS11_TYPES_END
};

struct pkcs11_field {
    const uint8_t *data;
    size_t len;
};

struct pkcs11_message {
    enum pkcs11_message_type type;
    int32_t number;
    struct pkcs11_field field[PKCS11_FIELDS_MAX];
};

/* What follows the frame's length. out has room for PKCS11_FRAME_MAX bytes. E_LIMIT: a field is
 * longer than its type allows. */
int pkcs11_message_encode(const struct pkcs11_message *message, uint8_t *out, size_t *len,
                          struct error *err) MUST_CHECK;
/* Fields point into data. E_PROTOCOL for everything that encode would not have written. */
int pkcs11_message_decode(const uint8_t *data, size_t len, struct pkcs11_message *out,
                          struct error *err) MUST_CHECK;

/* A field from a C string; NULL is empty. */
struct pkcs11_field pkcs11_field_of_text(const char *text);
/* A C string from a field of a side that is not trusted: cut to size, invalid UTF-8 and control
 * characters become '?'. Returns out. */
const char *pkcs11_field_show(const struct pkcs11_field *field, char *out, size_t size);
/* An exact C string: E_PROTOCOL where it does not fit or holds a NUL. */
int pkcs11_field_text(const struct pkcs11_field *field, char *out, size_t size,
                      struct error *err) MUST_CHECK;

struct pkcs11_channel {
    int fd;
    struct secret buffer;
};

/* Owns fd on success. */
int pkcs11_channel_init(struct pkcs11_channel *channel, int fd, struct error *err) MUST_CHECK;
void pkcs11_channel_done(struct pkcs11_channel *channel);
/* E_TOKEN: the other side is gone. Never raises SIGPIPE. */
int pkcs11_channel_send(struct pkcs11_channel *channel, const struct pkcs11_message *message,
                        struct error *err) MUST_CHECK;
/* Waits at most timeout_ms for the whole frame (-1: for ever). The fields live until the channel's
 * next call. E_TOKEN: closed or too late; E_PROTOCOL. */
int pkcs11_channel_receive(struct pkcs11_channel *channel, int timeout_ms,
                           struct pkcs11_message *out, struct error *err) MUST_CHECK;

#endif
