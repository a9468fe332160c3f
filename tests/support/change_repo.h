/*
 * A toy repository with one delegated role, and a change to it as a ceremony's file. For the tests
 * of signer/'s owner side. Ed25519 only: these tests verify it thousands of times.
 */
#ifndef BULLA_TESTS_SUPPORT_CHANGE_REPO_H
#define BULLA_TESTS_SUPPORT_CHANGE_REPO_H

#include "base/file.h"
#include "signer/change_file.h"
#include "tests/support/scratch.h"
#include "tests/support/tuf_repo.h"

#include <fcntl.h>

#define CHANGE_COLLECTION "acme/app"

struct change_repo {
    struct toy_repo repo;
    struct scratch *dir;
    struct policy policy; /* names nothing */
    struct verify_options verify;
    struct collection_owner owner;
    struct reference ref;
};

static inline void change_repo_roots(struct change_repo *c)
{
    struct toy_role *root = toy_role(&c->repo, "root");
    root->signers[0] = toy_key_new(&c->repo, KEY_ED25519);
    root->n_signers = 1;
    root->threshold = 1;
    toy_root_roles(&c->repo);
}

static inline void change_repo_init(struct change_repo *c, struct scratch *dir)
{
    memset(c, 0, sizeof *c);
    c->dir = dir;
    c->verify = (struct verify_options){.home = dir->path, .policy = &c->policy};
    c->owner = (struct collection_owner){.verify = &c->verify};
    toy_ok(reference_parse("r.io/acme/app", &c->ref, err));
    toy_init(&c->repo, CHANGE_COLLECTION);
    change_repo_roots(c);
    toy_target(&c->repo, "targets", "v1", "one");
    toy_delegate(&c->repo, "targets", "alice", "a-*", false);
    toy_target(&c->repo, "alice", "a-1", "alice's");
    toy_publish(&c->repo);
}

static inline void change_repo_done(struct change_repo *c)
{
    toy_done(&c->repo);
}

/* A draft that stands on the files of these roles, as they are now; root and targets first. */
static inline void change_repo_begin(const struct change_repo *c, const char *const *roles,
                                     struct draft *d)
{
    struct toy_repo *repo = (struct toy_repo *)(uintptr_t)&c->repo;
    draft_begin(&c->owner, &c->ref, d);
    (void)snprintf(d->collection, sizeof d->collection, "%s", CHANGE_COLLECTION);
    d->base = calloc(8, sizeof *d->base);
    assert_non_null(d->base);
    for (; *roles; roles++) {
        const struct toy_role *role = toy_role(repo, *roles);
        struct draft_base *base = &d->base[d->n_base++];
        bool top = strcmp(*roles, "root") == 0 || strcmp(*roles, "targets") == 0;
        base->role = strdup(*roles);
        base->delegator = top ? NULL : strdup("targets");
        toy_ok(
            tuf_metadata_parse(role->type, role->file.data, role->file.len, &base->metadata, err));
    }
}

/* Signs the compiled draft with the first key of each of these roles. */
static inline void change_repo_sign(struct change_repo *c, const char *const *roles,
                                    struct draft *d)
{
    struct role_signers s = {.n = 0};
    for (; *roles; roles++) {
        struct signing_key *key = toy_role(&c->repo, *roles)->signers[0];
        s.signers[s.n] = (struct tuf_signer){.sign = toy_sign_with, .context = key};
        toy_ok(public_key_id(signing_key_public(key), &s.signers[s.n].id, err));
        memcpy(s.info[s.n].id, s.signers[s.n].id.text, sizeof s.info[0].id);
        s.n++;
    }
    toy_ok(draft_sign(d, &s, err));
}

static inline void change_repo_write(struct change_repo *c, struct draft *d, struct bytes *out)
{
    const char *path = scratch_name(c->dir, "change.json");
    toy_ok(change_file_write(d, path, false, err));
    bytes_clear(out);
    toy_ok(file_read(AT_FDCWD, path, CHANGE_FILE_MAX, out, err));
}

/* Tag v2 in targets and, where asked for, a-2 in alice, signed by the roles' keys. */
static inline void change_repo_change(struct change_repo *c, bool alice, struct bytes *out)
{
    const char *const base[] = {"root", "targets", alice ? "alice" : NULL, NULL};
    const char *const keys[] = {"targets", alice ? "alice" : NULL, NULL};
    struct draft d;
    struct js *tree = NULL;
    struct digest digest;
    toy_ok(digest_of(DIGEST_SHA256, "two", 3, &digest, err));
    change_repo_begin(c, base, &d);
    toy_ok(draft_role(&d, "targets", NULL, &tree, err));
    toy_ok(tuf_compose_target(tree, "v2", &digest, 3, "t", err));
    if (alice)
        toy_ok(draft_role(&d, "alice", "targets", &tree, err));
    toy_ok(tuf_compose_target(tree, alice ? "a-2" : "v3", &digest, 3, "t", err));
    toy_ok(draft_compile(&d, err));
    change_repo_sign(c, keys, &d);
    change_repo_write(c, &d, out);
    draft_close(&d);
}

#endif
