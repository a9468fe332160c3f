/*
 * The signing service without its socket: answers requests from its database and its keys.
 *
 * What is signed is verified here by the same tuf_accept as everywhere, against the set that this
 * service signed last; nothing the registry says about the past is believed. Every change is
 * durable before it is answered, so a service killed at any moment gives the same bytes again. One
 * thread per object.
 */
#ifndef BULLA_SIGNER_SERVICE_H
#define BULLA_SIGNER_SERVICE_H

#include "signer/protocol.h"
#include "signer/service_sign.h"

struct service;

#define SERVICE_MAX_COLLECTIONS 250000u /* each takes a few kB for good */

struct service_options {
    const char *database;         /* path; made where it is missing */
    struct secret *passphrase;    /* moved into the service, also when opening fails */
    struct service_token **token; /* moved into the service; NULL: none */
    struct service_lifetimes lifetimes;
};

/* E_PASSPHRASE, E_TAMPERED, E_SYS and what db_open says. */
int service_open(const struct service_options *options, struct service **out,
                 struct error *err) MUST_CHECK;
void service_close(struct service *service);
void service_cleanup(struct service **service);

/* The public key as TUF key object JSON, appended; both keys are made with the first question. */
int service_key(struct service *service, const char *collection, enum tuf_type role,
                struct bytes *json, struct error *err) MUST_CHECK;
/* A key of the role for the next root, as service_rotate_offer gives it; made with its collection
 * where that is new. request: collection, role, another. */
int service_new_key(struct service *service, const struct protocol_request *request,
                    struct bytes *json, struct error *err) MUST_CHECK;
/* The contract of signer_link_publish. *out is written on success only. */
int service_publish(struct service *service, const char *collection, const struct tuf_file *changes,
                    size_t n, struct signer_set *out, struct error *err) MUST_CHECK;
/* The contract of signer_link_refresh. */
int service_refresh(struct service *service, const char *collection, struct signer_set *out,
                    struct error *err) MUST_CHECK;

/* The contract of signer_link_files; E_EXISTS where a name is given twice. */
int service_files(struct service *service, const struct protocol_request *request,
                  struct signer_set *out, struct error *err) MUST_CHECK;

/* The contract of signer_link_roots. */
int service_roots(struct service *service, const char *collection, int64_t since,
                  struct signer_set *out, struct error *err) MUST_CHECK;

/* Renews one collection that is due; *more tells that others may be. A collection that cannot be
 * renewed is left alone for a minute. Failures name the collection. */
int service_renew_one(struct service *service, bool *more, struct error *err) MUST_CHECK;

/* Appends the answer frame to a request payload: a failure is an answer, too. Fails only where not
 * even that can be made (E_NOMEM). */
int service_answer(struct service *service, const void *payload, size_t len, struct bytes *frame,
                   struct error *err) MUST_CHECK;

/* How many connections its server holds open, for the metrics. */
void service_set_connections(struct service *service, unsigned n);

#endif
