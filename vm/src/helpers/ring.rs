//! Helpers on ring buffers.

use skep_maps::{Errno, Record, RingBuf};
use skep_memory::GuestSlice;

use super::args::Size;
use super::{Call, Return};
use crate::fault::FaultKind;
use crate::run::{Held, Run, Trap};

pub(super) fn reserve_elem<'r>(
    run: &mut Run<'r>,
    _call: &Call<'_>,
    ring: &'r RingBuf,
    size: u64,
    flags: u64,
) -> Return {
    Ok(reserve(run, ring, size, flags))
}

/// Reserves a record, which the run then holds; its address, or 0.
#[inline]
pub(crate) fn reserve<'r>(run: &mut Run<'r>, ring: &'r RingBuf, size: u64, flags: u64) -> u64 {
    if flags != 0 {
        return 0;
    }
    let Some(record) = ring.reserve(size) else {
        return 0;
    };
    run.held.push(Held::Record(ring, record));
    record.ptr.addr()
}

pub(super) fn submit_elem(run: &mut Run<'_>, _call: &Call<'_>, ptr: u64, flags: u64) -> Return {
    submit(run, ptr, flags).map(|()| 0)
}

/// Submits a record that the run holds.
#[inline]
pub(crate) fn submit(run: &mut Run<'_>, ptr: u64, flags: u64) -> Result<(), Trap> {
    let (ring, record) = give_up(run, "ringbuf_submit", ptr)?;
    ring.commit(record, false, flags);
    Ok(())
}

pub(super) fn discard(run: &mut Run<'_>, _call: &Call<'_>, ptr: u64, flags: u64) -> Return {
    let (ring, record) = give_up(run, "ringbuf_discard", ptr)?;
    ring.commit(record, true, flags);
    Ok(0)
}

/// Takes a record out of what the run holds.
#[inline]
fn give_up<'r>(
    run: &mut Run<'r>,
    helper: &'static str,
    ptr: u64,
) -> Result<(&'r RingBuf, Record), Trap> {
    // Mostly it is what was reserved last.
    if let Some(&Held::Record(ring, record)) = run.held.last()
        && record.ptr.addr() == ptr
    {
        run.held.truncate(run.held.len() - 1);
        return Ok((ring, record));
    }
    give_up_older(run, helper, ptr)
}

/// Takes a record that need not be the last one out of what the run holds.
#[cold]
fn give_up_older<'r>(
    run: &mut Run<'r>,
    helper: &'static str,
    ptr: u64,
) -> Result<(&'r RingBuf, Record), Trap> {
    let found = run
        .held
        .iter()
        .position(|held| matches!(held, Held::Record(_, record) if record.ptr.addr() == ptr));
    match found.map(|index| run.held.remove(index)) {
        Some(Held::Record(ring, record)) => Ok((ring, record)),
        _ => Err(Trap::new(FaultKind::Argument {
            helper,
            argument: 1,
            problem: format!("{ptr:#x} is no record that the program has reserved"),
        })),
    }
}

pub(super) fn output(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    ring: &RingBuf,
    data: GuestSlice<'_>,
    _size: Size,
    flags: u64,
) -> Return {
    Ok(ring.output(data, flags).map_or_else(Errno::to_r0, |()| 0))
}

pub(super) fn query(_run: &mut Run<'_>, _call: &Call<'_>, ring: &RingBuf, what: u64) -> Return {
    Ok(ring.query(what))
}
