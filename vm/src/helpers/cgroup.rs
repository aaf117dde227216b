//! Helpers that know of cgroups. The current task's is the host's to say, and a packet that
//! programs are run on is the current task's.

use skep_maps::CgroupArray;

use super::{Call, Return, packet};
use crate::run::Run;

/// Compares with a cgroup in a map (kernel `bpf_current_task_under_cgroup`).
pub(super) fn current_task_under(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    map: &CgroupArray,
    index: u64,
) -> Return {
    let index = u32::try_from(index & u64::from(u32::MAX)).expect("32 bits are left");
    Ok(match map.cgroup(index) {
        Ok(id) => run.host.cgroup().is_under(id).into(),
        Err(errno) => errno.to_r0(),
    })
}

/// The same for the socket of a `__sk_buff` (kernel `bpf_skb_under_cgroup`).
pub(super) fn skb_under(
    run: &mut Run<'_>,
    call: &Call<'_>,
    _ctx: (),
    map: &CgroupArray,
    index: u64,
) -> Return {
    packet::skb(run, "skb_under_cgroup")?;
    current_task_under(run, call, map, index)
}

pub(super) fn current_id(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(run.host.cgroup().id())
}

/// 0 for a level that the cgroup is above of (kernel
/// `bpf_get_current_ancestor_cgroup_id`). The level is an `int`.
pub(super) fn current_ancestor_id(run: &mut Run<'_>, _call: &Call<'_>, level: u64) -> Return {
    let level = u32::try_from(level & u64::from(u32::MAX)).expect("32 bits are left");
    Ok(run.host.cgroup().ancestor(level as usize).unwrap_or(0))
}
