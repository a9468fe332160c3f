/*
 * The words of the command line that describe a container, to the runner's structs. Pure.
 */
#ifndef BULLA_RUNNER_OPTIONS_H
#define BULLA_RUNNER_OPTIONS_H

#include "runner/run.h"

/* "SRC:DST", "SRC:DST:ro", "SRC:DST:rw". The text is cut up in place and must outlive *out.
 * E_USAGE. */
int options_parse_volume(char *text, struct run_volume *out, struct error *err) MUST_CHECK;
/* "DST", "DST:size=64k,mode=1777"; "rw", "nosuid" and "nodev" are accepted and always so. As
 * above. */
int options_parse_tmpfs(char *text, struct run_tmpfs *out, struct error *err) MUST_CHECK;
/* "1.5" to 1500; at most three decimals, at least 0.01. E_USAGE. */
int options_parse_cpus(const char *text, uint32_t *milli, struct error *err) MUST_CHECK;
/* "512m" and the like, at least 4 MiB: less cannot even start. E_USAGE. */
int options_parse_memory(const char *text, uint64_t *bytes, struct error *err) MUST_CHECK;
/* A positive number, or "-1" or "0" for no limit. E_USAGE. */
int options_parse_pids(const char *text, uint32_t *pids, struct error *err) MUST_CHECK;
/* "none". Others exist but not yet: E_UNSUPPORTED; or never: E_USAGE. */
int options_check_network(const char *text, struct error *err) MUST_CHECK;
/* A path in the container: absolute, no "..", not too long. E_USAGE. */
int options_check_path(const char *path, const char *what, struct error *err) MUST_CHECK;
/* Number of components: "/" has 0. */
size_t options_depth(const char *path);
/* Outer places before inner ones, else in the order given: no volume covers another by accident. */
void options_sort_volumes(struct run_volume *volumes, size_t n);

#endif
