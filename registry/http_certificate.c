#include "registry/http_certificate.h"

#include "base/clock.h"
#include "base/file.h"
#include "keys/secret.h"

#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define PEM_MAX   (256u << 10)
#define MAX_CHAIN 16u
#define KEY_ID    32u /* SHA-256 of the public key */

struct http_certificate_pair {
    unsigned users; /* under the lock; the store counts as one while it is in use */
    gnutls_pcert_st chain[MAX_CHAIN];
    unsigned n_chain;
    gnutls_privkey_t key;
    int64_t expires_s;
};

struct stamp {
    struct timespec changed[2];
    ino_t inode[2];
    off_t size[2];
};

struct http_certificate {
    char *files[2]; /* certificate, key */
    pthread_mutex_t lock;
    struct http_certificate_pair *pair;
    struct stamp used, seen; /* of one thread: the one that polls and reloads */
};

/* GnuTLS: 0 or more is success. */
static int fail_tls(struct error *err, int got, const char *what)
{
    return fail(err, E_TLS, "%s: %s", what, gnutls_strerror(got));
}

static void pair_free(struct http_certificate_pair *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < p->n_chain; i++)
        gnutls_pcert_deinit(&p->chain[i]);
    if (p->key)
        gnutls_privkey_deinit(p->key); /* wipes it */
    free(p);
}

static int import_chain(struct http_certificate_pair *p, const struct bytes *pem, struct error *err)
{
    gnutls_x509_crt_t list[MAX_CHAIN];
    unsigned n = MAX_CHAIN;
    const gnutls_datum_t data = {pem->data, (unsigned)pem->len};
    int got = gnutls_x509_crt_list_import(list, &n, &data, GNUTLS_X509_FMT_PEM,
                                          GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (got == 0)
        got = GNUTLS_E_NO_CERTIFICATE_FOUND;
    if (got < 0)
        return fail_tls(err, got, "certificate");
    n = (unsigned)got;
    /* Before the list is sorted away: the server's own comes first. */
    p->expires_s = (int64_t)gnutls_x509_crt_get_expiration_time(list[0]);
    unsigned taken = n;
    got = gnutls_pcert_import_x509_list(p->chain, list, &taken, GNUTLS_X509_CRT_LIST_SORT);
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(list[i]);
    if (got < 0)
        return fail_tls(err, got, "certificate chain");
    p->n_chain = taken;
    return 0;
}

static int key_id(gnutls_pubkey_t key, uint8_t out[static KEY_ID])
{
    size_t len = KEY_ID;
    int got = gnutls_pubkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, out, &len);
    return got == 0 && len != KEY_ID ? GNUTLS_E_INTERNAL_ERROR : got;
}

static int check_fit(const struct http_certificate_pair *p, struct error *err)
{
    uint8_t of_key[KEY_ID] = {0}, of_certificate[KEY_ID] = {0};
    gnutls_pubkey_t public = NULL;
    int got = gnutls_pubkey_init(&public);
    if (got == 0)
        got = gnutls_pubkey_import_privkey(public, p->key, 0, 0);
    if (got == 0)
        got = key_id(public, of_key);
    if (got == 0)
        got = key_id(p->chain[0].pubkey, of_certificate);
    if (public)
        gnutls_pubkey_deinit(public);
    if (got < 0)
        return fail_tls(err, got, "key");
    if (memcmp(of_key, of_certificate, KEY_ID) != 0)
        return fail(err, E_TLS, "certificate and key do not belong together");
    return 0;
}

static int import_pair(const struct bytes *certificate, const struct bytes *key,
                       struct http_certificate_pair **out, struct error *err)
{
    struct http_certificate_pair *p = calloc(1, sizeof *p);
    if (!p)
        return fail_nomem(err);
    p->users = 1;
    const gnutls_datum_t data = {key->data, (unsigned)key->len};
    int rc = import_chain(p, certificate, err);
    int got = rc == 0 ? gnutls_privkey_init(&p->key) : 0;
    if (rc == 0 && got == 0)
        got = gnutls_privkey_import_x509_raw(p->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (got < 0)
        rc = fail_tls(err, got, "key");
    if (rc == 0)
        rc = check_fit(p, err);
    if (rc != 0)
        pair_free(p);
    else
        *out = p;
    return rc;
}

static struct stamp look(const struct http_certificate *c)
{
    struct stamp s;
    memset(&s, 0, sizeof s); /* compared as bytes, padding included */
    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        if (stat(c->files[i], &st) != 0)
            continue;
        s.changed[i] = st.st_mtim;
        s.inode[i] = st.st_ino;
        s.size[i] = st.st_size;
    }
    return s;
}

static int read_pair(struct http_certificate *c, struct http_certificate_pair **out,
                     struct error *err)
{
    CLEANUP(bytes_done) struct bytes certificate = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes key = BYTES_INIT;
    c->used = c->seen = look(c);
    /* All at once: growing would leave copies of the key behind. */
    int rc = bytes_reserve(&key, PEM_MAX, err);
    if (rc == 0)
        rc = file_read(AT_FDCWD, c->files[0], PEM_MAX, &certificate, err);
    if (rc == 0)
        rc = file_read(AT_FDCWD, c->files[1], PEM_MAX, &key, err);
    if (rc == 0)
        rc = import_pair(&certificate, &key, out, err);
    secret_wipe(key.data, key.len);
    return rc;
}

int http_certificate_open(const char *certificate_file, const char *key_file,
                          struct http_certificate **out, struct error *err)
{
    struct http_certificate *c = calloc(1, sizeof *c);
    if (!c)
        return fail_nomem(err);
    pthread_mutex_init(&c->lock, NULL);
    c->files[0] = strdup(certificate_file);
    c->files[1] = strdup(key_file);
    int rc = c->files[0] && c->files[1] ? read_pair(c, &c->pair, err) : fail_nomem(err);
    if (rc != 0)
        http_certificate_close(c);
    else
        *out = c;
    return rc;
}

void http_certificate_close(struct http_certificate *c)
{
    if (!c)
        return;
    pair_free(c->pair);
    free(c->files[0]);
    free(c->files[1]);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

int http_certificate_reload(struct http_certificate *c, struct error *err)
{
    struct http_certificate_pair *fresh = NULL;
    int rc = read_pair(c, &fresh, err);
    if (rc != 0)
        return rc;
    if (fresh->expires_s <= clock_now_s()) {
        char when[CLOCK_TEXT_MAX];
        rc = fail(err, E_EXPIRED, "the certificate in '%s' expired on %s", c->files[0],
                  clock_format(fresh->expires_s, when));
        pair_free(fresh);
        return rc;
    }
    pthread_mutex_lock(&c->lock);
    struct http_certificate_pair *old = c->pair;
    c->pair = fresh;
    pthread_mutex_unlock(&c->lock);
    http_certificate_release(c, old);
    return 0;
}

bool http_certificate_changed(struct http_certificate *c)
{
    struct stamp now = look(c);
    bool settled = memcmp(&now, &c->seen, sizeof now) == 0;
    bool changed = memcmp(&now, &c->used, sizeof now) != 0;
    c->seen = now;
    if (changed && settled)
        c->used = now; /* once, whatever comes of it */
    return changed && settled;
}

int64_t http_certificate_expires_s(struct http_certificate *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t expires = c->pair->expires_s;
    pthread_mutex_unlock(&c->lock);
    return expires;
}

struct http_certificate_pair *http_certificate_use(struct http_certificate *c,
                                                   struct gnutls_pcert_st **chain, unsigned *n,
                                                   struct gnutls_privkey_st **key)
{
    pthread_mutex_lock(&c->lock);
    struct http_certificate_pair *p = c->pair;
    p->users++;
    pthread_mutex_unlock(&c->lock);
    *chain = p->chain;
    *n = p->n_chain;
    *key = p->key;
    return p;
}

void http_certificate_release(struct http_certificate *c, struct http_certificate_pair *pair)
{
    if (!pair)
        return;
    pthread_mutex_lock(&c->lock);
    bool last = --pair->users == 0;
    pthread_mutex_unlock(&c->lock);
    if (last)
        pair_free(pair);
}
