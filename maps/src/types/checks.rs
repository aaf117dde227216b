//! Rules that several types have.

use super::{Refusal, rule};
use crate::flags::{BPF_F_ACCESS_MASK, BPF_F_NUMA_NODE, BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG};
use crate::{Errno, MapDef};

/// Flags outside `known` are refused, and those that exclude each other.
pub(super) fn check_flags(def: &MapDef, known: u32) -> Result<(), Refusal> {
    let unknown = def.flags & !known;
    rule(unknown == 0, Errno::EINVAL, || format!("flags {unknown:#x} do not exist for this type"))?;
    // Kernel `bpf_map_flags_access_ok`.
    let both = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
    rule(def.flags & both != both, Errno::EINVAL, || {
        "BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG exclude each other".to_owned()
    })
}

/// Rules of all array types (kernel `array_map_alloc_check`).
pub(super) fn check_array(def: &MapDef) -> Result<(), Refusal> {
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    rule(def.key_size == 4, Errno::EINVAL, || {
        format!("the key of an array is 4 bytes, not {}", def.key_size)
    })?;
    rule(def.value_size > 0, Errno::EINVAL, || "value_size must not be 0".to_owned())?;
    rule(def.value_size <= i32::MAX.cast_unsigned(), Errno::E2BIG, || {
        format!("a value of {} bytes is too big", def.value_size)
    })
}

/// Rules of the arrays that hold handles (kernel `fd_array_map_alloc_check`).
pub(super) fn check_handle_array(def: &MapDef) -> Result<(), Refusal> {
    check_handle_size(def)?;
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_ACCESS_MASK)?;
    check_array(def)
}

/// What all arrays of handles have in common, whatever their flags.
pub(super) fn check_handle_size(def: &MapDef) -> Result<(), Refusal> {
    rule(def.value_size == 4, Errno::EINVAL, || {
        format!("the value of this type is 4 bytes, not {}", def.value_size)
    })?;
    rule(def.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG) == 0, Errno::EINVAL, || {
        "BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG do not exist for this type".to_owned()
    })
}
