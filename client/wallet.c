#include "client/wallet.h"

#include "client/auth.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct wallet {
    atomic_uint holders;
    struct bytes basic, identity; /* empty: none */
    pthread_mutex_t lock;         /* for what follows; held while a token is fetched */
    struct bytes bearer;          /* "Bearer …"; empty: none */
    unsigned generation;          /* counts tokens */
    char *scopes[WALLET_SCOPES_MAX];
    size_t n_scopes;
};

int wallet_new(struct wallet **out, struct error *err)
{
    struct wallet *w = calloc(1, sizeof *w);
    if (!w)
        return fail_nomem(err);
    atomic_init(&w->holders, 1);
    (void)pthread_mutex_init(&w->lock, NULL);
    *out = w;
    return OK;
}

struct wallet *wallet_hold(struct wallet *w)
{
    (void)atomic_fetch_add(&w->holders, 1);
    return w;
}

static void forget_scopes(struct wallet *w)
{
    for (size_t i = 0; i < w->n_scopes; i++)
        free(w->scopes[i]);
    w->n_scopes = 0;
}

void wallet_drop(struct wallet *w)
{
    if (!w || atomic_fetch_sub(&w->holders, 1) > 1)
        return;
    auth_wipe(&w->basic);
    auth_wipe(&w->identity);
    auth_wipe(&w->bearer);
    forget_scopes(w);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

void wallet_set_basic(struct wallet *w, struct bytes *secret)
{
    auth_wipe(&w->basic);
    w->basic = bytes_take(secret);
}

void wallet_set_identity(struct wallet *w, struct bytes *secret)
{
    auth_wipe(&w->identity);
    w->identity = bytes_take(secret);
}

const char *wallet_basic(const struct wallet *w)
{
    return w->basic.len ? bytes_text(&w->basic) : NULL;
}

const char *wallet_identity(const struct wallet *w)
{
    return w->identity.len ? bytes_text(&w->identity) : NULL;
}

bool wallet_has_secret(const struct wallet *w)
{
    return w->basic.len || w->identity.len;
}

int wallet_authorization(struct wallet *w, struct bytes *out, unsigned *generation,
                         struct error *err)
{
    (void)pthread_mutex_lock(&w->lock);
    const struct bytes *now = w->bearer.len ? &w->bearer : &w->basic;
    int rc = bytes_reserve(out, now->len, err); /* at once: growing leaves copies behind */
    if (!rc && now->len)
        rc = bytes_append(out, now->data, now->len, err);
    *generation = w->generation;
    (void)pthread_mutex_unlock(&w->lock);
    return rc;
}

static bool has_scope(const struct wallet *w, const char *scope)
{
    for (size_t i = 0; i < w->n_scopes; i++)
        if (strcmp(w->scopes[i], scope) == 0)
            return true;
    return *scope == '\0';
}

/* A registry that names ever new scopes gets tokens for the latest one only. */
static int add_scope(struct wallet *w, const char *scope, struct error *err)
{
    if (has_scope(w, scope))
        return OK;
    if (w->n_scopes == WALLET_SCOPES_MAX)
        forget_scopes(w);
    w->scopes[w->n_scopes] = strdup(scope);
    if (!w->scopes[w->n_scopes])
        return fail_nomem(err);
    w->n_scopes++;
    return OK;
}

static int renew(struct wallet *w, const char *scope, wallet_fetch *fetch, void *ctx,
                 struct error *err)
{
    CLEANUP(auth_wipe) struct bytes token = BYTES_INIT;
    int rc = add_scope(w, scope, err);
    if (!rc)
        rc = fetch(ctx, (const char *const *)w->scopes, w->n_scopes, &token, err);
    if (rc)
        return rc;
    auth_wipe(&w->bearer);
    w->bearer = bytes_take(&token);
    w->generation++;
    return OK;
}

int wallet_renew(struct wallet *w, unsigned generation, const char *scope, wallet_fetch *fetch,
                 void *ctx, struct error *err)
{
    (void)pthread_mutex_lock(&w->lock);
    bool newer = w->generation != generation && has_scope(w, scope);
    int rc = newer ? OK : renew(w, scope, fetch, ctx, err);
    (void)pthread_mutex_unlock(&w->lock);
    return rc;
}
