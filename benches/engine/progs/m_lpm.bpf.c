// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 4 lookups of random addresses in a trie of 10,000 IPv4 prefixes of 8 to 24 bits.
#include "bench.h"

struct prefix {
	u32 bits;
	u8 address[4];
};
MAP_FLAGS(routes, BPF_MAP_TYPE_LPM_TRIE, struct prefix, u64, 16384,
	  BPF_F_NO_PREALLOC);

inline_fn void set_address(struct prefix *p, u32 address)
{
	p->address[0] = address;
	p->address[1] = address >> 8;
	p->address[2] = address >> 16;
	p->address[3] = address >> 24;
}

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	struct prefix p;
	u64 sum = 0;

	if (h->mode == 1) {
		u32 i = h->idx++;
		u64 value = i;

		p.bits = 8 + i % 17;
		set_address(&p, i * 0x9E3779B97F4A7C15ull >> 32);
		bpf_map_update_elem(&routes, &p, &value, 0);
		return 0;
	}
	for (int i = 0; i < 4; i++) {
		u64 *value;

		p.bits = 32;
		set_address(&p, next_random(h) >> 32);
		value = bpf_map_lookup_elem(&routes, &p);
		if (value)
			sum += *value;
	}
	return sum & 0x7fffffff;
}
