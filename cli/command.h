/*
 * What every subcommand shares: its table entry, its context, its output.
 *
 * One table drives dispatch and help. A command returns 0 or an error code; main reports the error
 * once and maps it to the exit status (error_exit_status, or the command's own in
 * ctx->exit_status).
 */
#ifndef BULLA_CLI_COMMAND_H
#define BULLA_CLI_COMMAND_H

#include "base/json.h"
#include "base/progress.h"
#include "cli/options.h"
#include "keys/signing_key.h"
#include "oci/store.h"
#include "signer/collection.h"
#include "verify/verdict.h"

struct context {
    const struct command *command;
    struct options options;
    char *home;
    bool json, quiet;
    struct progress *progress; /* NULL: nothing is drawn */
    struct secret_source passphrases, pins;
    struct policy policy;
    bool policy_loaded;
    struct verify_options verify;
    struct keystore *keystore;
    struct store *store;
    struct js *result; /* the object that --json prints; NULL: {} */
    int exit_status;   /* ≥ 0: overrides the mapping of the error code */
};

struct command {
    const char *name; /* "trust init"; NULL ends the table */
    const char *arguments;
    const char *summary;
    const struct option_spec *options; /* may be NULL */
    size_t min_args, max_args;
    size_t stop_at; /* see options_parse */
    int (*run)(struct context *ctx, struct error *err);
    const char *notes; /* further help text, lines; may be NULL */
};

/* Runs `bulla WORDS…`; argv[0] is not looked at. Returns the exit status. */
int dispatch(int argc, char **argv);

extern const struct command commands[];
extern const struct option_spec common_options[];

/* HOME folder, secrets, progress. */
int context_init(struct context *ctx, struct error *err) MUST_CHECK;
void context_done(struct context *ctx);
/* Opened on first use; borrowed. */
int context_keystore(struct context *ctx, struct keystore **out, struct error *err) MUST_CHECK;
int context_store(struct context *ctx, struct store **out, struct error *err) MUST_CHECK;
int context_policy(struct context *ctx, struct error *err) MUST_CHECK;
/* Connection to ref's host with the context's CA and credentials. */
int context_remote(struct context *ctx, const struct reference *ref, struct remote **out,
                   struct error *err) MUST_CHECK;
/* --parallel; 0 where it is not given. E_USAGE. */
int context_parallel(const struct context *ctx, unsigned *out, struct error *err) MUST_CHECK;
/* What a change to a collection needs of this context: policy, key store, secrets. */
int context_owner(struct context *ctx, struct collection_owner *out, struct error *err) MUST_CHECK;
/* The system's file alone, where it is in force; else *out is left as it is. policy_done frees it.
 */
int context_system_policy(struct context *ctx, struct policy *out, struct error *err) MUST_CHECK;
/* Where `policy allow` writes; heap text. */
int context_policy_path(struct context *ctx, char **out, struct error *err) MUST_CHECK;

/* A line for a person on standard output; nothing with --json or -q. Outside text is escaped. */
void say(const struct context *ctx, const char *format, ...) PRINTF_LIKE(2, 3);
/* A line on standard error, unless -q. */
void note(const struct context *ctx, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same for "trying again" lines of transfers; context is the struct context. Any thread. */
void say_retry(void *context, const char *text);
/* The object that --json prints, made on first use. NULL when memory is out. */
struct js *result_object(struct context *ctx);
/* Adds members to it. */
int result_text(struct context *ctx, const char *key, const char *value,
                struct error *err) MUST_CHECK;
int result_int(struct context *ctx, const char *key, int64_t value, struct error *err) MUST_CHECK;
int result_set(struct context *ctx, const char *key, struct js *value,
               struct error *err) MUST_CHECK;

/* A reference for trust and registry work; E_USAGE. */
int parse_reference(const char *text, struct reference *out, struct error *err) MUST_CHECK;
/* "1.4 MiB" */
const char *human_size(uint64_t bytes, char out[24]);
/* Short form of a digest for tables: sha256:0123456789ab. */
const char *short_digest(const struct digest *d, char out[32]);

int command_key_generate(struct context *ctx, struct error *err);
int command_key_list(struct context *ctx, struct error *err);
int command_key_show(struct context *ctx, struct error *err);
int command_key_export(struct context *ctx, struct error *err);
int command_key_import(struct context *ctx, struct error *err);
int command_key_passphrase(struct context *ctx, struct error *err);
int command_key_remove(struct context *ctx, struct error *err);
int command_token_list(struct context *ctx, struct error *err);
int command_import(struct context *ctx, struct error *err);
int command_images(struct context *ctx, struct error *err);
int command_login(struct context *ctx, struct error *err);
int command_logout(struct context *ctx, struct error *err);
int command_push(struct context *ctx, struct error *err);
int command_pull(struct context *ctx, struct error *err);
int command_sign(struct context *ctx, struct error *err);
int command_copy(struct context *ctx, struct error *err);
int command_save(struct context *ctx, struct error *err);
int command_load(struct context *ctx, struct error *err);
int command_verify(struct context *ctx, struct error *err);
int command_run(struct context *ctx, struct error *err);
int command_trust_init(struct context *ctx, struct error *err);
int command_trust_show(struct context *ctx, struct error *err);
int command_trust_pin(struct context *ctx, struct error *err);
int command_trust_delegate(struct context *ctx, struct error *err);
int command_trust_undelegate(struct context *ctx, struct error *err);
int command_trust_rotate(struct context *ctx, struct error *err);
int command_trust_repair(struct context *ctx, struct error *err);
int command_trust_renew(struct context *ctx, struct error *err);
int command_trust_revoke(struct context *ctx, struct error *err);
int command_trust_split(struct context *ctx, struct error *err);
int command_trust_stage(struct context *ctx, struct error *err);
int command_trust_add_signature(struct context *ctx, struct error *err);
int command_trust_publish(struct context *ctx, struct error *err);
int command_policy_allow(struct context *ctx, struct error *err);
int command_policy_test(struct context *ctx, struct error *err);
int command_policy_check(struct context *ctx, struct error *err);
int command_policy_show(struct context *ctx, struct error *err);

/* Shared by push --sign and sign. */
int sign_manifest(struct context *ctx, const struct reference *ref,
                  const struct descriptor *manifest, struct error *err) MUST_CHECK;
/* Puts name, type and id into the result. */
int describe_key(struct context *ctx, const struct key_entry *e, struct error *err) MUST_CHECK;
/* Adds "keyids" and "threshold" to o. */
int role_keys_to_js(const struct tuf_role_keys *keys, struct js *o, struct error *err) MUST_CHECK;
/* Prints a verdict for people and puts it into the result. */
int show_verdict(struct context *ctx, const struct verdict *v, int code, const struct error *why,
                 struct error *err) MUST_CHECK;

#endif
