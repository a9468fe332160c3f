/*
 * Log lines of the long-running programs, on standard error: text for people or JSON for machines.
 *
 * One line per call, written with a single write(2), so lines of threads and processes do not mix.
 * Values are escaped; never pass a secret. Libraries may call log_debug only. Thread-safe after
 * log_setup.
 */
#ifndef BULLA_BASE_LOG_H
#define BULLA_BASE_LOG_H

#include "base/error.h"

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_form { LOG_TEXT, LOG_JSON };

/* program: static storage, shown in every line. Default before: warnings, text. */
void log_setup(const char *program, enum log_level level, enum log_form form);
void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/* One thing known about an event: JSON lines carry it under its name. */
struct log_field {
    const char *name; /* static */
    const char *text; /* NULL: number */
    int64_t number;
};
/* As log_write; the text form has the message only, which should say it all. */
void log_event(enum log_level level, const struct log_field *fields, size_t n, const char *format,
               ...) PRINTF_LIKE(4, 5);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
