/* bulla-registry grant …, group …: rights, and whom they are given to together. */
#include "base/args.h"
#include "registry/access.h"
#include "registry/command_accounts.h"

#include <string.h>

/* --- grant --- */

/* A misspelt name must not wait for a user or group of that name. */
static int check_subject(struct index_tx *tx, const char *subject, struct error *err)
{
    bool is_user = false;
    struct index_user user;
    const char *group = subject + strlen(ACCESS_GROUP);
    if (text_starts(subject, ACCESS_GROUP)) {
        int rc = access_group_check(group, err);
        return rc == 0 ? index_group_find(tx, group, err) : rc;
    }
    int rc = access_subject_check(subject, &is_user, err);
    return rc == 0 && is_user ? index_user_find(tx, subject, &user, err) : rc;
}

static int apply_grant_add(struct index_tx *tx, void *arg, struct error *err)
{
    const struct index_grant *grant = arg;
    int rc = check_subject(tx, grant->subject, err);
    return rc == 0 ? index_grant_add(tx, grant, err) : rc;
}

static int apply_grant_remove(struct index_tx *tx, void *arg, struct error *err)
{
    return index_grant_remove(tx, arg, err);
}

static int change_grant(char **args, const char *event, command_work *apply, struct error *err)
{
    const char *config = NULL, *words[3] = {NULL, NULL, NULL};
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    unsigned actions = 0;
    int rc = args_parse(args, options, words, 3, err);
    if (rc == 0)
        rc = access_pattern_check(words[1], err);
    if (rc == 0)
        rc = access_actions_parse(words[2], &actions, err);
    if (rc != 0)
        return rc;
    char text[ACCESS_ACTIONS_TEXT_MAX];
    struct index_grant grant = {words[0], words[1], actions};
    const struct command_change c = {.event = event,
                                     .object = words[0],
                                     .repository = words[1],
                                     .detail = access_actions_format(actions, text),
                                     .work = apply,
                                     .arg = &grant};
    return command_write(config, &c, err);
}

static int grant_add(char **args, struct error *err)
{
    return change_grant(args, "grant.add", apply_grant_add, err);
}

static int grant_remove(char **args, struct error *err)
{
    return change_grant(args, "grant.remove", apply_grant_remove, err);
}

static int print_grant(void *context, const struct index_grant *grant, struct error *err)
{
    struct command_list *list = context;
    char actions[ACCESS_ACTIONS_TEXT_MAX];
    if (!list->array)
        return command_print(err, "%-16s %-32s %s\n", grant->subject, grant->pattern,
                             access_actions_format((unsigned)grant->actions, actions));
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    int rc = js_set(object, "subject", js_text_new(grant->subject), err);
    if (rc == 0)
        rc = js_set(object, "pattern", js_text_new(grant->pattern), err);
    if (rc == 0)
        rc = command_set_actions(object, grant->actions, err);
    return rc == 0 ? command_list_push(list, TAKE_PTR(object), err) : rc;
}

static int list_grants(struct index_tx *tx, void *list, struct error *err)
{
    return index_grants_each(tx, NULL, print_grant, list, err);
}

static int grant_list(char **args, struct error *err)
{
    return command_list(args, list_grants, err);
}

int command_grant(char **args, struct error *err)
{
    static const struct command_word words[] = {
        {"add", grant_add}, {"list", grant_list}, {"remove", grant_remove}, {NULL, NULL}};
    return command_dispatch("grant", words, args, err);
}

/* --- group --- */

struct membership {
    const char *group, *user;
};

static int apply_group_add(struct index_tx *tx, void *arg, struct error *err)
{
    const struct membership *m = arg;
    return index_group_add(tx, m->group, err);
}

static int apply_group_remove(struct index_tx *tx, void *arg, struct error *err)
{
    const struct membership *m = arg;
    return index_group_remove(tx, m->group, err);
}

static int apply_member_add(struct index_tx *tx, void *arg, struct error *err)
{
    const struct membership *m = arg;
    return index_member_add(tx, m->group, m->user, err);
}

static int apply_member_remove(struct index_tx *tx, void *arg, struct error *err)
{
    const struct membership *m = arg;
    return index_member_remove(tx, m->group, m->user, err);
}

static int change_group(char **args, int n_words, const char *event, command_work *apply,
                        struct error *err)
{
    const char *config = NULL, *words[2] = {NULL, NULL};
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, words, n_words, err);
    if (rc == 0)
        rc = access_group_check(words[0], err);
    struct membership m = {words[0], words[1]};
    const struct command_change c = {
        .event = event, .object = words[0], .detail = words[1], .work = apply, .arg = &m};
    return rc == 0 ? command_write(config, &c, err) : rc;
}

static int group_add(char **args, struct error *err)
{
    return change_group(args, 1, "group.add", apply_group_add, err);
}

static int group_remove(char **args, struct error *err)
{
    return change_group(args, 1, "group.remove", apply_group_remove, err);
}

static int member_add(char **args, struct error *err)
{
    return change_group(args, 2, "group.member.add", apply_member_add, err);
}

static int member_remove(char **args, struct error *err)
{
    return change_group(args, 2, "group.member.remove", apply_member_remove, err);
}

/* One pair a line; a group without members stands alone. */
static int print_member(void *context, const char *group, const char *user, struct error *err)
{
    struct command_list *list = context;
    if (!list->array)
        return command_print(err, "%-16s %s\n", group, user ? user : "-");
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    int rc = js_set(object, "group", js_text_new(group), err);
    if (rc == 0 && user)
        rc = js_set(object, "user", js_text_new(user), err);
    return rc == 0 ? command_list_push(list, TAKE_PTR(object), err) : rc;
}

static int list_members(struct index_tx *tx, void *list, struct error *err)
{
    return index_members_each(tx, NULL, print_member, list, err);
}

static int group_list(char **args, struct error *err)
{
    return command_list(args, list_members, err);
}

static int group_members(char **args, struct error *err)
{
    static const struct command_word words[] = {
        {"add", member_add}, {"list", group_list}, {"remove", member_remove}, {NULL, NULL}};
    return command_dispatch("group member", words, args, err);
}

int command_group(char **args, struct error *err)
{
    static const struct command_word words[] = {{"add", group_add},
                                                {"list", group_list},
                                                {"member", group_members},
                                                {"remove", group_remove},
                                                {NULL, NULL}};
    return command_dispatch("group", words, args, err);
}
