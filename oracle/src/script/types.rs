//! Map types and program types by name.

/// The map types by bpftool's names, in the order of `enum bpf_map_type`.
pub const MAP_TYPES: [&str; 34] = [
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
];

/// The program types that scripts load: name and `enum bpf_prog_type`.
const PROG_TYPES: [(&str, u32); 9] = [
    ("socket_filter", 1),
    ("kprobe", 2),
    ("sched_cls", 3),
    ("sched_act", 4),
    ("tracepoint", 5),
    ("xdp", 6),
    ("perf_event", 7),
    ("cgroup_skb", 8),
    ("raw_tracepoint", 17),
];

/// The number of a map type.
#[must_use]
pub fn map_type(name: &str) -> Option<u32> {
    let at = MAP_TYPES.iter().position(|own| *own == name)?;
    u32::try_from(at).ok()
}

/// The number of a program type.
#[must_use]
pub fn prog_type(name: &str) -> Option<u32> {
    PROG_TYPES.iter().find(|(own, _)| *own == name).map(|(_, id)| *id)
}

/// Whether programs of a type are run on packets.
#[must_use]
pub fn takes_packet(prog_type: &str) -> bool {
    !matches!(prog_type, "kprobe" | "tracepoint" | "perf_event" | "raw_tracepoint")
}

/// Whether keys come in an order that depends on a random seed.
#[must_use]
pub fn is_hashed(map_type: &str) -> bool {
    matches!(
        map_type,
        "hash" | "percpu_hash" | "lru_hash" | "lru_percpu_hash" | "hash_of_maps" | "sockhash"
    )
}

/// Whether there is a value for each CPU.
#[must_use]
pub fn is_percpu(map_type: &str) -> bool {
    matches!(map_type, "percpu_hash" | "percpu_array" | "lru_percpu_hash")
}

/// Whether the system call reads and writes descriptors and ids of 4 bytes as values.
#[must_use]
pub fn holds_handles(map_type: &str) -> bool {
    matches!(
        map_type,
        "prog_array" | "perf_event_array" | "cgroup_array" | "array_of_maps" | "hash_of_maps"
    )
}

/// Whether values are maps.
#[must_use]
pub fn holds_maps(map_type: &str) -> bool {
    matches!(map_type, "array_of_maps" | "hash_of_maps")
}

/// Whether values come out in the order in which they went in, or its reverse.
#[must_use]
pub fn is_sequence(map_type: &str) -> bool {
    matches!(map_type, "queue" | "stack")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_their_numbers() {
        assert_eq!(map_type("hash"), Some(crate::map_type::HASH));
        assert_eq!(map_type("bloom_filter"), Some(crate::map_type::BLOOM_FILTER));
        assert_eq!(map_type("ringbuf"), Some(crate::map_type::RINGBUF));
        assert_eq!(prog_type("raw_tracepoint"), Some(crate::prog_type::RAW_TRACEPOINT));
    }
}
