/*
 * What the operations of the HTTP interface share: the registry's parts, one call, its errors.
 *
 * A call is one request that was routed, authenticated and allowed. Its operation has up to three
 * steps on the connection's thread: begin (headers are here), data (a piece of the body), finish
 * (all of it is here; sets the reply). Each returns 0 or a code; the dispatcher turns a failure
 * into the distribution-spec's error body with `code`, or a code that follows from the status.
 */
#ifndef BULLA_REGISTRY_API_H
#define BULLA_REGISTRY_API_H

#include "base/config.h"
#include "registry/blobs.h"
#include "registry/gate.h"
#include "registry/http_server.h"
#include "registry/index_accounts.h"
#include "registry/index_content.h"
#include "registry/quota.h"
#include "registry/route.h"
#include "registry/token_keys.h"
#include "registry/uploads.h"
#include "registry/users.h"
#include "signer/link.h"

#include <stdatomic.h>

struct registry {
    const struct server_config *config;
    struct blobs *blobs;
    struct index *index;
    struct uploads *uploads;
    struct token_keys *token_keys;
    struct gate *commits; /* pushes between making a blob visible and recording it */
    struct users *users;
    struct signer_link *signer;
    struct mirror_anchors *anchors;
    struct health *health;
    struct audit *audit;
    int lock_fd;              /* on the data folder, for this server alone */
    atomic_bool trust_synced; /* since the start: see trust_sync.h */
};

struct api_call {
    struct registry *registry;
    struct http_request *http;
    const struct api_operation *operation;
    struct route route;
    bool routed; /* route is known */
    struct access_identity who;
    const char *subject;         /* who.name; "" until it is known */
    const char *challenge_error; /* static; why the Bearer token sent did not do (RFC 6750) */
    unsigned retry_after_s;      /* of a 429; 0: nothing to say */
    struct index_tx *tx;         /* open read transaction, or NULL; ends with the call */
    const char *code;            /* static; the distribution-spec's word for a failure */
    struct js *detail;           /* of a failure: an object for api_detail, NULL: none yet */
    struct js *problems;         /* several failures at once: the body's list; NULL: one only */
    unsigned status;             /* of a failure; 0: follows from the code */
    struct bytes body;           /* operations that want it whole */
    size_t body_max;
    struct blob_upload *upload; /* what this call writes to */
    bool in_session;            /* …and it belongs to a session */
    bool in_chunk;              /* the body is a chunk that ends before chunk_end */
    uint64_t chunk_end;         /* offset in the upload */
    uint64_t ignored;           /* bytes of a body that means nothing */
    bool limited;               /* …and more than `room` bytes in all are over a quota */
    uint64_t room;
    struct quota_excess quota; /* which */
    uint64_t blob_size;        /* of a blob whose range was asked for */
    struct digest digest;      /* promised by the caller; DIGEST_NONE: none yet */
    uint64_t audit_seq;        /* the record of a change that was begun; 0: no change */
    bool audited;              /* its result is recorded */
};

struct api_operation {
    enum route_kind kind;
    enum http_method method;
    int (*begin)(struct api_call *c, struct error *err);
    int (*data)(struct api_call *c, const void *data, size_t len, struct error *err);
    int (*finish)(struct api_call *c, struct error *err);
    void (*end)(struct api_call *c);
};

/* `return api_fail(c, "DIGEST_INVALID", fail(err, …))`: code is static. */
int api_fail(struct api_call *c, const char *code, int rc);
/* A member of the failure's `detail`: what a person or a program needs to put it right. Takes
 * value; a detail that memory does not suffice for is left out. */
void api_detail(struct api_call *c, const char *name, struct js *value);
/* One of several failures of one request, with a detail of its own (taken). The first that was
 * added makes the answer's list; err's message is not used then. */
void api_problem(struct api_call *c, const char *code, struct js *detail, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* The call's read transaction, begun when it is first wanted. */
int api_read(struct api_call *c, struct index_tx **out, struct error *err) MUST_CHECK;
void api_read_end(struct api_call *c);
/* Reply with this status and an empty body, or with headers set before. */
int api_reply_header(struct api_call *c, const char *name, struct error *err, const char *format,
                     ...) PRINTF_LIKE(4, 5) MUST_CHECK;
int api_reply_json(struct api_call *c, const struct js *value, struct error *err) MUST_CHECK;
/* Docker-Content-Digest. */
int api_reply_digest(struct api_call *c, const struct digest *d, struct error *err) MUST_CHECK;
/* A query value, decoded; "" where absent. E_INVALID. */
int api_query(struct api_call *c, const char *name, char *out, size_t size,
              struct error *err) MUST_CHECK;
/* The ETag of an immutable thing, and 304 where the caller has it already (*unchanged): then there
 * is nothing more to do. Source: RFC 9110, 13.1.2. */
int api_reply_etag(struct api_call *c, const struct digest *d, bool *unchanged,
                   struct error *err) MUST_CHECK;
/* For operations that buffer: at most `max` bytes, else E_LIMIT before or while receiving. */
int api_want_body(struct api_call *c, size_t max, struct error *err) MUST_CHECK;

/* 200 with the stored bytes of a manifest. */
int api_reply_manifest(struct api_call *c, const struct index_manifest *row,
                       struct error *err) MUST_CHECK;

/* Before a body: whether an upload of `len` bytes may still come, as far as that can be known, and
 * from then on api_quota_receive for what it has become. E_DENIED. */
int api_quota_admit(struct api_call *c, uint64_t len, struct error *err) MUST_CHECK;
int api_quota_receive(struct api_call *c, uint64_t len, struct error *err) MUST_CHECK;
/* The failure rc says which quota it was, if it was one. */
int api_quota_refuse(struct api_call *c, const struct quota_excess *excess, int rc);

/* HEAD by a caller who may push here: what it was told of stays for as long as a lease lasts.
 * E_NOTFOUND: it went meanwhile. */
int api_lease(struct api_call *c, const struct digest *d, struct error *err) MUST_CHECK;

extern const struct api_operation api_blob_operations[], api_upload_operations[],
    api_manifest_operations[], api_list_operations[], api_trust_operations[],
    api_health_operations[], api_auth_operations[], api_mirror_operations[];

#define API_ALIVE "{\"alive\":true}\n" /* what /healthz says */

/* --- api_access.c --- */

/* Sets c->who and decides: 0 where the call may go on. */
int api_authorize(struct api_call *c, struct error *err) MUST_CHECK;
/* For a 401: exactly one challenge. E_INVALID: the Host header cannot be part of a URL. */
int api_challenge(struct api_call *c, struct error *err) MUST_CHECK;

/* A call has ended: log and metrics. completed: its answer was sent whole. */
void api_record(struct api_call *c, bool completed);

/* The application behind http_server. */
void api_app(struct registry *registry, struct http_app *out);

#endif
