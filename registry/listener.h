/*
 * The listening sockets: TCP, and Unix for operators.
 */
#ifndef BULLA_REGISTRY_LISTENER_H
#define BULLA_REGISTRY_LISTENER_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* Binds and listens (close-on-exec). *port: what was given, or the free one chosen for 0. *fd is
 * owned. E_INVALID (address), E_SYS (EADDRINUSE, EACCES, …). */
int listener_open(const char *address, uint16_t *port, int *fd, struct error *err) MUST_CHECK;

/* Binds `path` (mode 0660, its folder made, 0755) and gives it to the account, unless that is
 * (uid_t)-1. A socket that nobody listens on any more is replaced; one in use is E_BUSY. */
int listener_open_unix(const char *path, uid_t uid, gid_t gid, int *fd,
                       struct error *err) MUST_CHECK;

#endif
