//! What native code calls.
#![expect(unsafe_code, reason = "native code hands over raw pointers to the run")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::drive;
use super::enter::Returned;
use crate::helpers::{Call, Caller, Return};
use crate::run::{Run, Trap};
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

type Entry = unsafe extern "sysv64" fn(*mut State, u64, u64, u64, u64, u64) -> Returned;

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
    state: *mut State,
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
) -> Returned {
    let body = |run: &mut Run<'_>| {
        let call = Call { caller: Caller::Id(run.state.program), args: [r1, r2, r3, r4, r5] };
        let result = run.in_native_frame(|run| H::call(run, &call));
        result.map(|value| Returned { value, status: Returned::DONE })
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
    state: *mut State,
    ctx: u64,
    map: u64,
    index: u64,
) -> Returned {
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, |run| run.in_native_frame(|run| drive::tail_call(run, ctx, map, index))) }
}

/// Loads a word of the packet: gives [`RAN`] when it is not inside.
///
/// # Safety
///
/// As [`helper`].
pub(super) unsafe extern "sysv64" fn load_skb(
    state: *mut State,
    ctx: u64,
    offset: u64,
    size: u64,
) -> Returned {
    let body = |run: &mut Run<'_>| {
        let offset = (offset & u64::from(u32::MAX)) as u32;
        let size = (size & 7) as u32;
        let word = run.load_packet_word(ctx, offset.cast_signed(), size)?;
        Ok(match word {
            Some(word) => Returned { value: u64::from(word), status: Returned::DONE },
            None => Returned { value: 0, status: RAN },
        })
    };
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, body) }
}

/// Makes a frame accessible.
///
/// # Safety
///
/// As [`helper`].
pub(super) unsafe extern "sysv64" fn open_frame(state: *mut State, fp: u64) -> Returned {
    let body = |run: &mut Run<'_>| {
        run.setting.stack.open(fp);
        run.state.open_fp = fp;
        Ok(Returned { value: 0, status: Returned::DONE })
    };
    // SAFETY: as promised by the caller.
    unsafe { with_run(state, body) }
}

/// Calls `body` with the run. What ends the run, a panic included, is kept for whoever
/// entered native code: it must not unwind through native frames (N3).
///
/// # Safety
///
/// As [`helper`].
unsafe fn with_run(
    state: *mut State,
    body: impl FnOnce(&mut Run<'_>) -> Result<Returned, Trap>,
) -> Returned {
    // SAFETY: `state` is valid, as promised.
    let run = unsafe { (*state).run }.cast::<Run<'_>>();
    // SAFETY: `run` is the run of that state, and nobody else uses a reference to it now.
    let run = unsafe { &mut *run };
    let ending = match catch_unwind(AssertUnwindSafe(|| body(run))) {
        Ok(Ok(returned)) => return returned,
        Ok(Err(trap)) => Ending::Trap(trap),
        Err(panic) => Ending::Panic(panic),
    };
    run.ending = Some(ending);
    Returned { value: 0, status: Returned::ENDED }
}
