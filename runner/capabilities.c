#include "runner/capabilities.h"

#include <errno.h>
#include <stddef.h>
#include <sys/capability.h>

/*
 * What ordinary programs need that start as root and become somebody else. Against Docker's list,
 * MKNOD, NET_RAW and AUDIT_WRITE are missing: device nodes are void in a user namespace, raw
 * sockets forge packets on a shared network, and the audit log is the host's.
 */
static const cap_value_t root_list[] = {
    CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,  CAP_FSETID,           CAP_KILL,       CAP_SETGID,
    CAP_SETUID, CAP_SETPCAP,      CAP_SETFCAP, CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT,
};
#define N_ROOT (sizeof root_list / sizeof root_list[0])

static bool on_list(cap_value_t cap)
{
    for (size_t i = 0; i < N_ROOT; i++)
        if (root_list[i] == cap)
            return true;
    return false;
}

int capabilities_bound(bool root, struct error *err)
{
    /* All the running kernel knows, not all that libcap was built with. */
    for (cap_value_t cap = 0; cap_get_bound(cap) >= 0; cap++)
        if (!(root && on_list(cap)) && cap_drop_bound(cap))
            return fail_sys(err, errno, "drop capability %d from the bounding set", (int)cap);
    return OK;
}

int capabilities_set(bool root, struct error *err)
{
    cap_t caps = cap_init();
    if (!caps)
        return fail_nomem(err);
    int failed = 0;
    if (root)
        failed = cap_set_flag(caps, CAP_PERMITTED, (int)N_ROOT, root_list, CAP_SET) ||
                 cap_set_flag(caps, CAP_EFFECTIVE, (int)N_ROOT, root_list, CAP_SET);
    if (failed || cap_set_proc(caps))
        failed = errno ? errno : EINVAL;
    cap_free(caps);
    if (failed)
        return fail_sys(err, failed, "set capabilities");
    if (cap_reset_ambient())
        return fail_sys(err, errno, "clear ambient capabilities");
    return OK;
}
