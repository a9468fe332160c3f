#include "registry/token_keys.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "keys/signing_key.h"
#include "registry/password.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define SEED_LEN          32u
#define SUFFIX            ".key"
#define LOOK_EVERY_MS     1000
#define RETRY_ROTATION_MS 60000
#define REMEMBERED        1024u
#define TIME_DIGITS       12u
#define FILE_NAME_MAX     (TOKEN_KEY_ID_LEN + sizeof SUFFIX)
#define ID_TIME_MAX       0xffffffffffff

struct key {
    char id[TOKEN_KEY_ID_LEN + 1];
    int64_t created_s;
    struct signing_key *pair;
};

struct token_keys {
    pthread_mutex_t lock;
    int dir_fd;
    int64_t rotate_after_s, keep_s;
    struct key keys[TOKEN_KEYS_MAX]; /* newest first */
    size_t n;
    struct timespec seen; /* the folder's time when it was read; checked for any change */
    int64_t next_look_ms; /* monotonic */
    int64_t next_rotation_ms;
    uint8_t mac_key[32];
    uint8_t remembered[REMEMBERED][PASSWORD_MAC_LEN];
};

/* --- files --- */

static bool id_parse(const char *name, size_t len, int64_t *created_s)
{
    static const char hex[] = "0123456789abcdef";
    int64_t time = 0;
    if (len != TOKEN_KEY_ID_LEN || strspn(name, hex) < len)
        return false;
    for (size_t i = 0; i < TIME_DIGITS; i++)
        time = time * 16 + (strchr(hex, name[i]) - hex);
    *created_s = time;
    return true;
}

static int open_folder(const char *data_dir, int *fd, struct error *err)
{
    CLEANUP(cleanup_fd) int data_fd = -1;
    struct stat st;
    int rc = file_open_dir(data_dir, true, &data_fd, err);
    if (rc != 0)
        return rc;
    if (fstat(data_fd, &st) != 0)
        return fail_sys(err, errno, "look at '%s'", data_dir);
    bool made = mkdirat(data_fd, TOKEN_KEYS_FOLDER, 0700) == 0;
    if (!made && errno != EEXIST)
        return fail_sys(err, errno, "make '%s/%s'", data_dir, TOKEN_KEYS_FOLDER);
    /* A command run as root must not take the folder from the account that serves. */
    if (made && geteuid() == 0 &&
        fchownat(data_fd, TOKEN_KEYS_FOLDER, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_sys(err, errno, "give '%s/%s' its owner", data_dir, TOKEN_KEYS_FOLDER);
    return path_open(data_fd, TOKEN_KEYS_FOLDER, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, fd,
                     err);
}

/* Under its name only once it has its owner: a server that looks meanwhile must be able to read. */
static int write_key(int dir_fd, const char *name, struct error *err)
{
    uint8_t seed[SEED_LEN];
    struct stat st;
    char draft[FILE_NAME_MAX + 1];
    snprintf(draft, sizeof draft, ".%s", name);
    password_random(seed, sizeof seed);
    int rc = file_create_atomic(dir_fd, draft, seed, sizeof seed, 0600, err);
    secret_wipe(seed, sizeof seed);
    if (rc == 0 && geteuid() == 0 &&
        (fstat(dir_fd, &st) != 0 ||
         fchownat(dir_fd, draft, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0))
        rc = fail_sys(err, errno, "give '%s' its owner", name);
    if (rc == 0 && renameat(dir_fd, draft, dir_fd, name) != 0)
        rc = fail_sys(err, errno, "name '%s'", name);
    if (rc != 0)
        (void)unlinkat(dir_fd, draft, 0);
    return rc == 0 ? file_sync_dir(dir_fd, err) : rc;
}

/* The newest of all, whatever the clock says. */
static int add_key(int dir_fd, int64_t newest_s, char id[TOKEN_KEY_ID_LEN + 1], struct error *err)
{
    uint8_t random[6];
    char digits[2 * sizeof random + 1], name[FILE_NAME_MAX];
    int64_t now = clock_now_s();
    int64_t created = now > newest_s ? now : newest_s + 1;
    if (created < 0 || created > ID_TIME_MAX)
        return fail(err, E_CLOCK, "the clock cannot be right");
    password_random(random, sizeof random);
    hex_encode(random, sizeof random, digits);
    snprintf(name, sizeof name, "%012llx%s" SUFFIX, (unsigned long long)created, digits);
    int rc = write_key(dir_fd, name, err);
    if (rc == 0) {
        memcpy(id, name, TOKEN_KEY_ID_LEN);
        id[TOKEN_KEY_ID_LEN] = '\0';
    }
    return rc;
}

static int load_key(int dir_fd, const char *name, struct key *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    CLEANUP(secret_done) struct secret seed = SECRET_INIT;
    int rc = file_read(dir_fd, name, SEED_LEN, &content, err);
    if (rc == E_LIMIT || (rc == 0 && content.len != SEED_LEN))
        rc = fail(err, E_TAMPERED, "'%s/%s' is no key: remove it", TOKEN_KEYS_FOLDER, name);
    if (rc == 0)
        rc = secret_copy(content.data, content.len, &seed, err);
    if (content.data)
        secret_wipe(content.data, content.cap);
    if (rc == 0)
        rc = signing_key_from_seed(&seed, "token key", &out->pair, err);
    return rc;
}

/* --- the set; all of this under the lock --- */

static void forget(struct token_keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        signing_key_free(k->keys[i].pair);
    memset(k->keys, 0, sizeof k->keys);
    k->n = 0;
    /* What a removed key signed is not good any more. */
    memset(k->remembered, 0, sizeof k->remembered);
}

/* Keeps the newest TOKEN_KEYS_MAX names, newest first: ids sort by time. */
static void note_name(char ids[][TOKEN_KEY_ID_LEN + 1], size_t *n, const char *id)
{
    size_t at = *n;
    while (at > 0 && strncmp(ids[at - 1], id, TOKEN_KEY_ID_LEN) < 0)
        at--;
    if (at == TOKEN_KEYS_MAX)
        return;
    size_t kept = *n < TOKEN_KEYS_MAX ? *n : TOKEN_KEYS_MAX - 1;
    memmove(ids[at + 1], ids[at], (kept - at) * sizeof *ids);
    memcpy(ids[at], id, TOKEN_KEY_ID_LEN);
    ids[at][TOKEN_KEY_ID_LEN] = '\0';
    *n = kept + 1;
}

static int list_ids(int dir_fd, char ids[][TOKEN_KEY_ID_LEN + 1], size_t *n, struct error *err)
{
    int64_t created = 0;
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int errnum = errno;
        cleanup_fd(&fd);
        return fail_sys(err, errnum, "read '%s'", TOKEN_KEYS_FOLDER);
    }
    *n = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        size_t len = strlen(e->d_name);
        if (len == TOKEN_KEY_ID_LEN + strlen(SUFFIX) && text_ends(e->d_name, SUFFIX) &&
            id_parse(e->d_name, TOKEN_KEY_ID_LEN, &created))
            note_name(ids, n, e->d_name);
    }
    return 0;
}

/* Key i was replaced when the one before it was made: nothing it signed can be valid any more. */
static bool is_over(const struct token_keys *k, const char *newer_id)
{
    int64_t replaced = 0;
    (void)id_parse(newer_id, TOKEN_KEY_ID_LEN, &replaced);
    return clock_now_s() > replaced + k->keep_s;
}

/* A file that cannot be used takes its own tokens with it, not everybody's. */
static void load_one(struct token_keys *k, const char *id, const char *name)
{
    struct error err = ERROR_INIT;
    struct key *key = &k->keys[k->n];
    int rc = load_key(k->dir_fd, name, key, &err);
    if (rc != 0 && rc != E_NOTFOUND) /* not one that was removed meanwhile */
        log_error("token keys: %s", err.message);
    if (rc != 0)
        return;
    memcpy(key->id, id, sizeof key->id);
    (void)id_parse(key->id, TOKEN_KEY_ID_LEN, &key->created_s);
    k->n++;
}

static int load_all(struct token_keys *k, struct error *err)
{
    char ids[TOKEN_KEYS_MAX][TOKEN_KEY_ID_LEN + 1], name[FILE_NAME_MAX];
    size_t n = 0;
    int rc = list_ids(k->dir_fd, ids, &n, err);
    if (rc != 0)
        return rc;
    forget(k);
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s" SUFFIX, ids[i]);
        if (i > 0 && is_over(k, ids[i - 1]))
            (void)unlinkat(k->dir_fd, name, 0);
        else
            load_one(k, ids[i], name);
    }
    return 0;
}

static int folder_time(const struct token_keys *k, struct timespec *out, struct error *err)
{
    struct stat st;
    if (fstat(k->dir_fd, &st) != 0)
        return fail_sys(err, errno, "look at '%s'", TOKEN_KEYS_FOLDER);
    *out = st.st_mtim;
    return 0;
}

/* Reads the folder again where it changed, or where an old key's time may be over. */
static int refresh(struct token_keys *k, struct error *err)
{
    struct timespec time;
    if (clock_monotonic_ms() < k->next_look_ms)
        return 0;
    int rc = folder_time(k, &time, err);
    if (rc != 0)
        return rc;
    bool same = time.tv_sec == k->seen.tv_sec && time.tv_nsec == k->seen.tv_nsec;
    bool over = k->n > 1 && is_over(k, k->keys[k->n - 2].id);
    if (!same || over || k->n == 0)
        rc = load_all(k, err);
    /* The time from before: a change while reading is seen by the next look; so is one in the same
     * tick of the file system's clock, for which a fresh time is not relied on. */
    k->seen = clock_now_s() > time.tv_sec + 1 ? time : (struct timespec){0, 0};
    k->next_look_ms = clock_monotonic_ms() + LOOK_EVERY_MS;
    return rc;
}

static const struct key *find(const struct token_keys *k, const char *id)
{
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->keys[i].id, id) == 0)
            return &k->keys[i];
    return NULL;
}

static int make_key(struct token_keys *k, struct error *err)
{
    char id[TOKEN_KEY_ID_LEN + 1];
    int rc = add_key(k->dir_fd, k->n ? k->keys[0].created_s : 0, id, err);
    if (rc != 0)
        return rc;
    log_info("tokens are signed by a new key, %s", id);
    return load_all(k, err);
}

/* A full disk must not end logins that a key is there for. */
static void replace_old(struct token_keys *k)
{
    struct error err = ERROR_INIT;
    if (clock_monotonic_ms() < k->next_rotation_ms || make_key(k, &err) == 0)
        return;
    log_warn("the token key is old and cannot be replaced: %s", err.message);
    k->next_rotation_ms = clock_monotonic_ms() + RETRY_ROTATION_MS;
}

static int ensure_current(struct token_keys *k, struct error *err)
{
    int rc = refresh(k, err);
    if (rc == 0 && k->n == 0)
        rc = make_key(k, err);
    if (rc != 0)
        return rc;
    if (k->n == 0)
        return fail(err, E_SYS, "'%s' holds no key that can be read", TOKEN_KEYS_FOLDER);
    if (k->rotate_after_s > 0 && clock_now_s() - k->keys[0].created_s > k->rotate_after_s)
        replace_old(k);
    return k->n > 0 ? 0 : fail(err, E_SYS, "'%s' holds no key", TOKEN_KEYS_FOLDER);
}

/* --- outside --- */

int token_keys_open(const struct token_keys_options *options, struct token_keys **out,
                    struct error *err)
{
    struct token_keys *k = calloc(1, sizeof *k);
    if (!k)
        return fail_nomem(err);
    pthread_mutex_init(&k->lock, NULL);
    k->dir_fd = -1;
    k->rotate_after_s = options->rotate_after_s;
    k->keep_s = options->keep_s;
    password_random(k->mac_key, sizeof k->mac_key);
    int rc = open_folder(options->data_dir, &k->dir_fd, err);
    if (rc == 0)
        rc = ensure_current(k, err);
    if (rc != 0)
        token_keys_free(k);
    else
        *out = k;
    return wrap(err, rc, "token keys");
}

void token_keys_free(struct token_keys *keys)
{
    if (!keys)
        return;
    forget(keys);
    cleanup_fd(&keys->dir_fd);
    pthread_mutex_destroy(&keys->lock);
    secret_wipe(keys, sizeof *keys);
    free(keys);
}

void token_keys_cleanup(struct token_keys **keys)
{
    token_keys_free(*keys);
    *keys = NULL;
}

int token_keys_current(struct token_keys *keys, char id[TOKEN_KEY_ID_LEN + 1], struct error *err)
{
    pthread_mutex_lock(&keys->lock);
    int rc = ensure_current(keys, err);
    if (rc == 0)
        memcpy(id, keys->keys[0].id, TOKEN_KEY_ID_LEN + 1);
    pthread_mutex_unlock(&keys->lock);
    return rc;
}

int token_keys_sign(struct token_keys *keys, const char *id, const void *msg, size_t len,
                    uint8_t out[TOKEN_SIGNATURE_LEN], struct error *err)
{
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    pthread_mutex_lock(&keys->lock);
    const struct key *key = find(keys, id);
    int rc = key ? signing_key_sign(key->pair, msg, len, &sig, err)
                 : fail(err, E_NOTFOUND, "no such token key");
    pthread_mutex_unlock(&keys->lock);
    if (rc == 0 && sig.len != TOKEN_SIGNATURE_LEN)
        rc = fail(err, E_INTERNAL, "a signature has %zu bytes", sig.len);
    if (rc == 0)
        memcpy(out, sig.data, TOKEN_SIGNATURE_LEN);
    return rc;
}

/* The key's public half, to be used without the lock. */
static int borrow_public(struct token_keys *keys, const char *id, const uint8_t *mac,
                         struct public_key **out, bool *remembered, struct error *err)
{
    pthread_mutex_lock(&keys->lock);
    int rc = refresh(keys, err);
    const struct key *key = rc == 0 ? find(keys, id) : NULL;
    const uint8_t *slot = keys->remembered[(mac[0] | (unsigned)mac[1] << 8) % REMEMBERED];
    if (rc == 0 && !key)
        rc = fail(err, E_NOTFOUND, "no such token key");
    *remembered = rc == 0 && password_mac_equal(slot, mac);
    if (rc == 0 && !*remembered) {
        *out = public_key_dup(signing_key_public(key->pair));
        rc = *out ? 0 : fail_nomem(err);
    }
    pthread_mutex_unlock(&keys->lock);
    return rc;
}

static void remember(struct token_keys *keys, const char *id, const uint8_t *mac)
{
    pthread_mutex_lock(&keys->lock);
    if (find(keys, id)) /* it may have been removed meanwhile */
        memcpy(keys->remembered[(mac[0] | (unsigned)mac[1] << 8) % REMEMBERED], mac,
               PASSWORD_MAC_LEN);
    pthread_mutex_unlock(&keys->lock);
}

int token_keys_verify(struct token_keys *keys, const char *id, const void *msg, size_t len,
                      const uint8_t sig[TOKEN_SIGNATURE_LEN], struct error *err)
{
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    uint8_t mac[PASSWORD_MAC_LEN];
    bool remembered = false;
    const struct password_part parts[3] = {
        {id, strlen(id)}, {msg, len}, {sig, TOKEN_SIGNATURE_LEN}};
    password_mac_parts(keys->mac_key, parts, mac);
    int rc = borrow_public(keys, id, mac, &key, &remembered, err);
    if (rc != 0 || remembered)
        return rc;
    rc = public_key_verify(key, msg, len, sig, TOKEN_SIGNATURE_LEN, err);
    if (rc == 0)
        remember(keys, id, mac);
    return rc;
}

int token_keys_rotate(const char *data_dir, char id[TOKEN_KEY_ID_LEN + 1], struct error *err)
{
    CLEANUP(cleanup_fd) int dir_fd = -1;
    char ids[TOKEN_KEYS_MAX][TOKEN_KEY_ID_LEN + 1];
    size_t n = 0;
    int64_t newest = 0;
    int rc = open_folder(data_dir, &dir_fd, err);
    if (rc == 0)
        rc = list_ids(dir_fd, ids, &n, err);
    if (rc == 0 && n > 0)
        (void)id_parse(ids[0], TOKEN_KEY_ID_LEN, &newest);
    if (rc == 0)
        rc = add_key(dir_fd, newest, id, err);
    return wrap(err, rc, "token keys");
}

int token_keys_list(const char *data_dir,
                    int (*visit)(void *context, const char *id, int64_t created_s,
                                 struct error *err),
                    void *context, struct error *err)
{
    CLEANUP(cleanup_fd) int dir_fd = -1;
    char ids[TOKEN_KEYS_MAX][TOKEN_KEY_ID_LEN + 1];
    size_t n = 0;
    int rc = open_folder(data_dir, &dir_fd, err);
    if (rc == 0)
        rc = list_ids(dir_fd, ids, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        int64_t created_s = 0;
        (void)id_parse(ids[i], TOKEN_KEY_ID_LEN, &created_s);
        rc = visit(context, ids[i], created_s, err);
    }
    return wrap(err, rc, "token keys");
}
