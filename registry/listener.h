/*
 * The listening TCP socket.
 */
#ifndef BULLA_REGISTRY_LISTENER_H
#define BULLA_REGISTRY_LISTENER_H

#include "base/error.h"

#include <stdint.h>

/* Binds and listens (close-on-exec). *port: what was given, or the free one chosen for 0. *fd is
 * owned. E_INVALID (address), E_SYS (EADDRINUSE, EACCES, …). */
int listener_open(const char *address, uint16_t *port, int *fd, struct error *err) MUST_CHECK;

#endif
