// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: takes a lock that it already holds.
//
// In the kernel this would be a deadlock. Taking a second lock while holding
// another is refused too: that is what `other` does.
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
int twice(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct account *account = bpf_map_lookup_elem(&accounts, &zero);

	if (!account)
		return 1;
	bpf_spin_lock(&account->lock);
	bpf_spin_lock(&account->lock); /* FAULT */
	account->sum++;
	bpf_spin_unlock(&account->lock);
	return 0;
}

SEC("tc")
int other(struct __sk_buff *skb)
{
	__u32 zero = 0, one = 1;
	struct account *first = bpf_map_lookup_elem(&accounts, &zero);
	struct account *second = bpf_map_lookup_elem(&accounts, &one);

	if (!first || !second)
		return 1;
	bpf_spin_lock(&first->lock);
	bpf_spin_lock(&second->lock); /* FAULT */
	first->sum = second->sum;
	bpf_spin_unlock(&second->lock);
	bpf_spin_unlock(&first->lock);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
