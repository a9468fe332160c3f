#include "verify/verdict.h"

#include "base/clock.h"
#include "verify/obtain.h"
#include "verify/signed_by.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define EXPIRY_WARNING_S (7 * 86400)

static void warn_about(struct verdict *v, const char *format, ...) PRINTF_LIKE(2, 3);
static void warn_about(struct verdict *v, const char *format, ...)
{
    if (v->n_warnings >= VERDICT_MAX_WARNINGS)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(v->warnings[v->n_warnings++], sizeof v->warnings[0], format, args);
    va_end(args);
}

static int check_policy(const struct verify_options *options, const struct decision *d,
                        struct verdict *v, struct error *err)
{
    v->policy_allows = d->allowed;
    memcpy(v->policy_reason, d->reason, sizeof v->policy_reason);
    if (d->denied || (!d->allowed && options->require_policy))
        return fail(err, E_POLICY, "%s", d->reason);
    if (!d->allowed)
        warn_about(v, "'bulla run' would refuse it: %.200s", d->reason);
    return OK;
}

/* The name that must be a signed target: the tag, or sha256:<hex> for a bare digest. */
static const char *target_name(const struct reference *ref, char text[DIGEST_TEXT_MAX])
{
    return *ref->tag ? ref->tag : digest_format(&ref->digest, text);
}

static bool is_target(const struct tuf_target *t, const struct digest *d)
{
    return digest_equal(d, &t->sha256) || digest_equal(d, &t->sha512);
}

static int check_ban(const struct tuf_metadata *targets, const struct digest *d, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    return tuf_targets_banned(targets, d)
               ? fail(err, E_BANNED, "%s is banned by the collection's owner",
                      digest_format(d, text))
               : OK;
}

static int check_target(const struct reference *ref, const struct tuf_found *found,
                        const struct tuf_metadata *targets, struct verdict *v, struct error *err)
{
    char signed_text[DIGEST_TEXT_MAX], wanted_text[DIGEST_TEXT_MAX];
    const struct tuf_target *t = &found->target;
    const struct digest *digest = t->sha256.alg ? &t->sha256 : &t->sha512;
    if (digest->alg == DIGEST_NONE)
        return fail(err, E_INVALID, "signed target '%s' has no usable digest", t->name);
    if (ref->digest.alg && !is_target(t, &ref->digest) && !v->superseded)
        return fail(err, E_DIGEST, "signed digest of '%s' is %s, not %s", t->name,
                    digest_format(digest, signed_text), digest_format(&ref->digest, wanted_text));
    /* By either of its digests: the list may name the other one. */
    int rc = check_ban(targets, &t->sha256, err);
    if (!rc)
        rc = check_ban(targets, &t->sha512, err);
    if (rc && !v->superseded)
        return rc;
    v->manifest.digest = *digest;
    if (digest == &t->sha256)
        v->also = t->sha512;
    v->manifest.size = t->length;
    const char *media_type = t->custom ? js_text(js_get(t->custom, "mediaType")) : NULL;
    (void)snprintf(v->manifest.media_type, sizeof v->manifest.media_type, "%s",
                   media_type ? media_type : "");
    return OK;
}

static void note_version(struct verdict *v, size_t i, const char *role,
                         const struct tuf_metadata *m, int64_t now_s)
{
    char when[CLOCK_TEXT_MAX];
    v->versions[i] =
        (struct verdict_version){role, tuf_metadata_version(m), tuf_metadata_expires(m)};
    /* The service renews timestamp and snapshot by itself; people renew the others. */
    bool by_people = i == 0 || i == 3;
    if (by_people && v->versions[i].expires_s - now_s < EXPIRY_WARNING_S)
        warn_about(v, "%s metadata expires %s: its owner must renew it", role,
                   clock_format(v->versions[i].expires_s, when));
}

static void note_freshness(struct verdict *v, const struct trust_view *view)
{
    v->freshness = view->freshness;
    v->age_s = view->age_s;
    if (view->freshness == FRESH_CACHED)
        warn_about(v, "not asked just now: %.200s", view->offline.message);
    if (view->freshness == FRESH_MIRROR)
        warn_about(v, "a mirror answered, not the registry: %.200s", view->offline.message);
}

/* Tags resolve through signed targets only; what the registry's own tag says is worth a warning. */
static void compare_registry_tag(struct trust_session *s, struct verdict *v)
{
    struct remote *remote;
    struct digest claimed;
    char text[DIGEST_TEXT_MAX];
    struct error why = ERROR_INIT;
    if (!*v->ref.tag || v->freshness == FRESH_CACHED || s->options->bundle || s->place)
        return;
    int rc = trust_session_remote(s, &remote, &why);
    if (!rc)
        rc = remote_manifest_head(remote, s->repository, v->ref.tag, &claimed, &why);
    if (rc == E_NOTFOUND)
        warn_about(v, "the registry has no tag '%s'; the signed digest is used", v->ref.tag);
    else if (rc)
        warn_about(v, "the registry's own tag could not be read: %.180s", why.message);
    else if (!digest_equal(&claimed, &v->manifest.digest))
        warn_about(v, "the registry's tag '%.60s' points elsewhere (%s); the signed digest is used",
                   v->ref.tag, digest_format(&claimed, text));
}

/* The document behind `d`, compared with the bans by each of its digests; *out where it can be
 * read as a manifest, else NULL. */
static int fetch_unbanned(struct trust_session *s, const struct descriptor *d,
                          const struct tuf_metadata *targets, struct manifest **out,
                          struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    struct remote *remote;
    struct error why = ERROR_INIT;
    char digest[DIGEST_TEXT_MAX];
    int rc = check_ban(targets, &d->digest, err);
    if (!rc)
        rc = trust_session_remote(s, &remote, err);
    if (!rc)
        rc = remote_manifest_get(remote, s->repository, digest_format(&d->digest, digest), &body,
                                 NULL, err);
    if (!rc)
        rc = image_check_bans(targets, body.data, body.len, err);
    if (!rc && manifest_parse(body.data, body.len, d->media_type, out, &why))
        *out = NULL; /* pull says what is wrong with it */
    return rc;
}

/*
 * `verify` fetches no image, but where there are bans it looks at the manifest, and behind an index
 * at this machine's child: "valid" must not be said of what `run` would refuse. A registry that
 * does not show them hides nothing: then there is nothing to run.
 */
static int look_for_bans(struct trust_session *s, const struct tuf_metadata *targets,
                         struct verdict *v, struct error *err)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    CLEANUP(manifest_cleanup) struct manifest *child = NULL;
    const struct descriptor *here = NULL;
    struct descriptor what = v->manifest;
    struct error why = ERROR_INIT;
    if (v->superseded)
        what = (struct descriptor){.digest = *s->options->recorded, .size = -1};
    if (!tuf_targets_n_banned(targets) || s->options->bundle)
        return OK; /* a bundle's image is read whole */
    int rc = v->freshness == FRESH_CACHED ? E_NETWORK : OK;
    if (rc)
        why = s->view.offline;
    else
        rc = fetch_unbanned(s, &what, targets, &m, &why);
    if (!rc && m && m->kind == MANIFEST_INDEX && image_child_here(m, &here, &why) == OK)
        rc = fetch_unbanned(s, here, targets, &child, &why);
    if (rc == E_BANNED)
        *err = why;
    else if (rc)
        warn_about(v, "not compared with the collection's bans: %.200s", why.message);
    return rc == E_BANNED ? rc : OK;
}

/*
 * What a container was started from: current, or replaced by its owner and then policy's to decide.
 * A tag that is no longer signed was taken back: the search has said so.
 */
static int check_recorded(const struct trust_session *s, const struct decision *d,
                          const struct tuf_target *t, struct verdict *v, struct error *err)
{
    const struct digest *recorded = s->options->recorded;
    char now[DIGEST_TEXT_MAX], then[DIGEST_TEXT_MAX];
    v->superseded = false;
    if (!recorded)
        return OK;
    int rc = check_ban(tuf_trusted_targets(s->view.trusted, "targets"), recorded, err);
    if (rc || is_target(t, recorded) || !*v->ref.tag) /* a digest's own name has no successor */
        return rc;
    v->superseded = true;
    if (d->refuse_superseded)
        return fail(err, E_POLICY, "'%s' is %s now, %s was superseded: policy refuses that",
                    t->name, digest_format(t->sha256.alg ? &t->sha256 : &t->sha512, now),
                    digest_format(recorded, then));
    return OK;
}

static int judge(struct trust_session *s, const struct decision *d, const char *name,
                 struct verdict *v, struct tuf_found *found, struct error *err)
{
    int rc = trust_find(&s->view, s->store, &s->source, name, found, err);
    if (rc == E_UNSIGNED)
        return fail(err, E_UNSIGNED, "'%s' is not signed in collection '%s'", name, s->collection);
    if (!rc)
        rc = check_recorded(s, d, &found->target, v, err);
    if (!rc)
        rc = check_target(&v->ref, found, tuf_trusted_targets(s->view.trusted, "targets"), v, err);
    /* Who must vouch for the next start, vouched for the recorded digest when it was current. */
    return rc || v->superseded ? rc : signed_by_check(s, d, name, &v->manifest.digest, err);
}

/* "No" is said of fresh metadata only: what was stored a moment ago may have been overtaken, so the
 * registry is asked; where it cannot be, nobody knows whether the name was signed meanwhile. */
static int judge_fresh(struct trust_session *s, const struct decision *d, const char *name,
                       struct verdict *v, struct tuf_found *found, struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = judge(s, d, name, v, found, &why);
    if (error_exit_status(rc) == EXIT_REFUSED && s->view.freshness == FRESH_RECENT) {
        rc = trust_session_ask(s, d, &why);
        if (!rc)
            rc = judge(s, d, name, v, found, &why);
    }
    /* What one mirror lacks or serves damaged, the next one may have; who may vouch, and bans, are
     * signed the same everywhere. */
    while (rc && rc != E_POLICY && rc != E_BANNED && s->view.freshness == FRESH_MIRROR) {
        struct error next = ERROR_INIT;
        if (trust_session_next(s, d, &next)) {
            char text[ERROR_MESSAGE_MAX];
            (void)snprintf(text, sizeof text, "%s", why.message);
            return fail(err, E_STALE,
                        "the registry could not be asked (%.300s), and of a mirror: %.300s",
                        s->view.offline.message, text);
        }
        rc = judge(s, d, name, v, found, &why);
    }
    if (rc == E_UNSIGNED && s->view.freshness == FRESH_CACHED)
        return fail(err, E_STALE,
                    "'%s' is not in what was stored %" PRId64 " s ago, and whether it was signed "
                    "since cannot be asked: %.300s",
                    name, s->view.age_s, s->view.offline.message);
    if (rc == E_DIGEST && s->view.freshness == FRESH_CACHED)
        return fail(err, E_STALE,
                    "%s; that was stored %" PRId64 " s ago, and whether it was signed anew cannot "
                    "be asked: %.300s",
                    why.message, s->view.age_s, s->view.offline.message);
    if (rc == E_UNSIGNED && s->view.freshness == FRESH_BUNDLE)
        return fail(err, E_STALE,
                    "'%s' is not in the bundle's metadata, and whether it was signed since cannot "
                    "be asked",
                    name);
    if (rc == E_EXPIRED && s->options->bundle)
        rc = E_STALE;
    if (rc)
        return fail(err, rc, "%s", why.message);
    return OK;
}

static int decide(struct trust_session *s, const struct decision *d,
                  const struct verify_options *options, struct verdict *v, struct error *err)
{
    char digest_text[DIGEST_TEXT_MAX];
    const char *name = target_name(&v->ref, digest_text);
    struct tuf_found found;
    int64_t now = clock_now_s();
    v->anchor = s->anchor.origin;
    int rc = judge_fresh(s, d, name, v, &found, err);
    if (rc)
        return rc;
    note_freshness(v, &s->view);
    v->place = s->place;
    const struct tuf_metadata *targets = tuf_trusted_targets(s->view.trusted, "targets");
    (void)snprintf(v->role, sizeof v->role, "%s", found.role);
    v->n_signers = found.n_signers;
    memcpy(v->signers, found.signers, sizeof v->signers);
    note_version(v, 0, "root", tuf_trusted_root(s->view.trusted), now);
    note_version(v, 1, "timestamp", tuf_trusted_timestamp(s->view.trusted), now);
    note_version(v, 2, "snapshot", tuf_trusted_snapshot(s->view.trusted), now);
    note_version(v, 3, "targets", targets, now);
    if (v->superseded)
        warn_about(v, "'%.60s' means %s now: what runs was superseded", v->ref.tag,
                   digest_format(&v->manifest.digest, digest_text));
    if (s->anchor.origin == ANCHOR_TOFU)
        warn_about(v, "first use: the registry's root was trusted unseen and is pinned now");
    if (!options->look_at_registry_tag)
        return OK;
    if (!v->superseded)
        compare_registry_tag(s, v);
    return look_for_bans(s, targets, v, err);
}

/* What a bundle says of itself may not differ from what policy makes of its name. */
static int check_note(const struct bundle *b, const struct decision *d, struct error *err)
{
    if (!b || strcmp(bundle_note(b)->collection, d->collection) == 0)
        return OK;
    return fail(err, E_BINDING, "the bundle is of collection '%s', policy says '%s'",
                bundle_note(b)->collection, d->collection);
}

static int read_bundle_image(const struct verify_options *options, const struct verdict *v,
                             struct error *err)
{
    struct bundle_load check = {.progress = options->progress};
    return options->bundle
               ? bundle_read_image(options->bundle, &v->manifest, v->targets, &check, err)
               : OK;
}

int verify_reference_keep(const struct verify_options *options, const struct reference *ref,
                          struct verdict *out, struct trust_session *session, struct error *err)
{
    struct decision decision;
    struct verdict v = {.ref = *ref};
    int rc = policy_decide(options->policy, ref, &decision, err);
    memcpy(v.collection, rc ? ref->repository : decision.collection, sizeof v.collection);
    *out = v;
    if (!rc)
        rc = check_note(options->bundle, &decision, err);
    if (!rc)
        rc = check_policy(options, &decision, &v, err);
    if (rc)
        return rc;
    rc = trust_session_open(options, ref, &decision, session, err);
    if (rc)
        return rc;
    rc = decide(session, &decision, options, &v, err);
    if (rc) {
        trust_session_close(session);
        return rc;
    }
    /* shared, counted: reading does not change it */
    v.targets = tuf_metadata_ref(
        (struct tuf_metadata *)(uintptr_t)tuf_trusted_targets(session->view.trusted, "targets"));
    *out = v;
    return OK;
}

int verify_reference(const struct verify_options *options, const struct reference *ref,
                     struct verdict *out, struct error *err)
{
    struct trust_session session;
    int rc = verify_reference_keep(options, ref, out, &session, err);
    if (rc)
        return rc;
    trust_session_close(&session); /* others need not wait for the image */
    rc = read_bundle_image(options, out, err);
    if (rc) {
        struct verdict failed = {.ref = out->ref, .n_warnings = out->n_warnings};
        memcpy(failed.collection, out->collection, sizeof failed.collection);
        memcpy(failed.warnings, out->warnings, sizeof failed.warnings);
        verdict_done(out);
        *out = failed;
    }
    return rc;
}

void verdict_done(struct verdict *v)
{
    tuf_metadata_cleanup(&v->targets);
}

/* --- JSON --- */

static const char *freshness_text(enum freshness f)
{
    static const char *const texts[] = {"online", "recent", "cached", "bundle", "mirror"};
    return texts[f];
}

static const char *origin_text(enum anchor_origin o)
{
    static const char *const texts[] = {"policy", "pin", "first-use"};
    return texts[o];
}

static int versions_to_js(const struct verdict *v, struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *all = js_object_new();
    int rc = all ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < 4; i++) {
        char when[CLOCK_TEXT_MAX];
        CLEANUP(js_cleanup) struct js *one = js_object_new();
        rc =
            one ? js_set(one, "version", js_int_new(v->versions[i].version), err) : fail_nomem(err);
        if (!rc)
            rc = js_set(one, "expires", js_text_new(clock_format(v->versions[i].expires_s, when)),
                        err);
        if (!rc)
            rc = js_set(all, v->versions[i].role, TAKE_PTR(one), err);
    }
    if (!rc)
        *out = TAKE_PTR(all);
    return rc;
}

static int texts_to_js(struct js *o, const char *key, const char *first, size_t stride, size_t n,
                       struct error *err)
{
    CLEANUP(js_cleanup) struct js *array = js_array_new();
    int rc = array ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = js_push(array, js_text_new(first + i * stride), err);
    return rc ? rc : js_set(o, key, TAKE_PTR(array), err);
}

static int valid_to_js(const struct verdict *v, struct js *o, struct error *err)
{
    char digest[DIGEST_TEXT_MAX];
    struct js *versions = NULL;
    int rc = js_set(o, "digest", js_text_new(digest_format(&v->manifest.digest, digest)), err);
    if (!rc)
        rc = js_set(o, "length", js_int_new(v->manifest.size), err);
    if (!rc)
        rc = js_set(o, "mediaType", js_text_new(v->manifest.media_type), err);
    if (!rc)
        rc = js_set(o, "role", js_text_new(v->role), err);
    if (!rc)
        rc = texts_to_js(o, "signers", v->signers[0].text, sizeof v->signers[0], v->n_signers, err);
    if (!rc)
        rc = js_set(o, "anchor", js_text_new(origin_text(v->anchor)), err);
    if (!rc)
        rc = js_set(o, "freshness", js_text_new(freshness_text(v->freshness)), err);
    if (!rc)
        rc = js_set(o, "ageSeconds", js_int_new(v->age_s), err);
    if (!rc)
        rc = js_set(o, "policyAllows", js_bool_new(v->policy_allows), err);
    if (!rc)
        rc = js_set(o, "superseded", js_bool_new(v->superseded), err);
    if (!rc)
        rc = versions_to_js(v, &versions, err);
    if (!rc)
        rc = js_set(o, "metadata", versions, err);
    return rc;
}

int verdict_to_js(const struct verdict *v, int code, const struct error *why, struct js **out,
                  struct error *err)
{
    char ref[REFERENCE_TEXT_MAX];
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "verdict", js_text_new(error_verdict(code)), err) : fail_nomem(err);
    if (!rc)
        rc = js_set(o, "reference", js_text_new(reference_format(&v->ref, ref)), err);
    if (!rc)
        rc = js_set(o, "collection", js_text_new(v->collection), err);
    if (!rc && code)
        rc = js_set(o, "reason", js_text_new(error_name(code)), err);
    if (!rc && code)
        rc = js_set(o, "message", js_text_new(why->message), err);
    if (!rc && !code)
        rc = valid_to_js(v, o, err);
    if (!rc)
        rc = texts_to_js(o, "warnings", v->warnings[0], sizeof v->warnings[0], v->n_warnings, err);
    if (!rc)
        *out = TAKE_PTR(o);
    return rc;
}
