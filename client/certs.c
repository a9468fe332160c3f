#include "client/certs.h"

#include "base/file.h"

#include <fcntl.h>
#include <string.h>

const char *const certs_folders[] = {"/etc/bulla/certs.d", "/etc/containers/certs.d",
                                     "/etc/docker/certs.d", NULL};

static int read_pem(const char *file, struct bytes *out, struct error *err)
{
    int rc = file_read(AT_FDCWD, file, CERTS_FILE_MAX, out, err);
    if (!rc && !strstr(bytes_text(out), "-----BEGIN CERTIFICATE-----"))
        rc = fail(err, E_INVALID, "CA file '%s' holds no PEM certificate", file);
    return rc;
}

int certs_find(const char *file, const char *const *folders, const char *authority,
               struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes pem = BYTES_INIT;
    int rc = file ? wrap(err, read_pem(file, &pem, err), "CA file") : OK;
    for (; !file && !rc && !pem.len && *folders; folders++) {
        CLEANUP(cleanup_free) char *path = text_format("%s/%s/ca.crt", *folders, authority);
        if (!path)
            return fail_nomem(err);
        rc = read_pem(path, &pem, err);
        if (rc == E_NOTFOUND)
            rc = OK;
    }
    if (!rc && pem.len)
        rc = bytes_append(out, pem.data, pem.len, err);
    return rc;
}
