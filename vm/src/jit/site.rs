//! Sites: the places where native code may end a run.

use skep_memory::Access;

/// A place in native code from which a run can be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Site {
    /// The instruction, by its index.
    pub(crate) insn: u32,
    pub(crate) why: Why,
    /// How many instructions that are counted already are not executed.
    pub(crate) ahead: u32,
}

/// Why a run ends at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// An access that guest memory does not grant. The pointer is in the state; the offset
    /// is the instruction's.
    Denied { size: u32, wanted: Access, atomic: bool },
    /// Rust code that was called has said why.
    Called,
    /// The time is up.
    Stopped,
    /// The budget is used up.
    Budget,
    /// The instruction cannot be executed: the interpreter says why.
    Impossible,
}

/// The sites of a program, in the order of their exits.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    /// Where the exits begin in the code; each is a call of so many bytes.
    pub(crate) start: usize,
    pub(crate) list: Vec<Site>,
}

/// Length of an exit in bytes: a near call.
pub(crate) const EXIT_LEN: usize = 5;

impl Sites {
    /// The site whose exit pushed the address that is `offset` bytes into the code.
    pub(crate) fn at(&self, offset: usize) -> Option<&Site> {
        let behind = offset.checked_sub(self.start)?;
        self.list.get((behind / EXIT_LEN).checked_sub(1)?)
    }
}
