// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 16 lookups that hit, keys of 16 bytes, among 100,000: more than a cache holds.
#include "bench.h"

MAP(flows, BPF_MAP_TYPE_HASH, struct flow, u64, 131072);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	struct flow f;
	u64 sum = 0;

	if (h->mode == 1) {
		u32 i = h->idx++;
		u64 value = i;

		make_flow(&f, i);
		bpf_map_update_elem(&flows, &f, &value, 0);
		return 0;
	}
	for (int i = 0; i < 16; i++) {
		u64 *value;

		make_flow(&f, (u32)((next_random(h) >> 32) * 100000 >> 32));
		value = bpf_map_lookup_elem(&flows, &f);
		if (value)
			sum += *value;
	}
	return sum & 0x7fffffff;
}
