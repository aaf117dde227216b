//! The instructions that loading knows: 64-bit loads and calls, and what their source
//! field says. All numbers are those of the instruction table.

use skep_vm::isa::{Key, Op, ROWS};

/// Opcode byte of a 64-bit load, the first of two slots.
pub(crate) const LDDW: u8 = code(Op::Lddw);
/// Opcode byte of a call.
pub(crate) const CALL: u8 = code(Op::CallHelper);

/// `src` of a call to a function of the program (kernel `BPF_PSEUDO_CALL`).
pub(crate) const PSEUDO_CALL: u8 = src(Op::CallLocal);
/// `src` of a load of a function's address (`BPF_PSEUDO_FUNC`).
pub(crate) const PSEUDO_FUNC: u8 = src(Op::LddwFunc);
/// `src` of a load of a map by index (`BPF_PSEUDO_MAP_IDX`).
pub(crate) const PSEUDO_MAP_IDX: u8 = src(Op::LddwMapIdx);
/// `src` of a load of an address in a map's value (`BPF_PSEUDO_MAP_IDX_VALUE`).
pub(crate) const PSEUDO_MAP_IDX_VALUE: u8 = src(Op::LddwMapIdxValue);

const fn code(op: Op) -> u8 {
    ROWS[op as usize].code
}

const fn src(op: Op) -> u8 {
    match ROWS[op as usize].key {
        Key::Src(src) => src,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        assert_eq!((LDDW, CALL), (0x18, 0x85));
        assert_eq!((PSEUDO_CALL, PSEUDO_FUNC), (1, 4));
        assert_eq!((PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE), (5, 6));
    }
}
