// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A random counter of a per-CPU array.
#include "bench.h"

MAP(counters, BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64, 256);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	u32 key = next_random(h) & 255;
	u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		*value += 1;
	return XDP_PASS;
}
