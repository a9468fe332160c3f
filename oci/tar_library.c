#include "oci/tar_library.h"

#include <dlfcn.h>
#include <string.h>

#define LIBARCHIVE_FILE "libarchive.so.13"

static const char *const names[] = {
#define TAR_LIBRARY_NAME(name) #name,
    TAR_LIBRARY_FUNCTIONS(TAR_LIBRARY_NAME)
#undef TAR_LIBRARY_NAME
};

/* The table is an array of pointers for the loop below. */
_Static_assert(sizeof(struct tar_library) == sizeof names, "one pointer per function");

int tar_library_open(struct tar_library *out, struct error *err)
{
    void *symbols[sizeof names / sizeof names[0]];
    /* Stays loaded: opening it again costs nothing, and leaving it loaded leaks nothing. */
    void *library = dlopen(LIBARCHIVE_FILE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return fail(err, E_UNSUPPORTED, "libarchive is needed for this: %s", dlerror());
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        symbols[i] = dlsym(library, names[i]);
        if (!symbols[i]) {
            (void)dlclose(library);
            return fail(err, E_UNSUPPORTED, "%s has no %s", LIBARCHIVE_FILE, names[i]);
        }
    }
    (void)dlclose(library);
    memcpy(out, symbols, sizeof symbols);
    return OK;
}
