// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Sends packets elsewhere: out of another device, to another CPU, to a socket of user
// space, or to all devices of a bridge.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} bridge SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* How many CPUs there are to choose from. */
const volatile __u32 cpu_count = 2;

/* By the last byte of the IPv4 destination; what has no port there passes. */
SEC("xdp")
int by_address(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	return bpf_redirect_map(&ports, bpf_ntohl(ip->daddr) & 0xff, XDP_PASS);
}

/* Out of all devices but the one it came from. */
SEC("xdp")
int flood(struct xdp_md *ctx)
{
	return bpf_redirect_map(&bridge, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
}

/* To the CPU that a hash of the addresses names; to none, if it has no queue. */
SEC("xdp")
int by_flow(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 hash;

	if ((void *)(ip + 1) > data_end)
		return XDP_PASS;
	hash = (ip->saddr ^ ip->daddr) * 0x9e3779b1;
	return bpf_redirect_map(&cpus, (hash >> 16) % cpu_count, XDP_DROP);
}

/* To the socket of the receive queue, if there is one. */
SEC("xdp")
int to_user_space(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index;

	if (!bpf_map_lookup_elem(&sockets, &queue))
		return XDP_PASS;
	return bpf_redirect_map(&sockets, queue, XDP_DROP);
}

/* What is said last counts, and only with the verdict that says so, too. */
SEC("xdp")
int change_of_mind(struct xdp_md *ctx)
{
	bpf_redirect(7, 0);
	if (ctx->rx_queue_index == 1)
		return XDP_PASS;
	if (ctx->rx_queue_index == 2)
		bpf_redirect_map(&ports, 100, XDP_TX);
	return XDP_REDIRECT;
}

SEC("tc")
int into_device(struct __sk_buff *skb)
{
	return bpf_redirect(skb->mark, BPF_F_INGRESS);
}

char _license[] SEC("license") = "GPL";
