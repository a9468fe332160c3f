/* Lines of the audit log as verification reads them. */
#include "base/audit_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int chain = 0; chain < AUDIT_CHAINS; chain++) {
        struct audit_link before = {0}, link = {0};
        CLEANUP(js_cleanup) struct js *tree = NULL;
        int checked = audit_record_check((enum audit_chain)chain, (const char *)data, size, &before,
                                         &link, NULL);
        if (checked == 0 && (link.seq == 0 || link.seq != before.seq + 1))
            abort();
        if (audit_record_parse((enum audit_chain)chain, (const char *)data, size, &tree, NULL) ==
                0 &&
            checked != 0)
            abort();
    }
    /* The same bytes as a record's field: what is written must read. */
    char line[AUDIT_LINE_MAX + 1], *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    struct audit_link at = {41, {1}}, before, link;
    const struct audit_event e = {text, text, text, text, text, text, text, text, 599, 1};
    CLEANUP(js_cleanup) struct js *tree = NULL;
    size_t len = audit_record_write(AUDIT_CHANGES, &e, &at, line, NULL);
    if (len == 0 || len > AUDIT_LINE_MAX + 1 || line[len - 1] != '\n' ||
        audit_record_check(AUDIT_CHANGES, line, len - 1, &before, &link, NULL) != 0 ||
        !audit_link_equal(&at, &link) ||
        audit_record_parse(AUDIT_CHANGES, line, len - 1, &tree, NULL) != 0)
        abort();
    free(text);
    return 0;
}
