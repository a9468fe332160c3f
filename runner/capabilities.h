/*
 * Capabilities of a container: the adapter over libcap.
 *
 * Root in the container keeps a short list, any other user none. Inheritable and ambient sets are
 * always empty (CVE-2022-24769). Acts on the calling thread.
 */
#ifndef BULLA_RUNNER_CAPABILITIES_H
#define BULLA_RUNNER_CAPABILITIES_H

#include "base/error.h"

#include <stdbool.h>

/* Empties the bounding set of all that the command may not have. Needs CAP_SETPCAP: before the user
 * changes. */
int capabilities_bound(bool root, struct error *err) MUST_CHECK;
/* Sets permitted and effective to the same list, inheritable and ambient to nothing. */
int capabilities_set(bool root, struct error *err) MUST_CHECK;

#endif
