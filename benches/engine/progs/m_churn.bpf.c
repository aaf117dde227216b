// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 8 insertions, each followed by its deletion, keys of 16 bytes.
#include "bench.h"

MAP(flows, BPF_MAP_TYPE_HASH, struct flow, u64, 16384);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	struct flow f;
	u64 failed = 0;

	for (int i = 0; i < 8; i++) {
		u64 value = next_random(h);

		make_flow(&f, (u32)value & 8191);
		failed += bpf_map_update_elem(&flows, &f, &value, 0);
		failed += bpf_map_delete_elem(&flows, &f);
	}
	return failed == 0 ? XDP_PASS : XDP_ABORTED;
}
