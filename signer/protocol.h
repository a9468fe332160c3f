/*
 * Messages between the registry and the signing service.
 *
 * One request and one answer per connection. Each is a frame: 4 bytes magic, 4 bytes length (big
 * endian, at most PROTOCOL_MAX_BYTES), then the payload. All numbers are big endian; texts carry
 * their length; nothing may follow the last field.
 *
 *     request: u8 kind, u16-text collection, then
 *              KEY: u8 role (enum tuf_type)
 *              PUBLISH: u16 number of files, each u8-text role, u32-bytes content
 *              REFRESH: nothing
 *              ROOTS: u64 version
 *              NEW_KEY: u8 role, u8 1 (another one than the last) or 0
 *              FILES: as PUBLISH, without content
 *              STATUS: nothing, of no collection (text "")
 *              CHANGED: u64 number, of no collection
 *              SHOW: as PUBLISH, any role
 *     answer:  u8 0 (done), u8 kind of the request, then
 *              KEY, NEW_KEY: u32-bytes TUF key object
 *              STATUS, CHANGED, SHOW: u32-bytes JSON object (link.h says what is in it)
 *              others: u16 number of files, each u8-text role, u64 version, u32-bytes content;
 *              PUBLISH, REFRESH: all files in force, and content of root, snapshot and timestamp
 *              only: the snapshot says which the others are, and the registry has most of them
 *          or  u8 1 (failed), u16 number of enum error_code without its sign, u16-text message
 *
 * The functions do no I/O and keep no state. Both sides come from one build; the magic changes when
 * the form does.
 */
#ifndef BULLA_SIGNER_PROTOCOL_H
#define BULLA_SIGNER_PROTOCOL_H

#include "oci/reference.h"
#include "signer/link.h"

#define PROTOCOL_HEADER_BYTES 8u
#define PROTOCOL_MAX_BYTES    (32u << 20) /* a set of six targets files of the largest size */
#define PROTOCOL_MAX_FILES    4100u /* all roles tuf_accept takes, root, snapshot, timestamp */

enum protocol_kind {
    PROTOCOL_KEY = 1,
    PROTOCOL_PUBLISH = 2,
    PROTOCOL_REFRESH = 3,
    PROTOCOL_ROOTS = 4,
    PROTOCOL_NEW_KEY = 5,
    PROTOCOL_FILES = 6,
    /* About the service's memory. Nothing here changes what it remembers but SHOW, which can only
     * bring back what an admin stated on the service's own machine. */
    PROTOCOL_STATUS = 16,
    PROTOCOL_CHANGED = 17,
    PROTOCOL_SHOW = 18
};

struct protocol_request {
    enum protocol_kind kind;
    char collection[REFERENCE_REPOSITORY_MAX + 1];
    enum tuf_type role;       /* KEY, NEW_KEY: TUF_SNAPSHOT or TUF_TIMESTAMP */
    bool another;             /* NEW_KEY: not the one made before */
    int64_t since;            /* ROOTS: the last version that is known; CHANGED: number; 0: none */
    struct tuf_file *changes; /* PUBLISH, SHOW: content borrowed from the message; FILES: names */
    size_t n_changes;
    char (*names)[TUF_MAX_ROLE_NAME + 1]; /* what changes[].role point at after reading */
};

/* The payload's length from a frame's header. E_PROTOCOL (magic), E_LIMIT. */
int protocol_read_header(const uint8_t header[static PROTOCOL_HEADER_BYTES], size_t *len,
                         struct error *err) MUST_CHECK;

/* Appends a whole frame. E_LIMIT where the message would be too large; out is then unchanged. */
int protocol_write_request(const struct protocol_request *request, struct bytes *out,
                           struct error *err) MUST_CHECK;
/* Checks shape and names: E_PROTOCOL, E_INVALID (names), E_LIMIT. On success the caller ends with
 * protocol_request_done while the payload still lives. */
int protocol_read_request(const void *payload, size_t len, struct protocol_request *out,
                          struct error *err) MUST_CHECK;
/* Frees what protocol_read_request made; not for requests built by hand. */
void protocol_request_done(struct protocol_request *request);

/* Append a whole frame; E_LIMIT as above. */
int protocol_write_failure(const struct error *failure, struct bytes *out,
                           struct error *err) MUST_CHECK;
/* kind: KEY or NEW_KEY, here and in protocol_read_key. */
int protocol_write_key(enum protocol_kind kind, const struct bytes *json, struct bytes *out,
                       struct error *err) MUST_CHECK;
int protocol_write_object(enum protocol_kind kind, const struct bytes *json, struct bytes *out,
                          struct error *err) MUST_CHECK;
int protocol_write_set(enum protocol_kind kind, const struct signer_set *set, struct bytes *out,
                       struct error *err) MUST_CHECK;

/* How much content one answer to FILES carries, but for the last file. */
#define PROTOCOL_FILES_BYTES (16u << 20)

/* A failure told by the peer becomes this call's failure, with its code and message. What is not an
 * answer to this kind of request is E_PROTOCOL. Outputs are copies owned by the caller. */
int protocol_read_key(enum protocol_kind kind, const void *payload, size_t len, struct bytes *json,
                      struct error *err) MUST_CHECK;
int protocol_read_object(enum protocol_kind kind, const void *payload, size_t len,
                         struct bytes *json, struct error *err) MUST_CHECK;
int protocol_read_set(enum protocol_kind kind, const void *payload, size_t len,
                      struct signer_set *out, struct error *err) MUST_CHECK;

#endif
