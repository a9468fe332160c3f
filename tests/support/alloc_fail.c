#include "tests/support/alloc_fail.h"

#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Symbols of the program come before those of libraries, so these stand in for libc's everywhere.
 * Under a sanitizer the next in line is its allocator, which still sees every call. */
void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *pointer, size_t size);
void *reallocarray(void *pointer, size_t n, size_t size);

/* These run before a sanitizer's runtime is set up. */
#define RAW __attribute__((no_sanitize("address", "undefined")))

static __thread long until_failure = -1; /* -1: none is due */
static __thread int caused;

RAW static bool fails_now(void)
{
    if (until_failure < 0)
        return false;
    if (until_failure-- > 0)
        return false;
    caused++;
    errno = ENOMEM;
    return true;
}

/* dlsym may itself allocate before the real functions are known. */
RAW static void *early(size_t size)
{
    static _Alignas(16) unsigned char room[8192];
    static size_t used;
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof room - used)
        return NULL;
    void *out = room + used;
    used += size;
    return out;
}

RAW static void *next_of(const char *name)
{
    static __thread bool asking;
    if (asking)
        return NULL;
    asking = true;
    void *found = dlsym(RTLD_NEXT, name);
    asking = false;
    return found;
}

RAW void *malloc(size_t size)
{
    static void *(*real)(size_t);
    if (!real)
        real = (void *(*)(size_t))(uintptr_t)next_of("malloc");
    if (!real)
        return early(size);
    return fails_now() ? NULL : real(size);
}

RAW void *calloc(size_t n, size_t size)
{
    static void *(*real)(size_t, size_t);
    if (!real)
        real = (void *(*)(size_t, size_t))(uintptr_t)next_of("calloc");
    if (!real)
        return early(n * size);
    return fails_now() ? NULL : real(n, size);
}

RAW void *realloc(void *pointer, size_t size)
{
    static void *(*real)(void *, size_t);
    if (!real)
        real = (void *(*)(void *, size_t))(uintptr_t)next_of("realloc");
    if (!real)
        return early(size);
    return fails_now() ? NULL : real(pointer, size);
}

/* libc's own would call its realloc past the one above. */
RAW void *reallocarray(void *pointer, size_t n, size_t size)
{
    size_t all = 0;
    if (__builtin_mul_overflow(n, size, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(pointer, all);
}

void alloc_fail_at(long n)
{
    caused = 0;
    until_failure = n;
}

int alloc_fail_stop(void)
{
    until_failure = -1;
    return caused;
}

void alloc_fail_each(int (*run)(void *context, struct error *err), void *context, int also)
{
    enum { MAX_ROUNDS = 100000 };
    for (long n = 0; n < MAX_ROUNDS; n++) {
        struct error err = ERROR_INIT;
        alloc_fail_at(n);
        int rc = run(context, &err);
        int happened = alloc_fail_stop();
        if (!happened) {
            if (rc)
                fail_msg("without a failed allocation: %d %s", rc, err.message);
            /* A loop in which nothing was ever refused tests nothing. */
            assert_true(n > 0);
            return;
        }
        if (rc != 0 && rc != E_NOMEM && (also == 0 || rc != also))
            fail_msg("allocation %ld failed: code %d, %s", n, rc, err.message);
        if (n == 0)
            assert_int_not_equal(rc, 0);
    }
    fail_msg("still allocating after %d rounds", MAX_ROUNDS);
}
