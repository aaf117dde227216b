//! Spin locks in map values.

use skep_memory::GuestPtr;

use super::{Call, Return};
use crate::fault::FaultKind;
use crate::run::{Held, Run, Trap};

pub(super) fn lock(run: &mut Run<'_>, _call: &Call<'_>, lock: GuestPtr) -> Return {
    let world = run.world();
    let mut stopped = || run.is_stopped();
    if !world.locks().acquire(lock, &mut stopped) {
        return Err(Trap::new(FaultKind::Timeout));
    }
    run.held.push(Held::Lock(lock));
    Ok(0)
}

pub(super) fn unlock(run: &mut Run<'_>, _call: &Call<'_>, lock: GuestPtr) -> Return {
    let held = |held: &Held<'_>| matches!(held, Held::Lock(own) if *own == lock);
    let Some(index) = run.held.iter().position(held) else {
        return Err(Trap::new(FaultKind::LockNotHeld));
    };
    run.held.remove(index);
    run.world().locks().release(lock);
    Ok(0)
}

/// The fault of calling a helper while a lock is held; it would be the kernel's to
/// refuse the program.
#[cold]
pub(super) fn called_under_lock(helper: &'static str) -> Trap {
    Trap::new(match helper {
        "spin_lock" => FaultKind::LockTwice,
        _ => FaultKind::CallUnderLock { helper },
    })
}
