// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One function as a sub-program and as a callback.
//
// A callback is called by a helper; the program passes its address (an `lddw`
// with a relocation to the function). Nothing keeps the program from calling
// the same function itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct sum {
	__u64 total;
	__u32 calls;
	__u32 stop_after; /* calls; 0: never */
};

/* For bpf_loop: adds the index. Returning 1 stops the loop. */
static __noinline long add_index(__u32 index, struct sum *sum)
{
	sum->total += index;
	return ++sum->calls == sum->stop_after;
}

/* For bpf_for_each_map_elem: adds the value. */
static __noinline long add_value(void *map, __u32 *key, __u64 *value, struct sum *sum)
{
	sum->total += *value;
	return ++sum->calls == sum->stop_after;
}

__u64 loop_total, stopped_total, each_total;
__s64 loop_result, stopped_result, each_result, flags_result;
__s32 many_result; /* 32 bits: the kernel does not always extend this one's sign */

SEC("raw_tp/sys_enter")
int loops(void *ctx)
{
	struct sum sum = {};

	/* 0 + 1 + ... + 9, then 1000 by a call of our own. */
	loop_result = bpf_loop(10, add_index, &sum, 0);
	add_index(1000, &sum);
	loop_total = sum.total;

	/* Stops in the fifth call: 0 + 1 + 2 + 3 + 4. */
	sum = (struct sum){.stop_after = 5};
	stopped_result = bpf_loop(10, add_index, &sum, 0);
	stopped_total = sum.total;

	/* No flag is known, and no more than 2^23 turns are allowed. */
	flags_result = bpf_loop(1, add_index, &sum, 1);
	many_result = bpf_loop((1 << 23) + 1, add_index, &sum, 0);
	return sum.calls;
}

SEC("raw_tp/sys_enter")
int each(void *ctx)
{
	struct sum sum = {};
	__u64 value;
	__u32 key;

	for (__u32 i = 0; i < 4; i++) {
		key = i;
		value = i * i;
		bpf_map_update_elem(&numbers, &key, &value, BPF_ANY);
	}
	/* 0 + 1 + 4 + 9, then 1000 by a call of our own. */
	each_result = bpf_for_each_map_elem(&numbers, add_value, &sum, 0);
	key = 0;
	value = 1000;
	add_value(&numbers, &key, &value, &sum);
	each_total = sum.total;
	return sum.calls;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
