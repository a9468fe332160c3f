/* Policy files: any bytes either parse or are refused; what parses can be asked. */
#include "verify/policy.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy p = {.n_files = 0};
    struct error err = ERROR_INIT;
    struct reference ref;
    struct decision d;
    if (policy_file_parse(data, size, "/p.json", &p.files[0], &err))
        return 0;
    p.n_files = 1;
    p.paths[0] = strdup("/p.json");
    if (p.paths[0] && reference_parse("r.io/acme/app:v1", &ref, &err) == OK &&
        policy_decide(&p, &ref, &d, &err) != OK)
        (void)err;
    policy_done(&p);
    return 0;
}
