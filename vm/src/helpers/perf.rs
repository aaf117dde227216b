//! Helpers on perf events.

use std::sync::Arc;

use skep_maps::perf::{PerfCount, PerfEvent};
use skep_maps::{Errno, PerfEventArray};
use skep_memory::{GuestPtr, GuestSlice};

use super::args::Size;
use super::{Call, Return};
use crate::run::Run;

/// Which element of the map (`BPF_F_INDEX_MASK`).
const INDEX_MASK: u64 = u32::MAX as u64;
/// The element of the CPU that the program runs on (`BPF_F_CURRENT_CPU`).
const CURRENT_CPU: u64 = INDEX_MASK;
/// How many bytes of the packet are appended (`BPF_F_CTXLEN_MASK`).
const CTXLEN_MASK: u64 = 0xf_ffff << 32;
/// Size of `struct bpf_perf_event_value` in bytes.
const VALUE_SIZE: usize = 24;

/// Puts out a sample (kernel `bpf_perf_event_output`; for programs on packets
/// `bpf_skb_event_output` and `bpf_xdp_event_output`, which append bytes of the packet).
pub(super) fn output(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    _ctx: (),
    map: &PerfEventArray,
    flags: u64,
    data: GuestSlice<'_>,
    _size: Size,
) -> Return {
    let appended = match appended(run, flags) {
        Ok(appended) => appended,
        Err(errno) => return Ok(errno.to_r0()),
    };
    let cpu = run.cpu.number;
    let put = event(map, cpu, flags).and_then(|event| match appended {
        Some(packet) => event.output(cpu, &[data, packet]),
        None => event.output(cpu, &[data]),
    });
    Ok(put.map_or_else(Errno::to_r0, |()| 0))
}

/// The bytes of the packet that the flags ask for.
fn appended<'r>(run: &Run<'r>, flags: u64) -> Result<Option<GuestSlice<'r>>, Errno> {
    let Some(packet) = run.scratch.packet else {
        return if flags & !INDEX_MASK == 0 { Ok(None) } else { Err(Errno::EINVAL) };
    };
    if flags & !(INDEX_MASK | CTXLEN_MASK) != 0 {
        return Err(Errno::EINVAL);
    }
    let len = u32::try_from((flags & CTXLEN_MASK) >> 32).expect("20 bits");
    if len > packet.len() {
        return Err(Errno::EFAULT);
    }
    let slice = GuestSlice::new(run.view, GuestPtr::new(packet.data), len);
    Ok(Some(slice.expect("packets lie in the window")))
}

fn event(map: &PerfEventArray, cpu: u32, flags: u64) -> Result<Arc<PerfEvent>, Errno> {
    let index = match flags & INDEX_MASK {
        CURRENT_CPU => u64::from(cpu),
        index => index,
    };
    map.event(index)
}

/// Reads the count of an event (kernel `bpf_perf_event_read`). Counts that look like error
/// numbers cannot be told from them; `perf_event_read_value` has no such trouble.
pub(super) fn read(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    map: &PerfEventArray,
    flags: u64,
) -> Return {
    Ok(count(run, map, flags).map_or_else(Errno::to_r0, |count| count.counter))
}

/// Reads the count and the times of an event (kernel `bpf_perf_event_read_value`). The
/// buffer is zeroed when that fails.
pub(super) fn read_value(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    map: &PerfEventArray,
    flags: u64,
    buffer: GuestSlice<'_>,
    _size: Size,
) -> Return {
    let count = match buffer.len() {
        VALUE_SIZE => count(run, map, flags),
        _ => Err(Errno::EINVAL),
    };
    match count {
        Ok(PerfCount { counter, enabled, running }) => {
            for (at, word) in [(0, counter), (8, enabled), (16, running)] {
                buffer.set(at, word);
            }
            Ok(0)
        }
        Err(errno) => {
            buffer.fill(0);
            Ok(errno.to_r0())
        }
    }
}

fn count(run: &Run<'_>, map: &PerfEventArray, flags: u64) -> Result<PerfCount, Errno> {
    if flags & !INDEX_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    event(map, run.cpu.number, flags)?.read(run.cpu.number)
}
