// SPDX-License-Identifier: MIT OR Apache-2.0
//
// An allow-list of networks, for IPv4 and IPv6.
//
// A packet passes when the longest prefix that its source lies in says so; a short prefix
// may be allowed and a longer one inside it not. What no prefix covers is dropped, what is
// neither IPv4 nor IPv6 passes: ARP, for one, is needed to get any packet at all.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Keys of LPM tries: the length in bits, then the address in network byte order. */
struct network4 {
	__u32 bits;
	__u8 address[4];
};

struct network6 {
	__u32 bits;
	__u8 address[16];
};

struct rule {
	__u32 allowed;
	__u32 id; /* what people call it */
	__u64 packets;
};

/* LPM tries have to be made without preallocation. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct network4);
	__type(value, struct rule);
} networks4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct network6);
	__type(value, struct rule);
} networks6 SEC(".maps");

/* Sources that no prefix covers, by the first octet of the address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u8);
	__type(value, __u64);
} strangers SEC(".maps");

static __always_inline int apply(struct rule *rule, __u8 octet)
{
	__u64 one = 1, *count;

	if (rule) {
		__sync_fetch_and_add(&rule->packets, 1);
		return rule->allowed ? XDP_PASS : XDP_DROP;
	}
	count = bpf_map_lookup_elem(&strangers, &octet);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&strangers, &octet, &one, BPF_NOEXIST);
	return XDP_DROP;
}

SEC("xdp")
int allow(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;

	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		/* A lookup asks with the full length: any prefix of it may match. */
		struct network4 key = {.bits = 32};
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		__builtin_memcpy(key.address, &ip->saddr, sizeof(key.address));
		return apply(bpf_map_lookup_elem(&networks4, &key), key.address[0]);
	}

	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct network6 key = {.bits = 128};
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		__builtin_memcpy(key.address, &ip->saddr, sizeof(key.address));
		return apply(bpf_map_lookup_elem(&networks6, &key), key.address[0]);
	}

	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
