/*
 * The one error type.
 *
 * What can fail returns 0 or one of the negative codes below and takes `struct error *err` last.
 * The caller owns the struct (usually on its stack); whoever detects the failure fills it with
 * fail() or fail_sys(); callers on the way up add context in front with wrap(). A NULL err is
 * allowed and loses the message only. Thread-safe: no shared state.
 */
#ifndef BULLA_BASE_ERROR_H
#define BULLA_BASE_ERROR_H

#include <stddef.h>

#define ERROR_MESSAGE_MAX 768

enum error_code {
    OK = 0,
    E_USAGE = -1,    /* the caller's words are wrong: options, names */
    E_NOMEM = -2,    /* out of memory */
    E_SYS = -3,      /* a system call failed; `sys` holds errno */
    E_NOTFOUND = -4, /* what was named does not exist */
    E_EXISTS = -5,   /* it exists already */
    E_INVALID = -6, /* malformed input: JSON, metadata, manifest, layer, reference, configuration */
    E_LIMIT = -7,   /* larger, deeper or more than the documented limit */
    E_DIGEST = -8,  /* bytes do not have the digest or length they were promised to have */
    E_SIGNATURE = -9,     /* signature wrong or threshold not reached */
    E_EXPIRED = -10,      /* signed metadata is past its expiry */
    E_ROLLBACK = -11,     /* signed metadata is older than, or inconsistent with, what is known */
    E_BINDING = -12,      /* signed metadata is for another collection or role */
    E_UNSIGNED = -13,     /* fresh, valid metadata does not vouch for the name */
    E_BANNED = -14,       /* the digest is on the collection's ban list */
    E_POLICY = -15,       /* local policy says no */
    E_UNAUTHORIZED = -16, /* the peer wants (other) credentials: HTTP 401 */
    E_DENIED = -17,       /* the caller may not do this: HTTP 403 */
    E_CONFLICT = -18,     /* somebody else was first: HTTP 409 */
    E_NETWORK = -19,      /* peer unreachable, connection lost, time-out, HTTP 5xx */
    E_TLS = -20,          /* certificate or handshake not acceptable */
    E_PROTOCOL = -21,     /* the peer's answer breaks its specification */
    E_TOKEN = -22,        /* PKCS#11 token missing, removed or failing */
    E_PASSPHRASE = -23,   /* wrong passphrase or PIN */
    E_NO_TRUST = -24,     /* no anchor, or no metadata to judge by */
    E_CLOCK = -25,        /* the local clock cannot be right */
    E_STALE = -26,       /* a mirror serves metadata older than known, or state is too old to use */
    E_UNSUPPORTED = -27, /* this host or build cannot do it */
    E_BUSY = -28,        /* locked by another process, or too many at once */
    E_TAMPERED = -29,    /* local files are not what was verified */
    E_RANGE = -30,       /* a byte range that does not exist: HTTP 416 */
    E_INTERRUPTED = -31, /* ended by the user or by shutdown */
    E_NOT_EXECUTABLE = -32, /* container: the command cannot be executed (126) */
    E_NO_COMMAND = -33,     /* container: the command does not exist (127) */
    E_INTERNAL = -34,       /* our own bug */
};

/* Exit statuses of every program; see docs/cli. */
enum exit_status { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_COULD_NOT = 3 };

struct error {
    int code;                        /* 0 or an enum error_code */
    int sys;                         /* errno where a system call failed, else 0 */
    char message[ERROR_MESSAGE_MAX]; /* NUL-terminated; printable UTF-8 only, see below */
};

#define ERROR_INIT                                                                                 \
    {                                                                                              \
        0, 0, ""                                                                                   \
    }
#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/*
 * Record a failure and return its code: `return fail(err, E_DIGEST, "layer %u", i)`. Control
 * characters in the result are escaped (\x1b), over-long messages are cut: outside bytes may be put
 * in directly. Any previous content of err is replaced.
 */
int fail(struct error *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same for a failed system call: code E_SYS, message "<format>: <strerror>". errnum > 0. ENOENT
 * becomes E_NOTFOUND, EEXIST E_EXISTS, ENOMEM E_NOMEM; `sys` keeps the number. */
int fail_sys(struct error *err, int errnum, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "<format>: " in front of err's message and returns rc unchanged. rc == 0 does nothing. */
int wrap(struct error *err, int rc, const char *format, ...) PRINTF_LIKE(3, 4);

/* Out of memory, in one word. */
int fail_nomem(struct error *err);

/* Stable lower-case name of a code for --json and logs ("digest-mismatch"); "unknown" otherwise. */
const char *error_name(int code);
/* HTTP status that the registry answers with. */
int error_http_status(int code);
/* Exit status of a command that ended with this code: 0, 1, 2 or 3. */
int error_exit_status(int code);
/* "valid", "refused" or "undetermined" for --json: follows error_exit_status. */
const char *error_verdict(int code);

#endif
