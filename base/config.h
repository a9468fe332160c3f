/*
 * registry.yaml, the configuration of bulla-registry and bulla-signer: the adapter over libcyaml.
 *
 * Strict: unknown keys, duplicate keys, aliases, a second document and values of the wrong type are
 * errors that name the line. Relative paths mean relative to the file's folder. Keys left out have
 * the defaults that server_config_write_default writes. Not thread-safe per object.
 */
#ifndef BULLA_BASE_CONFIG_H
#define BULLA_BASE_CONFIG_H

#include "base/bytes.h"
#include "base/log.h"

#define CONFIG_FILE_NAME "registry.yaml"
#define CONFIG_FILE_MAX  (256u << 10)

enum config_audit { CONFIG_AUDIT_ALL, CONFIG_AUDIT_CHANGES };

/* Lists. Repositories: "acme/app", "acme/" and a star for all below, or a star. Tags: any pattern
 * of letters, digits, . _ - with the wildcards * and ?. */
struct config_immutable {
    char *repository, *pattern;
};
struct config_retention {
    char *repository;
    uint32_t keep_last;    /* newest tags; 0: not asked for */
    int64_t keep_within_s; /* tags set since then; -1: not asked for */
    char **keep_tags;      /* patterns that are always kept */
    size_t n_keep_tags;
    int64_t delete_untagged_s; /* manifests that nothing has named for so long; -1: all stay */
};
struct config_quota {
    char *prefix;          /* of names, in whole components; "": of all */
    uint64_t bytes;        /* 0: any */
    uint32_t repositories; /* 0: any */
};
/* Whose proofs a repository may hold though they are signed elsewhere. */
struct config_mirror {
    char *repository, *collection; /* both names, or both ending in a star: the rest is the same */
    char *root;                    /* file of the root that trust starts from */
};
struct config_rules {
    struct config_immutable *immutable;
    size_t n_immutable;
    struct config_retention *retention; /* the first that fits a repository is its rule */
    size_t n_retention;
    struct config_quota *quotas;
    size_t n_quotas;
    struct config_mirror *mirrors; /* the first that fits a repository is its rule */
    size_t n_mirrors;
};

/* Strings are owned by the struct; paths are absolute. Life-times in seconds, sizes in bytes. */
struct server_config {
    char *file;           /* the file itself */
    char *listen_address; /* an IPv4 or IPv6 address, without brackets */
    uint16_t listen_port; /* 0: any free port */
    char *data_dir;
    char *user; /* account to run as when started as root; NULL: stay */
    struct {
        char *certificate; /* PEM, chain included */
        char *key;         /* PEM */
        char *client_ca;   /* PEM: who vouches for client certificates; NULL: none are asked for */
    } tls;
    struct {
        char *public_host; /* HOST[:PORT] of publicUrl; NULL: what each request names */
        int64_t token_lifetime_s;
        int64_t token_key_lifetime_s;
        int64_t api_token_max_lifetime_s;
    } access;
    struct {
        char *socket; /* Unix socket; fits struct sockaddr_un */
        char *data_dir;
        char *passphrase_file;
        char *user; /* NULL: same as above ("development") */
        /* Keys on a PKCS#11 token: its label (NULL: none), its module (NULL: what p11-kit knows), a
         * file with its PIN (NULL: none), the collections it serves (NULL: all). */
        char *token, *token_module, *token_pin_file, *token_collections;
        int64_t timestamp_lifetime_s;
        int64_t snapshot_lifetime_s;
    } signer;
    struct {
        uint32_t connections;
        uint32_t connections_per_address;
        uint32_t uploads_per_user;
        uint64_t manifest_bytes;
        uint64_t blob_bytes;
        uint64_t rate_bytes_s;  /* slower request bodies are ended; 0: any rate */
        int64_t idle_timeout_s; /* connections without a request */
        int64_t stop_grace_s;   /* for running requests after SIGTERM */
        uint64_t body_bytes;    /* of request bodies in memory at once */
    } limits;
    struct {
        char *socket; /* Unix socket for /healthz, /readyz, /metrics; NULL: none */
    } metrics;
    struct {
        int64_t interval_s;
        int64_t lease_s;
        int64_t retention_interval_s;
    } gc;
    struct config_rules rules;
    struct {
        enum log_level level;
        enum log_form form;
    } log;
    struct {
        int64_t interval_s;    /* between two rounds; 0: none by itself */
        uint64_t rate_bytes_s; /* 0: any */
    } scrub;
    struct {
        enum config_audit level;
        uint64_t access_bytes; /* of the log of accesses */
    } audit;
};

/* Reads and checks `path`. *out is written on success only; the caller ends with
 * server_config_done. E_NOTFOUND, E_INVALID (message "FILE: line N: …"), E_LIMIT, E_NOMEM, E_SYS.
 */
int server_config_load(const char *path, struct server_config *out, struct error *err) MUST_CHECK;
void server_config_done(struct server_config *config);

/* Splits "127.0.0.1:5443" or "[::1]:5443"; *address is owned by the caller. E_INVALID. */
int config_parse_listen(const char *text, char **address, uint16_t *port,
                        struct error *err) MUST_CHECK;

/* HOST[:PORT] as it may stand in a URL: a name, an IPv4 address, or an IPv6 one in brackets.
 * Source: RFC 3986, 3.2.2, without user, escapes and sub-delimiters. */
bool config_authority_valid(const char *text);

/* Writes a commented registry.yaml into the folder dir_fd (mode 0644) whose values are the
 * defaults, but for the listening address (no brackets). E_EXISTS where one is there already. */
int server_config_write_default(int dir_fd, const char *address, uint16_t port,
                                struct error *err) MUST_CHECK;

#endif
