//! Flags of the UAPI (`include/uapi/linux/bpf.h`).

/// Update: create or replace.
pub const BPF_ANY: u64 = 0;
/// Update: create only.
pub const BPF_NOEXIST: u64 = 1;
/// Update: replace only.
pub const BPF_EXIST: u64 = 2;
/// Lookup and update: under the value's `bpf_spin_lock`.
pub const BPF_F_LOCK: u64 = 4;

/// Creation: allocate elements when they are inserted.
pub const BPF_F_NO_PREALLOC: u32 = 1 << 0;
/// Creation: an LRU list for each CPU.
pub const BPF_F_NO_COMMON_LRU: u32 = 1 << 1;
/// Creation: `numa_node` is given.
pub const BPF_F_NUMA_NODE: u32 = 1 << 2;
/// Creation: user space may not write.
pub const BPF_F_RDONLY: u32 = 1 << 3;
/// Creation: user space may not read.
pub const BPF_F_WRONLY: u32 = 1 << 4;
/// Creation: stacks of build ids and offsets in the place of addresses.
pub const BPF_F_STACK_BUILD_ID: u32 = 1 << 5;
/// Creation: no random hash seed.
pub const BPF_F_ZERO_SEED: u32 = 1 << 6;
/// Creation: programs may not write.
pub const BPF_F_RDONLY_PROG: u32 = 1 << 7;
/// Creation: programs may not read.
pub const BPF_F_WRONLY_PROG: u32 = 1 << 8;
/// Creation: an array whose values user space may map.
pub const BPF_F_MMAPABLE: u32 = 1 << 10;
/// Creation: perf event entries stay when the file that set them is closed.
pub const BPF_F_PRESERVE_ELEMS: u32 = 1 << 11;
/// Creation: an array that may be an inner map of any size.
pub const BPF_F_INNER_MAP: u32 = 1 << 12;
/// Creation: a BPF token is given, which delegates the right to make the map.
pub const BPF_F_TOKEN_FD: u32 = 1 << 16;
/// All flags that say who may access a map (kernel `BPF_F_ACCESS_MASK`).
pub const BPF_F_ACCESS_MASK: u32 =
    BPF_F_RDONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY | BPF_F_WRONLY_PROG;

/// `redirect_map`: to all devices in the map.
pub const BPF_F_BROADCAST: u64 = 1 << 3;
/// `redirect_map`: but not to the one that the packet came from.
pub const BPF_F_EXCLUDE_INGRESS: u64 = 1 << 4;
/// Stacks: how many of the innermost addresses are skipped.
pub const BPF_F_SKIP_FIELD_MASK: u64 = 0xff;
/// Stacks: the user's, not the kernel's.
pub const BPF_F_USER_STACK: u64 = 1 << 8;
/// Stacks: two of the same hash are the same.
pub const BPF_F_FAST_STACK_CMP: u64 = 1 << 9;
/// Stacks: one may take the place of another of the same bucket.
pub const BPF_F_REUSE_STACKID: u64 = 1 << 10;
/// Stacks: build ids and offsets in the place of addresses.
pub const BPF_F_USER_BUILD_ID: u64 = 1 << 11;

/// Ring buffers: do not wake the consumer.
pub const BPF_RB_NO_WAKEUP: u64 = 1;
/// Ring buffers: wake the consumer.
pub const BPF_RB_FORCE_WAKEUP: u64 = 2;
