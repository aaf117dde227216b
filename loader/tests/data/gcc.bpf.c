// What gcc writes differently: the value of a named symbol stands in the instruction
// as well, and calls hold the callee's address.
#include "common.h"

#define noinline __attribute__((noinline))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} second SEC(".maps");

__u64 one = 1, two[4] = { 2, 3, 4, 5 };
__u64 zero, more;
static volatile __u32 quiet = 7;

noinline int callee(int x)
{
	return x + (int)bpf_get_prandom_u32();
}

noinline int other(int x)
{
	return x - (int)bpf_get_prandom_u32();
}

static noinline long each(void *map, const void *key, void *value, void *ctx)
{
	*(__u64 *)ctx += *(__u64 *)value;
	return 0;
}

SEC("tc") int both(struct __sk_buff *skb)
{
	__u32 key = 0;
	__u64 sum = 0;

	bpf_map_delete_elem(&first, &key);
	// A helper called twice would go through a register, which gcc refuses.
	bpf_for_each_map_elem(&second, each, &sum, 0);
	more = sum;
	zero = one + two[1] + two[3] + quiet;
	return callee(skb->len) + other(skb->mark);
}

SEC("license") char LICENSE[] = "GPL";
