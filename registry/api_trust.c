#include "registry/api.h"
const struct api_operation api_trust_operations[] = {{.finish = NULL}};
