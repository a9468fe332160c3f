/*
 * One registry, as a client sees it: blobs, manifests, trust metadata over HTTPS.
 *
 * A struct remote belongs to one thread. Credentials go to the registry's own host and port only,
 * never along a redirect or a Location elsewhere. Nothing the peer says is trusted: lengths are
 * bounded, blobs are hashed by the caller's sink. libcurl is opened on first use.
 * Source: OCI distribution-spec 1.1.1.
 */
#ifndef BULLA_CLIENT_REMOTE_H
#define BULLA_CLIENT_REMOTE_H

#include "base/progress.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "oci/store.h"

struct remote;

struct remote_options {
    const char *host;    /* host[:port] */
    const char *ca_file; /* --cacert; NULL: certs.d folders, then the system's store */
    const char
        *repository;       /* entries of auth_file for its parents count; NULL: for the host only */
    const char *auth_file; /* containers-auth.json; NULL: REGISTRY_AUTH_FILE, XDG, ~/.config, … */
    const char *user, *password; /* NULL: from auth_file (login verifies with explicit ones) */
    /* "https://HOST[:PORT]": the password may go to this token service, too; NULL: realm.c decides
     */
    const char *token_service;
    bool plain_http; /* only for the conformance front and unit tests */
};

int remote_open(const struct remote_options *options, struct remote **out,
                struct error *err) MUST_CHECK;
void remote_close(struct remote *r);
void remote_cleanup(struct remote **r);

/* GET /v2/: 0 where the credentials are good. E_UNAUTHORIZED, E_NETWORK, E_TLS, E_PROTOCOL. */
int remote_ping(struct remote *r, struct error *err) MUST_CHECK;

/* HEAD. *exists is written on success. */
int remote_blob_exists(struct remote *r, const char *repository, const struct digest *d,
                       bool *exists, struct error *err) MUST_CHECK;
struct blob_upload_options {
    struct store *store; /* remembers where the bytes went, for a second run; NULL: nothing does */
    const char *from;    /* repository of the same registry that has the blob; NULL: not known */
    struct progress *progress;
    bool *mounted; /* out, on success: nothing was sent; may be NULL */
};
/*
 * Mount, or POST + PUT of d->size bytes from fd (from offset 0), hashed on the way: a source whose
 * bytes do not have digest d is E_DIGEST and nothing becomes visible. Goes on with an upload that
 * broke off, in this run and from an earlier one. options may be NULL.
 */
int remote_blob_upload(struct remote *r, const char *repository, const struct descriptor *d, int fd,
                       const struct blob_upload_options *options, struct error *err) MUST_CHECK;
/* Only asks the registry to take it from its repository `from`; *mounted false: it does not. */
int remote_blob_mount(struct remote *r, const char *repository, const struct digest *d,
                      const char *from, bool *mounted, struct error *err) MUST_CHECK;
/* Forgets a broken upload of d: it is there now. */
void remote_blob_upload_forget(const struct remote *r, const char *repository,
                               const struct descriptor *d, struct store *store);
/* GET into w (not committed), from where w stands: a writer of blob_writer_resume goes on. More
 * bytes than size: E_DIGEST as soon as seen. */
int remote_blob_fetch(struct remote *r, const char *repository, const struct descriptor *d,
                      struct blob_writer *w, struct progress *progress,
                      struct error *err) MUST_CHECK;

/* reference: tag or digest text. content_type (MEDIA_TYPE_MAX + 1 bytes) may be NULL. The body is
 * at most MANIFEST_MAX_BYTES; where reference is a digest the body is checked against it.
 * E_NOTFOUND only for 404. */
int remote_manifest_get(struct remote *r, const char *repository, const char *reference,
                        struct bytes *out, char *content_type, struct error *err) MUST_CHECK;
/* HEAD of a tag: digest the registry claims (Docker-Content-Digest), unverified. E_NOTFOUND. */
int remote_manifest_head(struct remote *r, const char *repository, const char *tag,
                         struct digest *out, struct error *err) MUST_CHECK;
int remote_manifest_put(struct remote *r, const char *repository, const char *reference,
                        const char *content_type, const void *data, size_t len,
                        struct error *err) MUST_CHECK;

/* GET /v2/<repository>/_trust/<path> ("tuf/timestamp.json"), at most max bytes. E_NOTFOUND only for
 * 404; E_LIMIT; 401/403 E_UNAUTHORIZED/E_DENIED. */
int remote_trust_get(struct remote *r, const char *repository, const char *path, size_t max,
                     struct bytes *out, struct error *err) MUST_CHECK;
/* Two GETs in parallel (the two small requests of a refresh); each has its own result. */
struct remote_get {
    const char *path;
    size_t max;
    struct bytes *out;
    int rc;           /* out: 0 or code */
    struct error err; /* out */
};
int remote_trust_get_pair(struct remote *r, const char *repository, struct remote_get *first,
                          struct remote_get *second, struct error *err) MUST_CHECK;
/* POST multipart of role files; E_CONFLICT for 409, E_INVALID with the registry's reason for 400.
 */
struct remote_file {
    const char *role;
    const void *data;
    size_t len;
};
int remote_trust_post(struct remote *r, const char *repository, const struct remote_file *files,
                      size_t n, struct error *err) MUST_CHECK;
/* POST …/_trust/tuf/<role>.key: has the signing service make a key for the next root, which is
 * appended to out as a TUF key object; `another`: not the one that waits already. Needs `admin`. */
struct remote_new_key {
    const char *role; /* "snapshot", "timestamp" */
    bool another;
};
int remote_trust_new_key(struct remote *r, const char *repository,
                         const struct remote_new_key *wanted, struct bytes *out,
                         struct error *err) MUST_CHECK;
/* What a registry says of mirroring into a repository, asked before anything is sent.
 * E_UNSUPPORTED: it is no Bulla registry; E_UNAUTHORIZED, E_DENIED (admin is needed). */
struct remote_mirror {
    char collection[REFERENCE_REPOSITORY_MAX + 1]; /* "": it is not configured to */
};
int remote_mirror_ask(struct remote *r, const char *repository, struct remote_mirror *out,
                      struct error *err) MUST_CHECK;
/* A complete set; each file's `role` is the name it is served under. E_CONFLICT for 409 (older than
 * what is there, or signed there), E_INVALID with the registry's reason. */
struct remote_mirrored {
    bool changed;
    int64_t missing; /* signed manifests that are not there */
};
int remote_mirror_post(struct remote *r, const char *repository, const struct remote_file *files,
                       size_t n, struct remote_mirrored *out, struct error *err) MUST_CHECK;
/* Plain GET of an absolute URL (conformance front). E_NOTFOUND for 404. */
int remote_url_get(struct remote *r, const char *url, size_t max, struct bytes *out,
                   struct error *err) MUST_CHECK;

/* --- whole images --- */

struct transfer_count {
    uint64_t bytes; /* sent or received */
    size_t blobs;   /* moved */
    size_t present; /* already there */
    size_t mounted; /* push: taken by the registry from another of its repositories */
};

#define TRANSFER_PARALLEL     4 /* blobs at once where the caller does not say */
#define TRANSFER_PARALLEL_MAX 16

struct transfer_options {
    struct store *store;       /* pull: where to; push: its notes (sessions, mounts), or NULL */
    struct progress *progress; /* NULL: nobody watches */
    unsigned parallel;      /* blobs at once, each over its own connection; 0: TRANSFER_PARALLEL */
    const char *mount_from; /* push: repository of the same registry that has the blobs, or NULL */
    /* Told what is tried again, from any thread: one line of text. NULL: nobody listens. */
    void (*notice)(void *ctx, const char *text);
    void *notice_ctx;
};

/*
 * Pushes everything src holds below its root, then the manifests (by digest), last the root under
 * tag. The first failure ends it; what was sent is found again by the next push.
 */
int push_image(struct remote *r, struct image_source *src, const char *repository, const char *tag,
               const struct transfer_options *options, struct transfer_count *count,
               struct error *err) MUST_CHECK;
/* Fetches root (by digest and size), for an index the child of this platform, config and layers
 * into options->store, verifying everything; layers are not unpacked. *image gets the image
 * manifest's descriptor. What was received of a blob stays in the store's tmp/ for the next pull.
 */
int pull_image(struct remote *r, const char *repository, const struct descriptor *root,
               const struct transfer_options *options, struct transfer_count *count,
               struct descriptor *image, struct error *err) MUST_CHECK;

/* --- containers-auth.json --- */

/* File that login writes: REGISTRY_AUTH_FILE, ${XDG_RUNTIME_DIR}/containers/auth.json, or
 * ~/.config/containers/auth.json. Heap text. */
int auth_file_path(char **out, struct error *err) MUST_CHECK;
/* Stores or forgets it in the file, or in the credential helper that the file names for host.
 * Writers take turns, other entries stay. *helper (may be NULL): heap name of the helper, NULL: the
 * file itself. E_NOTFOUND: there is nothing to forget. */
int auth_store(const char *file, const char *host, const char *user, const char *password,
               char **helper, struct error *err) MUST_CHECK;
int auth_erase(const char *file, const char *host, char **helper, struct error *err) MUST_CHECK;

#endif
