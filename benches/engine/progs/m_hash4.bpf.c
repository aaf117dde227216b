// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 16 lookups that hit, keys of 4 bytes, among 10,000.
#include "bench.h"

MAP(table, BPF_MAP_TYPE_HASH, u32, u64, 16384);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	u64 sum = 0;

	if (h->mode == 1) {
		u32 key = h->idx++;
		u64 value = key * 7ull;

		bpf_map_update_elem(&table, &key, &value, 0);
		return 0;
	}
	for (int i = 0; i < 16; i++) {
		u32 key = (u32)((next_random(h) >> 32) * 10000 >> 32);
		u64 *value = bpf_map_lookup_elem(&table, &key);

		if (value)
			sum += *value;
	}
	return sum & 0x7fffffff;
}
