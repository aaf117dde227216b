// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A quota of bytes for each interface, counted without atomic instructions.
//
// `meter` runs on every CPU and adds to that CPU's copy of the count alone. `settle` runs
// now and then: it adds the copies up and closes interfaces that are over their quota;
// what comes through them afterwards is dropped.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

/* Bytes that an interface may have, and the CPUs to look at. */
const volatile __u64 quota = 1000;
const volatile __u32 cpu_count = 2;

/* By interface index. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} bytes SEC(".maps");

/* Interfaces over their quota, and the bytes they had when that was found. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} closed SEC(".maps");

SEC("tc")
int meter(struct __sk_buff *skb)
{
	__u32 interface = skb->ingress_ifindex;
	__u64 first = skb->len, *count;

	if (bpf_map_lookup_elem(&closed, &interface))
		return TC_ACT_SHOT;
	count = bpf_map_lookup_elem(&bytes, &interface);
	if (count)
		*count += skb->len;
	else
		bpf_map_update_elem(&bytes, &interface, &first, BPF_NOEXIST);
	return TC_ACT_OK;
}

/* Adds up one interface; `value` is the copy of the CPU that this runs on. */
static long settle_one(void *map, __u32 *interface, __u64 *value, void *over)
{
	__u64 sum = 0, *count;
	__u32 cpu;

	for (cpu = 0; cpu < 8 && cpu < cpu_count; cpu++) {
		count = bpf_map_lookup_percpu_elem(map, interface, cpu);
		if (count)
			sum += *count;
	}
	if (sum > quota) {
		bpf_map_update_elem(&closed, interface, &sum, BPF_ANY);
		(*(__u32 *)over)++;
	}
	return 0;
}

/* Returns how many interfaces are over their quota. */
SEC("syscall")
int settle(void *ctx)
{
	__u32 over = 0;

	bpf_for_each_map_elem(&bytes, settle_one, &over, 0);
	return over;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
