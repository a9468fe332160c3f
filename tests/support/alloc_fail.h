/*
 * Makes the n-th allocation of the calling thread fail, in this program and the shared libraries it
 * uses: malloc, calloc, realloc, reallocarray, and with them strdup, vasprintf and their like.
 */
#ifndef BULLA_TESTS_SUPPORT_ALLOC_FAIL_H
#define BULLA_TESTS_SUPPORT_ALLOC_FAIL_H

#include "base/error.h"

/* Allocation number n from now (0: the next one) fails, once. */
void alloc_fail_at(long n);
/* Back to normal; returns how many failures were caused since alloc_fail_at (0 or 1). */
int alloc_fail_stop(void);

/*
 * Calls `run` again and again, with the first, the second, … allocation failing, until it gets
 * through without one. Ends the test where a round with a failure returns anything but 0, E_NOMEM
 * or `also` (a code that stands for "out of memory inside a library"; 0: none), where the first
 * allocation's failure is not noticed at all, or where the last round does not return 0.
 */
void alloc_fail_each(int (*run)(void *context, struct error *err), void *context, int also);

#endif
