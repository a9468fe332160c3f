#include "base/config.h"
#include "base/config_rules.h"

#include "base/file.h"

#include <arpa/inet.h>
#include <cyaml/cyaml.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/un.h>

/*
 * The file is read as text values only (libcyaml knows which keys exist and where); one table says
 * how each text is understood and what holds where it is missing.
 */
struct raw {
    char *listen, *data_dir, *user;
    struct {
        char *certificate, *key, *client_ca;
    } tls;
    struct {
        char *public_url, *token_lifetime, *token_key_lifetime, *api_token_max_lifetime;
    } access;
    struct {
        char *socket, *data_dir, *passphrase_file, *user, *timestamp_lifetime, *snapshot_lifetime;
        char *token, *token_module, *token_pin_file, *token_collections;
    } signer;
    struct {
        char *connections, *connections_per_address, *uploads_per_user, *manifest, *blob, *rate,
            *idle_timeout, *stop_grace, *body_memory;
    } limits;
    struct {
        char *socket;
    } metrics;
    struct {
        char *interval, *lease, *retention_interval;
    } gc;
    struct raw_rules rules;
    struct {
        char *level, *format;
    } log;
    struct {
        char *level, *access_size;
    } audit;
    struct {
        char *interval, *rate;
    } scrub;
};

#define MAX_VALUE 4096u /* PATH_MAX; nothing else is near it */

#define TEXT(key, member)                                                                          \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_OPTIONAL, struct raw, member, 1, MAX_VALUE)
/* Members of a section: libcyaml counts their offsets from the section's start. */
#define PART(section, key_, member)                                                                \
    {                                                                                              \
        .key = key_,                                                                               \
        .data_offset = offsetof(struct raw, section.member) - offsetof(struct raw, section),       \
        .value = {                                                                                 \
            CYAML_VALUE_STRING(CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER, char *, 1, MAX_VALUE)},   \
    }

static const cyaml_schema_field_t tls_fields[] = {
    PART(tls, "certificate", certificate), PART(tls, "key", key), PART(tls, "clientCa", client_ca),
    CYAML_FIELD_END};
static const cyaml_schema_field_t access_fields[] = {
    PART(access, "publicUrl", public_url), PART(access, "tokenLifetime", token_lifetime),
    PART(access, "tokenKeyLifetime", token_key_lifetime),
    PART(access, "apiTokenMaxLifetime", api_token_max_lifetime), CYAML_FIELD_END};
static const cyaml_schema_field_t signer_fields[] = {
    PART(signer, "socket", socket),
    PART(signer, "dataDir", data_dir),
    PART(signer, "passphraseFile", passphrase_file),
    PART(signer, "user", user),
    PART(signer, "token", token),
    PART(signer, "tokenModule", token_module),
    PART(signer, "tokenPinFile", token_pin_file),
    PART(signer, "tokenCollections", token_collections),
    PART(signer, "timestampLifetime", timestamp_lifetime),
    PART(signer, "snapshotLifetime", snapshot_lifetime),
    CYAML_FIELD_END};
static const cyaml_schema_field_t limits_fields[] = {
    PART(limits, "connections", connections),
    PART(limits, "connectionsPerAddress", connections_per_address),
    PART(limits, "uploadsPerUser", uploads_per_user),
    PART(limits, "manifestSize", manifest),
    PART(limits, "blobSize", blob),
    PART(limits, "minimumRate", rate),
    PART(limits, "idleTimeout", idle_timeout),
    PART(limits, "stopGrace", stop_grace),
    PART(limits, "bodyMemory", body_memory),
    CYAML_FIELD_END};
static const cyaml_schema_field_t metrics_fields[] = {PART(metrics, "socket", socket),
                                                      CYAML_FIELD_END};
static const cyaml_schema_field_t gc_fields[] = {
    PART(gc, "interval", interval), PART(gc, "lease", lease),
    PART(gc, "retentionInterval", retention_interval), CYAML_FIELD_END};
static const cyaml_schema_field_t log_fields[] = {PART(log, "level", level),
                                                  PART(log, "format", format), CYAML_FIELD_END};
static const cyaml_schema_field_t audit_fields[] = {
    PART(audit, "level", level), PART(audit, "accessSize", access_size), CYAML_FIELD_END};
static const cyaml_schema_field_t scrub_fields[] = {PART(scrub, "interval", interval),
                                                    PART(scrub, "rate", rate), CYAML_FIELD_END};
static const cyaml_schema_field_t top_fields[] = {
    TEXT("listen", listen),
    TEXT("dataDir", data_dir),
    TEXT("user", user),
    CYAML_FIELD_MAPPING("tls", CYAML_FLAG_OPTIONAL, struct raw, tls, tls_fields),
    CYAML_FIELD_MAPPING("access", CYAML_FLAG_OPTIONAL, struct raw, access, access_fields),
    CYAML_FIELD_MAPPING("signer", CYAML_FLAG_OPTIONAL, struct raw, signer, signer_fields),
    CYAML_FIELD_MAPPING("limits", CYAML_FLAG_OPTIONAL, struct raw, limits, limits_fields),
    CYAML_FIELD_MAPPING("metrics", CYAML_FLAG_OPTIONAL, struct raw, metrics, metrics_fields),
    CYAML_FIELD_MAPPING("gc", CYAML_FLAG_OPTIONAL, struct raw, gc, gc_fields),
    CYAML_FIELD_MAPPING("tags", CYAML_FLAG_OPTIONAL, struct raw, rules.tags, config_tags_fields),
    CYAML_FIELD_SEQUENCE("retention", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw,
                         rules.retention, &config_retention_entry, 0, CONFIG_RULES_MAX),
    CYAML_FIELD_SEQUENCE("quotas", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw,
                         rules.quotas, &config_quota_entry, 0, CONFIG_RULES_MAX),
    CYAML_FIELD_SEQUENCE("mirrors", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw,
                         rules.mirrors, &config_mirror_entry, 0, CONFIG_RULES_MAX),
    CYAML_FIELD_MAPPING("log", CYAML_FLAG_OPTIONAL, struct raw, log, log_fields),
    CYAML_FIELD_MAPPING("scrub", CYAML_FLAG_OPTIONAL, struct raw, scrub, scrub_fields),
    CYAML_FIELD_MAPPING("audit", CYAML_FLAG_OPTIONAL, struct raw, audit, audit_fields),
    CYAML_FIELD_END};
static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, top_fields)};

/* --- the document --- */

struct line {
    const char *text;
    size_t len, number;
};

static bool next_line(const char **at, const char *end, struct line *line)
{
    if (*at >= end)
        return false;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    line->text = *at;
    line->len = (size_t)((newline ? newline : end) - *at);
    line->number++;
    *at = newline ? newline + 1 : end;
    return true;
}

static bool is_marker(const struct line *line, const char *marker)
{
    return line->len >= 3 && memcmp(line->text, marker, 3) == 0 &&
           (line->len == 3 || strchr(" \t\r", line->text[3]));
}

static bool is_content(const struct line *line)
{
    size_t i = 0;
    while (i < line->len && strchr(" \t\r", line->text[i]))
        i++;
    return i < line->len && line->text[i] != '#' && line->text[0] != '%';
}

/*
 * libcyaml stops after the first document and never looks at the rest: a setting behind "---" would
 * be ignored without a word. At the start of a line these markers mean nothing else (YAML 1.2,
 * 9.1.2), whatever surrounds them.
 */
static int check_one_document(const struct bytes *text, struct error *err)
{
    const char *at = bytes_text(text), *end = at + text->len;
    struct line line = {NULL, 0, 0};
    bool started = false, ended = false;
    while (next_line(&at, end, &line)) {
        if (is_marker(&line, "---") ? started || ended : ended && is_content(&line))
            return fail(err, E_INVALID, "line %zu: a second document is not allowed", line.number);
        if (is_marker(&line, "..."))
            ended = true;
        else if (is_marker(&line, "---") || is_content(&line))
            started = true;
    }
    return OK;
}

static size_t line_at(const char *text, const char *at)
{
    size_t line = 1;
    for (const char *p = text; p < at; p++)
        line += *p == '\n';
    return line;
}

/*
 * What libyaml takes for a line break or for another encoding where check_one_document does not,
 * and the escapes that would end a C string early.
 */
static int check_characters(const struct bytes *text, struct error *err)
{
    static const char *const odd[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xff\xfe",
                                      "\xfe\xff", "\\0",          "\\x00",        "\\u0000"};
    const char *t = bytes_text(text);
    size_t len = strlen(t);
    if (len != text->len)
        return fail(err, E_INVALID, "line %zu: a NUL byte is not allowed", line_at(t, t + len));
    for (const char *cr = strchr(t, '\r'); cr; cr = strchr(cr + 1, '\r'))
        if (cr[1] != '\n')
            return fail(err, E_INVALID, "line %zu: a lone carriage return is not allowed",
                        line_at(t, cr));
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        const char *found = strstr(t, odd[i]);
        if (found)
            return fail(err, E_INVALID, "line %zu: a character that is not allowed here",
                        line_at(t, found));
    }
    return OK;
}

/* libcyaml reports through its log: the cause first, then its position, innermost first. */
struct complaint {
    char cause[256];
    size_t line, column;
};

static PRINTF_LIKE(3, 0) void note_complaint(cyaml_log_t level, void *context, const char *format,
                                             va_list args)
{
    struct complaint *complaint = context;
    char text[256];
    (void)level;
    (void)vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    const char *place = strstr(text, "(line: ");
    if (place && !complaint->line &&
        sscanf(place, "(line: %zu, column: %zu", &complaint->line, &complaint->column) != 2)
        complaint->line = complaint->column = 0;
    if (place || complaint->cause[0] || text_starts(text, "Load: Backtrace"))
        return;
    const char *plain = text_starts(text, "Load: ") ? text + strlen("Load: ") : text;
    (void)snprintf(complaint->cause, sizeof complaint->cause, "%s", plain);
}

static void *allocate(void *context, void *pointer, size_t size)
{
    (void)context;
    if (size)
        return realloc(pointer, size);
    free(pointer);
    return NULL;
}

static bool is_key(const char *text, const char *at, size_t len)
{
    if (at > text && !strchr(" \t\n{,\"'?", at[-1]))
        return false;
    for (const char *p = at; p > text && p[-1] != '\n'; p--)
        if (p[-1] == '#')
            return false;
    const char *behind = at + len;
    behind += strspn(behind, " \t\"'");
    return *behind == ':';
}

/* Line of the first `key` behind libcyaml's position, which is that of the value before the key it
 * refuses; that position's own line where the key is not found. */
static size_t line_of_key(const char *text, const struct complaint *complaint, const char *key)
{
    const char *from = text;
    for (size_t line = 1; line < complaint->line && from; line++) {
        from = strchr(from, '\n');
        from = from ? from + 1 : NULL;
    }
    if (from)
        from += strnlen(from, complaint->column ? complaint->column - 1 : 0);
    for (const char *p = from ? strstr(from, key) : NULL; p; p = strstr(p + 1, key))
        if (is_key(text, p, strlen(key)))
            return line_at(text, p);
    return complaint->line;
}

static int explain(const char *text, cyaml_err_t code, const struct complaint *complaint,
                   struct error *err)
{
    static const char unknown[] = "Unexpected key: ", repeated[] = "Mapping field already seen: ";
    const char *cause = complaint->cause;
    /* libyaml has other names for some failed allocations. */
    if (code == CYAML_ERR_OOM || errno == ENOMEM)
        return fail_nomem(err);
    if (text_starts(cause, unknown)) {
        const char *key = cause + strlen(unknown);
        return fail(err, E_INVALID, "line %zu: unknown key '%s'", line_of_key(text, complaint, key),
                    key);
    }
    if (text_starts(cause, repeated)) {
        const char *key = cause + strlen(repeated);
        return fail(err, E_INVALID, "line %zu: key '%s' is given twice",
                    line_of_key(text, complaint, key), key);
    }
    const char *separator = cause[0] ? ": " : "";
    if (!complaint->line)
        return fail(err, E_INVALID, "%s%s%s", cyaml_strerror(code), separator, cause);
    return fail(err, E_INVALID, "near line %zu: %s%s%s", complaint->line, cyaml_strerror(code),
                separator, cause);
}

static int parse(const struct bytes *text, struct raw **out, struct error *err)
{
    struct complaint complaint = {"", 0, 0};
    const cyaml_config_t config = {.log_fn = note_complaint,
                                   .log_ctx = &complaint,
                                   .mem_fn = allocate,
                                   .log_level = CYAML_LOG_ERROR,
                                   .flags = CYAML_CFG_NO_ALIAS};
    cyaml_data_t *data = NULL;
    errno = 0;
    cyaml_err_t code = cyaml_load_data(text->data, text->len, &config, &schema, &data, NULL);
    if (code != CYAML_OK)
        return explain(bytes_text(text), code, &complaint, err);
    /* A file cut off by a full disk must not mean "all defaults". */
    if (!data)
        return fail(err, E_INVALID, "the configuration is empty");
    *out = data;
    return OK;
}

/* --- values --- */

enum kind {
    KIND_LISTEN,
    KIND_ORIGIN,
    KIND_PATH,
    KIND_NAME,
    KIND_DURATION,
    KIND_SIZE,
    KIND_COUNT,
    KIND_CHOICE
};

struct leaf {
    const char *section, *key; /* section "" for the top */
    size_t from, to;           /* offsets in struct raw and struct server_config */
    enum kind kind;
    const char *fallback; /* NULL: stays NULL */
    uint64_t min, max;
    const char *const *choices; /* KIND_CHOICE: NULL-terminated, in the order of the enum */
};

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const audit_levels[] = {"all", "changes", NULL};

#define DAY    86400u
#define YEAR   (366u * DAY)
#define AT(a)  offsetof(struct raw, a)
#define TO(a)  offsetof(struct server_config, a)
#define NO_MAX ((uint64_t)INT64_MAX)

static const struct leaf leaves[] = {
    {"", "listen", AT(listen), 0, KIND_LISTEN, "127.0.0.1:5443", 0, 0, NULL},
    {"", "dataDir", AT(data_dir), TO(data_dir), KIND_PATH, "data", 0, 0, NULL},
    {"", "user", AT(user), TO(user), KIND_NAME, NULL, 0, 0, NULL},
    {"tls", "certificate", AT(tls.certificate), TO(tls.certificate), KIND_PATH, "tls/server.crt", 0,
     0, NULL},
    {"tls", "key", AT(tls.key), TO(tls.key), KIND_PATH, "tls/server.key", 0, 0, NULL},
    {"tls", "clientCa", AT(tls.client_ca), TO(tls.client_ca), KIND_PATH, NULL, 0, 0, NULL},
    {"access", "publicUrl", AT(access.public_url), TO(access.public_host), KIND_ORIGIN, NULL, 0, 0,
     NULL},
    /* Clients take less than a minute for a minute. */
    {"access", "tokenLifetime", AT(access.token_lifetime), TO(access.token_lifetime_s),
     KIND_DURATION, "5m", 60, 3600, NULL},
    {"access", "tokenKeyLifetime", AT(access.token_key_lifetime), TO(access.token_key_lifetime_s),
     KIND_DURATION, "30d", 3600, 10 * YEAR, NULL},
    {"access", "apiTokenMaxLifetime", AT(access.api_token_max_lifetime),
     TO(access.api_token_max_lifetime_s), KIND_DURATION, "90d", 60, 10 * YEAR, NULL},
    {"signer", "socket", AT(signer.socket), TO(signer.socket), KIND_PATH, "run/signer.sock", 0,
     sizeof((struct sockaddr_un *)0)->sun_path - 1, NULL},
    {"signer", "dataDir", AT(signer.data_dir), TO(signer.data_dir), KIND_PATH, "signer", 0, 0,
     NULL},
    {"signer", "passphraseFile", AT(signer.passphrase_file), TO(signer.passphrase_file), KIND_PATH,
     "signer/passphrase", 0, 0, NULL},
    {"signer", "user", AT(signer.user), TO(signer.user), KIND_NAME, NULL, 0, 0, NULL},
    {"signer", "token", AT(signer.token), TO(signer.token), KIND_NAME, NULL, 0, 0, NULL},
    {"signer", "tokenModule", AT(signer.token_module), TO(signer.token_module), KIND_PATH, NULL, 0,
     0, NULL},
    {"signer", "tokenPinFile", AT(signer.token_pin_file), TO(signer.token_pin_file), KIND_PATH,
     NULL, 0, 0, NULL},
    {"signer", "tokenCollections", AT(signer.token_collections), TO(signer.token_collections),
     KIND_NAME, NULL, 0, 0, NULL},
    {"signer", "timestampLifetime", AT(signer.timestamp_lifetime), TO(signer.timestamp_lifetime_s),
     KIND_DURATION, "24h", 1, YEAR, NULL},
    {"signer", "snapshotLifetime", AT(signer.snapshot_lifetime), TO(signer.snapshot_lifetime_s),
     KIND_DURATION, "30d", 1, 10 * YEAR, NULL},
    {"limits", "connections", AT(limits.connections), TO(limits.connections), KIND_COUNT, "8192", 1,
     65535, NULL},
    {"limits", "connectionsPerAddress", AT(limits.connections_per_address),
     TO(limits.connections_per_address), KIND_COUNT, "1024", 1, 65535, NULL},
    {"limits", "uploadsPerUser", AT(limits.uploads_per_user), TO(limits.uploads_per_user),
     KIND_COUNT, "128", 1, 65535, NULL},
    /* 4 MiB is what clients send at most; more would have to fit in memory per request. */
    {"limits", "manifestSize", AT(limits.manifest), TO(limits.manifest_bytes), KIND_SIZE, "4m",
     1024, 16u << 20, NULL},
    {"limits", "blobSize", AT(limits.blob), TO(limits.blob_bytes), KIND_SIZE, "64g", 1, NO_MAX,
     NULL},
    {"limits", "minimumRate", AT(limits.rate), TO(limits.rate_bytes_s), KIND_SIZE, "1k", 0,
     1u << 30, NULL},
    {"limits", "idleTimeout", AT(limits.idle_timeout), TO(limits.idle_timeout_s), KIND_DURATION,
     "2m", 1, DAY, NULL},
    {"limits", "stopGrace", AT(limits.stop_grace), TO(limits.stop_grace_s), KIND_DURATION, "30s", 0,
     DAY, NULL},
    /* One publication may have 24 MiB. */
    {"limits", "bodyMemory", AT(limits.body_memory), TO(limits.body_bytes), KIND_SIZE, "128m",
     32u << 20, NO_MAX, NULL},
    {"metrics", "socket", AT(metrics.socket), TO(metrics.socket), KIND_PATH, NULL, 0,
     sizeof((struct sockaddr_un *)0)->sun_path - 1, NULL},
    {"gc", "interval", AT(gc.interval), TO(gc.interval_s), KIND_DURATION, "5m", 1, YEAR, NULL},
    {"gc", "lease", AT(gc.lease), TO(gc.lease_s), KIND_DURATION, "24h", 1, YEAR, NULL},
    {"gc", "retentionInterval", AT(gc.retention_interval), TO(gc.retention_interval_s),
     KIND_DURATION, "1h", 1, YEAR, NULL},
    {"log", "level", AT(log.level), TO(log.level), KIND_CHOICE, "info", 0, 0, levels},
    {"log", "format", AT(log.format), TO(log.form), KIND_CHOICE, "text", 0, 0, formats},
    {"scrub", "interval", AT(scrub.interval), TO(scrub.interval_s), KIND_DURATION, "7d", 0, YEAR,
     NULL},
    {"scrub", "rate", AT(scrub.rate), TO(scrub.rate_bytes_s), KIND_SIZE, "16m", 0, NO_MAX, NULL},
    {"audit", "level", AT(audit.level), TO(audit.level), KIND_CHOICE, "all", 0, 0, audit_levels},
    {"audit", "accessSize", AT(audit.access_size), TO(audit.access_bytes), KIND_SIZE, "1g",
     128u << 20, NO_MAX, NULL},
};

int config_parse_listen(const char *text, char **address, uint16_t *port, struct error *err)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
    CLEANUP(cleanup_free) char *host = strndup(text + brackets, brackets ? len - 2 : len);
    if (!host)
        return fail_nomem(err);
    struct in6_addr parsed;
    uint64_t number = 0;
    if (!colon || inet_pton(brackets ? AF_INET6 : AF_INET, host, &parsed) != 1 ||
        text_to_u64(colon + 1, strlen(colon + 1), UINT16_MAX, &number, NULL))
        return fail(err, E_INVALID, "'%s' is not ADDRESS:PORT (127.0.0.1:5443, [::1]:5443)", text);
    *address = TAKE_PTR(host);
    *port = (uint16_t)number;
    return OK;
}

/* "[::1]" or "registry.example.com"; len excludes the port. */
static bool host_valid(const char *text, size_t len)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    char address[64];
    struct in6_addr parsed;
    if (len > 2 && len < sizeof address && text[0] == '[' && text[len - 1] == ']') {
        memcpy(address, text + 1, len - 2);
        address[len - 2] = '\0';
        return inet_pton(AF_INET6, address, &parsed) == 1;
    }
    return len > 0 && len <= 253 && strspn(text, name) >= len;
}

bool config_authority_valid(const char *text)
{
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    uint64_t port = 0;
    if (!colon || (bracket && bracket > colon))
        return host_valid(text, strlen(text));
    return host_valid(text, (size_t)(colon - text)) &&
           text_to_u64(colon + 1, strlen(colon + 1), UINT16_MAX, &port, NULL) == 0 && port > 0;
}

/* Only the host is kept: everything else of the URL is fixed. */
static int set_origin(const char *text, char **to, struct error *err)
{
    static const char scheme[] = "https://";
    CLEANUP(cleanup_free) char *host = strdup(text_starts(text, scheme) ? text + 8 : "");
    if (!host)
        return fail_nomem(err);
    if (text_ends(host, "/"))
        host[strlen(host) - 1] = '\0';
    if (!config_authority_valid(host))
        return fail(err, E_INVALID, "'%s' is not https://HOST or https://HOST:PORT", text);
    *to = TAKE_PTR(host);
    return OK;
}

static int set_path(const struct leaf *leaf, const char *folder, const char *text, char **to,
                    struct error *err)
{
    *to = *text == '/' ? strdup(text) : text_format("%s/%s", folder, text);
    if (!*to)
        return fail_nomem(err);
    if (leaf->max && strlen(*to) > leaf->max)
        return fail(err, E_INVALID, "'%s' is longer than %" PRIu64 " bytes", *to, leaf->max);
    return OK;
}

static int in_limits(const struct leaf *leaf, const char *text, uint64_t value, struct error *err)
{
    if (value < leaf->min)
        return fail(err, E_INVALID, "'%s' is too small", text);
    return value > leaf->max ? fail(err, E_INVALID, "'%s' is too large", text) : OK;
}

static int set_number(const struct leaf *leaf, const char *text, void *to, struct error *err)
{
    uint64_t value = 0;
    int64_t seconds = 0;
    int rc;
    if (leaf->kind == KIND_DURATION) {
        rc = text_to_duration(text, &seconds, err);
        value = (uint64_t)seconds;
    } else if (leaf->kind == KIND_SIZE) {
        rc = text_to_size(text, &value, err);
    } else {
        rc = text_to_u64(text, strlen(text), UINT32_MAX, &value, err);
    }
    if (!rc)
        rc = in_limits(leaf, text, value, err);
    if (rc)
        return rc;
    if (leaf->kind == KIND_DURATION)
        *(int64_t *)to = (int64_t)value;
    else if (leaf->kind == KIND_SIZE)
        *(uint64_t *)to = value;
    else
        *(uint32_t *)to = (uint32_t)value;
    return OK;
}

static int set_choice(const struct leaf *leaf, const char *text, void *to, struct error *err)
{
    CLEANUP(bytes_done) struct bytes names = BYTES_INIT;
    for (unsigned i = 0; leaf->choices[i]; i++) {
        if (strcmp(text, leaf->choices[i]) == 0) {
            memcpy(to, &i, sizeof i); /* every enum of the struct has this size, see below */
            return OK;
        }
        int rc = bytes_append_format(&names, err, "%s%s", i ? ", " : "", leaf->choices[i]);
        if (rc)
            return rc;
    }
    return fail(err, E_INVALID, "'%s' is not one of %s", text, bytes_text(&names));
}

_Static_assert(sizeof(enum log_level) == sizeof(unsigned), "set_choice writes enums as unsigned");
_Static_assert(sizeof(enum log_form) == sizeof(unsigned), "set_choice writes enums as unsigned");
_Static_assert(sizeof(enum config_audit) == sizeof(unsigned), "likewise");

static int set_value(const struct leaf *leaf, const char *folder, const char *text,
                     struct server_config *out, struct error *err)
{
    void *to = (char *)out + leaf->to;
    switch (leaf->kind) {
    case KIND_LISTEN:
        return config_parse_listen(text, &out->listen_address, &out->listen_port, err);
    case KIND_ORIGIN:
        return set_origin(text, to, err);
    case KIND_PATH:
        return set_path(leaf, folder, text, to, err);
    case KIND_NAME:
        *(char **)to = strdup(text);
        return *(char **)to ? OK : fail_nomem(err);
    case KIND_CHOICE:
        return set_choice(leaf, text, to, err);
    case KIND_DURATION:
    case KIND_SIZE:
    case KIND_COUNT:
        break;
    }
    return set_number(leaf, text, to, err);
}

/* Where a value that was given stands; found by its keys, for libcyaml keeps no positions. */
static size_t line_of_leaf(const char *text, const struct leaf *leaf)
{
    struct complaint start = {"", 1, 1};
    if (*leaf->section)
        start.line = line_of_key(text, &start, leaf->section);
    return line_of_key(text, &start, leaf->key);
}

static int convert(const char *text, const struct raw *raw, const char *folder,
                   struct server_config *out, struct error *err)
{
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        const struct leaf *leaf = &leaves[i];
        const char *given = *(char *const *)((const char *)raw + leaf->from);
        const char *value = given ? given : leaf->fallback;
        int rc = value ? set_value(leaf, folder, value, out, err) : OK;
        const char *dot = *leaf->section ? "." : "";
        if (rc && given)
            return wrap(err, rc, "line %zu: %s%s%s", line_of_leaf(text, leaf), leaf->section, dot,
                        leaf->key);
        if (rc)
            return wrap(err, rc, "%s%s%s", leaf->section, dot, leaf->key);
    }
    return OK;
}

/* --- files --- */

/* Absolute name of path, and of the folder that relative names in it start from. */
static int find_folder(const char *path, char **file, char **folder, struct error *err)
{
    CLEANUP(cleanup_free) char *here = *path == '/' ? NULL : getcwd(NULL, 0);
    if (*path != '/' && !here)
        return fail_sys(err, errno, "find the working folder");
    *file = here ? text_format("%s/%s", here, path) : strdup(path);
    if (!*file)
        return fail_nomem(err);
    *folder = strndup(*file, (size_t)(strrchr(*file, '/') - *file));
    return *folder ? OK : fail_nomem(err);
}

static int load(const char *path, struct server_config *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(cleanup_free) char *folder = NULL;
    struct raw *raw = NULL;
    int rc = file_read(AT_FDCWD, path, CONFIG_FILE_MAX, &text, err);
    if (rc)
        return rc;
    rc = find_folder(path, &out->file, &folder, err);
    if (!rc)
        rc = check_characters(&text, err);
    if (!rc)
        rc = check_one_document(&text, err);
    if (!rc)
        rc = parse(&text, &raw, err);
    if (!rc)
        rc = convert(bytes_text(&text), raw, folder, out, err);
    if (!rc)
        rc = config_rules_convert(&raw->rules, &(struct config_source){bytes_text(&text), folder},
                                  &out->rules, err);
    const cyaml_config_t config = {.mem_fn = allocate};
    (void)cyaml_free(&config, &schema, raw, 0);
    return wrap(err, rc, "%s", path);
}

int server_config_load(const char *path, struct server_config *out, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    int rc = load(path, &config, err);
    if (rc)
        return rc;
    if (config.limits.connections_per_address > config.limits.connections)
        config.limits.connections_per_address = config.limits.connections;
    *out = config;
    config = (struct server_config){0};
    return OK;
}

void server_config_done(struct server_config *config)
{
    char **const owned[] = {&config->file,
                            &config->listen_address,
                            &config->data_dir,
                            &config->user,
                            &config->tls.certificate,
                            &config->tls.key,
                            &config->signer.socket,
                            &config->signer.data_dir,
                            &config->signer.passphrase_file,
                            &config->signer.user,
                            &config->signer.token,
                            &config->signer.token_module,
                            &config->signer.token_pin_file,
                            &config->signer.token_collections,
                            &config->metrics.socket,
                            &config->tls.client_ca,
                            &config->access.public_host};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        cleanup_free(owned[i]);
    config_rules_done(&config->rules);
}

static const char *fallback_of(const char *section, const char *key)
{
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++)
        if (strcmp(leaves[i].section, section) == 0 && strcmp(leaves[i].key, key) == 0)
            return leaves[i].fallback;
    return NULL;
}

/* The commented file, in order. A row without key is a comment or a section's name. */
static const struct {
    const char *text, *section, *key;
} template[] = {
    {"# Configuration of bulla-registry and bulla-signer.\n"
     "# Relative paths start from this file's folder. Check changes with\n"
     "#     bulla-registry config check --config FILE\n\n"
     "# ADDRESS:PORT; port 0 takes a free one. IPv6: \"[::1]:5443\".\n",
     "", "listen"},
    {"\n# Blobs and index. Needs a local file system.\n", "", "dataDir"},
    {"\n# Account to serve as when started as root.\n#user: bulla\n", NULL, NULL},
    {"\n# PEM files, the certificate with its chain.\ntls:\n", "tls", "certificate"},
    {"", "tls", "key"},
    {"  # Certificate authorities of clients that log in with a certificate.\n"
     "  #clientCa: tls/clients.crt\n"
     "\n# Logins. publicUrl: where clients reach this registry, if not under the name they use.\n"
     "access:\n"
     "  #publicUrl: https://registry.example.com\n"
     "  # How long a client works with one token before it fetches the next.\n",
     "access", "tokenLifetime"},
    {"  # The key that signs them is replaced when it is this old.\n", "access",
     "tokenKeyLifetime"},
    {"  # API tokens are made for this long at most.\n", "access", "apiTokenMaxLifetime"},
    {"\n# The service that holds the snapshot and timestamp keys.\nsigner:\n", "signer", "socket"},
    {"", "signer", "dataDir"},
    {"  # Opens the stored keys; mode 0600, readable by the signer only.\n", "signer",
     "passphraseFile"},
    {"  # A different account than above: then a taken-over registry cannot reach the keys.\n"
     "  #user: bulla-signer\n"
     "  # New keys come from the PKCS#11 token of this label, for all collections or some of "
     "them.\n"
     "  #token: bulla-signer\n"
     "  #tokenModule: /usr/lib/softhsm/libsofthsm2.so\n"
     "  #tokenPinFile: signer/pin\n"
     "  #tokenCollections: \"acme/*\"\n"
     "  # How long a withheld update can stay unnoticed; signed again when half is gone.\n",
     "signer", "timestampLifetime"},
    {"", "signer", "snapshotLifetime"},
    {"\n# Units: s m h d for durations, k m g (powers of 1024) for sizes.\nlimits:\n", "limits",
     "connections"},
    {"", "limits", "connectionsPerAddress"},
    {"", "limits", "uploadsPerUser"},
    {"", "limits", "manifestSize"},
    {"", "limits", "blobSize"},
    {"  # Bytes per second; slower uploads are ended. 0: any rate.\n", "limits", "minimumRate"},
    {"", "limits", "idleTimeout"},
    {"  # How long requests that run may go on after SIGTERM.\n", "limits", "stopGrace"},
    {"  # Manifests and metadata being received, all together; more is told to come again.\n",
     "limits", "bodyMemory"},
    {"\n# Plain HTTP on a Unix socket for /healthz, /readyz and /metrics only.\n"
     "#metrics:\n#  socket: run/metrics.sock\n",
     NULL, NULL},
    {"\n# What nothing needs is removed while the registry runs. lease: how long a blob stays that "
     "was\n"
     "# pushed, mounted or asked for by somebody who may push, and that no manifest names "
     "yet.\ngc:\n",
     "gc", "interval"},
    {"", "gc", "lease"},
    {"", "gc", "retentionInterval"},
    {"\n# Tags that, once set, stay what they are. Patterns with * are quoted.\n"
     "#tags:\n#  immutable:\n#    - repository: \"acme/*\"\n#      pattern: \"v*\"\n"
     "\n# What is removed by itself; the first rule that fits a repository is its rule. Signed "
     "and\n"
     "# immutable tags stay. See what would go: bulla-registry retention --dry-run --config FILE\n"
     "#retention:\n#  - repository: \"ci/*\"\n#    keepLast: 10\n#    keepWithin: 30d\n"
     "#    keepTags: [\"release-*\"]\n#    deleteUntagged: 7d\n"
     "\n# What all repositories below a name may hold together; \"*\" is all of them.\n"
     "#quotas:\n#  - prefix: acme\n#    bytes: 100g\n#    repositories: 50\n"
     "\n# Repositories that hold proofs signed elsewhere, as 'bulla copy' brings them; root: the "
     "file\n# that trust in the collection starts from. Nothing else can be published there.\n"
     "#mirrors:\n#  - repository: \"copies/*\"\n#    collection: \"acme/*\"\n"
     "#    root: acme.root.json\n",
     NULL, NULL},
    {"\n# level: error, warn, info, debug; format: text, json.\nlog:\n", "log", "level"},
    {"", "log", "format"},
    {"\n# Every blob is read again that often (0: never), at so many bytes per second (0: as fast "
     "as\n"
     "# it goes); damaged ones are set aside and reported.\n"
     "scrub:\n",
     "scrub", "interval"},
    {"", "scrub", "rate"},
    {"\n# Who did what, in dataDir/audit. level: all, or changes (without reading and refusals).\n"
     "audit:\n",
     "audit", "level"},
    {"  # Records of accesses are removed, oldest first, beyond this size; changes never.\n",
     "audit", "accessSize"},
};

int server_config_write_default(int dir_fd, const char *address, uint16_t port, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes listen = BYTES_INIT;
    CLEANUP(cleanup_free) char *checked = NULL;
    bool six = strchr(address, ':') != NULL;
    int rc = bytes_append_format(&listen, err, six ? "[%s]:%u" : "%s:%u", address, port);
    if (!rc)
        rc = config_parse_listen(bytes_text(&listen), &checked, &port, err);
    for (size_t i = 0; !rc && i < sizeof template / sizeof template[0]; i++) {
        rc = bytes_append_text(&text, template[i].text, err);
        if (rc || !template[i].key)
            continue;
        bool top = !*template[i].section, here = strcmp(template[i].key, "listen") == 0;
        rc = bytes_append_format(
            &text, err, here ? "%s%s: \"%s\"\n" : "%s%s: %s\n", top ? "" : "  ", template[i].key,
            here ? bytes_text(&listen) : fallback_of(template[i].section, template[i].key));
    }
    if (rc)
        return rc;
    return file_create_atomic(dir_fd, CONFIG_FILE_NAME, text.data, text.len, 0644, err);
}
