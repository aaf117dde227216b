//! What native code calls.
#![expect(unsafe_code, reason = "native code hands over raw pointers to the run")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use skep_maps::{Errno, Map, RingBuf, Source};
use skep_memory::{GuestPtr, GuestSlice};

use super::drive;
use super::enter::Returned;
use crate::fault::FaultKind;
use crate::helpers::{self, Call, Caller, Return};
use crate::run::{Run, Trap};
use crate::stack::Stack;
use crate::state::State;

/// The status of a tail call whose target has run to its end: the value is its r0.
pub(super) const RAN: u64 = 2;
/// The status of a tail call whose target is native code: the value is its address.
pub(super) const CODE: u64 = 3;

/// What ended a run in Rust code that native code called; it is handed over when all native
/// frames are gone.
#[derive(Debug)]
pub(crate) enum Ending {
    Trap(Trap),
    Panic(Box<dyn Any + Send>),
}

/// A helper's function, as a type, so that each gets an entry of its own.
pub(crate) trait HelperFn {
    /// Checks the arguments and calls the helper.
    fn call(run: &mut Run<'_>, call: &Call<'_>) -> Return;
}

/// The entry of a helper for native code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NativeHelper(Entry);

type Entry = unsafe extern "sysv64" fn(*const State, u64, u64, u64, u64, u64) -> Returned;

impl NativeHelper {
    /// Its address.
    pub(super) fn address(self) -> *const () {
        self.0 as *const ()
    }
}

/// The entry of a helper.
pub(crate) const fn native_helper<H: HelperFn>() -> NativeHelper {
    NativeHelper(helper::<H>)
}

/// Calls a helper.
///
/// # Safety
///
/// `state` is the state of a run whose `state.run` is that run, to which no reference is
/// used until this returns.
unsafe extern "sysv64" fn helper<H: HelperFn>(
    state: *const State,
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
) -> Returned {
    let body = |run: &mut Run<'_>| {
        let call =
            Call { caller: Caller::Id(run.state().program.get()), args: [r1, r2, r3, r4, r5] };
        let value = run.in_native_frame(|run| H::call(run, &call))?;
        // It may have taken long.
        if run.is_stopped() {
            return Err(Trap::new(FaultKind::Timeout));
        }
        Ok(Returned { value, status: Returned::DONE })
    };
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, body) }
}

/// Makes a tail call: gives [`Returned::DONE`] when it fails, [`RAN`] or [`CODE`] when it
/// succeeds.
///
/// # Safety
///
/// As [`helper`].
pub(super) unsafe extern "sysv64" fn tail_call(
    state: *const State,
    ctx: u64,
    map: u64,
    index: u64,
) -> Returned {
    // SAFETY: as promised by the caller.
    unsafe {
        with_run(state, |run| run.in_native_frame(|run| drive::tail_call(run, ctx, map, index)))
    }
}

/// Loads a word of the packet: gives [`RAN`] when it is not inside.
///
/// # Safety
///
/// As [`helper`].
pub(super) unsafe extern "sysv64" fn load_skb(
    state: *const State,
    ctx: u64,
    offset: u64,
    size: u64,
) -> Returned {
    let body = |run: &mut Run<'_>| {
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        let (offset, size) = (low(offset), low(size));
        let word = run.load_packet_word(ctx, offset.cast_signed(), size)?;
        Ok(match word {
            Some(word) => Returned { value: u64::from(word), status: Returned::DONE },
            None => Returned { value: 0, status: RAN },
        })
    };
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, body) }
}

/// Makes a frame accessible. The only entry that needs no run: there may be none.
///
/// # Safety
///
/// `state` is the state of a virtual CPU.
pub(super) unsafe extern "sysv64" fn open_frame(state: *const State, fp: u64) -> Returned {
    // SAFETY: it is valid, as promised.
    let state = unsafe { &*state };
    let stack = ptr::with_exposed_provenance::<Stack>(state.stack);
    // SAFETY: the virtual CPU that has the state has the stack, boxed.
    unsafe { &*stack }.open(fp);
    state.open_fp.set(fp);
    Returned { value: 0, status: Returned::DONE }
}

/// Calls `body` with the run. What ends the run, a panic included, is kept for whoever
/// entered native code: it must not unwind through native frames (N3).
///
/// # Safety
///
/// As [`helper`].
unsafe fn with_run(
    state: *const State,
    body: impl FnOnce(&mut Run<'_>) -> Result<Returned, Trap>,
) -> Returned {
    // SAFETY: `state` is valid, as promised.
    let run = unsafe { &(*state).run }.get();
    let run = ptr::with_exposed_provenance_mut::<Run<'_>>(run);
    // SAFETY: `run` is the run of that state, and nobody else uses a reference to it now.
    let run = unsafe { &mut *run };
    let ending = match catch_unwind(AssertUnwindSafe(|| body(run))) {
        Ok(Ok(returned)) => return returned,
        Ok(Err(trap)) => Ending::Trap(trap),
        Err(panic) => Ending::Panic(panic),
    };
    run.ending = Some(Box::new(ending));
    Returned { value: 0, status: Returned::ENDED }
}

/// What native code does with a key of a known map, the key's size known, too.
pub(super) trait MapCall {
    /// Does it, with the rest of the arguments.
    fn call<'r>(run: &mut Run<'r>, map: &'r Arc<dyn Map>, key: &[u8], args: [u64; 2]) -> u64;
}

/// Looks up a value; its address, or 0.
pub(super) struct Lookup;

impl MapCall for Lookup {
    #[inline(always)]
    fn call<'r>(run: &mut Run<'r>, map: &'r Arc<dyn Map>, key: &[u8], _args: [u64; 2]) -> u64 {
        map.lookup(key, run.cpu.number).map_or(0, GuestPtr::addr)
    }
}

/// Looks up a map in a map of maps; its handle, or 0.
pub(super) struct LookupMap;

impl MapCall for LookupMap {
    #[inline(always)]
    fn call<'r>(run: &mut Run<'r>, map: &'r Arc<dyn Map>, key: &[u8], _args: [u64; 2]) -> u64 {
        helpers::maps::lookup_object(run, map, key)
    }
}

/// Updates a value, which can be read at the first argument, with the flags in the second.
pub(super) struct Update;

impl MapCall for Update {
    #[inline(always)]
    fn call<'r>(run: &mut Run<'r>, map: &'r Arc<dyn Map>, key: &[u8], args: [u64; 2]) -> u64 {
        let [value, flags] = args;
        let value = guest(run, value, map.core().def().value_size);
        let result = map.update(key, Source::Guest(value), flags, run.cpu.number);
        result.map_or_else(Errno::to_r0, |()| 0)
    }
}

/// Deletes a value.
pub(super) struct Delete;

impl MapCall for Delete {
    #[inline(always)]
    fn call<'r>(_run: &mut Run<'r>, map: &'r Arc<dyn Map>, key: &[u8], _args: [u64; 2]) -> u64 {
        map.delete(key).map_or_else(Errno::to_r0, |()| 0)
    }
}

/// Does something with a key of `N` bytes.
///
/// # Safety
///
/// As [`helper`]; `map` is a map of the program that is running, which allows it, with keys of
/// `N` bytes; they can be read at `key`.
unsafe extern "sysv64" fn with_key<C: MapCall, const N: usize>(
    state: *const State,
    map: *const Arc<dyn Map>,
    key: u64,
    first: u64,
    second: u64,
) -> Returned {
    let body = |run: &mut Run<'_>| {
        let key: [u8; N] = bytes(run, key);
        // SAFETY: the program holds the map, and the run the program.
        let map = unsafe { &*map };
        let value = C::call(run, map, &key, [first, second]);
        Ok(Returned { value, status: Returned::DONE })
    };
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, body) }
}

/// Looks up a key of `N` bytes in the map with a handle, which was found in a map of maps; the
/// value's address, or 0.
///
/// # Safety
///
/// As [`helper`].
unsafe extern "sysv64" fn lookup_by_handle_in<const N: usize>(
    state: *const State,
    handle: u64,
    key: u64,
) -> Returned {
    let body = |run: &mut Run<'_>| {
        let key: [u8; N] = bytes(run, key);
        let world = run.world();
        let map = world.slot_of(handle).and_then(|slot| run.cpu.maps.get(world, slot));
        let map = map.filter(|map| map.core().def().key_size == const { key_len(N) });
        let value = map.map_or(0, |map| Lookup::call(run, map, &key, [0; 2]));
        Ok(Returned { value, status: Returned::DONE })
    };
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, body) }
}

/// Reserves a record of a ring buffer; its address, or 0.
///
/// # Safety
///
/// As [`helper`]; `ring` is a map of the program that is running.
pub(super) unsafe extern "sysv64" fn reserve(
    state: *const State,
    ring: *const RingBuf,
    size: u64,
    flags: u64,
) -> Returned {
    let body = |run: &mut Run<'_>| {
        // SAFETY: the program holds the map, and the run the program; what the run holds of it
        // is given up before the run ends.
        let ring = unsafe { &*ring };
        let value = helpers::ring::reserve(run, ring, size, flags);
        Ok(Returned { value, status: Returned::DONE })
    };
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, body) }
}

/// Submits a record.
///
/// # Safety
///
/// As [`helper`].
pub(super) unsafe extern "sysv64" fn submit(
    state: *const State,
    record: u64,
    flags: u64,
) -> Returned {
    let body = |run: &mut Run<'_>| {
        helpers::ring::submit(run, record, flags)?;
        Ok(Returned { value: 0, status: Returned::DONE })
    };
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, body) }
}

/// An entry for keys of so many bytes, if there is one.
macro_rules! by_key_size {
    ($size:ident, |$key:ident| $entry:expr) => {
        by_key_size!(@ $size, $key, $entry, 4 8 12 16 20 24 32 40)
    };
    (@ $size:ident, $key:ident, $entry:expr, $($of:literal)*) => {
        match $size {
            $($of => {
                const $key: usize = $of;
                Some($entry as *const ())
            })*
            _ => None,
        }
    };
}

/// The entry that does something with keys of so many bytes, if there is one.
pub(super) fn on_map<C: MapCall>(key_size: u32) -> Option<*const ()> {
    by_key_size!(key_size, |KEY| with_key::<C, KEY>)
}

/// The look-up by handle for keys of so many bytes, if there is one.
pub(super) fn lookup_by_handle(key_size: u32) -> Option<*const ()> {
    by_key_size!(key_size, |KEY| lookup_by_handle_in::<KEY>)
}

/// Guest memory that was found to be readable: keys and values are shorter than a window.
#[inline(always)]
fn guest<'r>(run: &Run<'r>, addr: u64, len: u32) -> GuestSlice<'r> {
    // Inside the window whatever was found.
    let ptr = u32::try_from(addr.min(run.view.len() - u64::from(len)))
        .map_or(GuestPtr::NULL, GuestPtr::new);
    GuestSlice::new(run.view, ptr, len).expect("inside the window")
}

/// A key's size, for which there is code.
#[expect(clippy::cast_possible_truncation, reason = "the longest has 40 bytes")]
const fn key_len(size: usize) -> u32 {
    size as u32
}

/// Bytes of it.
#[inline(always)]
fn bytes<const N: usize>(run: &Run<'_>, addr: u64) -> [u8; N] {
    let mut bytes = [0; N];
    guest(run, addr, const { key_len(N) }).read(&mut bytes);
    bytes
}
