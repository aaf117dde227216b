// Every key of a BTF map definition, and maps filled from the start.
#include "common.h"

struct key {
	__u32 pid;
	char comm[12];
};

struct item;
struct value {
	__u64 hits;
	struct bpf_spin_lock lock;
	struct bpf_timer timer;
	struct {
		struct item __attribute__((btf_type_tag("kptr"))) *kept[2];
	} nested;
	int last;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE);
	__uint(numa_node, 0);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct key);
	__type(value, struct value);
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(key_size, 16);
	__uint(value_size, 4);
	__uint(max_entries, 8);
} sized SEC(".maps");

// Both ways at once, agreeing.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__type(key, __u32);
	__type(value, __u64);
	__uint(value_size, 8);
	__uint(max_entries, 1);
} both SEC(".maps");

// Not a size that a ring can have.
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
} perf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 100);
	__type(value, __u32);
	enum { bloom_extra = 0x123456789ULL } map_extra;
} bloom SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
};

struct inner inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer_array SEC(".maps") = {
	.values = { [0] = &inner_a, [3] = &inner_b },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 2);
		__type(key, __u32);
		__type(value, __u64);
	});
} outer_hash SEC(".maps");

int target(struct xdp_md *ctx);
static int hidden(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__array(values, int(struct xdp_md *));
} jumps SEC(".maps") = {
	.values = { [0] = target, [2] = hidden },
};

SEC("xdp") int entry(struct xdp_md *ctx)
{
	__u32 key = 0;
	void *value = bpf_map_lookup_elem(&both, &key);

	if (value)
		bpf_map_update_elem(&sized, value, value, BPF_ANY);
	value = bpf_map_lookup_elem(&outer_array, &key);
	if (value)
		bpf_map_lookup_elem(value, &key);
	bpf_tail_call(ctx, &jumps, 0);
	return XDP_PASS;
}

SEC("xdp/target") int target(struct xdp_md *ctx)
{
	struct value *value = bpf_map_lookup_elem(&typed, ctx);
	return value ? value->last : 1;
}

// A static program, reached by tail calls only.
SEC("xdp/target") static int hidden(struct xdp_md *ctx)
{
	return XDP_DROP;
}
