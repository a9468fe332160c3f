/* The table of subcommands: drives dispatch and help. */
#include "cli/command.h"

const struct option_spec common_options[] = {
    {"json", 0, OPTION_FLAG, NULL, "print one JSON object on standard output"},
    {"quiet", 'q', OPTION_FLAG, NULL, "print errors only"},
    {"verbose", 0, OPTION_FLAG, NULL, "say what is done, step by step"},
    {"home", 0, OPTION_TEXT, "DIR", "keys, trust state and images (BULLA_HOME)"},
    {"policy", 0, OPTION_TEXT, "FILE", "policy file (BULLA_POLICY)"},
    {"cacert", 0, OPTION_TEXT, "FILE", "certificate authority of the registry"},
    {"passphrase-file", 0, OPTION_TEXT, "FILE", "passphrase of keys (BULLA_PASSPHRASE_FILE)"},
    {"pin-file", 0, OPTION_TEXT, "FILE", "PIN of tokens (BULLA_PIN_FILE)"},
    {"no-progress", 0, OPTION_FLAG, NULL, "draw no progress bars"},
    {"help", 0, OPTION_FLAG, NULL, "show this help"},
    {NULL, 0, OPTION_FLAG, NULL, NULL},
};

#define OPTIONS_END                                                                                \
    {                                                                                              \
        NULL, 0, OPTION_FLAG, NULL, NULL                                                           \
    }

static const struct option_spec key_generate_options[] = {
    {"type", 0, OPTION_TEXT, "TYPE", "ed25519 (default) or ecdsa-p256"},
    OPTIONS_END,
};

static const struct option_spec key_export_options[] = {
    {"pem", 0, OPTION_FLAG, NULL, "as PEM, for other programs; else a TUF key object"},
    {"private", 0, OPTION_FLAG, NULL, "the private key, encrypted as it is here"},
    {"output", 'o', OPTION_TEXT, "FILE", "write this file, which must not exist yet"},
    OPTIONS_END,
};

static const struct option_spec key_passphrase_options[] = {
    {"new-passphrase-file", 0, OPTION_TEXT, "FILE", "its first line; else the terminal is asked"},
    OPTIONS_END,
};

static const struct option_spec import_options[] = {
    {"cmd", 0, OPTION_TEXT, "JSON", "default command, a JSON array of strings"},
    {"entrypoint", 0, OPTION_TEXT, "JSON", "entry point, a JSON array of strings"},
    {"user", 'u', OPTION_TEXT, "USER", "user the image runs as"},
    {"workdir", 'w', OPTION_TEXT, "DIR", "working directory"},
    {"env", 'e', OPTION_LIST, "K=V", "environment variable; may be repeated"},
    {"compress", 0, OPTION_TEXT, "FORM", "gzip (default), zstd or none"},
    OPTIONS_END,
};

static const struct option_spec images_options[] = {
    {"digests", 0, OPTION_FLAG, NULL, "show whole digests"},
    OPTIONS_END,
};

static const struct option_spec login_options[] = {
    {"username", 'u', OPTION_TEXT, "NAME", "user at the registry"},
    {"password-stdin", 0, OPTION_FLAG, NULL, "read the password from standard input"},
    {"token-service", 0, OPTION_TEXT, "URL",
     "also send it to this https://HOST, which gives tokens"},
    {"get-login", 0, OPTION_FLAG, NULL, "only say who is logged in"},
    OPTIONS_END,
};

#define BELIEVE_OPTION                                                                             \
    {                                                                                              \
        "without-history", 0, OPTION_FLAG, NULL,                                                   \
            "believe what the registry shows: it was compared"                                     \
    }

static const struct option_spec push_options[] = {
    {"parallel", 0, OPTION_TEXT, "N", "blobs moved at once, 1 to 16 (default 4)"},
    {"sign", 0, OPTION_FLAG, NULL, "sign the pushed digest afterwards"},
    {"key", 0, OPTION_LIST, "KEY", "key to sign with: a name or a pkcs11: URI; may be repeated"},
    {"role", 0, OPTION_TEXT, "ROLE", "role to sign into (default targets)"},
    {"expires", 0, OPTION_TEXT, "TIME", "life-time of the signature, as 90d (default 365d)"},
    BELIEVE_OPTION,
    OPTIONS_END,
};

static const struct option_spec save_options[] = {
    {"output", 'o', OPTION_TEXT, "BUNDLE", "the file to write"},
    {"force", 0, OPTION_FLAG, NULL, "replace the file if it is there"},
    {"parallel", 0, OPTION_TEXT, "N", "blobs moved at once, 1 to 16 (default 4)"},
    OPTIONS_END,
};

static const struct option_spec copy_options[] = {
    {"image-only", 0, OPTION_FLAG, NULL, "leave the proofs behind: any registry takes the image"},
    {"unverified", 0, OPTION_FLAG, NULL, "copy what SRC's tag says now, signed or not, no proofs"},
    {"parallel", 0, OPTION_TEXT, "N", "blobs moved at once, 1 to 16 (default 4)"},
    OPTIONS_END,
};

static const struct option_spec sign_options[] = {
    {"key", 0, OPTION_LIST, "KEY", "key to sign with: a name or a pkcs11: URI; may be repeated"},
    {"role", 0, OPTION_TEXT, "ROLE", "role to sign into (default targets)"},
    {"expires", 0, OPTION_TEXT, "TIME", "life-time of the signature, as 90d (default 365d)"},
    {"trust-remote-tag", 0, OPTION_FLAG, NULL, "sign whatever the registry's tag points to now"},
    BELIEVE_OPTION,
    OPTIONS_END,
};

static const struct option_spec trust_init_options[] = {
    {"root-key", 0, OPTION_LIST, "KEY", "root key: a name or a pkcs11: URI; may be repeated"},
    {"root-threshold", 0, OPTION_TEXT, "N", "signatures a root needs (default 1)"},
    {"targets-key", 0, OPTION_LIST, "KEY", "targets key; default: the root keys"},
    {"targets-threshold", 0, OPTION_TEXT, "N", "signatures the targets role needs (default 1)"},
    {"key", 0, OPTION_LIST, "KEY", "with --stage: sign with this one of the keys already"},
    {"stage", 0, OPTION_TEXT, "FILE", "write root and targets for a ceremony, publish nothing"},
    OPTIONS_END,
};

#define CHANGE_OPTIONS                                                                             \
    BELIEVE_OPTION,                                                                                \
        {"key", 0, OPTION_LIST, "KEY",                                                             \
         "key to sign with: a name or a pkcs11: URI; may be repeated"},                            \
        {"expires", 0, OPTION_TEXT, "TIME", "life-time of what is signed, as 90d"},                \
        {"stage", 0, OPTION_TEXT, "FILE", "write the change for a ceremony, do not publish it"},   \
        OPTIONS_END

static const struct option_spec delegate_options[] = {
    {"role-key", 0, OPTION_LIST, "KEY", "key of the role: name, pkcs11: URI or file; repeatable"},
    {"threshold", 0, OPTION_TEXT, "N", "so many of them must sign (all)"},
    {"tags", 0, OPTION_LIST, "PATTERN", "tags it may sign, as 'v*'; may be repeated"},
    {"from", 0, OPTION_TEXT, "ROLE", "the role that delegates (default targets)"},
    {"terminating", 0, OPTION_FLAG, NULL, "no later role is asked for these tags"},
    {"first", 0, OPTION_FLAG, NULL, "ask this role before all others"},
    CHANGE_OPTIONS,
};

static const struct option_spec change_options[] = {
    CHANGE_OPTIONS,
};

static const struct option_spec rotate_options[] = {
    {"new-key", 0, OPTION_LIST, "KEY", "new key: name, pkcs11: URI or file; may be repeated"},
    {"threshold", 0, OPTION_TEXT, "N", "so many of them must sign (all)"},
    {"another", 0, OPTION_FLAG, NULL, "snapshot, timestamp: not the key that waits already"},
    CHANGE_OPTIONS,
};

static const struct option_spec repair_options[] = {
    {"new-key", 0, OPTION_LIST, "KEY", "new key: name, pkcs11: URI or file; may be repeated"},
    {"threshold", 0, OPTION_TEXT, "N", "so many of them must sign (all)"},
    CHANGE_OPTIONS,
};

static const struct option_spec revoke_options[] = {
    {"block", 0, OPTION_FLAG, NULL, "bar the tag with the targets keys alone, for every role"},
    CHANGE_OPTIONS,
};

static const struct option_spec split_options[] = {
    {"bin-key", 0, OPTION_LIST, "KEY", "key that signs the bins; may be repeated"},
    {"threshold", 0, OPTION_TEXT, "N", "so many of them must sign (all)"},
    {"expect-tags", 0, OPTION_TEXT, "N", "tags to plan for (ten times today's, at least 10000)"},
    {"bins", 0, OPTION_TEXT, "N", "number of bins, a power of two up to 2048 (by --expect-tags)"},
    CHANGE_OPTIONS,
};

static const struct option_spec add_signature_options[] = {
    {"key", 0, OPTION_LIST, "KEY", "key to sign with: a name or a pkcs11: URI; may be repeated"},
    {"yes", 'y', OPTION_FLAG, NULL, "do not ask: what changes has been read elsewhere"},
    OPTIONS_END,
};

static const struct option_spec show_options[] = {
    {"tofu", 0, OPTION_FLAG, NULL, "trust and pin the registry's root at first use"},
    {"bins", 0, OPTION_FLAG, NULL, "fetch and show the bins of split roles, too"},
    OPTIONS_END,
};

static const struct option_spec pin_options[] = {
    {"replace", 0, OPTION_FLAG, NULL, "replace another root that is pinned already"},
    OPTIONS_END,
};

static const struct option_spec verify_options[] = {
    {"tofu", 0, OPTION_FLAG, NULL, "trust and pin the registry's root at first use"},
    {"recorded", 0, OPTION_TEXT, "DIGEST", "may what was started from this digest go on?"},
    OPTIONS_END,
};

static const struct option_spec pull_options[] = {
    {"tofu", 0, OPTION_FLAG, NULL, "trust and pin the registry's root at first use"},
    {"parallel", 0, OPTION_TEXT, "N", "blobs moved at once, 1 to 16 (default 4)"},
    OPTIONS_END,
};

static const struct option_spec policy_allow_options[] = {
    {"root", 0, OPTION_TEXT, "FILE", "root metadata to start from"},
    {"root-key", 0, OPTION_LIST, "ID", "root key id to start from; may be repeated"},
    {"root-threshold", 0, OPTION_TEXT, "N", "so many of these keys must have signed (all)"},
    {"min-version", 0, OPTION_TEXT, "N", "lowest root version that is believed (1)"},
    {"collection", 0, OPTION_TEXT, "NAME", "the collection it serves, where that has another name"},
    OPTIONS_END,
};

static const struct option_spec run_options[] = {
    {"env", 'e', OPTION_LIST, "K[=V]", "environment variable; without =V this shell's value"},
    {"workdir", 'w', OPTION_TEXT, "DIR", "working directory"},
    {"user", 'u', OPTION_TEXT, "USER", "user[:group], names or numbers"},
    {"entrypoint", 0, OPTION_TEXT, "PROGRAM", "instead of the image's entry point"},
    {"volume", 'v', OPTION_LIST, "SRC:DST[:ro]", "a folder or file of the host"},
    {"tmpfs", 0, OPTION_LIST, "DST[:size=N]", "a file system in memory"},
    {"hostname", 'h', OPTION_TEXT, "NAME", "host name inside"},
    {"memory", 'm', OPTION_TEXT, "SIZE", "memory limit, as 512m"},
    {"cpus", 0, OPTION_TEXT, "N", "CPU limit, as 1.5"},
    {"pids-limit", 0, OPTION_TEXT, "N", "process limit (default 512)"},
    {"network", 0, OPTION_TEXT, "MODE", "none (default; the only one yet)"},
    {"pull", 0, OPTION_TEXT, "WHEN", "missing (default) or never"},
    {"read-only", 0, OPTION_FLAG, NULL, "read-only root (the default)"},
    {"writable", 0, OPTION_FLAG, NULL, "a writable root, thrown away at the end"},
    {"rm", 0, OPTION_FLAG, NULL, "leave nothing behind (the default)"},
    {"tofu", 0, OPTION_FLAG, NULL, "trust and pin the registry's root at first use"},
    OPTIONS_END,
};

static const char import_notes[] =
    "The image is named in the local store: push it as store:NAME:TAG.\n";

static const char push_notes[] =
    "SOURCE is store:NAME:TAG, oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE.\n"
    "A push that broke off goes on where it was when it is run again.\n";

static const char pull_notes[] =
    "A pull that broke off goes on where it was when it is run again.\n";

static const char save_notes[] =
    "The bundle holds this machine's image of REF and the metadata that vouches for it now. Where\n"
    "there is no network, 'bulla verify BUNDLE' and 'bulla load BUNDLE' judge it by their own "
    "policy\n"
    "and root. Other programs read it as an OCI archive.\n";

static const char copy_notes[] =
    "SRC is verified under policy and copied whole, an index with all its images. Its registry's\n"
    "signatures go along: DST's must be configured to mirror the collection ('mirrors' in its\n"
    "registry.yaml), and you need 'admin' there. DST is a repository; the tag stays SRC's. It is\n"
    "verified under a policy scope that names the same 'collection'.\n";

static const char load_notes[] =
    "Needs no network. The image is named as the bundle says, so that 'bulla run' finds it. A "
    "bundle\n"
    "is good until its metadata expires, for longer only with the policy's offlineGrace.\n";

static const char verify_notes[] =
    "BUNDLE is a file that 'bulla save' wrote: a name without '/', or one that starts with '/' or\n"
    "'.', as in ./app.bundle. It is judged without network.\n"
    "With --recorded: 0 where the tag still means DIGEST, or where it was superseded and policy\n"
    "allows that; 1 where it was revoked, banned, or superseded under 'superseded: refuse'.\n";

static const char login_notes[] =
    "Writes REGISTRY_AUTH_FILE or the auth.json that podman and skopeo use, or hands the password\n"
    "to the credential helper which that file names (docker-credential-NAME).\n"
    "The password goes to HOST only; to a token service elsewhere only with --token-service.\n";

static const char sign_notes[] =
    "Signs the digest that this machine pushed under REF, or the one given as REF@sha256:…\n"
    "From 1000 tags in one file on it advises 'bulla trust split'.\n";

static const char split_notes[] =
    "The number of bins is the one with which a new verifier fetches least: 128 for 10,000 tags,\n"
    "256 for 100,000. It stays; a role with bins cannot delegate. Each bin is signed once: as "
    "many\n"
    "signatures as there are bins. 'bulla sign' advises a split from 1000 tags in one file on.\n";

static const char run_notes[] =
    "Runs only what policy allows and a fresh signature vouches for. Options stand before REF.\n"
    "Ends with the container's own status; 125: refused or failed before it started;\n"
    "126, 127: the command cannot be executed or does not exist; 128+N: ended by signal N.\n";

static const char rotate_notes[] =
    "ROLE is root, targets, a delegated role, the name that bins share (as targets-bin), snapshot\n"
    "or timestamp. The last two (or both at once) get new keys from the registry's signing\n"
    "service, which sign as soon as the new root is published; that takes the root keys and the\n"
    "right 'admin'. What any other role has signed is signed again by the new keys: name them\n"
    "with --key as well, together with the keys of the role above.\n";

static const char repair_notes[] =
    "ROLE is root, targets, a delegated role, or the name that bins share (as targets-bin).\n"
    "What it has signed is signed again by the new keys: name them with --key as well, together\n"
    "with the keys of the role above.\n";

static const char stage_notes[] =
    "COMMAND is init, delegate, undelegate, rotate, repair, renew, revoke or split, with its own\n"
    "arguments and options. Signatures are added with 'bulla trust add-signature FILE', on other\n"
    "machines and in any order; 'bulla trust publish FILE' ends the ceremony.\n";

#define NO_LIMIT ((size_t)-1)

const struct command commands[] = {
    {"key generate", "NAME", "make a signing key in an encrypted file", key_generate_options, 1, 1,
     0, command_key_generate, NULL},
    {"key list", "", "list the keys of the key store", NULL, 0, 0, 0, command_key_list, NULL},
    {"key show", "NAME|URI", "show a public key and its id", NULL, 1, 1, 0, command_key_show, NULL},
    {"key export", "NAME|URI", "write a key to a file, for another machine", key_export_options, 1,
     1, 0, command_key_export,
     "The public half goes to the owners of collections: --role-key and --new-key take the file.\n"
     "A private key never leaves the key store without its passphrase around it.\n"},
    {"key import", "NAME FILE", "take a key that 'key export' or openssl wrote", NULL, 2, 2, 0,
     command_key_import,
     "FILE: a public key (TUF key object or PEM), or an encrypted key of 'key export --private',\n"
     "whose passphrase is asked for. What is here already is never overwritten.\n"},
    {"key passphrase", "NAME", "give a key another passphrase", key_passphrase_options, 1, 1, 0,
     command_key_passphrase, "--passphrase-file is the one in force.\n"},
    {"key remove", "NAME", "delete a key", NULL, 1, 1, 0, command_key_remove, NULL},
    {"key token list", "", "list the keys on PKCS#11 tokens", NULL, 0, 0, 0, command_token_list,
     "The module is found through p11-kit, or named by BULLA_PKCS11_MODULE.\n"},
    {"import", "ROOTFS NAME:TAG", "make an image of a root folder or tar file", import_options, 2,
     2, 0, command_import, import_notes},
    {"images", "", "list the images of the local store", images_options, 0, 0, 0, command_images,
     NULL},
    {"login", "HOST", "store credentials for a registry", login_options, 1, 1, 0, command_login,
     login_notes},
    {"logout", "HOST", "forget credentials for a registry", NULL, 1, 1, 0, command_logout, NULL},
    {"push", "SOURCE REF", "upload an image", push_options, 2, 2, 0, command_push, push_notes},
    {"sign", "REF", "vouch for a pushed image", sign_options, 1, 1, 0, command_sign, sign_notes},
    {"verify", "REF|BUNDLE", "say whether, and by whom, an image is vouched for", verify_options, 1,
     1, 0, command_verify, verify_notes},
    {"pull", "REF", "verify and download an image", pull_options, 1, 1, 0, command_pull,
     pull_notes},
    {"copy", "SRC DST", "copy an image and its signatures to another registry", copy_options, 2, 2,
     0, command_copy, copy_notes},
    {"save", "REF", "write an image and its signatures to one file", save_options, 1, 1, 0,
     command_save, save_notes},
    {"load", "BUNDLE", "verify a bundle and take its image, without network", NULL, 1, 1, 0,
     command_load, load_notes},
    {"run", "REF [COMMAND…]", "verify and run an image in a sandbox", run_options, 1, NO_LIMIT, 1,
     command_run, run_notes},
    {"trust init", "REF", "start a collection: root and targets keys", trust_init_options, 1, 1, 0,
     command_trust_init, NULL},
    {"trust show", "REF", "show a collection's roles, keys, tags and expiry dates", show_options, 1,
     1, 0, command_trust_show, NULL},
    {"trust pin", "REF", "show a collection's root keys and trust them from now on", pin_options, 1,
     1, 0, command_trust_pin, NULL},
    {"trust delegate", "REF ROLE", "let a role sign some of the tags", delegate_options, 2, 2, 0,
     command_trust_delegate, NULL},
    {"trust undelegate", "REF ROLE", "take a role's delegation back", change_options, 2, 2, 0,
     command_trust_undelegate, NULL},
    {"trust rotate", "REF ROLE…", "give a role new keys", rotate_options, 2, 3, 0,
     command_trust_rotate, rotate_notes},
    {"trust repair", "REF ROLE", "replace lost keys with those of the role above", repair_options,
     2, 2, 0, command_trust_repair, repair_notes},
    {"trust renew", "REF [ROLE…]", "sign again what expires", change_options, 1, OPTION_VALUES_MAX,
     0, command_trust_renew, "Without ROLE: all roles that expire within 90 days.\n"},
    {"trust revoke", "REF", "take back a tag, or ban a digest for good", revoke_options, 1, 1, 0,
     command_trust_revoke,
     "REPOSITORY:TAG is removed from every role; REPOSITORY@DIGEST is banned, whatever its tag.\n"},
    {"trust split", "REF [ROLE]", "spread a large role over hashed bins", split_options, 1, 2, 0,
     command_trust_split, split_notes},
    {"trust stage", "FILE COMMAND REF …", "write a change to a file, to be signed by several", NULL,
     2, NO_LIMIT, 2, command_trust_stage, stage_notes},
    {"trust add-signature", "FILE", "show what a staged change does, and sign it",
     add_signature_options, 1, 1, 0, command_trust_add_signature,
     "Needs no network. The change is shown as the metadata says it, then asked about.\n"},
    {"trust publish", "FILE", "publish a staged change that has all its signatures", NULL, 1, 1, 0,
     command_trust_publish, NULL},
    {"policy allow", "SCOPE", "let images of HOST[/REPOSITORY] run", policy_allow_options, 1, 1, 0,
     command_policy_allow, "Without --root and --root-key the pinned root of SCOPE is used.\n"},
    {"policy test", "REF", "explain what policy says of an image", NULL, 1, 1, 0,
     command_policy_test, NULL},
    {"policy check", "FILE", "check a policy file", NULL, 1, 1, 0, command_policy_check, NULL},
    {"policy show", "", "show the policy in force", NULL, 0, 0, 0, command_policy_show, NULL},
    {NULL, NULL, NULL, NULL, 0, 0, 0, NULL, NULL},
};
