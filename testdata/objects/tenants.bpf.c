// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Rules of many tenants, each in a map of its own.
//
// The VLAN that a frame carries tells whose it is. The outer map holds a map for each
// tenant: the ports that are open there and the packets they got. Which map the second
// lookup searches is known only at run time, so tenants can come and go, and one tenant's
// rules be exchanged at once, without the program being loaded anew.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* The tag behind the Ethernet addresses (IEEE 802.1Q). */
struct vlan {
	__be16 tag; /* 3 bits of priority, 1 of eligibility for drops, 12 of identity */
	__be16 inner_protocol;
};

struct port {
	__u64 packets;
	__u64 bytes;
};

/* What the map of every tenant looks like, by port in host byte order. */
struct ports {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u16);
	__type(value, struct port);
} guests SEC(".maps");

/* By VLAN. Guests are always there; others are put in from outside. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__array(values, struct ports);
} tenants SEC(".maps") = {
	.values = {[0] = &guests},
};

/* Frames by what became of them. */
enum fate { NO_TENANT, CLOSED_PORT, OPEN_PORT, FATES };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FATES);
	__type(key, __u32);
	__type(value, __u64);
} fates SEC(".maps");

static __always_inline int end_as(__u32 fate)
{
	__u64 *count = bpf_map_lookup_elem(&fates, &fate);

	if (count)
		(*count)++;
	return fate == OPEN_PORT ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int admit(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__be16 protocol, *ports;
	__u32 tenant = 0;
	struct port *port;
	struct iphdr *ip;
	void *open;
	__u16 wanted;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	protocol = eth->h_proto;
	ip = (void *)(eth + 1);
	if (protocol == bpf_htons(ETH_P_8021Q)) {
		struct vlan *vlan = (void *)(eth + 1);

		if ((void *)(vlan + 1) > end)
			return XDP_DROP;
		tenant = bpf_ntohs(vlan->tag) & 0xfff;
		protocol = vlan->inner_protocol;
		ip = (void *)(vlan + 1);
	}
	if (protocol != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	ports = (void *)(ip + 1);
	if ((void *)(ports + 2) > end || ip->ihl != 5)
		return XDP_DROP;

	open = bpf_map_lookup_elem(&tenants, &tenant);
	if (!open)
		return end_as(NO_TENANT);
	wanted = bpf_ntohs(ports[1]);
	port = bpf_map_lookup_elem(open, &wanted);
	if (!port)
		return end_as(CLOSED_PORT);
	__sync_fetch_and_add(&port->packets, 1);
	__sync_fetch_and_add(&port->bytes, end - data);
	return end_as(OPEN_PORT);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
