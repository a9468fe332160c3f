/*
 * Who is between two steps that belong together, and waiting until they are through.
 *
 * A push makes a blob's file visible and then records it in the index; clean-up must not remove for
 * good what somebody between the two counts on. They enter before the first step and leave after
 * the second; gate_drain returns when everybody who had entered before the call has left. Nobody
 * who enters is ever kept waiting. Thread-safe.
 */
#ifndef BULLA_REGISTRY_GATE_H
#define BULLA_REGISTRY_GATE_H

#include "base/error.h"

struct gate;

int gate_new(struct gate **out, struct error *err) MUST_CHECK;
/* Nobody is inside. NULL is fine. */
void gate_free(struct gate *g);
/* The ticket is for gate_leave. */
unsigned gate_enter(struct gate *g);
void gate_leave(struct gate *g, unsigned ticket);
/* Not to be called from inside. */
void gate_drain(struct gate *g);

#endif
