//! What a map is made from: the definition that a loader reads or a user writes.

use skep_memory::Access;

use crate::flags::{BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG};

/// The definition of a map: what `BPF_MAP_CREATE` takes.
///
/// Nothing is checked here; creating the map applies the kernel's rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapDef {
    /// The map's name, as programs and people call it.
    pub name: String,
    /// `enum bpf_map_type` of the UAPI, whether or not skep implements it.
    pub map_type: u32,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// How many entries fit; for ring buffers, the size of the ring in bytes.
    pub max_entries: u32,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// Type-specific extra (`map_extra`): the number of hashes of a bloom filter.
    pub map_extra: u64,
    /// The NUMA node asked for, when `BPF_F_NUMA_NODE` is set.
    pub numa_node: u32,
    /// Kernel-managed fields inside each value, from the value's BTF.
    pub special: Vec<SpecialField>,
    /// For maps of maps: the definition that every inner map must match.
    pub inner: Option<Box<MapDef>>,
}

impl MapDef {
    /// What programs may do with the values (kernel `bpf_map_flags_to_cap`).
    #[must_use]
    pub fn program_access(&self) -> Access {
        if self.flags & BPF_F_RDONLY_PROG != 0 {
            Access::Read
        } else if self.flags & BPF_F_WRONLY_PROG != 0 {
            Access::Write
        } else {
            Access::ReadWrite
        }
    }
}

/// A field of a map value that belongs to the kernel: hidden from plain loads and
/// stores and skipped when values are copied (kernel `btf_record`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialField {
    /// What the field is.
    pub kind: SpecialKind,
    /// Where it stands, in bytes from the start of the value.
    pub offset: u32,
    /// How many bytes it takes.
    pub size: u32,
}

/// The kinds of kernel-managed fields (kernel `enum btf_field_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialKind {
    /// `struct bpf_spin_lock`, 4 bytes.
    SpinLock,
    /// `struct bpf_res_spin_lock`, 4 bytes.
    ResSpinLock,
    /// `struct bpf_timer`, 16 bytes.
    Timer,
    /// `struct bpf_wq`, 16 bytes.
    Workqueue,
    /// `struct bpf_task_work`, 8 bytes.
    TaskWork,
    /// A pointer tagged `kptr`, `kptr_untrusted` or `percpu_kptr`, 8 bytes.
    Kptr,
    /// A pointer to user memory, tagged `uptr`, 8 bytes.
    Uptr,
    /// `struct bpf_list_head`, 16 bytes.
    ListHead,
    /// `struct bpf_rb_root`, 16 bytes.
    RbRoot,
    /// `struct bpf_refcount`, 4 bytes.
    Refcount,
}
