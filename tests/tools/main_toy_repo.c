/*
 * toy-repo: writes states of a toy TUF repository into folders, for the tests of bulla-tuf-client.
 *
 * Usage: toy-repo FOLDER STEP…
 *
 *   target ROLE NAME CONTENT     lists a target (and keeps its content)
 *   delegate FROM ROLE PATTERN   delegates to a new or present role
 *   terminate FROM ROLE PATTERN  the same, terminating
 *   mistrust FROM ROLE PATTERN   delegates to a present role, with a key that it does not have
 *   bins ROLE PREFIX BITS        succinct roles below ROLE, one key for all
 *   bin-target PREFIX BITS NAME CONTENT   lists a target in the bin that is responsible for it
 *   unhash ROLE NAME             the target has a hash of an unknown algorithm only
 *   bump ROLE                    next version
 *   rotate ROLE                  new keys for a top-level role but root, next version of root
 *   rekey ROLE ed25519|ecdsa-p256   rotate, with a key of this type
 *   expire ROLE                  made out to a day that is over
 *   lasts ROLE DAYS              expires so many days from now
 *   plain                        consistent_snapshot: false
 *   state NAME                   signs all; the repository as it then is, with its old versions,
 *                                in FOLDER/NAME/metadata and FOLDER/NAME/targets
 *
 * `state` takes the next versions of snapshot and timestamp, but for the first one. Files have the
 * names that a client asks for (percent-encoded roles). Metadata lasts a day from now.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "tests/support/tuf_repo.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>

#define MAX_FILES 256

struct named {
    char name[640];
    struct bytes data;
};

struct maker {
    struct toy_repo repo;
    struct named metadata[MAX_FILES], targets[MAX_FILES];
    size_t n_metadata, n_targets;
    bool plain;
    size_t n_states;
    int folder;
};

static struct maker maker;

/* A later file of the same name takes the place of the earlier one, but for a root: signed again it
 * has other bytes (P-256), and the client already has the first ones. */
static void keep(struct named *list, size_t *n, const char *name, const void *data, size_t len)
{
    size_t i = 0;
    while (i < *n && strcmp(list[i].name, name) != 0)
        i++;
    assert_true(i < MAX_FILES);
    if (i < *n && strstr(name, ".root.json"))
        return;
    *n += i == *n;
    (void)snprintf(list[i].name, sizeof list[i].name, "%s", name);
    bytes_clear(&list[i].data);
    toy_ok(bytes_append(&list[i].data, data, len, err));
}

static void encode(const char *role, char *out)
{
    for (; *role; role++)
        out +=
            sprintf(out, isalnum((unsigned char)*role) || strchr("_.-~", *role) ? "%c" : "%%%02X",
                    (unsigned char)*role);
    *out = '\0';
}

static void keep_role(struct maker *m, const struct toy_role *role)
{
    char encoded[3 * sizeof role->name + 1] = "", name[640];
    encode(role->name, encoded);
    bool versioned = role->type == TUF_ROOT || (role->type != TUF_TIMESTAMP && !m->plain);
    if (versioned)
        (void)snprintf(name, sizeof name, "%" PRId64 ".%.600s.json", toy_version(role), encoded);
    else
        (void)snprintf(name, sizeof name, "%.600s.json", encoded);
    keep(m->metadata, &m->n_metadata, name, role->file.data, role->file.len);
}

static void add_target(struct maker *m, char **words)
{
    const char *path = words[1], *content = words[2], *slash = strrchr(path, '/');
    char name[640], hex[DIGEST_TEXT_MAX];
    struct digest d;
    toy_target(&m->repo, words[0], path, content);
    toy_ok(digest_of(DIGEST_SHA256, content, strlen(content), &d, err));
    digest_hex(&d, hex);
    keep(m->targets, &m->n_targets, path, content, strlen(content));
    (void)snprintf(name, sizeof name, "%.*s%s.%s", slash ? (int)(slash + 1 - path) : 0, path, hex,
                   slash ? slash + 1 : path);
    keep(m->targets, &m->n_targets, name, content, strlen(content));
}

static void write_all(int folder, const struct named *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char parent[640];
        (void)snprintf(parent, sizeof parent, "%s", list[i].name);
        char *slash = strrchr(parent, '/');
        if (slash) {
            *slash = '\0';
            toy_ok(path_make_dirs(folder, parent, 0755, err));
        }
        toy_ok(file_write_atomic(folder, list[i].name, list[i].data.data, list[i].data.len, 0644,
                                 err));
    }
}

static void write_state(struct maker *m, const char *state, const char *kind,
                        const struct named *list, size_t n)
{
    char path[640];
    CLEANUP(cleanup_fd) int folder = -1;
    (void)snprintf(path, sizeof path, "%s/%s", state, kind);
    toy_ok(path_make_dirs(m->folder, path, 0755, err));
    toy_ok(path_open(m->folder, path, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &folder, err));
    write_all(folder, list, n);
}

static void set_plain(struct maker *m)
{
    m->plain = true;
    toy_ok(js_set(m->repo.roles[TUF_ROOT].tree, "consistent_snapshot", js_bool_new(false), err));
}

static void rotate(struct maker *m, const char *name, enum key_type type)
{
    struct toy_role *role = toy_role(&m->repo, name);
    for (size_t i = 0; i < role->n_signers; i++)
        role->signers[i] = toy_key_new(&m->repo, type);
    toy_root_roles(&m->repo);
    if (m->plain)
        set_plain(m);
    toy_bump(&m->repo.roles[TUF_ROOT]);
}

static void add_state(struct maker *m, char **words)
{
    (m->n_states++ ? toy_republish : toy_publish)(&m->repo);
    for (size_t i = 0; i < m->repo.n_roles; i++)
        keep_role(m, &m->repo.roles[i]);
    write_state(m, words[0], "metadata", m->metadata, m->n_metadata);
    write_state(m, words[0], "targets", m->targets, m->n_targets);
}

static void delegate(struct maker *m, char **words)
{
    toy_delegate(&m->repo, words[0], words[1], words[2], false);
}

static void bump(struct maker *m, char **words)
{
    toy_bump(toy_role(&m->repo, words[0]));
}

static void rotate_step(struct maker *m, char **words)
{
    rotate(m, words[0], KEY_ED25519);
}

static void rekey(struct maker *m, char **words)
{
    rotate(m, words[0], strcmp(words[1], "ed25519") == 0 ? KEY_ED25519 : KEY_ECDSA_P256);
}

static void terminate(struct maker *m, char **words)
{
    toy_delegate(&m->repo, words[0], words[1], words[2], true);
}

static void mistrust(struct maker *m, char **words)
{
    struct toy_role *role = toy_role(&m->repo, words[1]);
    struct signing_key *own = role->signers[0];
    role->signers[0] = toy_key_new(&m->repo, KEY_ED25519);
    toy_delegate(&m->repo, words[0], words[1], words[2], false);
    role->signers[0] = own;
}

static struct tuf_bins bins_of(char **words)
{
    return (struct tuf_bins){.prefix = words[0], .bits = (unsigned)strtoul(words[1], NULL, 10)};
}

static void add_bins(struct maker *m, char **words)
{
    struct tuf_bins bins = bins_of(words + 1);
    struct signing_key *key = toy_key_new(&m->repo, KEY_ED25519);
    const struct public_key *keys[] = {signing_key_public(key)};
    struct tuf_compose_bins compose = {bins.prefix, bins.bits, {keys, 1, 1}};
    for (uint64_t i = 0; i < tuf_bins_count(&bins); i++) {
        char name[TUF_BIN_NAME_MAX];
        tuf_bins_name(&bins, i, name);
        toy_role_add(&m->repo, TUF_TARGETS, name, 1)->signers[0] = key;
    }
    toy_ok(tuf_compose_bins(toy_role(&m->repo, words[0])->tree, &compose, err));
}

static void add_bin_target(struct maker *m, char **words)
{
    struct tuf_bins bins = bins_of(words);
    uint64_t bin = 0;
    char name[TUF_BIN_NAME_MAX];
    toy_ok(tuf_bins_find(&bins, words[2], &bin, err));
    tuf_bins_name(&bins, bin, name);
    add_target(m, (char *[]){name, words[2], words[3]});
}

static void unhash(struct maker *m, char **words)
{
    struct js *target = js_edit(js_edit(toy_role(&m->repo, words[0])->tree, "targets"), words[1]);
    struct js *hashes = js_object_new();
    toy_ok(js_set(hashes, "blake9", js_text_new("00"), err));
    toy_ok(js_set(target, "hashes", hashes, err));
}

static void lasts(struct maker *m, char **words)
{
    char text[CLOCK_TEXT_MAX];
    int64_t days = (int64_t)strtol(words[1], NULL, 10);
    toy_set_text(toy_role(&m->repo, words[0]), "expires",
                 clock_format(m->repo.now_s + days * TOY_DAY, text));
}

static void expire(struct maker *m, char **words)
{
    toy_expire(toy_role(&m->repo, words[0]));
}

static void plain(struct maker *m, char **words)
{
    (void)words;
    set_plain(m);
}

static const struct step {
    const char *name;
    int n_words;
    void (*act)(struct maker *m, char **words);
} steps[] = {
    {"target", 3, add_target},  {"delegate", 3, delegate}, {"bump", 1, bump},
    {"rotate", 1, rotate_step}, {"expire", 1, expire},     {"plain", 0, plain},
    {"state", 1, add_state},    {"rekey", 2, rekey},       {"terminate", 3, terminate},
    {"mistrust", 3, mistrust},  {"bins", 3, add_bins},     {"bin-target", 4, add_bin_target},
    {"unhash", 2, unhash},      {"lasts", 2, lasts}};

static const struct step *step_of(const char *name)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (strcmp(steps[i].name, name) == 0)
            return &steps[i];
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: toy-repo FOLDER STEP…\n");
        return 2;
    }
    toy_init(&maker.repo, NULL);
    maker.repo.now_s = clock_now_s();
    char expires[CLOCK_TEXT_MAX];
    for (size_t i = 0; i < 4; i++)
        toy_set_text(&maker.repo.roles[i], "expires",
                     clock_format(maker.repo.now_s + TOY_DAY, expires));
    toy_ok(file_open_dir(argv[1], true, &maker.folder, err));
    for (int i = 2; i < argc;) {
        const struct step *step = step_of(argv[i++]);
        if (!step || argc - i < step->n_words) {
            (void)fprintf(stderr, "toy-repo: wrong step %d\n", i - 1);
            return 2;
        }
        step->act(&maker, argv + i);
        i += step->n_words;
    }
    return 0;
}
