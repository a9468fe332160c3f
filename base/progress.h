/*
 * Progress of long work, shown to a person on a terminal.
 *
 * Libraries get a `struct progress *` (NULL: nobody watches) and report; only the command line
 * makes one that draws. Calls may come from several threads.
 */
#ifndef BULLA_BASE_PROGRESS_H
#define BULLA_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress;

/* One that draws on standard error: label, bar, rate and time left, at most ten times a second.
 * NULL where standard error is no terminal or memory is out. */
struct progress *progress_new(void);
void progress_free(struct progress *p);
void progress_cleanup(struct progress **p);

/* Starts a task of `total` bytes (0: unknown); label is copied. */
void progress_begin(struct progress *p, const char *label, uint64_t total);
/* n further bytes of the current task are done. */
void progress_add(struct progress *p, uint64_t n);
/* n of them must be done once more (a transfer that starts again). */
void progress_take_back(struct progress *p, uint64_t n);
/* The task is over: draws its final line. */
void progress_end(struct progress *p);

#endif
