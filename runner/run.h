/*
 * Start of a container from an already prepared and verified root file system.
 *
 * run_container() is the one entrance: the caller has asked policy and verifier before and hands in
 * descriptors of what was verified; the runner opens no layer by path. It returns when the
 * container has ended, or when it could not be started, and leaves no mount, cgroup or process
 * behind. When the calling process is killed, the kernel kills the container.
 *
 * Only as root for now. Call from a process with one thread, on the thread that lives longest: the
 * set-up process is made with clone3 (no atfork handlers), and the container dies with the thread
 * that started it. The calling thread's mount namespace is replaced by a private copy when layers
 * have to be stacked.
 */
#ifndef BULLA_RUNNER_RUN_H
#define BULLA_RUNNER_RUN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* overlayfs stops at 500 lower layers, Docker's own limit is 127; one page of mount options must
 * name them all. */
#define RUN_MAX_LAYERS    128
#define RUN_MAX_MOUNTS    64   /* volumes, and tmpfs mounts */
#define RUN_MAX_ENV       4096 /* variables */
#define RUN_DEFAULT_PIDS  512
#define RUN_PIDS_NO_LIMIT UINT32_MAX

/* -v SOURCE:DESTINATION[:ro] */
struct run_volume {
    const char *source;      /* absolute path on the host; links are followed */
    const char *destination; /* absolute path in the container, resolved inside its root */
    bool read_only;
};

/* --tmpfs DESTINATION[:size=N,mode=M] */
struct run_tmpfs {
    const char *destination;
    uint64_t size_bytes; /* 0: 256 MiB */
    mode_t mode;         /* 0: 01777 */
};

struct run_limits {
    uint64_t memory_bytes; /* 0: none */
    uint32_t cpu_milli;    /* thousandths of a CPU; 0: none */
    uint32_t pids;         /* 0: RUN_DEFAULT_PIDS; RUN_PIDS_NO_LIMIT: none */
};

struct run_spec {
    const int *layer_fds; /* O_PATH or read-only descriptors of unpacked layers, lowest first;
                             owners on disk are the image's own ids. Borrowed. */
    size_t n_layers;
    const char *const *argv; /* NULL-terminated, at least one word */
    const char *const
        *env;         /* "NAME=value": the image's, then the user's; later ones win. NULL: none */
    const char *cwd;  /* absolute; NULL or "": "/" */
    const char *user; /* as in an image's config or -u; NULL or "": root */
    const char *hostname; /* NULL: a random one */
    const struct run_volume *volumes;
    size_t n_volumes;
    const struct run_tmpfs
        *tmpfs; /* besides /tmp, /run and /var/tmp; the same path overrides those */
    size_t n_tmpfs;
    const char *const *protected_paths; /* NULL-terminated: host paths no volume may show, besides
                                           the runner's own list; NULL: none */
    struct run_limits limits;
    bool writable;         /* a writable root that is thrown away with the container */
    bool require_non_root; /* policy: whatever `user` means in this image, it must not be uid 0 */
};

/*
 * Starts the container, passes SIGINT, SIGTERM and the like on to it, waits for its end.
 *
 * 0: it ran, and *exit_status is what the caller should exit with: the command's own status, or
 * 128 + n when signal n ended it. Otherwise the command never started: E_NO_COMMAND (not found),
 * E_NOT_EXECUTABLE, E_UNSUPPORTED (this host cannot give what was asked for), E_USAGE, E_INVALID
 * (the specification or the image asks for something impossible), E_POLICY (a volume that is never
 * allowed), E_LIMIT, E_BUSY, E_SYS. *exit_status is written only on success.
 */
int run_container(const struct run_spec *spec, int *exit_status, struct error *err) MUST_CHECK;

/* Opens /dev/null for each of the descriptors 0, 1 and 2 that is closed. For the start of main():
 * whatever the program opens first would otherwise become the container's input or output. */
int run_open_standard_files(struct error *err) MUST_CHECK;

/* Exit status of `bulla run` for a code returned by run_container: 126, 127, else 125. */
int run_exit_status(int code);

/* Unit and end-to-end tests only: where bulla-init lies, instead of beside the program. Static
 * storage; NULL: back to the default. */
void run_use_init_for_test(const char *path);

#endif
