#include "verify/image_copy.h"

#include "verify/obtain.h"
#include "verify/proofs.h"

#include <string.h>

struct job {
    const struct image_copy *copy;
    const struct reference *from, *to;
    struct remote *source, *destination;
    struct proofs proofs;
    struct image_copied *out;
};

static void job_done(struct job *j)
{
    remote_cleanup(&j->source);
    remote_cleanup(&j->destination);
    proofs_done(&j->proofs);
}

static int open_end(const struct job *j, const struct reference *ref, struct remote **out,
                    struct error *err)
{
    const struct verify_options *v = j->copy->verify;
    const struct remote_options options = {.host = ref->host,
                                           .repository = ref->repository,
                                           .ca_file = v->ca_file,
                                           .auth_file = v->auth_file};
    return remote_open(&options, out, err);
}

/* --- where it goes --- */

static int check_destination(struct job *j, struct remote_mirror *mirror, struct error *err)
{
    const struct reference *to = j->to;
    int rc = remote_mirror_ask(j->destination, to->repository, mirror, err);
    if (rc == E_UNSUPPORTED)
        return wrap(err, rc, "nothing was copied (--image-only copies the image alone)");
    if (!rc && !*mirror->collection)
        rc = fail(err, E_UNSUPPORTED,
                  "nothing was copied: registry %s does not mirror into '%s' (an entry of "
                  "'mirrors' in its registry.yaml, or --image-only here)",
                  to->host, to->repository);
    return rc;
}

/* --- what is copied --- */

static int collect(struct job *j, struct trust_session *s, const struct verdict *v,
                   const struct remote_mirror *mirror, struct error *err)
{
    if (v->freshness != FRESH_ONLINE && v->freshness != FRESH_MIRROR)
        return fail(err, s->view.offline.code ? s->view.offline.code : E_NETWORK,
                    "proofs are copied as the registry has them now: %s", s->view.offline.message);
    if (strcmp(mirror->collection, v->collection) != 0)
        return fail(err, E_BINDING,
                    "nothing was copied: '%s/%s' is of collection '%s', '%s/%s' mirrors '%s'",
                    j->from->host, j->from->repository, v->collection, j->to->host,
                    j->to->repository, mirror->collection);
    return proofs_collect(s, j->destination, j->to->repository, &j->proofs, err);
}

static void note_verdict(struct image_copied *out, const struct verdict *v)
{
    out->root = v->manifest;
    memcpy(out->collection, v->collection, sizeof out->collection);
    memcpy(out->warnings, v->warnings, sizeof out->warnings);
    out->n_warnings = v->n_warnings;
}

/* Where no proofs go along nobody there hears of a ban: every platform's image counts. */
static int check_children(const struct job *j, const struct verdict *v, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    char text[DIGEST_TEXT_MAX];
    if (!j->copy->image_only || !tuf_targets_n_banned(v->targets))
        return OK;
    int rc = remote_manifest_get(j->source, j->from->repository,
                                 digest_format(&v->manifest.digest, text), &body, NULL, err);
    if (!rc)
        rc = image_check_bans(v->targets, body.data, body.len, err);
    if (!rc)
        rc = manifest_parse(body.data, body.len, v->manifest.media_type, &m, err);
    for (size_t i = 0; !rc && m->kind == MANIFEST_INDEX && i < m->n_manifests; i++)
        if (tuf_targets_banned(v->targets, &m->manifests[i].digest))
            rc = fail(err, E_BANNED,
                      "nothing was copied: %s in it is banned by the collection's owner",
                      digest_format(&m->manifests[i].digest, text));
    return rc;
}

/* The session ends before gigabytes move: it keeps others out of the collection. */
static int verify(struct job *j, struct error *err)
{
    struct remote_mirror mirror = {.collection = ""};
    CLEANUP(verdict_done) struct verdict v = {.targets = NULL};
    struct trust_session s;
    int rc = j->copy->image_only ? OK : check_destination(j, &mirror, err);
    if (rc)
        return rc;
    rc = verify_reference_keep(j->copy->verify, j->from, &v, &s, err);
    if (error_exit_status(rc) == EXIT_REFUSED || rc == E_NO_TRUST)
        return wrap(err, rc,
                    "nothing was copied (--unverified copies what is not signed, without proofs)");
    if (rc)
        return rc;
    note_verdict(j->out, &v);
    if (!j->copy->image_only)
        rc = collect(j, &s, &v, &mirror, err);
    trust_session_close(&s);
    return rc ? rc : check_children(j, &v, err);
}

/* What the tag says now, whoever says it. */
static int ask_tag(struct job *j, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    char text[DIGEST_TEXT_MAX], type[MEDIA_TYPE_MAX + 1];
    struct descriptor *root = &j->out->root;
    const struct reference *from = j->from;
    const char *name = from->digest.alg ? digest_format(&from->digest, text) : from->tag;
    int rc = remote_manifest_get(j->source, from->repository, name, &data, type, err);
    if (!rc && from->digest.alg)
        root->digest = from->digest;
    else if (!rc)
        rc = digest_of(DIGEST_SHA256, data.data, data.len, &root->digest, err);
    root->size = (int64_t)data.len;
    memcpy(root->media_type, type, sizeof type);
    return rc;
}

/* --- doing it --- */

static int move_image(struct job *j, struct error *err)
{
    const struct copy_end from = {j->source, j->from->repository};
    const struct copy_end to = {j->destination, j->to->repository};
    int rc =
        copy_image(&from, &to, &j->out->root, j->to->tag, j->copy->transfer, &j->out->moved, err);
    j->out->image = !rc;
    return rc;
}

static int move_proofs(struct job *j, struct error *err)
{
    struct remote_mirrored answer = {.changed = false};
    if (j->proofs.same) {
        j->out->proofs = COPY_PROOFS_SAME;
        return OK;
    }
    int rc = remote_mirror_post(j->destination, j->to->repository, j->proofs.files, j->proofs.n,
                                &answer, err);
    if (rc)
        return wrap(err, rc, "the image was copied, its proofs were not");
    j->out->proofs = answer.changed ? COPY_PROOFS_TAKEN : COPY_PROOFS_SAME;
    j->out->missing = answer.missing;
    return OK;
}

int image_copy(const struct image_copy *copy, const struct reference *from,
               const struct reference *to, struct image_copied *out, struct error *err)
{
    CLEANUP(job_done) struct job j = {.copy = copy, .from = from, .to = to, .out = out};
    *out = (struct image_copied){.moved = {.bytes = 0}};
    int rc = open_end(&j, from, &j.source, err);
    if (!rc)
        rc = open_end(&j, to, &j.destination, err);
    if (!rc)
        rc = copy->unverified ? ask_tag(&j, err) : verify(&j, err);
    if (!rc)
        rc = move_image(&j, err);
    return rc || copy->image_only || copy->unverified ? rc : move_proofs(&j, err);
}
