// One function without a section of its own.
#include "common.h"

int alone(void *ctx)
{
	return 4;
}
