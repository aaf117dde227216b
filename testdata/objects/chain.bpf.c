// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Programs that tail-call themselves until the kernel's limit stops them.
//
// A run may make 33 tail calls: the program body executes 34 times, and the
// 34th attempt to jump falls through. The three programs differ in where the
// call stands.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int chain(struct __sk_buff *skb);
int from_subprog(struct __sk_buff *skb);
int after_misses(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4); /* the last slot stays empty */
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct __sk_buff *));
} programs SEC(".maps") = {
	.values = {
		[0] = (void *)&chain,
		[1] = (void *)&from_subprog,
		[2] = (void *)&after_misses,
	},
};

/* How often the body of each program was entered. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u32);
} entered SEC(".maps");

/* Counts an entry of program `which` and returns the new count. */
static __always_inline __u32 enter(__u32 which)
{
	__u32 *count = bpf_map_lookup_elem(&entered, &which);

	return count ? ++*count : 0;
}

/* The plain case. Only the last body reaches its return: the result is 34. */
SEC("tc")
int chain(struct __sk_buff *skb)
{
	__u32 count = enter(0);

	bpf_tail_call(skb, &programs, 0);
	return count;
}

static __noinline int jump_from_here(struct __sk_buff *skb)
{
	int result = 0;

	bpf_tail_call(skb, &programs, 1);
	/* Else the compiler knows that this function returns 0. */
	barrier_var(result);
	return result;
}

/*
 * A tail call in a sub-program replaces the frame of the sub-program only, so
 * every body returns into the one that jumped: the 34 bodies unwind one after
 * another, each adding one to what the next returned. The result is 34.
 */
SEC("tc")
int from_subprog(struct __sk_buff *skb)
{
	enter(1);
	return jump_from_here(skb) + 1;
}

/*
 * Calls to an empty slot (3) and past the end (4) fall through and use up
 * nothing: 33 jumps are still left, and the result is 34.
 */
SEC("tc")
int after_misses(struct __sk_buff *skb)
{
	__u32 count = enter(2);

	if (count == 1) {
		bpf_tail_call(skb, &programs, 3);
		bpf_tail_call(skb, &programs, 4);
	}
	bpf_tail_call(skb, &programs, 2);
	return count;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
