/*
 * Ownership on the C stack: scoped clean-up and explicit moves.
 *
 * A local that owns something carries CLEANUP(fn) and is initialised where it is declared;
 * ownership leaves through TAKE_PTR / TAKE_FD. Every function here accepts the empty value and
 * keeps errno. Thread-safe.
 */
#ifndef BULLA_BASE_CLEANUP_H
#define BULLA_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* The pointer's value; the variable becomes NULL, so its clean-up does nothing. */
#define TAKE_PTR(p)                                                                                \
    (__extension__({                                                                               \
        __typeof__(p) *taken_from_ = &(p);                                                         \
        __typeof__(p) taken_ = *taken_from_;                                                       \
        *taken_from_ = NULL;                                                                       \
        taken_;                                                                                    \
    }))

/* The descriptor's value; the variable becomes -1. */
#define TAKE_FD(fd)                                                                                \
    (__extension__({                                                                               \
        int *taken_from_ = &(fd);                                                                  \
        int taken_ = *taken_from_;                                                                 \
        *taken_from_ = -1;                                                                         \
        taken_;                                                                                    \
    }))

/* Closes *fd if it is open and sets it to -1. Never retried on EINTR: Linux has closed it by then.
 */
static inline void cleanup_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
        *fd = -1;
    }
}

/* For char * and other plain heap memory. Copied, because an lvalue of type void * may not stand
 * for one of type char *. */
static inline void cleanup_free(void *pointer_to_pointer)
{
    void *p;
    int saved = errno;
    memcpy(&p, pointer_to_pointer, sizeof p);
    free(p);
    p = NULL;
    memcpy(pointer_to_pointer, &p, sizeof p);
    errno = saved;
}

static inline void cleanup_file(FILE **f)
{
    if (*f) {
        int saved = errno;
        fclose(*f);
        errno = saved;
        *f = NULL;
    }
}

static inline void cleanup_dir(DIR **d)
{
    if (*d) {
        int saved = errno;
        closedir(*d);
        errno = saved;
        *d = NULL;
    }
}

#endif
