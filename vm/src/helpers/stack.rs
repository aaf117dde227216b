//! Helpers on call stacks, which the host gives.

use skep_maps::flags::{BPF_F_SKIP_FIELD_MASK, BPF_F_USER_BUILD_ID, BPF_F_USER_STACK};
use skep_maps::{Errno, StackTrace};
use skep_memory::GuestSlice;

use super::args::Size;
use super::{Call, Return};
use crate::fault::FaultKind;
use crate::host::StackKind;
use crate::run::{Run, Trap};

/// Size of an entry with a build id in bytes (`struct bpf_stack_build_id`).
const BUILD_ID: usize = 32;

/// Finds the id of the current stack, or puts it into the map (kernel `bpf_get_stackid`).
pub(super) fn get_stackid(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    _ctx: (),
    map: &StackTrace,
    flags: u64,
) -> Return {
    let id = map.id_of(&stack(run, flags), flags);
    Ok(id.map_or_else(Errno::to_r0, u64::from))
}

/// Copies the current stack out, zeros behind it (kernel `bpf_get_stack`). The buffer is
/// zeroed when that fails.
pub(super) fn get_stack(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    _ctx: (),
    buffer: GuestSlice<'_>,
    _size: Size,
    flags: u64,
) -> Return {
    let build_id = flags & BPF_F_USER_BUILD_ID != 0;
    let known = BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_USER_BUILD_ID;
    let entry = if build_id { BUILD_ID } else { 8 };
    let is_user = flags & BPF_F_USER_STACK != 0;
    buffer.fill(0);
    if flags & !known != 0 || build_id && !is_user || !buffer.len().is_multiple_of(entry) {
        return Ok(Errno::EINVAL.to_r0());
    }
    if build_id {
        return Err(Trap::new(FaultKind::Argument {
            helper: "get_stack",
            argument: 4,
            problem: "skep does not support BPF_F_USER_BUILD_ID yet".to_owned(),
        }));
    }
    let ips = stack(run, flags);
    let seen = &ips[..ips.len().min(StackTrace::MOST as usize)];
    let skip = usize::try_from(flags & BPF_F_SKIP_FIELD_MASK).unwrap_or(usize::MAX);
    let Some(ips) = seen.get(skip..) else {
        return Ok(Errno::EFAULT.to_r0());
    };
    let mut len = 0;
    for (at, ip) in (0..).step_by(8).zip(ips).take(buffer.len() / 8) {
        buffer.set(at, *ip);
        len = u64::from(at) + 8;
    }
    Ok(len)
}

/// The stack that the flags ask for, the innermost address first.
fn stack(run: &Run<'_>, flags: u64) -> Vec<u64> {
    let is_user = flags & BPF_F_USER_STACK != 0;
    run.host.stack(if is_user { StackKind::User } else { StackKind::Kernel })
}
