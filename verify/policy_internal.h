/* Shared by the files that implement verify/policy.h only. */
#ifndef BULLA_VERIFY_POLICY_INTERNAL_H
#define BULLA_VERIFY_POLICY_INTERNAL_H

#include "verify/policy.h"

struct policy_file {
    struct policy_scope *scopes;
    size_t n;
};

#endif
