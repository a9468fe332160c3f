/*
 * The line between the runner and its set-up process: small messages, some with descriptors.
 *
 * A SOCK_SEQPACKET pair; each message is one packet, so nothing is ever cut or joined. The parent
 * trusts nothing in a message but its kind before checking length and termination: the other end
 * becomes bulla-init. Not thread-safe.
 */
#ifndef BULLA_RUNNER_CHANNEL_H
#define BULLA_RUNNER_CHANNEL_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* The kernel passes at most 253 descriptors in one message. */
#define CHANNEL_MAX_FDS 64

enum channel_kind {
    CHANNEL_ROOT = 1, /* parent: ids are mapped; fds[0] is the root mount */
    CHANNEL_USER,     /* child: a = uid, b = gid of the command, seen from inside */
    CHANNEL_VOLUMES,  /* parent: one mount per volume */
    CHANNEL_GO,       /* parent: the limits are in place */
    CHANNEL_FAILED,   /* child: code, sys, text */
};

struct channel_message {
    uint32_t kind;
    int32_t code;
    int32_t sys;
    uint32_t a;
    uint32_t b;
    char text[ERROR_MESSAGE_MAX];
};

int channel_open(int *parent_end, int *child_end, struct error *err) MUST_CHECK;
/* fds are borrowed: the peer gets copies. E_SYS (EPIPE: the peer is gone). */
int channel_send(int sock, const struct channel_message *m, const int *fds, size_t n_fds,
                 struct error *err) MUST_CHECK;
/*
 * Waits for a message of `kind` with exactly n_fds descriptors, which become the caller's. A
 * CHANNEL_FAILED or an exec report of bulla-init becomes that error; E_INTERRUPTED where the peer
 * is gone.
 */
int channel_receive(int sock, enum channel_kind kind, struct channel_message *m, int *fds,
                    size_t n_fds, struct error *err) MUST_CHECK;
/* Reports err to the parent, as well as it goes. */
void channel_report(int sock, const struct error *err);

#endif
