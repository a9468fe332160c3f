/*
 * The local image store: blobs by digest, names, unpacked layers.
 *
 * Folder layout below HOME/images: blobs/<alg>/<hex> (0444), names.json, pushed.json,
 * layers/<alg>-<diff id hex>/{root,record}. Several processes may use one store: writes are atomic,
 * changes of names hold a lock. A blob is visible only once its bytes had the right digest.
 */
#ifndef BULLA_OCI_STORE_H
#define BULLA_OCI_STORE_H

#include "base/progress.h"
#include "oci/manifest.h"

#include <stdatomic.h>

struct store;
struct blob_writer;

/* Opens (makes) HOME/images for the given home folder. */
int store_open(const char *home, struct store **out, struct error *err) MUST_CHECK;
void store_close(struct store *s);
void store_cleanup(struct store **s);

/* Writing a blob: begin, write…, commit. Nothing is visible before commit; blob_writer_free without
 * commit leaves no trace. */
int blob_writer_new(struct store *s, struct blob_writer **out, struct error *err) MUST_CHECK;
/*
 * A writer whose bytes outlive it: what an earlier one left under this digest is there already
 * (blob_writer_size) and was hashed again; nothing says that it is right before the commit does.
 * blob_writer_free keeps what was written unless blob_writer_forget was called. E_BUSY: another
 * writer, in whatever process, works on it.
 */
int blob_writer_resume(struct store *s, const struct digest *d, struct blob_writer **out,
                       struct error *err) MUST_CHECK;
/* How much of it is there now, whoever writes it; 0: nothing. For those who wait. */
int64_t store_part_size(struct store *s, const struct digest *d);
/* From the first byte again. */
int blob_writer_restart(struct blob_writer *w, struct error *err) MUST_CHECK;
/* Bytes written so far, kept ones included. */
int64_t blob_writer_size(const struct blob_writer *w);
/* A descriptor of what was written, for pread, where it has this digest and size: E_DIGEST. Writing
 * is over then; a part stays one. */
int blob_writer_read(struct blob_writer *w, const struct descriptor *expected, int *fd,
                     struct error *err) MUST_CHECK;
/* blob_writer_free will leave no trace. */
void blob_writer_forget(struct blob_writer *w);
int blob_writer_write(struct blob_writer *w, const void *data, size_t len,
                      struct error *err) MUST_CHECK;
/* Checks digest and size (size < 0: any) of what was written: E_DIGEST. Present blob: fine. */
int blob_writer_commit(struct blob_writer *w, const struct digest *expected, int64_t size,
                       struct error *err) MUST_CHECK;
/* Commits under the sha256 digest it has; outputs digest and size. */
int blob_writer_finish(struct blob_writer *w, struct digest *digest, int64_t *size,
                       struct error *err) MUST_CHECK;
void blob_writer_free(struct blob_writer *w);
void blob_writer_cleanup(struct blob_writer **w);

/* The private folder HOME/images/<name> for notes of other layers (what was sent where), made if
 * need be. E_DENIED where others may write to it. */
int store_folder_open(struct store *s, const char *name, int *fd, struct error *err) MUST_CHECK;

int store_blob_put(struct store *s, const void *data, size_t len, struct digest *out,
                   struct error *err) MUST_CHECK;
bool store_blob_exists(struct store *s, const struct digest *d);
/* Read-only descriptor; size may be NULL. The bytes are NOT re-hashed. E_NOTFOUND. */
int store_blob_open(struct store *s, const struct digest *d, int *fd, int64_t *size,
                    struct error *err) MUST_CHECK;
/* Whole blob of at most max bytes, re-hashed: E_TAMPERED where the bytes differ. */
int store_blob_read(struct store *s, const struct digest *d, size_t max, struct bytes *out,
                    struct error *err) MUST_CHECK;

/* Names: "acme/app:v1" (import) or "host/repo:tag" (pull) → manifest or index descriptor. */
int store_name_set(struct store *s, const char *name, const struct descriptor *d,
                   struct error *err) MUST_CHECK;
int store_name_get(struct store *s, const char *name, struct descriptor *out,
                   struct error *err) MUST_CHECK;
struct store_name {
    char *name;
    struct descriptor descriptor;
};
/* Sorted by name; free with store_names_free. */
int store_names(struct store *s, struct store_name **out, size_t *n, struct error *err) MUST_CHECK;
void store_names_free(struct store_name *names, size_t n);
/* What this machine pushed: reference text (host/repo:tag) → descriptor. For `sign`. */
int store_pushed_set(struct store *s, const char *reference, const struct descriptor *d,
                     struct error *err) MUST_CHECK;
int store_pushed_get(struct store *s, const char *reference, struct descriptor *out,
                     struct error *err) MUST_CHECK;

/* --- images that can be read: the store itself, OCI layouts, archives --- */

struct image_source; /* a readable set of blobs with one chosen manifest or index */

/* "store:NAME", "oci:DIR[:tag]", "oci-archive:FILE[:tag]", "docker-archive:FILE[:ref]". E_USAGE
 * (unknown transport), E_NOTFOUND, E_INVALID. */
int image_source_open(struct store *s, const char *text, struct image_source **out,
                      struct error *err) MUST_CHECK;
void image_source_free(struct image_source *src);
void image_source_cleanup(struct image_source **src);
const struct descriptor *image_source_root(const struct image_source *src);

/* What is read of a source: manifests and other blobs may lie at different places. */
struct image_want {
    const struct descriptor *descriptor;
    bool manifest;
    const atomic_bool *stop; /* NULL: nothing ends it early */
};
struct image_part {
    int fd;     /* for pread; bytes are hashed by the reader */
    void *held; /* the fetcher's */
};
/* A source whose blobs are brought from elsewhere when they are wanted. open may be called from
 * several threads; each opened part is closed with how its use ended. */
struct image_fetcher {
    int (*open)(void *ctx, const struct image_want *want, struct image_part *out,
                struct error *err);
    void (*close)(void *ctx, struct image_part *part, int rc);
    void *ctx;
};
int image_source_new(const struct descriptor *root, const struct image_fetcher *fetcher,
                     struct image_source **out, struct error *err) MUST_CHECK;
/* Any source: E_NOTFOUND where it has no such blob. */
int image_source_begin(struct image_source *src, const struct image_want *want,
                       struct image_part *out, struct error *err) MUST_CHECK;
void image_source_end(struct image_source *src, struct image_part *part, int rc);
/* Descriptor of a blob for reading; E_NOTFOUND. Callers hash while reading. Not for fetchers. */
int image_source_blob(struct image_source *src, const struct digest *d, int *fd, int64_t *size,
                      struct error *err) MUST_CHECK;

/* --- import and unpacking --- */

enum layer_compression { LAYER_NONE, LAYER_GZIP, LAYER_ZSTD };

struct import_options {
    enum layer_compression compression;
    char *const *entrypoint, *const *cmd, *const *env; /* NULL or NULL-terminated */
    const char *user, *working_dir;                    /* NULL: none */
    const char *architecture;                          /* NULL: this machine's */
};
/* Makes a one-layer OCI image of a root folder or tar file (plain, gzip, zstd; "-" is refused) and
 * names it. Reproducible: same input, same digest (entries sorted, config without dates; a gzip
 * blob's own digest only with the same libisal on the same kind of processor, its diff id always).
 * A folder's device nodes and sockets are left out with a warning count in *n_skipped (may be
 * NULL).
 */
int store_import(struct store *s, const char *path, const char *name,
                 const struct import_options *options, struct progress *progress,
                 struct descriptor *out, size_t *n_skipped, struct error *err) MUST_CHECK;

/* Ensures that the layer blob is unpacked under its diff id: decompress, check blob digest and size
 * and diff id while streaming, apply hardened, write the record, make visible atomically. Present:
 * nothing to do. */
int store_layer_unpack(struct store *s, const struct descriptor *layer,
                       const struct digest *diff_id, struct progress *progress,
                       struct error *err) MUST_CHECK;

enum layer_check { LAYER_CHECK_CACHED, LAYER_CHECK_FULL };
/*
 * Re-checks an unpacked layer against its record and opens its root folder (O_PATH). FULL re-hashes
 * every file; CACHED compares statx with what a full check in this boot saw (cache below
 * cache_dir, NULL: no cache, always full) and re-hashes what differs. E_TAMPERED names the path and
 * what differs; E_NOTFOUND: not unpacked.
 */
int store_layer_open(struct store *s, const struct digest *diff_id, enum layer_check check,
                     const char *cache_dir, int *root_fd, struct error *err) MUST_CHECK;

/*
 * Repair: what was found damaged (E_TAMPERED) is taken out of the store, to be fetched and unpacked
 * anew. A container that still runs from the layer loses its files. Missing is fine.
 */
int store_blob_discard(struct store *s, const struct digest *d, struct error *err) MUST_CHECK;
int store_layer_discard(struct store *s, const struct digest *diff_id,
                        struct error *err) MUST_CHECK;

#endif
