// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Counts the packets of each sender in values that also have fields of the kernel's: a
// timer, which is to forget the sender, and a pointer to the task that owns it.
//
// `count` needs neither, and runs wherever the map can be made. `forget_later` arms the
// timer.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/time.h>

struct task_struct {
	int pid; /* not where the kernel has it */
};

struct session {
	struct bpf_timer timer;
	struct task_struct __kptr *owner;
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __be32);
	__type(value, struct session);
} sessions SEC(".maps");

/* The session of the packet's sender, made if there is none. */
static __always_inline struct session *session_of(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct session new = {};
	struct session *session;
	__be32 sender;

	if ((void *)(ip + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return 0;
	sender = ip->saddr;
	session = bpf_map_lookup_elem(&sessions, &sender);
	if (session)
		return session;
	bpf_map_update_elem(&sessions, &sender, &new, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sessions, &sender);
}

/* A function of its own, so that the type information has all of `struct task_struct`. */
static __attribute__((noinline)) int verdict_of(struct task_struct *owner)
{
	return owner ? XDP_TX : XDP_PASS;
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	struct session *session = session_of(ctx);

	if (!session)
		return XDP_DROP;
	session->packets++;
	return verdict_of(session->owner);
}

static int forget(void *map, __be32 *sender, struct session *session)
{
	bpf_map_delete_elem(map, sender);
	return 0;
}

SEC("xdp")
int forget_later(struct xdp_md *ctx)
{
	struct session *session = session_of(ctx);

	if (!session)
		return XDP_DROP;
	bpf_timer_init(&session->timer, &sessions, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&session->timer, forget);
	bpf_timer_start(&session->timer, 1000000000, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
