// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Map definitions at the ends of what is allowed: the longest prefixes, the most hashes,
// and a queue whose values look as if they held a lock: libbpf tells the kernel no types
// of a queue's values, so there they are bytes like others.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct long_prefix {
	__u32 len;
	__u8 data[256];
};

struct locked {
	struct bpf_spin_lock lock;
	__u32 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 0x3fffffff);
	__uint(key_size, sizeof(struct long_prefix));
	__type(value, __u64);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(map_extra, 15);
	__uint(max_entries, 1);
	__uint(value_size, 13);
} filter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, struct locked);
} locked SEC(".maps");

struct long_prefix asked = { .len = 2048, .data = { 1, 2, 3 } };
__u8 bytes[13] = { 4, 5, 6 };

SEC("raw_tp/sys_enter")
int use(void *ctx)
{
	struct locked one = { .number = 7 }, other;
	__u64 value = 8, *found;
	int result = 0;

	asked.len = 17;
	if (bpf_map_update_elem(&names, &asked, &value, BPF_NOEXIST))
		result |= 1;
	asked.len = 2048;
	found = bpf_map_lookup_elem(&names, &asked);
	if (!found || *found != value)
		result |= 2;
	if (!bpf_map_peek_elem(&filter, bytes) || bpf_map_push_elem(&filter, bytes, BPF_ANY) ||
	    bpf_map_peek_elem(&filter, bytes))
		result |= 4;
	if (bpf_map_push_elem(&locked, &one, BPF_ANY) || bpf_map_pop_elem(&locked, &other) ||
	    other.number != 7)
		result |= 8;
	return result;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
