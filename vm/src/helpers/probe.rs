//! Helpers that read memory that may not be there.
//!
//! Everything a program can point to in skep is kernel memory; there is no user memory.
//! What cannot be read is answered with the error number that Linux gives on x86-64:
//! addresses in the lower half are user addresses, which reads of kernel memory refuse
//! (`copy_from_kernel_nofault`). The destination is then all zeros.

use skep_maps::Errno;
use skep_memory::{Access, GuestSlice};

use super::args::{self, Size};
use super::{Call, Return};
use crate::run::Run;

/// The first address that is not a user address on x86-64.
const USER_END: u64 = 1 << 47;
/// The first address of the kernel's half on x86-64; below it, down to the end of user
/// memory, addresses are not canonical.
const KERNEL_START: u64 = u64::MAX << 47;

/// So many bytes are copied before somebody looks whether the run is to end.
const PIECE: u64 = 1 << 20;

pub(super) fn read(
    run: &mut Run<'_>,
    call: &Call<'_>,
    to: GuestSlice<'_>,
    size: Size,
    from: u64,
) -> Return {
    // Addresses below the end of user memory are read as user memory, which is never
    // ERANGE.
    let r0 = read_kernel(run, call, to, size, from)?;
    Ok(if r0 == Errno::ERANGE.to_r0() { Errno::EFAULT.to_r0() } else { r0 })
}

pub(super) fn read_str(
    run: &mut Run<'_>,
    call: &Call<'_>,
    to: GuestSlice<'_>,
    size: Size,
    from: u64,
) -> Return {
    let r0 = read_kernel_str(run, call, to, size, from)?;
    Ok(if r0 == Errno::ERANGE.to_r0() { Errno::EFAULT.to_r0() } else { r0 })
}

pub(super) fn read_kernel(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    to: GuestSlice<'_>,
    _size: Size,
    from: u64,
) -> Return {
    if to.is_empty() {
        // Only the kind of address counts.
        let kernel = run.view.load::<u8>(from).is_some() || from >= KERNEL_START;
        return Ok(if kernel { 0 } else { Errno::ERANGE.to_r0() });
    }
    // So that what overlaps is not written before it is read, as if all were read first.
    let falls = from < to.ptr().addr();
    let count = (to.len() as u64).div_ceil(PIECE);
    for nth in 0..count {
        let start = PIECE * if falls { count - 1 - nth } else { nth };
        let len = PIECE.min(to.len() as u64 - start);
        let Ok(piece) = args::memory(run, from.wrapping_add(start), len, Access::Read) else {
            return Ok(fail(to, unreadable(from)));
        };
        let (start, len) = (u32::try_from(start), u32::try_from(len));
        let fits = "a slice is shorter than the window";
        to.part(start.expect(fits), len.expect(fits)).write(&piece.to_vec());
        run.poll()?;
    }
    Ok(0)
}

pub(super) fn read_kernel_str(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    to: GuestSlice<'_>,
    _size: Size,
    from: u64,
) -> Return {
    let mut text = Vec::new();
    while text.len() < to.len() {
        let addr = from.wrapping_add(text.len() as u64);
        let Some(byte) = run.view.load::<u8>(addr) else {
            return Ok(fail(to, unreadable(from)));
        };
        text.push(byte);
        if byte == 0 {
            break;
        }
        if (text.len() as u64).is_multiple_of(PIECE) {
            run.poll()?;
        }
    }
    // What does not fit is cut, with a NUL at the end; bytes behind it stay.
    if let Some(last) = text.last_mut() {
        *last = 0;
    }
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    to.part(0, len).write(&text);
    Ok(u64::from(len))
}

pub(super) fn read_user(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    to: GuestSlice<'_>,
    _size: Size,
    from: u64,
) -> Return {
    // Nothing can be read from any address of the user's.
    if to.is_empty() && from < USER_END && run.view.load::<u8>(from).is_none() {
        return Ok(0);
    }
    Ok(fail(to, Errno::EFAULT))
}

pub(super) fn read_user_str(
    run: &mut Run<'_>,
    call: &Call<'_>,
    to: GuestSlice<'_>,
    size: Size,
    from: u64,
) -> Return {
    if to.is_empty() { Ok(0) } else { read_user(run, call, to, size, from) }
}

/// Addresses that are not the kernel's, and those that no one can have, are told from
/// the kernel's own where nothing is.
fn unreadable(from: u64) -> Errno {
    if from < KERNEL_START { Errno::ERANGE } else { Errno::EFAULT }
}

fn fail(to: GuestSlice<'_>, errno: Errno) -> u64 {
    to.fill(0);
    errno.to_r0()
}
