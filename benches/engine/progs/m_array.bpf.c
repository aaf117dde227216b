// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A random element of an array, and an atomic addition to it.
#include "bench.h"

MAP(array, BPF_MAP_TYPE_ARRAY, u32, u64, 256);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	u32 key = next_random(h) & 255;
	u64 *value = bpf_map_lookup_elem(&array, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	return XDP_PASS;
}
