/* Runs a fuzz harness over every file of a corpus folder; prints one TAP line per file. */
#include "base/file.h"

#include <fcntl.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_one(int dir_fd, const char *name)
{
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    if (file_read(dir_fd, name, 64u << 20, &content, &err)) {
        (void)fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    /* An exact-size copy lets the sanitizer see a read of one byte too many. */
    CLEANUP(cleanup_free) uint8_t *exact = malloc(content.len ? content.len : 1);
    if (!exact)
        return 1;
    if (content.len)
        memcpy(exact, content.data, content.len);
    (void)LLVMFuzzerTestOneInput(exact, content.len);
    return 0;
}

int main(int argc, char **argv)
{
    CLEANUP(cleanup_dir) DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (!dir) {
        (void)fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    int n = 0, failed = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        int bad = replay_one(dirfd(dir), entry->d_name);
        printf("%s %d - %s\n", bad ? "not ok" : "ok", ++n, entry->d_name);
        failed += bad;
    }
    if (n == 0)
        printf("not ok 1 - the corpus is empty\n");
    return failed || n == 0;
}
