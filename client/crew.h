/*
 * Several connections to one registry that work through a list of jobs.
 *
 * Each worker has its own struct remote and takes the next job when it is done with one. The first
 * failure is the result: it stops the others (their requests end within a second) and nobody starts
 * another job. Memory is bounded by the number of workers. Source of cause: what the others say
 * while they are being stopped is not kept.
 */
#ifndef BULLA_CLIENT_CREW_H
#define BULLA_CLIENT_CREW_H

#include "client/remote.h"

/* Job number i, over r. Called from several threads. */
typedef int crew_work(void *ctx, struct remote *r, size_t i, struct error *err);

/* Runs work for 0 … n - 1, at most `parallel` (≥ 1) at once; returns when all have ended. */
int crew_run(struct remote *r, unsigned parallel, size_t n, crew_work *work, void *ctx,
             struct error *err) MUST_CHECK;

#endif
