/*
 * What the signing service tells the registry of itself, as the JSON objects that signer/link.h
 * reads: where its log stands, which collections changed, its metrics. One thread.
 */
#ifndef BULLA_SIGNER_SERVICE_TELL_H
#define BULLA_SIGNER_SERVICE_TELL_H

#include "signer/service_stats.h"

int service_tell_status(const struct service_stats *stats, struct db *db, int64_t now_s,
                        struct bytes *out, struct error *err) MUST_CHECK;
int service_tell_changes(struct db *db, int64_t since, struct bytes *out,
                         struct error *err) MUST_CHECK;

#endif
