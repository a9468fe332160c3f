/* Quotas of a call: before, while and after bytes come in. */
#include "registry/api.h"

int api_quota_refuse(struct api_call *c, const struct quota_excess *excess, int rc)
{
    if (!excess->prefix)
        return rc;
    api_detail(c, "quota", js_text_new(excess->prefix[0] ? excess->prefix : "*"));
    api_detail(c, "unit", js_text_new(excess->what));
    api_detail(c, "used", js_int_new((int64_t)excess->used));
    api_detail(c, "limit", js_int_new((int64_t)excess->limit));
    return api_fail(c, "DENIED", rc);
}

/* Something that is in the repository already takes no room. */
static int holds_already(struct api_call *c, struct index_tx *tx, bool *out, struct error *err)
{
    *out = false;
    if (c->digest.alg == DIGEST_NONE)
        return 0;
    int rc = index_link_find(tx, c->route.repository, &c->digest, NULL, err);
    *out = rc == 0;
    return rc == E_NOTFOUND ? 0 : rc;
}

int api_quota_admit(struct api_call *c, uint64_t len, struct error *err)
{
    const struct config_rules *rules = &c->registry->config->rules;
    struct index_tx *tx = NULL;
    bool here = false;
    if (rules->n_quotas == 0)
        return 0;
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = holds_already(c, tx, &here, err);
    if (rc == 0 && !here)
        rc = quota_room(tx, rules, c->route.repository, &c->room, &c->quota, err);
    c->limited = rc == 0 && !here && c->quota.prefix != NULL;
    return rc == 0 ? api_quota_receive(c, len, err) : rc;
}

int api_quota_receive(struct api_call *c, uint64_t len, struct error *err)
{
    if (!c->limited || (len <= c->room && c->room > 0))
        return 0;
    return api_quota_refuse(c, &c->quota, quota_fail(&c->quota, err));
}
