/*
 * Uploads hostile bytes. Input: records of one byte (role, and whether it is published already or
 * uploaded), two bytes (length, big-endian) and the content.
 */
#include "tuf/accept.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const roles[] = {"root", "targets", "alice", "bob", "snapshot", "../x"};
    struct tuf_file files[2][8];
    size_t n[2] = {0, 0};
    while (size >= 3 && n[0] < 8 && n[1] < 8) {
        size_t len = (size_t)data[1] << 8 | data[2], room = size - 3, kind = data[0] & 1;
        len = len < room ? len : room;
        files[kind][n[kind]++] = (struct tuf_file){roles[(data[0] >> 1) % 6], data + 3, len};
        data += 3 + len;
        size = room - len;
    }
    struct tuf_accept_input in = {.collection = "acme/app",
                                  .now_s = 1750000000,
                                  .current = files[0],
                                  .n_current = n[0],
                                  .changes = files[1],
                                  .n_changes = n[1]};
    CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *a = NULL;
    struct error err = ERROR_INIT;
    int rc = tuf_accept(&in, &a, &err);
    assert((rc == 0) == (a != NULL));
    if (a)
        assert(a->root && a->n_roles >= 1 && a->role_names[0]);
    return 0;
}
