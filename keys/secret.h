/*
 * Secrets in locked memory: passphrases, PINs, private keys.
 *
 * Memory comes from libsodium's guarded allocator (mlocked where the limit allows, never in core
 * dumps) and is wiped when freed. The structs may be moved but never copied: one owner.
 */
#ifndef BULLA_KEYS_SECRET_H
#define BULLA_KEYS_SECRET_H

#include "base/bytes.h"

#define SECRET_MAX 4096 /* a passphrase, PIN or key file never needs more */

struct secret {
    uint8_t *data; /* data[len] is a NUL, not counted */
    size_t len;
};

#define SECRET_INIT                                                                                \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

/* Room for len bytes (zeroed). E_LIMIT above SECRET_MAX, E_NOMEM. */
int secret_new(size_t len, struct secret *out, struct error *err) MUST_CHECK;
int secret_copy(const void *data, size_t len, struct secret *out, struct error *err) MUST_CHECK;
void secret_done(struct secret *s);
struct secret secret_take(struct secret *s);
/* Wipes ordinary memory in a way the compiler keeps. */
void secret_wipe(void *data, size_t len);

/*
 * Where passphrases and PINs come from. One object serves a whole command, so that a file is read
 * once and a prompt is shown once per purpose.
 */
struct secret_source {
    /* Asks for the secret named by prompt ("passphrase for key 'alice'"); `confirm`: it is being
     * chosen, ask twice. E_PASSPHRASE where none can be had (no terminal and no file). */
    int (*ask)(struct secret_source *self, const char *prompt, bool confirm, struct secret *out,
               struct error *err);
    const char *file; /* NULL: the terminal is asked */
};

/* file: first line of that file (must not be readable by others: E_PASSPHRASE) for every question;
 * NULL: /dev/tty, without echo. `source` holds the borrowed name. */
void secret_source_init(struct secret_source *source, const char *file);

#endif
