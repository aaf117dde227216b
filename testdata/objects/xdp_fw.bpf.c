// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A small firewall for XDP.
//
// Packets of blocked IPv4 sources are dropped. A source that opens more than
// `limit` TCP connections is put on the list of the blocked. Everything else
// passes; a packet too short for the headers that it claims is aborted.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Connections that a source may open before it is blocked. */
const volatile __u32 limit = 3;

/* Blocked sources (address in network byte order) and the packets dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, __u64);
} blocked SEC(".maps");

/* Connections opened, by source. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, __u32);
} opened SEC(".maps");

/* Packets by verdict: XDP_ABORTED, XDP_DROP, XDP_PASS. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XDP_PASS + 1);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

/* Whether `source`, opening a connection, now has opened too many. */
static __always_inline int over_limit(__be32 source)
{
	__u32 one = 1, *count;

	count = bpf_map_lookup_elem(&opened, &source);
	if (!count) {
		bpf_map_update_elem(&opened, &source, &one, BPF_NOEXIST);
		return one > limit;
	}
	return __sync_fetch_and_add(count, 1) + 1 > limit;
}

static __always_inline int judge(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip;
	struct tcphdr *tcp;
	__be32 source;
	__u64 *dropped, one = 1;

	if ((void *)(eth + 1) > end)
		return XDP_ABORTED;
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;

	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end || ip->ihl < 5)
		return XDP_ABORTED;
	source = ip->saddr;

	dropped = bpf_map_lookup_elem(&blocked, &source);
	if (dropped) {
		__sync_fetch_and_add(dropped, 1);
		return XDP_DROP;
	}

	/* Only the first fragment of a packet holds the TCP header. */
	if (ip->protocol != IPPROTO_TCP || ip->frag_off & bpf_htons(0x1fff))
		return XDP_PASS;
	tcp = (void *)ip + ip->ihl * 4;
	if ((void *)(tcp + 1) > end)
		return XDP_ABORTED;

	if (tcp->syn && !tcp->ack && over_limit(source)) {
		bpf_map_update_elem(&blocked, &source, &one, BPF_ANY);
		return XDP_DROP;
	}
	return XDP_PASS;
}

SEC("xdp")
int fw(struct xdp_md *ctx)
{
	__u32 verdict = judge(ctx);
	__u64 *count;

	count = bpf_map_lookup_elem(&verdicts, &verdict);
	if (count)
		__sync_fetch_and_add(count, 1);
	return verdict;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
