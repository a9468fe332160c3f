/*
 * One record of the audit log: a line of JSON that carries the hash of the record before it and,
 * last, its own.
 *
 *     {"log":"changes","seq":7,"prev":"<64 hex>","time":"…","event":"manifest.put","result":"done",
 *      "status":201,"who":"alice","from":"192.0.2.1","request":"12","repository":"acme/app",
 *      "object":"v1","hash":"<64 hex>"}
 *
 * The hash is SHA-256 over the line's bytes before `,"hash":"`, so a changed record is known by
 * itself and a missing, added or moved one by its neighbours. Lines are printable ASCII whatever
 * came from outside. Pure functions.
 */
#ifndef BULLA_BASE_AUDIT_RECORD_H
#define BULLA_BASE_AUDIT_RECORD_H

#include "base/digest.h"
#include "base/json.h"

/* Longest line without its newline: what all fields may have together, escaped. */
#define AUDIT_LINE_MAX 2048u
#define AUDIT_HASH_LEN 32u
#define AUDIT_HASH_HEX (2u * AUDIT_HASH_LEN)

/* Two chains of the registry: nobody can push changes out of a bounded log by reading a lot; and
 * the signing service's own. */
enum audit_chain {
    AUDIT_CHANGES, /* what was changed, or tried to; kept */
    AUDIT_ACCESS,  /* what was read or refused; bounded */
    AUDIT_SIGNER,  /* what the signing service signed or refused; bounded, in its database */
};
#define AUDIT_CHAINS 2 /* the registry's */

/* "changes", "access", "signer". */
const char *audit_chain_name(enum audit_chain chain);

/* A place in a chain. seq 0 and zeros: before the first record. */
struct audit_link {
    uint64_t seq;
    uint8_t hash[AUDIT_HASH_LEN];
};
bool audit_link_equal(const struct audit_link *a, const struct audit_link *b);

/* Texts may be NULL: then the member is left out. Outside bytes are escaped and cut. */
struct audit_event {
    const char *event;  /* "manifest.put" */
    const char *result; /* begun, done, refused, failed, broken-off */
    const char *who;    /* subject, "anonymous", a local account */
    const char *from;   /* address of the peer, or "local" */
    const char *request;
    const char *repository;
    const char *object; /* tag, digest, user, … */
    const char *detail; /* never a secret */
    unsigned status;    /* HTTP; 0: left out */
    int64_t time_s;     /* since 1970; 0: now */
};

/* Writes the record that follows *at, newline included, and moves *at to it. Returns its length. */
size_t audit_record_write(enum audit_chain chain, const struct audit_event *e,
                          struct audit_link *at, char out[static AUDIT_LINE_MAX + 1],
                          struct error *err);

/* Checks a line (without newline) by itself: form, chain, own hash. *before and *link: the record
 * it says it follows, and itself. E_TAMPERED. Outputs on success only. */
int audit_record_check(enum audit_chain chain, const char *line, size_t len,
                       struct audit_link *before, struct audit_link *link,
                       struct error *err) MUST_CHECK;
/* The same, and all of it as JSON, owned by the caller. */
int audit_record_parse(enum audit_chain chain, const char *line, size_t len, struct js **out,
                       struct error *err) MUST_CHECK;

/* Event of a record that says which bytes before it are the rest of a broken write, and its detail.
 */
#define AUDIT_EVENT_REPAIRED "log.repaired"
/* Event of a record that says that the log was not the one the index knew. */
#define AUDIT_EVENT_MISMATCH "log.mismatch"
#define AUDIT_DETAIL_MAX     400u
int audit_repair_detail(const void *torn, size_t len, char out[static AUDIT_DETAIL_MAX],
                        struct error *err) MUST_CHECK;

#endif
