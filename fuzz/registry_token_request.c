/* Queries and forms of /auth/token: every scope that comes out names a repository. */
#include "registry/token_request.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token_request r;
    int rc = token_request_parse((const char *)data, size, &r, NULL);
    if (rc == 0 && size > TOKEN_REQUEST_MAX)
        abort();
    for (size_t i = 0; i < r.scopes.n; i++) {
        const struct access_scope *s = &r.scopes.list[i];
        if (!repository_name_valid(s->repository, strlen(s->repository)) || !s->actions ||
            (s->actions & ~(unsigned)ACCESS_ALL))
            abort();
    }
    token_request_done(&r);
    return 0;
}
