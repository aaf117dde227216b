// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: returns with a lock held.
//
// The next program to want the lock would wait for ever. The fault is at the
// return; the lock is released all the same.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct account {
	struct bpf_spin_lock lock;
	__u32 unused;
	__u64 sum;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct account);
} accounts SEC(".maps");

SEC("tc")
int held(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct account *account = bpf_map_lookup_elem(&accounts, &zero);

	if (!account)
		return 1;
	bpf_spin_lock(&account->lock);
	account->sum++;
	return 0;
} /* FAULT */

char LICENSE[] SEC("license") = "Dual MIT/GPL";
