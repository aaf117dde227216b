// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the tasks of certain cgroups open, and no others.
//
// User space puts the cgroups to be watched into a CGROUP_ARRAY. A task belongs to the
// first of them that it is in, however deep below; slots may be empty.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define WATCHED 4

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, WATCHED);
	__uint(key_size, 4);
	__uint(value_size, 4);
} watched SEC(".maps");

/* Files opened, by the slot of the cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WATCHED);
	__type(key, __u32);
	__type(value, __u64);
} opened SEC(".maps");

/* The last cgroup that opened something and was in none of them. */
__u64 stranger;

SEC("tracepoint/syscalls/sys_enter_openat")
int on_open(void *ctx)
{
	__u64 *count;
	__u32 slot;
	int i;

	for (i = 0; i < WATCHED; i++) {
		/* 1 inside, 0 outside, EAGAIN for an empty slot. */
		if (bpf_current_task_under_cgroup(&watched, i) != 1)
			continue;
		slot = i;
		count = bpf_map_lookup_elem(&opened, &slot);
		if (count)
			(*count)++;
		return 0;
	}
	stranger = bpf_get_current_cgroup_id();
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
