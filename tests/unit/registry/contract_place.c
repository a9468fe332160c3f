#include "tests/unit/registry/contract_place.h"

#include "tests/support/scratch.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>

#include <cmocka.h>

struct contract_place {
    struct scratch *dir;
    bool mounted;
};

/* Mounts made here are seen by nobody else. */
static bool enter_namespace(void)
{
    static int entered;
    if (entered == 0)
        entered = unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
                      ? 1
                      : -1;
    return entered > 0;
}

void *contract_place_new(void)
{
    struct contract_place *p = calloc(1, sizeof *p);
    void *dir = NULL;
    assert_non_null(p);
    scratch_setup(&dir);
    p->dir = dir;
    p->mounted = enter_namespace() &&
                 mount("tmpfs", p->dir->path, "tmpfs", MS_NOSUID | MS_NODEV, "size=64m") == 0;
    return p;
}

void contract_place_free(void *place)
{
    struct contract_place *p = place;
    void *dir = p->dir;
    if (p->mounted)
        assert_int_equal(umount2(p->dir->path, 0), 0); /* nothing was left open */
    scratch_teardown(&dir);
    free(p);
}

const char *contract_place_path(const void *place)
{
    return ((const struct contract_place *)place)->dir->path;
}

static bool remount(const struct contract_place *p, unsigned long flags, const char *options)
{
    return p->mounted && mount("tmpfs", p->dir->path, NULL,
                               MS_REMOUNT | MS_NOSUID | MS_NODEV | flags, options) == 0;
}

bool contract_place_set_room(void *place, uint64_t bytes)
{
    char options[64];
    snprintf(options, sizeof options, "size=%lluk",
             bytes == UINT64_MAX ? 65536ull : (unsigned long long)bytes >> 10);
    return remount(place, 0, options);
}

bool contract_place_set_read_only(void *place, bool on)
{
    return remount(place, on ? MS_RDONLY : 0, NULL);
}
