//! The verbs, one file each.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod disasm;
pub(crate) mod features;
pub(crate) mod inspect;
pub(crate) mod run;
