//! An instruction, resolved.

use crate::isa::{Kind, Op};

/// Marks the value of a function pointer; the index of the function's first instruction
/// stands below.
pub(crate) const FUNCTION_TAG: u64 = 0xbf00_0000_0000_0000;

/// One instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Insn {
    pub(crate) op: Op,
    /// Register numbers, 0 to 10.
    pub(crate) dst: u8,
    pub(crate) src: u8,
    /// A displacement in bytes; jumps and calls have it in `link`.
    pub(crate) off: i16,
    /// The immediate, sign-extended; of a `lddw` what it loads.
    pub(crate) imm: u64,
    /// Its first slot.
    pub(crate) slot: u32,
    /// What it refers to.
    pub(crate) link: Link,
}

/// What an instruction refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Nothing,
    /// A jump leads to the instruction with this index.
    Jump(u32),
    /// It calls or loads the address of the function that starts at this index.
    Function(u32),
    /// It loads the handle of a map: index in the program's maps.
    Map(u32),
    /// It loads the address of a byte of a map's only value.
    MapValue {
        map: u32,
        offset: u32,
    },
    /// It calls a helper: its place in the table.
    Helper(u32),
    /// It makes a tail call.
    TailCall,
    /// It calls a helper that skep does not have.
    NoHelper,
    /// Its relocation failed: reaching it is a fault.
    Poisoned,
}

impl Insn {
    /// Its group.
    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.op.kind()
    }

    /// Where it jumps to, if it is a jump.
    pub(crate) fn jump_target(&self) -> Option<u32> {
        match self.link {
            Link::Jump(target) => Some(target),
            _ => None,
        }
    }
}
