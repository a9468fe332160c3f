/*
 * Asks a person for a secret on the controlling terminal.
 *
 * The echo is off while the person types, and comes back in every case: the signals that end or
 * stop a process wait until the terminal is as it was. Not for two threads at once.
 */
#ifndef BULLA_KEYS_SECRET_PROMPT_H
#define BULLA_KEYS_SECRET_PROMPT_H

#include "keys/secret.h"

/* Writes "<prompt>: " and reads one line, without its newline. E_PASSPHRASE: no terminal, or end of
 * input; E_INTERRUPTED: a signal came (it is delivered before this returns, unless ignored). */
int secret_prompt(const char *prompt, struct secret *out, struct error *err) MUST_CHECK;

#endif
