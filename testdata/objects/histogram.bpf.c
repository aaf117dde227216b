// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A histogram of read sizes in powers of two.
//
// Slot 0 counts sizes 0 and 1, slot n the sizes from 2^n to 2^(n+1) - 1, the
// last slot everything larger. An array needs no insertion: every slot exists
// from the start and holds zero.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SLOTS 27

/* The context of the tracepoint, as in its `format` file under tracefs. */
struct sys_enter_read {
	__u16 common_type;
	__u8 common_flags;
	__u8 common_preempt_count;
	__s32 common_pid;
	__s32 syscall_nr;
	__u32 pad;
	__u64 fd;
	__u64 buf;
	__u64 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} slots SEC(".maps");

/* The position of the highest set bit, found by halving; 0 for 0. */
static __always_inline __u32 log2_floor(__u64 value)
{
	__u32 bits = 0;

#pragma unroll
	for (__u32 step = 32; step > 0; step /= 2) {
		if (value >> step) {
			value >>= step;
			bits += step;
		}
	}
	return bits;
}

SEC("tracepoint/syscalls/sys_enter_read")
int on_read(struct sys_enter_read *ctx)
{
	__u32 slot = log2_floor(ctx->count);
	__u64 *count;

	if (slot >= SLOTS)
		slot = SLOTS - 1;
	count = bpf_map_lookup_elem(&slots, &slot);
	if (count)
		__sync_fetch_and_add(count, 1);
	return slot;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
