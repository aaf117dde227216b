// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Keeps the sockets of user space by their 4-tuple, and looks packets' sockets up.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

struct tuple {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 64);
	__type(key, struct tuple);
	__type(value, __u64);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} recent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} workers SEC(".maps");

/* What the last packet's socket was. */
__u32 family, state, port, peer_port;

/* Packets of connections that are known pass, and their sockets are the recent ones. */
SEC("tc")
int known(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct tuple tuple = {};
	struct bpf_sock *sk;
	__u32 slot;

	if ((void *)(tcp + 1) > data_end)
		return TC_ACT_SHOT;
	tuple.saddr = ip->saddr;
	tuple.daddr = ip->daddr;
	tuple.sport = tcp->source;
	tuple.dport = tcp->dest;
	sk = bpf_map_lookup_elem(&connections, &tuple);
	if (!sk)
		return TC_ACT_SHOT;
	family = sk->family;
	state = sk->state;
	port = sk->src_port;
	peer_port = bpf_ntohs(sk->dst_port);
	slot = bpf_ntohs(tcp->source) & 3;
	bpf_map_update_elem(&recent, &slot, sk, BPF_ANY);
	bpf_sk_release(sk);
	return TC_ACT_OK;
}

/* A packet from a closed port: its connection is forgotten. */
SEC("tc")
int forget(struct __sk_buff *skb)
{
	struct tuple tuple = {};

	if (bpf_skb_load_bytes(skb, ETH_HLEN + 12, &tuple.saddr, 8))
		return TC_ACT_SHOT;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + 20, &tuple.sport, 4))
		return TC_ACT_SHOT;
	return bpf_map_delete_elem(&connections, &tuple) ? TC_ACT_SHOT : TC_ACT_OK;
}
