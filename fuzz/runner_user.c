/* An image's account files and user: the first line asks, the rest is passwd and group at once. */
#include "base/file.h"
#include "base/path.h"
#include "runner/user.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_in(int fd, const char *text, const uint8_t *data, size_t size)
{
    struct run_user user;
    if (mkdirat(fd, "etc", 0700) || symlinkat("passwd", fd, "etc/group") ||
        file_write_atomic(fd, "etc/passwd", data, size, 0600, NULL))
        abort();
    if (user_lookup(fd, text, &user, NULL) == OK &&
        (user.uid > USER_MAX_ID || user.gid > USER_MAX_ID || user.n_groups > USER_MAX_GROUPS ||
         user.home[0] != '/' || !memchr(user.home, '\0', sizeof user.home)))
        abort();
    if (path_remove_tree(fd, "etc", NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/fuzz-user-XXXXXX";
    const uint8_t *line = size && size < 65536 ? memchr(data, '\n', size) : NULL;
    if (!line || !mkdtemp(path))
        return 0;
    CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_free) char *text = strndup((const char *)data, (size_t)(line - data));
    if (text)
        try_in(fd, text, line + 1, size - (size_t)(line - data) - 1);
    return rmdir(path);
}
