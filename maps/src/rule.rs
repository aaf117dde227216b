//! Rules of creation, and what breaks them.

use crate::Errno;

/// Which creation rule a definition breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    pub(crate) rule: String,
}

/// A [`Refusal`] unless a rule holds.
pub(crate) fn rule(
    holds: bool,
    errno: Errno,
    rule: impl FnOnce() -> String,
) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal { errno, rule: rule() }) }
}
