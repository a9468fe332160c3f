/*
 * The options of `bulla run` turned into a run specification, within policy's constraints.
 */
#ifndef BULLA_CLI_RUN_LIMITS_H
#define BULLA_CLI_RUN_LIMITS_H

#include "cli/command.h"
#include "runner/run.h"
#include "verify/obtain.h"

/* Everything a struct run_spec borrows. */
struct run_plan {
    struct run_spec spec;
    struct run_volume volumes[RUN_MAX_MOUNTS];
    struct run_tmpfs tmpfs[RUN_MAX_MOUNTS];
    const char **argv, **env;
    char *texts[2 * RUN_MAX_MOUNTS + OPTION_VALUES_MAX + 1]; /* owned copies, and home */
    size_t n_texts;
    const char *protected_paths[2];
};

/* E_USAGE for what the options say wrongly. image and config stay borrowed. */
int run_plan_make(struct context *ctx, const struct image_config *config, struct run_plan *out,
                  struct error *err) MUST_CHECK;
void run_plan_done(struct run_plan *plan);
/* Refuses (E_POLICY) what a scope's run constraints forbid and lowers limits to what they allow. */
int run_plan_constrain(struct run_plan *plan, const struct decision *decision,
                       struct error *err) MUST_CHECK;

#endif
