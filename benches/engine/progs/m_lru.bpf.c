// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 16 insertions of keys never seen before into a full LRU hash of 10,000: each evicts.
#include "bench.h"

MAP(recent, BPF_MAP_TYPE_LRU_HASH, u32, u64, 10000);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	u64 failed = 0;

	for (int i = 0; i < 16; i++) {
		u32 key = h->idx++;
		u64 value = key;

		failed |= bpf_map_update_elem(&recent, &key, &value, 0);
	}
	return failed == 0 ? XDP_PASS : XDP_ABORTED;
}
