#include "registry/audit_command.h"

#include "base/file.h"

#include <fcntl.h>
#include <pwd.h>
#include <string.h>

#define NO_LOGIN "4294967295"

const char *audit_local_who(char out[AUDIT_WHO_MAX])
{
    CLEANUP(bytes_done) struct bytes login = BYTES_INIT;
    struct passwd entry, *found = NULL;
    char buffer[1024], name[64];
    snprintf(name, sizeof name, "uid %u", (unsigned)getuid());
    if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found)
        snprintf(name, sizeof name, "%s", found->pw_name);
    /* The account that logged in, which the kernel keeps through sudo and su. */
    bool known = file_read(AT_FDCWD, "/proc/self/loginuid", 16, &login, NULL) == 0 &&
                 strcmp(bytes_text(&login), NO_LOGIN) != 0 && login.len > 0;
    if (known)
        snprintf(out, AUDIT_WHO_MAX, "%s (login uid %s)", name, bytes_text(&login));
    else
        snprintf(out, AUDIT_WHO_MAX, "%s", name);
    return out;
}

static const char *result_of(int rc)
{
    if (rc == 0)
        return "done";
    return error_exit_status(rc) == EXIT_COULD_NOT ? "failed" : "refused";
}

int audit_command(const struct audit_command *c, struct error *err)
{
    const struct audit_options options = {.data_dir = c->data_dir, .index = c->index};
    char who[AUDIT_WHO_MAX];
    struct audit *audit = NULL;
    uint64_t seq = 0;
    struct audit_event e = {.event = c->event,
                            .result = "begun",
                            .who = audit_local_who(who),
                            .from = "local",
                            .repository = c->repository,
                            .object = c->object,
                            .detail = c->detail};
    int rc = audit_open(&options, &audit, err);
    if (rc == 0)
        rc = audit_change(audit, &e, &seq, err);
    if (rc == 0)
        rc = audit_sync(audit, seq, err);
    if (rc == 0) {
        rc = index_write(c->index, c->work, c->arg, err);
        e.result = result_of(rc);
        audit_note(audit, &e);
    }
    audit_close(audit);
    return rc;
}
