/* The thread's character type locale around calls into libarchive; for tar_reader.c, tar_writer.c.
 */
#ifndef BULLA_OCI_TAR_LOCALE_H
#define BULLA_OCI_TAR_LOCALE_H

#include "base/error.h"

#include <locale.h>

/* C.UTF-8: in the plain C locale libarchive drops or mangles names outside ASCII. */
static inline int tar_locale_new(locale_t *out, struct error *err)
{
    locale_t made = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (made == (locale_t)0)
        return fail(err, E_UNSUPPORTED, "this system has no locale C.UTF-8");
    *out = made;
    return OK;
}

static inline void tar_locale_free(locale_t locale)
{
    if (locale != (locale_t)0)
        freelocale(locale);
}

/* Restores the locale that was in use; for CLEANUP. */
static inline void tar_locale_leave(locale_t *before)
{
    (void)uselocale(*before);
}

#endif
