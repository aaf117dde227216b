// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: touches the bytes of a lock with a plain load, and frees a lock that
// it does not hold.
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
int peek(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct account *account = bpf_map_lookup_elem(&accounts, &zero);

	if (!account)
		return 1;
	return *(volatile __u32 *)&account->lock; /* FAULT */
}

SEC("tc")
int unlock(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct account *account = bpf_map_lookup_elem(&accounts, &zero);

	if (!account)
		return 1;
	bpf_spin_unlock(&account->lock); /* FAULT */
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
