//! Whose a map of programs is.

use std::sync::OnceLock;

use crate::Errno;

/// What all programs that use a map, and all that stand in it, have in common: their type's
/// number, of which the first one decides (kernel `bpf_prog_map_compatible`).
#[derive(Debug, Default)]
pub(crate) struct Owner {
    kind: OnceLock<u32>,
}

impl Owner {
    /// Says that a program of this type uses the map, or is about to stand in it.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the map belongs to programs of another type.
    pub(crate) fn claim(&self, kind: u32) -> Result<(), Errno> {
        if *self.kind.get_or_init(|| kind) == kind { Ok(()) } else { Err(Errno::EINVAL) }
    }
}
