/*
 * Of tests and benches; never installed. The caller's HOME folder, policy and passphrase file are
 * BULLA_HOME, BULLA_POLICY and BULLA_PASSPHRASE_FILE.
 *
 *     trust-load fill REPOSITORY CA KEY DIGEST SIZE FIRST COUNT
 *         signs COUNT tags v0000000… from FIRST, all of one manifest, in one publication
 *     trust-load verify REF CA ROUNDS
 *         verifies again and again in this process; one line each: µs of processor, µs in all
 *     trust-load reuse REF CA ROUNDS
 *         the same from what is stored alone, as a run does within policy's 'refresh'
 */
#include "base/clock.h"
#include "base/file.h"
#include "signer/collection_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct load {
    struct policy policy;
    struct keystore *keystore;
    struct secret_source passphrases, pins;
    struct verify_options verify;
    struct reference ref;
};

static int load_open(struct load *l, const char *ref, const char *ca, struct error *err)
{
    const char *home = getenv("BULLA_HOME");
    struct policy_options options = {.override = getenv("BULLA_POLICY"), .is_root = true};
    CLEANUP(cleanup_free) char *keys = text_format("%s/keys", home ? home : "");
    if (!home || !keys)
        return fail(err, E_USAGE, "BULLA_HOME is not set");
    secret_source_init(&l->passphrases, getenv("BULLA_PASSPHRASE_FILE"));
    secret_source_init(&l->pins, NULL);
    l->verify = (struct verify_options){.home = home, .policy = &l->policy, .ca_file = ca};
    int rc = policy_load(&options, &l->policy, err);
    if (!rc)
        rc = keystore_open(keys, &l->keystore, err);
    return rc ? rc : reference_parse(ref, &l->ref, err);
}

static void load_done(struct load *l)
{
    keystore_cleanup(&l->keystore);
    policy_done(&l->policy);
}

/* --- fill --- */

struct filling {
    struct digest digest;
    uint64_t size, first, count;
    const struct tuf_bins *bins; /* NULL: the tags go into targets itself */
    struct js **trees;           /* by bin; made when first needed */
};

static int tree_for(struct draft *d, const struct filling *f, const char *tag, struct js ***slot,
                    struct error *err)
{
    char name[TUF_BIN_NAME_MAX] = "targets";
    uint64_t bin = 0;
    int rc = f->bins ? tuf_bins_find(f->bins, tag, &bin, err) : OK;
    if (rc)
        return rc;
    *slot = &f->trees[bin];
    if (**slot)
        return OK;
    if (f->bins)
        tuf_bins_name(f->bins, bin, name);
    return draft_role(d, name, f->bins ? "targets" : NULL, *slot, err);
}

static int change_fill(struct draft *d, void *context, struct error *err)
{
    struct filling *f = context;
    const struct tuf_metadata *targets = NULL;
    int rc = draft_published(d, "targets", &targets, NULL, err);
    if (rc)
        return rc;
    f->bins = tuf_targets_bins(targets);
    CLEANUP(cleanup_free)
    struct js **trees = calloc(f->bins ? tuf_bins_count(f->bins) : 1, sizeof *trees);
    f->trees = trees;
    if (!trees)
        return fail_nomem(err);
    for (uint64_t i = f->first; !rc && i < f->first + f->count; i++) {
        char tag[32];
        struct js **tree = NULL;
        (void)snprintf(tag, sizeof tag, "v%07llu", (unsigned long long)i);
        rc = tree_for(d, f, tag, &tree, err);
        if (!rc)
            rc = tuf_compose_target(*tree, tag, &f->digest, (int64_t)f->size,
                                    "application/vnd.oci.image.manifest.v1+json", err);
    }
    return rc;
}

static int number(const char *text, uint64_t *out, struct error *err)
{
    return text_to_u64(text, strlen(text), UINT32_MAX, out, err);
}

static int run_fill(char **argv, struct error *err)
{
    CLEANUP(load_done) struct load l = {.keystore = NULL};
    struct filling f = {.size = 0};
    struct collection_changed changed = {.summary = BYTES_INIT};
    const char *keys[] = {argv[2]};
    const struct collection_publish publish = {.keys = keys, .n_keys = 1};
    int rc = load_open(&l, argv[0], argv[1], err);
    if (!rc)
        rc = digest_parse(argv[3], strlen(argv[3]), &f.digest, err);
    if (!rc)
        rc = number(argv[4], &f.size, err);
    if (!rc)
        rc = number(argv[5], &f.first, err);
    if (!rc)
        rc = number(argv[6], &f.count, err);
    const struct collection_owner owner = {.verify = &l.verify,
                                           .keystore = l.keystore,
                                           .passphrases = &l.passphrases,
                                           .pins = &l.pins};
    if (!rc)
        rc = collection_apply(&owner, &l.ref, &publish, change_fill, &f, &changed, err);
    bytes_done(&changed.summary);
    return rc;
}

/* --- verify --- */

static int64_t cpu_us(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000) + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

static int64_t wall_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int run_verify(char **argv, bool reuse, struct error *err)
{
    CLEANUP(load_done) struct load l = {.keystore = NULL};
    uint64_t rounds = 0;
    int rc = load_open(&l, argv[0], argv[1], err);
    if (!rc)
        rc = number(argv[2], &rounds, err);
    l.verify.reuse_recent = reuse;
    for (uint64_t i = 0; !rc && i < rounds; i++) {
        struct verdict v;
        int64_t cpu = cpu_us(), wall = wall_us();
        rc = verify_reference(&l.verify, &l.ref, &v, err);
        cpu = cpu_us() - cpu;
        wall = wall_us() - wall;
        verdict_done(&v);
        if (!rc)
            (void)printf("%lld %lld\n", (long long)cpu, (long long)wall);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    int rc;
    if (argc == 9 && strcmp(argv[1], "fill") == 0)
        rc = run_fill(argv + 2, &err);
    else if (argc == 5 && (strcmp(argv[1], "verify") == 0 || strcmp(argv[1], "reuse") == 0))
        rc = run_verify(argv + 2, argv[1][0] == 'r', &err);
    else
        rc = fail(&err, E_USAGE,
                  "trust-load fill REPOSITORY CA KEY DIGEST SIZE FIRST COUNT, or "
                  "trust-load verify|reuse REF CA ROUNDS");
    if (rc)
        (void)fprintf(stderr, "trust-load: %s\n", err.message);
    return rc ? 1 : 0;
}
