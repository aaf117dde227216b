// SPDX-License-Identifier: MIT OR Apache-2.0
//
// How long calls of read(2) take, and how much they read.
//
// The probe at entry notes when a thread came in; the probe at exit takes the note away
// and adds the difference to a histogram of powers of two. An exit without an entry, of a
// thread that was in the call when the probes were attached, counts for nothing.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Contexts as in the tracepoints' `format` files under tracefs. */
struct sys_enter {
	__u64 common;
	__s64 id;
	__u64 args[6];
};

struct sys_exit {
	__u64 common;
	__s64 id;
	__s64 ret;
};

/* When a thread came in, in nanoseconds. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, __u64);
} entered SEC(".maps");

#define SLOTS 32

/* Calls that took 2^n to 2^(n+1) - 1 nanoseconds, by n. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} took SEC(".maps");

__u64 bytes_read;
__u64 failed;

static __always_inline __u32 log2(__u64 value)
{
	__u32 log = 0, shift;

	for (shift = 16; shift; shift >>= 1) {
		if (value >> shift) {
			value >>= shift;
			log += shift;
		}
	}
	return log;
}

SEC("tracepoint/syscalls/sys_enter_read")
int enter(struct sys_enter *ctx)
{
	__u32 thread = bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&entered, &thread, &now, BPF_ANY);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_read")
int leave(struct sys_exit *ctx)
{
	__u32 thread = bpf_get_current_pid_tgid(), slot;
	__u64 *since, *count, nanoseconds;

	since = bpf_map_lookup_elem(&entered, &thread);
	if (!since)
		return 0;
	nanoseconds = bpf_ktime_get_ns() - *since;
	bpf_map_delete_elem(&entered, &thread);

	slot = log2(nanoseconds);
	if (slot >= SLOTS)
		slot = SLOTS - 1;
	count = bpf_map_lookup_elem(&took, &slot);
	if (count)
		__sync_fetch_and_add(count, 1);
	if (ctx->ret < 0)
		__sync_fetch_and_add(&failed, 1);
	else
		__sync_fetch_and_add(&bytes_read, ctx->ret);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
