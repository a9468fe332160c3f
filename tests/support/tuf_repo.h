/*
 * A toy TUF repository in memory, for tests of tuf/ and of what stands on it.
 *
 * Roles 0 to 3 are the top-level ones in the order of enum tuf_type; delegated roles follow. Each
 * has a tree (`signed`) that a test may change as it likes, signers, and the file made from both.
 * toy_publish makes everything consistent and signed; what a test then breaks stays broken until
 * the next toy_sign or toy_publish. Header only, so that layers below tuf/ do not link to it.
 */
#ifndef BULLA_TESTS_SUPPORT_TUF_REPO_H
#define BULLA_TESTS_SUPPORT_TUF_REPO_H

#include "keys/signing_key.h"
#include "tuf/compose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TOY_NOW       1750000000 /* 2025-06-15 */
#define TOY_DAY       86400
#define TOY_MAX_ROLES 96
#define TOY_MAX_KEYS  160

#define toy_ok(call)                                                                               \
    do {                                                                                           \
        struct error toy_err_ = ERROR_INIT;                                                        \
        struct error *err = &toy_err_;                                                             \
        if (call)                                                                                  \
            fail_msg("%s: %d %s", #call, toy_err_.code, toy_err_.message);                         \
    } while (0)

struct toy_role {
    char name[256];
    enum tuf_type type;
    struct js *tree;
    struct bytes file;
    struct signing_key *signers[8]; /* borrowed from the repository's pool */
    size_t n_signers;
    int64_t threshold;
    bool unpublished; /* left out of the snapshot */
};

struct toy_repo {
    const char *collection;
    int64_t now_s;
    struct toy_role roles[TOY_MAX_ROLES];
    size_t n_roles;
    struct signing_key *pool[TOY_MAX_KEYS];
    size_t n_pool;
    bool bare_meta; /* snapshot and timestamp without lengths and hashes */
};

static inline struct signing_key *toy_key_new(struct toy_repo *r, enum key_type type)
{
    assert_true(r->n_pool < TOY_MAX_KEYS);
    struct signing_key **slot = &r->pool[r->n_pool++];
    toy_ok(signing_key_generate(type, "toy", slot, err));
    return *slot;
}

static inline struct toy_role *toy_role(struct toy_repo *r, const char *name)
{
    for (size_t i = 0; i < r->n_roles; i++)
        if (strcmp(r->roles[i].name, name) == 0)
            return &r->roles[i];
    fail_msg("no role %s", name);
    return NULL;
}

/* A role with n fresh Ed25519 keys (the first one P-256 for root), all of which must sign. */
static inline struct toy_role *toy_role_add(struct toy_repo *r, enum tuf_type type,
                                            const char *name, size_t n_keys)
{
    assert_true(r->n_roles < TOY_MAX_ROLES);
    struct toy_role *role = &r->roles[r->n_roles++];
    memset(role, 0, sizeof *role);
    (void)snprintf(role->name, sizeof role->name, "%s", name);
    role->type = type;
    for (; role->n_signers < n_keys; role->n_signers++)
        role->signers[role->n_signers] =
            toy_key_new(r, type == TUF_ROOT && role->n_signers == 0 ? KEY_ECDSA_P256 : KEY_ED25519);
    role->threshold = (int64_t)n_keys;
    toy_ok(
        tuf_compose(type, r->collection, name, 1, r->now_s, r->now_s + TOY_DAY, &role->tree, err));
    return role;
}

/* Writes the keys, ids and thresholds of the four top-level roles into root. */
static inline void toy_root_roles(struct toy_repo *r)
{
    struct tuf_compose_role roles[4];
    const struct public_key *keys[4][8];
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < r->roles[i].n_signers; j++)
            keys[i][j] = signing_key_public(r->roles[i].signers[j]);
        roles[i] = (struct tuf_compose_role){keys[i], r->roles[i].n_signers, r->roles[i].threshold};
    }
    toy_ok(tuf_compose_root_roles(r->roles[TUF_ROOT].tree, roles, err));
}

static inline void toy_init(struct toy_repo *r, const char *collection)
{
    memset(r, 0, sizeof *r);
    r->collection = collection;
    r->now_s = TOY_NOW;
    toy_role_add(r, TUF_ROOT, "root", 2);
    toy_role_add(r, TUF_TIMESTAMP, "timestamp", 1);
    toy_role_add(r, TUF_SNAPSHOT, "snapshot", 1);
    toy_role_add(r, TUF_TARGETS, "targets", 1);
    toy_root_roles(r);
}

static inline void toy_done(struct toy_repo *r)
{
    for (size_t i = 0; i < r->n_roles; i++) {
        js_free(r->roles[i].tree);
        bytes_done(&r->roles[i].file);
    }
    for (size_t i = 0; i < r->n_pool; i++)
        signing_key_free(r->pool[i]);
}

/* Delegates from `from` to `name` with its present keys; a role that is not there yet gets one key.
 */
static inline struct toy_role *toy_delegate(struct toy_repo *r, const char *from, const char *name,
                                            const char *pattern, bool terminating)
{
    struct toy_role *role = NULL;
    for (size_t i = 0; i < r->n_roles; i++)
        if (strcmp(r->roles[i].name, name) == 0)
            role = &r->roles[i];
    if (!role)
        role = toy_role_add(r, TUF_TARGETS, name, 1);
    const struct public_key *keys[8];
    for (size_t i = 0; i < role->n_signers; i++)
        keys[i] = signing_key_public(role->signers[i]);
    struct tuf_compose_delegation d = {
        name, {keys, role->n_signers, role->threshold}, terminating, &pattern, 1};
    toy_ok(tuf_compose_delegation(toy_role(r, from)->tree, &d, err));
    return role;
}

/* Adds target `name` with the digest and length of `content`. */
static inline void toy_target(struct toy_repo *r, const char *role, const char *name,
                              const char *content)
{
    struct digest d;
    toy_ok(digest_of(DIGEST_SHA256, content, strlen(content), &d, err));
    toy_ok(tuf_compose_target(toy_role(r, role)->tree, name, &d, (int64_t)strlen(content),
                              "application/vnd.oci.image.manifest.v1+json", err));
}

static inline void toy_set_int(struct toy_role *role, const char *key, int64_t value)
{
    toy_ok(js_set(role->tree, key, js_int_new(value), err));
}

static inline void toy_set_text(struct toy_role *role, const char *key, const char *value)
{
    toy_ok(js_set(role->tree, key, js_text_new(value), err));
}

static inline int64_t toy_version(const struct toy_role *role)
{
    return js_number(js_get(role->tree, "version"));
}

static inline void toy_bump(struct toy_role *role)
{
    toy_set_int(role, "version", toy_version(role) + 1);
}

/* 2025-06-01: before TOY_NOW. */
static inline void toy_expire(struct toy_role *role)
{
    toy_set_text(role, "expires", "2025-06-01T00:00:00Z");
}

static inline int toy_sign_with(void *context, const void *msg, size_t len, struct bytes *out,
                                struct error *err)
{
    return signing_key_sign(context, msg, len, out, err);
}

/* Any tree by any keys, appended to out. */
static inline void toy_sign_tree(const struct js *tree, struct signing_key *const *keys, size_t n,
                                 struct bytes *out)
{
    struct tuf_signer signers[16];
    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++) {
        signers[i] = (struct tuf_signer){.sign = toy_sign_with, .context = keys[i]};
        toy_ok(public_key_id(signing_key_public(keys[i]), &signers[i].id, err));
    }
    bytes_clear(out);
    toy_ok(tuf_compose_file(tree, signers, n, out, err));
}

static inline void toy_sign(struct toy_role *role)
{
    toy_sign_tree(role->tree, role->signers, role->n_signers, &role->file);
}

static inline void toy_meta(struct toy_repo *r, struct toy_role *in, const struct toy_role *of)
{
    toy_ok(tuf_compose_meta(in->tree, of->name, toy_version(of), of->file.data, of->file.len, err));
    if (!r->bare_meta)
        return;
    char name[300];
    (void)snprintf(name, sizeof name, "%s.json", of->name);
    struct js *meta = js_edit(js_edit(in->tree, "meta"), name);
    js_remove(meta, "length");
    js_remove(meta, "hashes");
}

/* Signs snapshot and timestamp over the files as they are. */
static inline void toy_publish_online(struct toy_repo *r)
{
    struct toy_role *snapshot = &r->roles[TUF_SNAPSHOT], *timestamp = &r->roles[TUF_TIMESTAMP];
    for (size_t i = TUF_TARGETS; i < r->n_roles; i++)
        if (!r->roles[i].unpublished)
            toy_meta(r, snapshot, &r->roles[i]);
    toy_sign(snapshot);
    toy_meta(r, timestamp, snapshot);
    toy_sign(timestamp);
}

/* Signs root, targets and delegated roles, then the rest over them. Versions are the test's. */
static inline void toy_publish(struct toy_repo *r)
{
    toy_sign(&r->roles[TUF_ROOT]);
    for (size_t i = TUF_TARGETS; i < r->n_roles; i++)
        toy_sign(&r->roles[i]);
    toy_publish_online(r);
}

/* Next versions of timestamp and snapshot, then toy_publish. */
static inline void toy_republish(struct toy_repo *r)
{
    toy_bump(&r->roles[TUF_SNAPSHOT]);
    toy_bump(&r->roles[TUF_TIMESTAMP]);
    toy_publish(r);
}

#endif
