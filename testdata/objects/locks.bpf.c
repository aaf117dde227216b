// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Spin locks inside map values.
//
// The lock guards the two fields beside it, which must change together. With
// BPF_F_LOCK a helper takes the lock itself and writes the value in place. The
// bytes of the lock are never copied, neither in nor out.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct account {
	struct bpf_spin_lock lock;
	__u32 transfers;
	__u64 debit;
	__u64 credit;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct account);
} by_customer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct account);
} by_branch SEC(".maps");

static __always_inline void transfer(struct account *account, __u64 amount)
{
	bpf_spin_lock(&account->lock);
	account->debit += amount;
	account->credit -= amount;
	account->transfers++;
	bpf_spin_unlock(&account->lock);
}

/* Moves as much as the packet is long. */
SEC("tc")
int book(struct __sk_buff *skb)
{
	struct account fresh = {}, *account;
	__u32 customer = skb->mark, branch = skb->mark & 1;

	account = bpf_map_lookup_elem(&by_customer, &customer);
	if (!account) {
		bpf_map_update_elem(&by_customer, &customer, &fresh, BPF_NOEXIST);
		account = bpf_map_lookup_elem(&by_customer, &customer);
		if (!account)
			return 1;
	}
	transfer(account, skb->len);

	account = bpf_map_lookup_elem(&by_branch, &branch);
	if (account)
		transfer(account, skb->len);
	return 0;
}

__s32 hash_update, array_update, missing_update;

/* Sets customer 7 and branch 1 to given sums, under their locks. */
SEC("tc")
int reset(struct __sk_buff *skb)
{
	struct account given = {.transfers = 1, .debit = 2, .credit = 3};
	__u32 customer = 7, branch = 1, nobody = 8;

	bpf_map_update_elem(&by_customer, &customer, &given, BPF_ANY);
	given.debit = 20;
	hash_update = bpf_map_update_elem(&by_customer, &customer, &given, BPF_F_LOCK | BPF_EXIST);
	array_update = bpf_map_update_elem(&by_branch, &branch, &given, BPF_F_LOCK);
	missing_update = bpf_map_update_elem(&by_customer, &nobody, &given, BPF_F_LOCK | BPF_EXIST);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
