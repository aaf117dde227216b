// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Nothing: what it costs to call a program.
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	return XDP_PASS;
}
