/*
 * Time: wall clock for expiry, monotonic clock for time-outs, and TUF's date form.
 *
 * Pure code takes `int64_t now_s` (seconds since 1970, UTC) as a parameter; only programs and
 * adapters ask here. Tests of one process may replace the wall clock; nothing outside the process
 * can. Thread-safe once set up.
 */
#ifndef BULLA_BASE_CLOCK_H
#define BULLA_BASE_CLOCK_H

#include "base/error.h"

#include <stdint.h>

#define CLOCK_TEXT_MAX 24

/* Seconds since the epoch. */
int64_t clock_now_s(void);
/* Milliseconds from an arbitrary start; never jumps. */
int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
/* Unit tests only: the wall clock reads *source while source is not NULL. */
void clock_use_for_test(const int64_t *source);

/* Exactly `YYYY-MM-DDTHH:MM:SSZ`, a date that exists. E_INVALID. Source: TUF specification 4.2.1.
 */
int clock_parse(const char *text, int64_t *out_s, struct error *err) MUST_CHECK;
/* Years 1970 to 9999; outside them the nearest of the two is written. Returns out. */
const char *clock_format(int64_t time_s, char out[CLOCK_TEXT_MAX]);

#endif
