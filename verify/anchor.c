#include "verify/anchor.h"

#include "base/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void anchor_done(struct resolved_anchor *a)
{
    bytes_done(&a->root);
}

static int set_id(struct resolved_anchor *a, const void *data, size_t len, struct error *err)
{
    struct digest d;
    char hex[DIGEST_TEXT_MAX];
    int rc = digest_of(DIGEST_SHA256, data, len, &d, err);
    if (!rc)
        (void)snprintf(a->id, sizeof a->id, "%.32s", digest_hex(&d, hex));
    return rc;
}

static int from_keys(const struct anchor *anchor, struct resolved_anchor *a, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = bytes_append_format(&text, err, "keys %" PRId64, anchor->min_version);
    for (size_t i = 0; !rc && i < anchor->n_keys; i++)
        rc = bytes_append_format(&text, err, " %s", anchor->keys[i].text);
    if (!rc && anchor->threshold)
        rc = bytes_append_format(&text, err, " threshold %" PRId64, anchor->threshold);
    a->keys = anchor;
    return rc ? rc : set_id(a, text.data, text.len, err);
}

/* Who may write here decides what is valid: as much as who may write the policy. */
static int check_writers(int fd, struct error *err)
{
    struct stat st;
    bool root = geteuid() == 0;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat");
    if (!S_ISREG(st.st_mode))
        return fail(err, E_INVALID, "not a regular file");
    if (root && st.st_uid != 0)
        return fail(err, E_POLICY, "belongs to user %u, not to root", st.st_uid);
    mode_t others = root && st.st_gid != 0 ? S_IWGRP | S_IWOTH : S_IWOTH;
    return st.st_mode & others
               ? fail(err, E_POLICY, "others may write to it (mode %04o); take that right away",
                      st.st_mode & 07777u)
               : OK;
}

static int read_root(const struct anchor *anchor, struct bytes *out, struct error *err)
{
    struct error why = ERROR_INIT;
    CLEANUP(cleanup_fd)
    int fd = open(anchor->root_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int rc = fd < 0 ? fail_sys(&why, errno, "open '%s'", anchor->root_file)
                    : wrap(&why, check_writers(fd, &why), "'%s'", anchor->root_file);
    if (!rc)
        rc = file_read_fd(fd, TUF_MAX_ROOT_BYTES, out, &why);
    return rc ? fail(err, E_NO_TRUST, "the root that policy names: %s", why.message) : OK;
}

static int from_policy(const struct anchor *anchor, struct resolved_anchor *a, struct error *err)
{
    a->origin = ANCHOR_POLICY;
    if (!anchor->root_file)
        return from_keys(anchor, a, err);
    int rc = read_root(anchor, &a->root, err);
    return rc ? rc : set_id(a, a->root.data, a->root.len, err);
}

int policy_root_read(const struct anchor *anchor, struct tuf_metadata **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT;
    int rc = read_root(anchor, &root, err);
    if (!rc)
        rc = wrap(err, tuf_metadata_parse(TUF_ROOT, root.data, root.len, out, err),
                  "the root that policy names: '%s'", anchor->root_file);
    return rc;
}

int anchor_resolve(const struct anchor *anchor, const char *home, const struct reference *ref,
                   bool tofu, struct resolved_anchor *out, struct error *err)
{
    CLEANUP(anchor_done) struct resolved_anchor a = {.root = BYTES_INIT};
    struct error why = ERROR_INIT;
    int rc;
    if (anchor) {
        rc = from_policy(anchor, &a, err);
    } else {
        a.origin = ANCHOR_PIN;
        rc = trust_pin_read(home, ref->host, ref->repository, &a.root, &why);
        if (!rc)
            rc = set_id(&a, a.root.data, a.root.len, err);
        else if (rc == E_NOTFOUND && tofu) {
            a.origin = ANCHOR_TOFU;
            rc = OK;
        } else if (rc == E_NOTFOUND) {
            rc = fail(err, E_NO_TRUST,
                      "no trust anchor for '%s/%s': 'bulla trust pin %s/%s' shows and stores one",
                      ref->host, ref->repository, ref->host, ref->repository);
        } else {
            *err = why;
        }
    }
    if (rc)
        return rc;
    *out = a;
    a.root = (struct bytes)BYTES_INIT;
    return OK;
}

/* A root is good for pinned key ids where they alone reach its own threshold and policy's. The
 * root's own is no protection: whoever has one of the keys writes "1" into a root of his. */
static int check_pinned(const struct resolved_anchor *a, const struct bytes *root,
                        const char *collection, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct key_id ids[POLICY_MAX_ROOT_KEYS];
    int rc = tuf_metadata_parse(TUF_ROOT, root->data, root->len, &m, err);
    if (rc)
        return rc;
    const struct tuf_role_keys *role = tuf_root_role(m, TUF_ROOT);
    int64_t wanted = a->keys->threshold ? a->keys->threshold : (int64_t)a->keys->n_keys;
    struct tuf_role_keys pinned = {ids, 0, wanted > role->threshold ? wanted : role->threshold};
    for (size_t i = 0; i < role->n_ids; i++)
        for (size_t k = 0; k < a->keys->n_keys && pinned.n_ids < POLICY_MAX_ROOT_KEYS; k++)
            if (strcmp(role->ids[i].text, a->keys->keys[k].text) == 0)
                ids[pinned.n_ids++] = role->ids[i];
    const char *name = tuf_metadata_collection(m);
    if (!name || strcmp(name, collection) != 0) /* the same people may own several */
        return fail(err, E_BINDING, "root is for collection '%s', not '%s'", name ? name : "?",
                    collection);
    if (tuf_metadata_version(m) < a->keys->min_version)
        return fail(err, E_ROLLBACK, "root version %" PRId64 " is below the policy's minVersion",
                    tuf_metadata_version(m));
    rc = tuf_verify_threshold(m, tuf_root_keys(m), &pinned, NULL, 0, NULL, err);
    return wrap(err, rc, "root is not signed by the keys that policy names%s",
                rc == E_SIGNATURE && wanted > 1 && !a->keys->threshold
                    ? " (all of them, unless 'threshold' says how many are enough)"
                    : "");
}

int anchor_fetch_root(struct resolved_anchor *a, struct trust_source *source,
                      const char *collection, struct error *err)
{
    if (a->root.len)
        return OK;
    char name[64];
    int64_t version = a->keys ? a->keys->min_version : 1;
    (void)snprintf(name, sizeof name, "%" PRId64 ".root.json", version);
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT;
    int rc = source->get(source, name, TUF_MAX_ROOT_BYTES, &root, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_NO_TRUST, "the registry has no trust metadata for '%s'", collection);
    if (!rc && a->keys)
        rc = check_pinned(a, &root, collection, err);
    if (!rc && !a->keys)
        rc = set_id(a, root.data, root.len, err);
    if (!rc)
        a->root = bytes_take(&root);
    return rc;
}
