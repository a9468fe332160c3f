#include "signer/service_set.h"

#include "signer/protocol.h"

#include <string.h>

const struct signer_set_file *service_set_find(const struct signer_set *set, const char *role)
{
    for (size_t i = 0; i < set->n_files; i++)
        if (strcmp(set->files[i].role, role) == 0)
            return &set->files[i];
    return NULL;
}

int service_set_add(struct signer_set *set, const char *role, int64_t version,
                    const struct bytes *data, struct error *err)
{
    if (service_set_find(set, role))
        return fail(err, E_EXISTS, "role '%s' is in the set already", role);
    if (set->n_files >= SERVICE_SET_MAX_FILES)
        return fail(err, E_LIMIT, "collection of more than %u files", SERVICE_SET_MAX_FILES);
    struct signer_set_file *grown = reallocarray(set->files, set->n_files + 1, sizeof *set->files);
    if (!grown)
        return fail_nomem(err);
    set->files = grown;
    struct signer_set_file file = {.role = strdup(role), .version = version, .data = BYTES_INIT};
    if (!file.role)
        return fail_nomem(err);
    int rc = bytes_append(&file.data, data->data, data->len, err);
    if (rc) {
        free(file.role);
        return rc;
    }
    set->files[set->n_files++] = file;
    return OK;
}

int service_set_copy(const struct signer_set *from, struct signer_set *out, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; i < from->n_files && !rc; i++)
        rc = service_set_add(out, from->files[i].role, from->files[i].version, &from->files[i].data,
                             err);
    return rc;
}

bool service_set_equal(const struct signer_set *a, const struct signer_set *b)
{
    if (a->n_files != b->n_files)
        return false;
    for (size_t i = 0; i < a->n_files; i++) {
        const struct signer_set_file *x = &a->files[i], *y = service_set_find(b, x->role);
        if (!y || x->version != y->version ||
            !bytes_equal(x->data.data, x->data.len, y->data.data, y->data.len))
            return false;
    }
    return true;
}
