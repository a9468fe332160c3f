#include "oci/inode_table.h"

void inode_table_done(struct inode_table *t)
{
    free(t->slots);
    *t = (struct inode_table){NULL, 0, 0};
}

/* The slot that holds inode, or the free one where it belongs. */
static struct inode_note *slot_of(const struct inode_table *t, uint64_t inode)
{
    /* Fibonacci hashing: neighbouring numbers spread over the table. */
    size_t i = (size_t)((inode * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (t->n_slots - 1);
    while (t->slots[i].inode && t->slots[i].inode != inode)
        i = (i + 1) & (t->n_slots - 1);
    return &t->slots[i];
}

static int grow(struct inode_table *t, struct error *err)
{
    struct inode_table bigger = {.n_slots = t->n_slots ? 2 * t->n_slots : 1024};
    bigger.slots = calloc(bigger.n_slots, sizeof *bigger.slots);
    if (!bigger.slots)
        return fail_nomem(err);
    for (size_t i = 0; i < t->n_slots; i++)
        if (t->slots[i].inode)
            *slot_of(&bigger, t->slots[i].inode) = t->slots[i];
    bigger.n_used = t->n_used;
    free(t->slots);
    *t = bigger;
    return OK;
}

int inode_table_set(struct inode_table *t, const struct inode_note *note, struct error *err)
{
    int rc = t->n_used * 2 >= t->n_slots ? grow(t, err) : OK;
    if (rc)
        return rc;
    struct inode_note *slot = slot_of(t, note->inode);
    t->n_used += slot->inode == 0;
    *slot = *note;
    return OK;
}

const struct inode_note *inode_table_get(const struct inode_table *t, uint64_t inode)
{
    if (!t->n_slots)
        return NULL;
    const struct inode_note *slot = slot_of(t, inode);
    return slot->inode ? slot : NULL;
}
