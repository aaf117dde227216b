// Map definitions from before BTF: fixed structs in sections of several names.
#include "common.h"

struct def20 {
	unsigned int type, key_size, value_size, max_entries, flags;
};

struct def28 {
	unsigned int type, key_size, value_size, max_entries, flags, inner, numa_node;
};

struct def36 {
	unsigned int type, key_size, value_size, max_entries, flags, id, pinning, inner_id, inner_idx;
};

struct def20 counts SEC("maps") = { BPF_MAP_TYPE_HASH, 4, 8, 64, BPF_F_NO_PREALLOC };
struct def20 slots SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0 };

struct def28 template SEC("maps/inner") = { BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0, 0, 0 };
struct def28 outer SEC("maps/inner") = { BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 0 };

struct def36 shared SEC("lirc_mode2/maps") = { BPF_MAP_TYPE_HASH, 4, 4, 9, 0, 7, 2, 0, 0 };
struct def36 nest SEC("lirc_mode2/maps") = { BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 3, 0, 8, 0, 7, 0 };

SEC("socket/0") int first(struct __sk_buff *skb)
{
	__u32 key = skb->len;
	__u64 one = 1, *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_NOEXIST);
	bpf_map_lookup_elem(&slots, &key);
	bpf_map_lookup_elem(&outer, &key);
	bpf_map_lookup_elem(&nest, &key);
	return 0;
}
