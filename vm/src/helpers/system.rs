//! Helpers that ask the host: clocks, chance, the current task and CPU.

use skep_memory::GuestSlice;

use super::args::Size;
use super::{Call, Return};
use crate::host::Clock;
use crate::run::Run;

/// Nanoseconds of a jiffy, with the common `CONFIG_HZ=250`.
const JIFFY: u64 = 4_000_000;

pub(super) fn ktime_get_ns(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(run.host.clock(Clock::Monotonic))
}

pub(super) fn ktime_get_boot_ns(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(run.host.clock(Clock::Boot))
}

pub(super) fn ktime_get_coarse_ns(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(run.host.clock(Clock::Coarse))
}

pub(super) fn ktime_get_tai_ns(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(run.host.clock(Clock::Tai))
}

pub(super) fn jiffies(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(run.host.clock(Clock::Monotonic) / JIFFY)
}

pub(super) fn random(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(u64::from(run.host.random()))
}

pub(super) fn cpu(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(u64::from(run.cpu.number))
}

pub(super) fn numa_node(_run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    Ok(0)
}

pub(super) fn pid_tgid(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    let task = run.host.task();
    Ok(u64::from(task.tgid) << 32 | u64::from(task.pid))
}

pub(super) fn uid_gid(run: &mut Run<'_>, _call: &Call<'_>) -> Return {
    let task = run.host.task();
    Ok(u64::from(task.gid) << 32 | u64::from(task.uid))
}

/// Copies the name, cut to the buffer with a NUL, the rest zero (kernel `strscpy_pad`).
pub(super) fn comm(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    buffer: GuestSlice<'_>,
    _size: Size,
) -> Return {
    let mut comm = run.host.task().comm.to_vec();
    comm.resize(buffer.len(), 0);
    if let Some(last) = comm.last_mut() {
        *last = 0;
    }
    buffer.write(&comm);
    Ok(0)
}
