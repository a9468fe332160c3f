/* Every single allocation of a refresh, a search and a publication fails once. */
#include "tests/support/alloc_fail.h"
#include "tests/support/tuf_client.h"
#include "tuf/accept.h"

static int whole_refresh(void *context, struct error *err)
{
    (void)context;
    struct tuf_trusted_options options = {TOY_NOW, repo.collection};
    struct tuf_found found;
    TRUSTED t = NULL;
    int rc = tuf_trusted_new(&options, FILE_OF(ROOT), &t, err);
    if (!rc)
        rc = tuf_trusted_finish_root(t, err);
    if (!rc)
        rc = refresh(t, err);
    if (!rc)
        rc = tuf_trusted_search(t, "v1", &found, err);
    return rc;
}

static void test_refresh_without_memory(void **state)
{
    (void)state;
    alloc_fail_each(whole_refresh, NULL, E_INTERNAL);
}

static int publication(void *context, struct error *err)
{
    (void)context;
    struct tuf_file changes[2] = {{"root", FILE_OF(ROOT)}, {"targets", FILE_OF(TARGETS)}};
    struct tuf_accept_input in = {
        .collection = COLLECTION, .now_s = TOY_NOW, .changes = changes, .n_changes = 2};
    CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *a = NULL;
    return tuf_accept(&in, &a, err);
}

static void test_publication_without_memory(void **state)
{
    (void)state;
    alloc_fail_each(publication, NULL, E_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_refresh_without_memory),
        CASE(test_publication_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
