/*
 * Descriptors, image manifests and indexes: OCI and Docker schema 2.
 *
 * Parsed from exact bytes, immutable afterwards, one owner. Ambiguous documents (manifests beside
 * layers or config, duplicate members, mediaType against the given type) are refused.
 * Source: OCI image-spec 1.1 manifest.md, image-index.md, descriptor.md; CVE-2021-41190.
 */
#ifndef BULLA_OCI_MANIFEST_H
#define BULLA_OCI_MANIFEST_H

#include "base/digest.h"
#include "base/json.h"

#define MANIFEST_MAX_BYTES   (4u << 20) /* distribution-spec: registries should accept 4 MiB */
#define MANIFEST_MAX_LAYERS  1024
#define MANIFEST_MAX_ENTRIES 16384 /* of an index: a full list of referrers is one, too */
#define MEDIA_TYPE_MAX       255

#define MEDIA_OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_CONFIG      "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER       "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_OCI_LAYER_GZIP  "application/vnd.oci.image.layer.v1.tar+gzip"
#define MEDIA_OCI_LAYER_ZSTD  "application/vnd.oci.image.layer.v1.tar+zstd"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_CONFIG   "application/vnd.docker.container.image.v1+json"
#define MEDIA_DOCKER_LAYER    "application/vnd.docker.image.rootfs.diff.tar.gzip"

struct descriptor {
    char media_type[MEDIA_TYPE_MAX + 1];
    struct digest digest;
    int64_t size; /* bytes, ≥ 0 */
    /* index entries only; "" where absent */
    char os[32], architecture[32], variant[32];
    bool non_distributable; /* foreign layer: registries need not hold it */
};

enum manifest_kind {
    MANIFEST_IMAGE,
    MANIFEST_INDEX,
    MANIFEST_OTHER, /* of a type unknown here: manifest_parse_any only */
};

struct manifest {
    enum manifest_kind kind;
    char media_type[MEDIA_TYPE_MAX + 1]; /* from the body, else from the given Content-Type */
    struct descriptor config;            /* images; digest DIGEST_NONE in an index */
    struct descriptor *layers;           /* images; of another kind: "blobs", too */
    size_t n_layers;
    struct descriptor *manifests; /* indexes */
    size_t n_manifests;
    bool has_subject;
    struct descriptor subject;
    char artifact_type[MEDIA_TYPE_MAX + 1]; /* artifactType, else config media type; "" none */
    struct js *annotations;                 /* owned; NULL: none */
};

/* content_type: what the transport said, "" or NULL where nothing did. E_INVALID, E_LIMIT,
 * E_UNSUPPORTED (neither image nor index by type and shape). */
int manifest_parse(const void *data, size_t len, const char *content_type, struct manifest **out,
                   struct error *err) MUST_CHECK;
/*
 * The same for who keeps documents without using them: one of another type is taken as
 * MANIFEST_OTHER, with what it names in the members that image manifests, indexes and artifact
 * manifests have, as far as these hold descriptors (they may mean something else there). Still
 * refused: what is no object, Docker schema 1, and a mediaType that differs from content_type.
 */
int manifest_parse_any(const void *data, size_t len, const char *content_type,
                       struct manifest **out, struct error *err) MUST_CHECK;
void manifest_free(struct manifest *m);
void manifest_cleanup(struct manifest **m);

/* Entry for this platform ("linux", "amd64"): the first entry that names exactly it; entries
 * without platform, with "unknown" or with a variant beyond the baseline never match. E_NOTFOUND.
 */
int manifest_select_platform(const struct manifest *index, const char *os, const char *architecture,
                             const struct descriptor **out, struct error *err) MUST_CHECK;
/* One descriptor object {mediaType, digest, size, …}. Embedded `data` must be the promised bytes:
 * E_DIGEST. */
int descriptor_parse(const struct js *o, struct descriptor *out, struct error *err) MUST_CHECK;
/* {mediaType, digest, size}. Owned by the caller. */
int descriptor_to_js(const struct descriptor *d, struct js **out, struct error *err) MUST_CHECK;

/* An OCI image manifest of these blobs. Owned by the caller. */
int manifest_to_js(const struct descriptor *config, const struct descriptor *layers, size_t n,
                   struct js **out, struct error *err) MUST_CHECK;

/* The image's configuration as the runner needs it. Source: image-spec config.md. */
struct image_config {
    char os[32], architecture[32], variant[32];
    struct digest *diff_ids; /* uncompressed layers, lowest first */
    size_t n_diff_ids;
    char *user, *working_dir, *stop_signal; /* "" where absent */
    char **entrypoint, **cmd, **env;        /* NULL-terminated, never NULL */
};
#define IMAGE_CONFIG_MAX_BYTES (4u << 20)
int image_config_parse(const void *data, size_t len, struct image_config **out,
                       struct error *err) MUST_CHECK;
void image_config_free(struct image_config *c);
void image_config_cleanup(struct image_config **c);

#endif
