/* The contract of blob storages, over the one in memory: proof that it asks for nothing of files.
 */
#include "tests/unit/registry/contract_memory.h"

int main(void)
{
    return contract_blobs_run(&contract_memory);
}
