/*
 * What the registry does by itself: a table of tasks, each on a thread of its own, so that none
 * keeps another waiting however long it takes.
 *
 * A task runs at start, or `after_s` seconds later, and then again `every` seconds after it ended.
 * Long ones look at *end, which is set when the server stops.
 */
#ifndef BULLA_REGISTRY_MAINTENANCE_H
#define BULLA_REGISTRY_MAINTENANCE_H

#include "registry/api.h"

#include <stdatomic.h>

struct maintenance;

struct maintenance_task {
    const char *name; /* for the log */
    /* Seconds between two runs; asked once, at start. 0: the task does not run. */
    int64_t (*every_s)(const struct server_config *config);
    /* A failure is logged. */
    int (*run)(struct registry *registry, const atomic_bool *end, struct error *err);
    int64_t after_s; /* before the first run: what is not urgent leaves the start to others */
};

/* Starts the registry's own tasks. */
int maintenance_start(struct registry *registry, struct maintenance **out,
                      struct error *err) MUST_CHECK;
/* Starts these tasks; the table ends with run NULL and must outlive *out. */
int maintenance_start_tasks(struct registry *registry, const struct maintenance_task *tasks,
                            struct maintenance **out, struct error *err) MUST_CHECK;
/* Waits for the runs under way. NULL is fine. */
void maintenance_stop(struct maintenance *m);

/* Timestamps that reached half of their life are renewed; those that cannot be are tried again
 * after pauses that grow, so that they never stand in the way of others. */
int maintenance_renew(struct registry *registry, const atomic_bool *end,
                      struct error *err) MUST_CHECK;

#endif
