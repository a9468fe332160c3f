/*
 * bulla-filter: writes the container's system call filter as C source, while Bulla is built.
 *
 * Usage: bulla-filter > seccomp_programs.h. Never installed.
 */
#include "runner/seccomp_profile.h"

#include <linux/filter.h>
#include <string.h>

static int write_program(enum seccomp_program which, const char *name, struct error *err)
{
    CLEANUP(bytes_done) struct bytes program = BYTES_INIT;
    int rc = seccomp_compile(which, &program, err);
    if (rc)
        return rc;
    printf("static const struct sock_filter %s[] = {\n", name);
    for (size_t at = 0; at + sizeof(struct sock_filter) <= program.len;
         at += sizeof(struct sock_filter)) {
        struct sock_filter f;
        memcpy(&f, program.data + at, sizeof f);
        printf("    {0x%04x, %u, %u, 0x%08x},\n", f.code, f.jt, f.jf, f.k);
    }
    printf("};\n");
    return OK;
}

int main(void)
{
    struct error err = ERROR_INIT;
    printf("/* Made by bulla-filter from runner/seccomp_profile.c. */\n"
           "#ifndef BULLA_RUNNER_SECCOMP_PROGRAMS_H\n"
           "#define BULLA_RUNNER_SECCOMP_PROGRAMS_H\n"
           "#include <linux/filter.h>\n");
    int rc = write_program(SECCOMP_BY_CALL, "seccomp_by_call", &err);
    if (!rc)
        rc = write_program(SECCOMP_BY_ARGUMENT, "seccomp_by_argument", &err);
    printf("#endif\n");
    if (!rc && (fflush(stdout) || ferror(stdout)))
        rc = fail_sys(&err, EIO, "write the programs");
    if (rc)
        fprintf(stderr, "bulla-filter: %s\n", err.message);
    return error_exit_status(rc);
}
