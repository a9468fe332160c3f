/* fill-index DATA-DIR PREFIX REPOSITORIES TAGS [GARBAGE]: repositories PREFIX00000… with TAGS tags
 * each, all of one manifest that is really there, and GARBAGE blobs that nothing names. Of benches
 * and tests; never installed. The server is down. */
#include "registry/blobs.h"
#include "registry/index_content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAGS_PER_JOB 10000u

static const char body[] = "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\","
                           "\"manifests\":[]}";

struct job {
    const char *prefix;
    unsigned repository, n_tags;
    unsigned first; /* tag */
    struct index_manifest row;
};

static int fill(struct index_tx *tx, void *arg, struct error *err)
{
    const struct job *job = arg;
    struct manifest m = {.kind = MANIFEST_INDEX};
    char name[128], tag[32];
    int64_t id = 0;
    snprintf(name, sizeof name, "%s%05u", job->prefix, job->repository);
    int rc = index_repository_make(tx, name, &id, err);
    if (rc == 0 && job->first == 0)
        rc = index_manifest_put(tx, id, &job->row, &m, err);
    for (unsigned i = 0; rc == 0 && i < TAGS_PER_JOB && job->first + i < job->n_tags; i++) {
        snprintf(tag, sizeof tag, "v%07u", job->first + i);
        rc = index_tag_set(tx, id, tag, &job->row.digest, err);
    }
    return rc;
}

static int store_manifest(const char *dir, struct index_manifest *row, struct error *err)
{
    struct blobs *b = NULL;
    snprintf(row->media_type, sizeof row->media_type, "%s", MEDIA_OCI_INDEX);
    row->size = (int64_t)strlen(body);
    int rc = digest_of(DIGEST_SHA256, body, strlen(body), &row->digest, err);
    if (rc == 0)
        rc = blobs_open(dir, &b, err);
    if (rc == 0)
        rc = blobs_put(b, body, strlen(body), &row->digest, err);
    blobs_close(b);
    return rc;
}

struct litter {
    const char *repository;
    struct digest digest;
    int64_t size;
};

static int link_litter(struct index_tx *tx, void *arg, struct error *err)
{
    const struct litter *litter = arg;
    int64_t id = 0;
    int rc = index_repository_make(tx, litter->repository, &id, err);
    return rc == 0 ? index_link_add(tx, id, &litter->digest, litter->size, err) : rc;
}

static int add_garbage(const char *dir, struct index *ix, const char *prefix, unsigned n,
                       struct error *err)
{
    struct blobs *b = NULL;
    char text[160];
    struct litter litter = {.repository = prefix};
    int rc = blobs_open(dir, &b, err);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        litter.size = snprintf(text, sizeof text, "%s %u", prefix, i);
        rc = digest_of(DIGEST_SHA256, text, (size_t)litter.size, &litter.digest, err);
        if (rc == 0)
            rc = blobs_put(b, text, (size_t)litter.size, &litter.digest, err);
        if (rc == 0)
            rc = index_write(ix, link_litter, &litter, err);
    }
    blobs_close(b);
    return rc;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct index *ix = NULL;
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: fill-index DATA-DIR PREFIX REPOSITORIES TAGS [GARBAGE]\n");
        return EXIT_USAGE;
    }
    struct job job = {.prefix = argv[2], .n_tags = (unsigned)strtoul(argv[4], NULL, 10)};
    unsigned n = (unsigned)strtoul(argv[3], NULL, 10);
    int rc = store_manifest(argv[1], &job.row, &err);
    if (rc == 0)
        rc = index_open(argv[1], &ix, &err);
    if (rc == 0)
        rc = index_start(ix, &err);
    for (; rc == 0 && job.repository < n; job.repository++) {
        job.first = 0;
        do {
            rc = index_write(ix, fill, &job, &err);
            job.first += TAGS_PER_JOB;
        } while (rc == 0 && job.first < job.n_tags);
    }
    if (rc == 0 && argc == 6)
        rc = add_garbage(argv[1], ix, argv[2], (unsigned)strtoul(argv[5], NULL, 10), &err);
    index_close(ix);
    if (rc != 0)
        fprintf(stderr, "fill-index: %s\n", err.message);
    return error_exit_status(rc);
}
