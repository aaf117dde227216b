// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 4 lookups of an array in a hash of maps, and of an element in the array. The keys 0 to
// 15 hold arrays like `inner`, which the benchmark puts there.
#include "bench.h"

#ifdef __bpf__
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, u64);
	__uint(max_entries, 64);
} inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__type(key, u32);
	__uint(max_entries, 16);
	__array(values, struct inner);
} outer SEC(".maps") = {};
#else
MAP(inner, BPF_MAP_TYPE_ARRAY, u32, u64, 64);
MAP(outer, BPF_MAP_TYPE_HASH_OF_MAPS, u32, u64, 16);
#endif

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	u64 found = 0;

	for (int i = 0; i < 4; i++) {
		u32 random = next_random(h) >> 32;
		u32 key = random & 15, index = (random >> 8) & 63;
		void *map = bpf_map_lookup_elem(&outer, &key);
		u64 *value;

		if (!map)
			continue;
		value = bpf_map_lookup_elem(map, &index);
		if (value) {
			*value += 1;
			found++;
		}
	}
	return (int)found;
}
