// SPDX-License-Identifier: MIT OR Apache-2.0
// flags: -mcpu=v1
// debug: none
//
// An object as they were made before type information: map definitions are
// plain structures in a section `maps`, instructions are of version 1.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_map_def {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

struct bpf_map_def SEC("maps") totals = {
	.type = BPF_MAP_TYPE_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = 2,
};

struct bpf_map_def SEC("maps") by_length = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = 64,
	.map_flags = BPF_F_NO_PREALLOC,
};

/* Counts packets and bytes, and packets by length. */
SEC("socket")
int legacy(struct __sk_buff *skb)
{
	__u32 packets = 0, bytes = 1, length = skb->len;
	__u64 one = 1, *count;

	count = bpf_map_lookup_elem(&totals, &packets);
	if (count)
		__sync_fetch_and_add(count, 1);
	count = bpf_map_lookup_elem(&totals, &bytes);
	if (count)
		__sync_fetch_and_add(count, length);

	count = bpf_map_lookup_elem(&by_length, &length);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&by_length, &length, &one, BPF_NOEXIST);
	return length;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
