/*
 * A folder of its own for each test, removed with everything in it at the end. Not thread-safe.
 */
#ifndef BULLA_TESTS_SUPPORT_SCRATCH_H
#define BULLA_TESTS_SUPPORT_SCRATCH_H

#include <stddef.h>

struct scratch {
    char path[64]; /* absolute */
    int fd;        /* the same folder, open */
};

/* cmocka set-up and tear-down: *state becomes a struct scratch *. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* "<scratch>/<name>"; a fixed set of buffers is used in turn, so four results live at once. */
const char *scratch_name(const struct scratch *s, const char *name);
/* Writes a file in the folder; ends the test on failure. */
void scratch_write(const struct scratch *s, const char *name, const void *data, size_t len);
void scratch_write_text(const struct scratch *s, const char *name, const char *text);

/* Runs `body` in a forked child. Returns its exit status, or 1000 + the signal that ended it. The
 * child leaves through _exit(body's result). */
int scratch_child(int (*body)(void *context), void *context);

#endif
