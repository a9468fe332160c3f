/*
 * From a request's raw path to a typed operation.
 *
 * Pure. The path is cut at '/' first and each segment decoded afterwards, so an escaped slash can
 * never move a boundary; suffixes are read from the right, because repository names may contain the
 * words "blobs", "manifests" or "tags". Source: OCI distribution-spec 1.1.1, "Endpoints".
 */
#ifndef BULLA_REGISTRY_ROUTE_H
#define BULLA_REGISTRY_ROUTE_H

#include "base/digest.h"
#include "oci/reference.h"
#include "tuf/metadata.h"

enum route_kind {
    ROUTE_BASE,         /* /v2/ */
    ROUTE_CATALOG,      /* /v2/_catalog */
    ROUTE_TAGS,         /* …/tags/list */
    ROUTE_MANIFEST,     /* …/manifests/TAG|DIGEST */
    ROUTE_BLOB,         /* …/blobs/DIGEST */
    ROUTE_UPLOADS,      /* …/blobs/uploads/ */
    ROUTE_UPLOAD,       /* …/blobs/uploads/ID */
    ROUTE_REFERRERS,    /* …/referrers/DIGEST */
    ROUTE_TRUST,        /* …/_trust/tuf/ */
    ROUTE_TRUST_FILE,   /* …/_trust/tuf/[N.]ROLE.json */
    ROUTE_TRUST_KEY,    /* …/_trust/tuf/{snapshot,timestamp}.key */
    ROUTE_TRUST_TARGET, /* …/_trust/targets/SHA256.TAG */
    ROUTE_TRUST_MIRROR, /* …/_trust/mirror */
    ROUTE_HEALTH,       /* /healthz */
    ROUTE_READY,        /* /readyz */
    ROUTE_METRICS,      /* /metrics */
    ROUTE_TOKEN,        /* /auth/token */
};

/* A word for metrics and logs; "unknown" for what is no kind. */
const char *route_kind_name(enum route_kind kind);

#define ROUTE_UPLOAD_ID_LEN 32u /* hex digits: 128 random bits */

struct route {
    enum route_kind kind;
    char repository[REFERENCE_REPOSITORY_MAX + 1]; /* "" for base, catalogue, token */
    struct digest digest; /* blob, referrers, trust target; manifest by digest, else DIGEST_NONE */
    char tag[REFERENCE_TAG_MAX + 1]; /* manifest by tag */
    char target[DIGEST_TEXT_MAX];    /* trust target's name: a tag, or sha256:… */
    char upload[ROUTE_UPLOAD_ID_LEN + 1];
    char role[TUF_MAX_ROLE_NAME + 1]; /* trust file, trust key */
    int64_t version;                  /* trust file; 0: not in the name (timestamp.json) */
};

/*
 * E_NOTFOUND: no such endpoint. E_INVALID: a name, tag or digest that breaks its grammar;
 * E_UNSUPPORTED: a digest of an algorithm that is not known. *code is the distribution-spec's error
 * code for that case ("NAME_INVALID", "DIGEST_INVALID", …), static. *out is written on success
 * only.
 */
int route_parse(const char *path, struct route *out, const char **code,
                struct error *err) MUST_CHECK;

#endif
