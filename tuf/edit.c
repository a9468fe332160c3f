#include "tuf/edit.h"

#include "tuf/metadata_internal.h"

#include <string.h>

/* --- key tables --- */

static bool role_lists(const struct js *role, const char *id)
{
    const struct js *ids = js_get(role, "keyids");
    for (size_t i = 0; i < js_count(ids); i++) {
        const char *text = js_text(js_at(ids, i));
        if (text && strcmp(text, id) == 0)
            return true;
    }
    return false;
}

/* `holder` has keys beside roles (an object in root, an array in delegations) or succinct_roles. */
static bool anybody_lists(const struct js *holder, const char *id)
{
    const struct js *roles = js_get(holder, "roles");
    if (role_lists(js_get(holder, "succinct_roles"), id))
        return true;
    js_foreach (roles, it)
        if (role_lists(it.value, id))
            return true;
    for (size_t i = 0; js_type(roles) == JS_ARRAY && i < js_count(roles); i++)
        if (role_lists(js_at(roles, i), id))
            return true;
    return false;
}

static int prune_keys(struct js *holder, struct error *err)
{
    CLEANUP(js_cleanup) struct js *kept = js_object_new();
    int rc = kept ? OK : fail_nomem(err);
    js_foreach (js_get(holder, "keys"), it) {
        if (!rc && anybody_lists(holder, it.key))
            rc = js_set(kept, it.key, js_dup(it.value), err);
    }
    return rc ? rc : js_set(holder, "keys", TAKE_PTR(kept), err);
}

int tuf_edit_root_role(struct js *signed_root, enum tuf_type role,
                       const struct tuf_compose_role *keys, struct error *err)
{
    struct js *table = js_edit(signed_root, "keys");
    struct js *one = js_edit(js_edit(signed_root, "roles"), tuf_type_name(role));
    if (!table || !one)
        return fail(err, E_INVALID, "this is no root");
    int rc = tuf_compose_role_keys(table, one, keys, err);
    return rc ? rc : prune_keys(signed_root, err);
}

/* --- the list of delegations: made anew, with one entry changed --- */

struct edit {
    const char *role;
    int (*change)(struct js *copy, const void *context, struct error *err);
    const void *context;
    bool remove, first;
};

static int push_others(const struct js *old, const struct edit *edit, struct js *list,
                       struct js **found, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < js_count(old); i++) {
        const char *name = js_text(js_get(js_at(old, i), "name"));
        CLEANUP(js_cleanup) struct js *copy = js_dup(js_at(old, i));
        if (!copy)
            return fail_nomem(err);
        bool is_it = name && strcmp(name, edit->role) == 0;
        if (is_it && edit->change)
            rc = edit->change(copy, edit->context, err);
        if (!rc && is_it && (edit->remove || edit->first))
            *found = TAKE_PTR(copy);
        else if (!rc)
            rc = js_push(list, TAKE_PTR(copy), err);
    }
    return rc;
}

static bool has_delegation(const struct js *roles, const char *role)
{
    for (size_t i = 0; i < js_count(roles); i++) {
        const char *name = js_text(js_get(js_at(roles, i), "name"));
        if (name && strcmp(name, role) == 0)
            return true;
    }
    return false;
}

static int edit_delegations(struct js *signed_targets, const struct edit *edit, struct error *err)
{
    struct js *delegations = js_edit(signed_targets, "delegations");
    const struct js *old = js_get(delegations, "roles");
    CLEANUP(js_cleanup) struct js *list = js_array_new(), *others = js_array_new();
    CLEANUP(js_cleanup) struct js *found = NULL;
    if (!has_delegation(old, edit->role))
        return fail(err, E_NOTFOUND, "role '%s' is not delegated here", edit->role);
    int rc = list && others ? push_others(old, edit, others, &found, err) : fail_nomem(err);
    if (!rc && edit->first)
        rc = js_push(list, TAKE_PTR(found), err);
    for (size_t i = 0; !rc && i < js_count(others); i++)
        rc = js_push(list, js_dup(js_at(others, i)), err);
    if (!rc)
        rc = js_set(delegations, "roles", TAKE_PTR(list), err);
    return rc ? rc : prune_keys(delegations, err);
}

struct new_keys {
    struct js *table;
    const struct tuf_compose_role *keys;
};

static int set_keys(struct js *copy, const void *context, struct error *err)
{
    const struct new_keys *new = context;
    return tuf_compose_role_keys(new->table, copy, new->keys, err);
}

int tuf_edit_delegation_keys(struct js *signed_targets, const char *role,
                             const struct tuf_compose_role *keys, struct error *err)
{
    struct js *delegations = js_edit(signed_targets, "delegations");
    struct new_keys new = {js_edit(delegations, "keys"), keys};
    struct edit edit = {.role = role, .change = set_keys, .context = &new};
    if (role)
        return edit_delegations(signed_targets, &edit, err);
    struct js *bins = js_edit(delegations, "succinct_roles");
    if (!bins)
        return fail(err, E_NOTFOUND, "the role has no bins");
    int rc = tuf_compose_role_keys(new.table, bins, keys, err);
    return rc ? rc : prune_keys(delegations, err);
}

int tuf_edit_remove_delegation(struct js *signed_targets, const char *role, struct error *err)
{
    return edit_delegations(signed_targets, &(struct edit){.role = role, .remove = true}, err);
}

int tuf_edit_delegation_first(struct js *signed_targets, const char *role, struct error *err)
{
    return edit_delegations(signed_targets, &(struct edit){.role = role, .first = true}, err);
}

static int add_path(struct js *copy, const void *context, struct error *err)
{
    struct js *paths = js_edit(copy, "paths");
    if (!paths)
        return fail(err, E_INVALID, "the delegation has no path patterns");
    for (size_t i = 0; i < js_count(paths); i++) {
        const char *text = js_text(js_at(paths, i));
        if (text && strcmp(text, context) == 0)
            return OK;
    }
    return js_push(paths, js_text_new(context), err);
}

int tuf_edit_add_path(struct js *signed_targets, const char *role, const char *path,
                      struct error *err)
{
    struct edit edit = {.role = role, .change = add_path, .context = path};
    return edit_delegations(signed_targets, &edit, err);
}

/* --- bans --- */

int tuf_edit_ban(struct js *signed_targets, const struct digest *d, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    digest_format(d, text);
    int rc = js_get(signed_targets, "x-bulla-banned")
                 ? OK
                 : js_set(signed_targets, "x-bulla-banned", js_array_new(), err);
    if (rc)
        return rc;
    struct js *list = js_edit(signed_targets, "x-bulla-banned");
    for (size_t i = 0; i < js_count(list); i++) {
        const char *old = js_text(js_at(list, i));
        if (old && strcmp(old, text) == 0)
            return OK;
    }
    if (js_count(list) >= TUF_MAX_BANNED)
        return fail(err, E_LIMIT, "the ban list has its %u digests already", TUF_MAX_BANNED);
    return js_push(list, js_text_new(text), err);
}
