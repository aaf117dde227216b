//! How much of its stack frame a function uses: what must be zeroed when it is entered.

use super::decode::Decoded;
use crate::isa::Shape;

/// Size of a function's stack frame in bytes (`MAX_BPF_STACK`).
pub(crate) const FRAME_SIZE: u32 = 512;

/// What a function may read of its frame before it writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StackUse {
    /// Bytes below the frame pointer, 0 to [`FRAME_SIZE`].
    pub(crate) bytes: u32,
    /// Whether the function names r10 at all; if not, it has no frame.
    pub(crate) framed: bool,
}

impl StackUse {
    /// A frame that is accessed only at constant offsets from r10 is used down to the
    /// lowest of them; when the address goes elsewhere, all of it may be.
    pub(crate) fn of(insns: &[Decoded]) -> Self {
        let (mut bytes, mut framed) = (0, false);
        for Decoded { op, insn, .. } in insns {
            let shape = op.row().shape;
            let address_escapes = match shape {
                Shape::AluReg | Shape::JumpReg | Shape::Movsx | Shape::Cast => {
                    insn.src == 10 || insn.dst == 10
                }
                Shape::StoreReg | Shape::Atomic | Shape::StoreRelease => insn.src == 10,
                Shape::JumpImm => insn.dst == 10,
                Shape::LdInd => insn.src == 10,
                _ => false,
            };
            if address_escapes {
                return Self { bytes: FRAME_SIZE, framed: true };
            }
            let direct = match shape {
                Shape::Load | Shape::LoadAcquire => insn.src == 10,
                Shape::StoreImm | Shape::StoreReg | Shape::Atomic | Shape::StoreRelease => {
                    insn.dst == 10
                }
                _ => false,
            };
            framed |= direct;
            if direct && insn.off < 0 {
                bytes = bytes.max(u32::from(insn.off.unsigned_abs()));
            }
        }
        Self { bytes: bytes.next_multiple_of(8).min(FRAME_SIZE), framed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::assemble;
    use crate::program::{ProgramSpec, decode};

    fn bytes(asm: &str) -> u32 {
        let insns = assemble(asm).expect("right");
        let spec = ProgramSpec { insns, ..ProgramSpec::default() };
        decode::decode(&spec).expect("valid").functions[0].stack.bytes
    }

    #[test]
    fn constant_offsets_bound_it_and_an_escaping_address_does_not() {
        assert_eq!(bytes("mov %r0, 0\nexit"), 0);
        assert_eq!(bytes("stxw [%r10-20], %r1\nldxb %r0, [%r10-3]\nexit"), 24);
        assert_eq!(bytes("stw [%r10-4], 1\nmov %r2, %r10\nexit"), FRAME_SIZE);
        assert_eq!(bytes("stxdw [%r1+0], %r10\nexit"), FRAME_SIZE);
        assert_eq!(bytes("ldxdw %r0, [%r10-600]\nexit"), FRAME_SIZE);
    }
}
