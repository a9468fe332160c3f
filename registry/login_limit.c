#include "registry/login_limit.h"

#include "registry/password.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#define WAYS 8u
#define SETS (LOGIN_LIMIT_ENTRIES / WAYS)

enum bucket { PAIR, USER, ADDRESS, N_BUCKETS };

static const struct {
    const char *name;
    int64_t burst, every_ms;
} rules[N_BUCKETS] = {{"pair", LOGIN_PAIR_BURST, LOGIN_PAIR_EVERY_MS},
                      {"user", LOGIN_USER_BURST, LOGIN_USER_EVERY_MS},
                      {"address", LOGIN_ADDRESS_BURST, LOGIN_ADDRESS_EVERY_MS}};

struct entry {
    uint8_t id[16];  /* all zero: empty */
    int64_t debt_ms; /* attempts times every_ms, at since_ms; melts with time */
    int64_t since_ms;
    int64_t known_until_ms; /* PAIR only */
};

struct login_limit {
    pthread_mutex_t lock;
    uint8_t key[32];
    struct entry sets[SETS][WAYS];
};

int login_limit_new(struct login_limit **out, struct error *err)
{
    struct login_limit *l = calloc(1, sizeof *l);
    if (!l)
        return fail_nomem(err);
    pthread_mutex_init(&l->lock, NULL);
    password_random(l->key, sizeof l->key);
    *out = l;
    return 0;
}

void login_limit_free(struct login_limit *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* A household or a machine has a whole /64: its addresses are one. Text form of the network. */
static void network_of(const char *address, char out[INET6_ADDRSTRLEN])
{
    struct in6_addr six;
    if (inet_pton(AF_INET6, address, &six) == 1 && !IN6_IS_ADDR_V4MAPPED(&six)) {
        memset(&six.s6_addr[8], 0, 8);
        if (inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN))
            return;
    }
    snprintf(out, INET6_ADDRSTRLEN, "%s", address);
}

static int64_t debt_now(const struct entry *e, int64_t now_ms)
{
    int64_t passed = now_ms - e->since_ms;
    return e->debt_ms > passed ? e->debt_ms - passed : 0;
}

/* What forgetting the entry would cost: the slowing of who guesses, or the mark of who is known,
 * which matters most while others fill the table. */
static int64_t worth(const struct entry *e, int64_t now_ms)
{
    int64_t known_ms = e->known_until_ms > now_ms ? LOGIN_PAIR_BURST * LOGIN_PAIR_EVERY_MS / 2 : 0;
    return debt_now(e, now_ms) + known_ms;
}

/* The entry of that bucket; a new one takes the place of the least suspicious. */
static struct entry *find(struct login_limit *l, enum bucket bucket, const struct login_attempt *a)
{
    uint8_t mac[PASSWORD_MAC_LEN];
    char network[INET6_ADDRSTRLEN];
    network_of(a->address, network);
    password_mac(l->key,
                 (const char *const[]){rules[bucket].name, bucket == ADDRESS ? "" : a->user,
                                       bucket == USER ? "" : network},
                 mac);
    struct entry *set = l->sets[(mac[16] | (unsigned)mac[17] << 8) % SETS], *best = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (memcmp(set[i].id, mac, sizeof set[i].id) == 0)
            return &set[i];
        if (worth(&set[i], a->now_ms) < worth(best, a->now_ms) ||
            (best->since_ms && !set[i].since_ms))
            best = &set[i];
    }
    *best = (struct entry){.since_ms = a->now_ms};
    memcpy(best->id, mac, sizeof best->id);
    return best;
}

/* Milliseconds until one more attempt fits; 0: now. */
static int64_t wait_of(const struct entry *e, enum bucket bucket, int64_t now_ms)
{
    int64_t most = (rules[bucket].burst - 1) * rules[bucket].every_ms;
    int64_t debt = debt_now(e, now_ms);
    return debt > most ? debt - most : 0;
}

static void charge(struct entry *e, int64_t amount_ms, int64_t now_ms)
{
    int64_t debt = debt_now(e, now_ms) + amount_ms;
    e->debt_ms = debt > 0 ? debt : 0;
    e->since_ms = now_ms;
}

/* Which buckets an attempt from here is measured by. */
static int n_buckets(struct login_limit *l, const struct login_attempt *a)
{
    return find(l, PAIR, a)->known_until_ms > a->now_ms ? 1 : N_BUCKETS;
}

int login_limit_take(struct login_limit *l, const struct login_attempt *a, unsigned *wait_s,
                     struct error *err)
{
    int64_t wait_ms = 0;
    pthread_mutex_lock(&l->lock);
    int n = n_buckets(l, a);
    for (int i = 0; i < n; i++) {
        int64_t one = wait_of(find(l, (enum bucket)i, a), (enum bucket)i, a->now_ms);
        wait_ms = one > wait_ms ? one : wait_ms;
    }
    for (int i = 0; wait_ms == 0 && i < n; i++)
        charge(find(l, (enum bucket)i, a), rules[i].every_ms, a->now_ms);
    pthread_mutex_unlock(&l->lock);
    if (wait_ms == 0)
        return 0;
    *wait_s = (unsigned)((wait_ms + 999) / 1000);
    return fail(err, E_BUSY, "too many failed logins: try again in %u seconds", *wait_s);
}

static struct entry *note_known(struct login_limit *l, const struct login_attempt *a)
{
    struct entry *pair = find(l, PAIR, a);
    pair->known_until_ms = a->now_ms + (int64_t)LOGIN_KNOWN_S * 1000;
    return pair;
}

void login_limit_give_back(struct login_limit *l, const struct login_attempt *a, bool known)
{
    pthread_mutex_lock(&l->lock);
    int n = n_buckets(l, a);
    for (int i = 0; i < n; i++)
        charge(find(l, (enum bucket)i, a), -rules[i].every_ms, a->now_ms);
    if (known)
        note_known(l, a)->debt_ms = 0;
    pthread_mutex_unlock(&l->lock);
}

void login_limit_note_known(struct login_limit *l, const struct login_attempt *a)
{
    pthread_mutex_lock(&l->lock);
    (void)note_known(l, a);
    pthread_mutex_unlock(&l->lock);
}
