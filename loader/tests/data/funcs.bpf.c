// Functions in every place, called in every way.
#include "common.h"

#define noinline __attribute__((noinline))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

// In .text, static: clang calls it through the section symbol.
static noinline int twice(int x)
{
	return bpf_ktime_get_ns() + x * 2;
}

static noinline int thrice(int x)
{
	return twice(x) + bpf_get_smp_processor_id();
}

// In .text, visible: called through its own symbol.
noinline int visible(int x)
{
	return thrice(x) + 1;
}

__weak noinline int replaceable(int x)
{
	return x ^ (int)bpf_get_prandom_u32();
}

// Never called.
noinline int dead(int x)
{
	return x - (int)bpf_get_prandom_u32();
}

// Both a callback and a plain function.
static noinline long each(void *map, const void *key, void *value, void *ctx)
{
	*(long *)ctx += *(long *)value + twice(*(int *)key);
	return 0;
}

static noinline long step(__u32 index, void *ctx)
{
	*(long *)ctx += index;
	return 0;
}

SEC("tc") noinline int calls(struct __sk_buff *skb)
{
	return twice(skb->len) + visible(skb->mark) + replaceable(skb->len);
}

SEC("tc") int callbacks(struct __sk_buff *skb)
{
	__u32 key = skb->len;
	__u64 value = skb->mark;
	long sum = 0;

	bpf_for_each_map_elem(&numbers, each, &sum, 0);
	bpf_loop(skb->len, step, &sum, 0);
	each(&numbers, &key, &value, &sum);
	return sum;
}

// A static function beside the programs that call it.
SEC("tc/local") static noinline int beside(int x)
{
	return x + (int)bpf_get_prandom_u32();
}

SEC("tc/local") int neighbour(struct __sk_buff *skb)
{
	return beside(skb->len) + thrice(1);
}

// A program that is called as a function, across sections.
SEC("?tc/other") int across(struct __sk_buff *skb)
{
	return calls(skb) + 1;
}

SEC("license") char LICENSE[] = "Dual MIT/GPL";
