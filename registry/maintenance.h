/*
 * What the registry does by itself: renewing timestamps before they expire, removing abandoned
 * uploads. One thread.
 */
#ifndef BULLA_REGISTRY_MAINTENANCE_H
#define BULLA_REGISTRY_MAINTENANCE_H

#include "registry/api.h"

struct maintenance;

#define MAINTENANCE_RENEW_EVERY_S 10
#define MAINTENANCE_SWEEP_EVERY_S 3600
#define MAINTENANCE_UPLOAD_AGE_S  86400

int maintenance_start(struct registry *registry, struct maintenance **out,
                      struct error *err) MUST_CHECK;
/* Waits for the step under way. NULL is fine. */
void maintenance_stop(struct maintenance *m);

#endif
