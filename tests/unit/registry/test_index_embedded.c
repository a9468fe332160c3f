/* The contract of the index, over the embedded database. */
#include "tests/unit/registry/contract_index.h"
#include "tests/unit/registry/contract_place.h"

static int open_place(void *place, struct index **out, struct error *err)
{
    return index_open(contract_place_path(place), out, err);
}

static const struct contract_index embedded = {
    "embedded", contract_place_new,      contract_place_free,
    open_place, contract_place_set_room, contract_place_set_read_only};

int main(void)
{
    return contract_index_run(&embedded);
}
