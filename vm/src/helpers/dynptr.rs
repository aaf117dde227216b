//! Helpers on dynptrs.

use skep_maps::{Errno, RingBuf};
use skep_memory::{Access, GuestPtr, GuestSlice};

use super::args::{self, Size};
use super::{Call, Return, refuse};
use crate::dynptr::{Data, MOST, Place, Source};
use crate::fault::FaultKind;
use crate::run::{Run, Trap};

/// Makes a dynptr of memory of the program's (kernel `bpf_dynptr_from_mem`).
pub(super) fn from_mem(
    run: &mut Run<'_>,
    call: &Call<'_>,
    memory: GuestSlice<'_>,
    _size: Size,
    flags: u64,
    place: Place,
) -> Return {
    let size = u32::try_from(memory.len()).unwrap_or(u32::MAX);
    let errno = match flags {
        _ if size > MOST => Some(Errno::E2BIG),
        0 => None,
        _ => Some(Errno::EINVAL),
    };
    // No bytes have an address, too.
    let ptr = u32::try_from(call.args[0]).map_or(GuestPtr::NULL, GuestPtr::new);
    let data = errno.is_none().then_some(Data { ptr, size });
    run.make_dynptr(place, Source::Local, data);
    Ok(errno.map_or(0, Errno::to_r0))
}

/// Reserves a record as a dynptr (kernel `bpf_ringbuf_reserve_dynptr`), which is to be
/// given up even when that fails. The size has 32 bits.
pub(super) fn ringbuf_reserve<'r>(
    run: &mut Run<'r>,
    _call: &Call<'_>,
    ring: &'r RingBuf,
    size: u64,
    flags: u64,
    place: Place,
) -> Return {
    let size = low(size);
    let record = match flags {
        0 if size > MOST => Err(Errno::E2BIG),
        0 => ring.reserve(size.into()).ok_or(Errno::EINVAL),
        _ => Err(Errno::EINVAL),
    };
    let data = record.ok().map(|record| Data { ptr: record.ptr, size });
    run.make_dynptr(place, Source::Ring(ring, record.ok()), data);
    Ok(record.map_or_else(Errno::to_r0, |_| 0))
}

pub(super) fn ringbuf_submit(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    dynptr: u64,
    flags: u64,
) -> Return {
    end(run, "ringbuf_submit_dynptr", dynptr, false, flags)
}

pub(super) fn ringbuf_discard(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    dynptr: u64,
    flags: u64,
) -> Return {
    end(run, "ringbuf_discard_dynptr", dynptr, true, flags)
}

fn end(run: &mut Run<'_>, helper: &'static str, dynptr: u64, discard: bool, flags: u64) -> Return {
    let ended = run.end_dynptr(dynptr);
    let wrong = |problem| Trap::new(FaultKind::Argument { helper, argument: 1, problem });
    if let Some((ring, record)) = ended.map_err(wrong)? {
        ring.commit(record, discard, flags);
    }
    Ok(0)
}

/// Copies bytes out of what a dynptr refers to (kernel `__bpf_dynptr_read`).
pub(super) fn read(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    to: GuestSlice<'_>,
    _size: Size,
    dynptr: Option<Data>,
    offset: u64,
    flags: u64,
) -> Return {
    let Some(data) = dynptr.filter(|_| flags == 0) else {
        return Ok(Errno::EINVAL.to_r0());
    };
    let len = u32::try_from(to.len()).unwrap_or(u32::MAX);
    let Some(part) = data.part(low(offset), len) else {
        return Ok(Errno::E2BIG.to_r0());
    };
    let from = memory(run, "dynptr_read", 3, part, Access::Read)?;
    copy(from, to);
    Ok(0)
}

/// Copies bytes into what a dynptr refers to (kernel `__bpf_dynptr_write`).
pub(super) fn write(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    dynptr: Option<Data>,
    offset: u64,
    from: GuestSlice<'_>,
    _size: Size,
    flags: u64,
) -> Return {
    let Some(data) = dynptr else {
        return Ok(Errno::EINVAL.to_r0());
    };
    let len = u32::try_from(from.len()).unwrap_or(u32::MAX);
    let Some(part) = data.part(low(offset), len) else {
        return Ok(Errno::E2BIG.to_r0());
    };
    if flags != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    let to = memory(run, "dynptr_write", 1, part, Access::ReadWrite)?;
    copy(from, to);
    Ok(0)
}

/// Points into what a dynptr refers to (kernel `bpf_dynptr_data`); null when that is not
/// so long.
pub(super) fn data(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    dynptr: Option<Data>,
    offset: u64,
    len: u64,
) -> Return {
    let part = dynptr.and_then(|data| data.part(low(offset), low(len)));
    Ok(part.map_or(0, |part| part.ptr.addr()))
}

/// Offsets and lengths have 32 bits: what stands in the upper half does not count.
fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// What a dynptr refers to, if it is still there and the program's.
fn memory<'r>(
    run: &Run<'r>,
    helper: &'static str,
    argument: u32,
    data: Data,
    wanted: Access,
) -> Result<GuestSlice<'r>, Trap> {
    let slice = args::memory(run, data.ptr.addr(), data.size.into(), wanted);
    slice.map_err(|problem| refuse(run, helper, argument, problem))
}

/// Copies from one piece of guest memory to another, which may overlap.
fn copy(from: GuestSlice<'_>, to: GuestSlice<'_>) {
    to.write(&from.to_vec());
}
