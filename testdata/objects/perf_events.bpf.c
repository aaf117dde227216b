// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Reports through perf events, as tools did before there were ring buffers.
//
// The map holds one event for each CPU; a program puts out to that of the CPU
// it runs on. Programs on packets can have bytes of the packet appended.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct sys_enter_openat {
	__u64 common;
	__s64 syscall_nr;
	__u64 dfd;
	__u64 filename;
	__u64 flags;
	__u64 mode;
};

struct event {
	__u64 time;
	__u32 pid;
	__u32 flags;
	char comm[16];
};

/* Without max_entries there is an element for each CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

/* Which element `elsewhere` puts out to. */
const volatile __u32 element = 0;
/* What was put out, and what could not be. */
__u64 sent, failed;

static long count(long result)
{
	__u64 *which = result ? &failed : &sent;

	__sync_fetch_and_add(which, 1);
	return result;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int on_open(struct sys_enter_openat *ctx)
{
	struct event event = {
		.time = bpf_ktime_get_ns(),
		.pid = bpf_get_current_pid_tgid() >> 32,
		.flags = ctx->flags,
	};

	bpf_get_current_comm(event.comm, sizeof(event.comm));
	return count(bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event)));
}

/* Two samples, and one that goes to another CPU's event unless it is this one's. */
SEC("tracepoint/syscalls/sys_enter_openat")
int elsewhere(struct sys_enter_openat *ctx)
{
	__u32 number = ctx->flags;

	count(bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &number, sizeof(number)));
	number++;
	count(bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &number, sizeof(number)));
	number++;
	return count(bpf_perf_event_output(ctx, &events, element, &number, sizeof(number)));
}

/* A sample of each packet: its length, then its first bytes. */
SEC("xdp")
int sample(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 length = end - data;
	__u64 wanted = length < 20 ? length : 20;
	__u64 flags = BPF_F_CURRENT_CPU | wanted << 32;

	return count(bpf_perf_event_output(ctx, &events, flags, &length, sizeof(length))) ?
		XDP_ABORTED : XDP_PASS;
}

/* More of the packet than there is. */
SEC("tc")
int too_much(struct __sk_buff *skb)
{
	__u64 flags = BPF_F_CURRENT_CPU | (__u64)(skb->len + 1) << 32;

	return count(bpf_perf_event_output(skb, &events, flags, &flags, 0));
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
