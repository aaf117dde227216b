//! Helpers on sockets.

use super::{Call, Return};
use crate::fault::FaultKind;
use crate::run::{Held, Run, Trap};

/// Gives back a socket that a lookup found.
pub(super) fn release(run: &mut Run<'_>, _call: &Call<'_>, ptr: u64) -> Return {
    let found = |held: &Held<'_>| matches!(held, Held::Socket(own) if own.addr() == ptr);
    let Some(index) = run.held.iter().position(found) else {
        return Err(Trap::new(FaultKind::Argument {
            helper: "sk_release",
            argument: 1,
            problem: format!("{ptr:#x} is no socket that the program holds"),
        }));
    };
    run.held.remove(index);
    Ok(0)
}
