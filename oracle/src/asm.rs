//! Writes small programs, with labels for jumps.
//!
//! The encodings are spelled here anew, apart from skep's own instruction table,
//! so that the two can disagree.

use std::collections::HashMap;

use skep_vm::isa::Insn;

#[expect(missing_docs, reason = "registers, sizes and operations bear RFC 9669's names")]
mod names {
    pub const R0: u8 = 0;
    pub const R1: u8 = 1;
    pub const R2: u8 = 2;
    pub const R3: u8 = 3;
    pub const R4: u8 = 4;
    pub const R5: u8 = 5;
    pub const R6: u8 = 6;
    pub const R7: u8 = 7;
    pub const R8: u8 = 8;
    pub const R9: u8 = 9;
    pub const R10: u8 = 10;

    pub const W: u8 = 0x00;
    pub const H: u8 = 0x08;
    pub const B: u8 = 0x10;
    pub const DW: u8 = 0x18;

    pub const ADD: u8 = 0x00;
    pub const SUB: u8 = 0x10;
    pub const MUL: u8 = 0x20;
    pub const DIV: u8 = 0x30;
    pub const OR: u8 = 0x40;
    pub const AND: u8 = 0x50;
    pub const LSH: u8 = 0x60;
    pub const RSH: u8 = 0x70;
    pub const NEG: u8 = 0x80;
    pub const MOD: u8 = 0x90;
    pub const XOR: u8 = 0xa0;
    pub const MOV: u8 = 0xb0;
    pub const ARSH: u8 = 0xc0;
    pub const END: u8 = 0xd0;

    pub const JEQ: u8 = 0x10;
    pub const JGT: u8 = 0x20;
    pub const JGE: u8 = 0x30;
    pub const JSET: u8 = 0x40;
    pub const JNE: u8 = 0x50;
    pub const JSGT: u8 = 0x60;
    pub const JSGE: u8 = 0x70;
    pub const JLT: u8 = 0xa0;
    pub const JLE: u8 = 0xb0;
    pub const JSLT: u8 = 0xc0;
    pub const JSLE: u8 = 0xd0;

    pub const FETCH: i32 = 0x01;
    pub const XCHG: i32 = 0xe1;
    pub const CMPXCHG: i32 = 0xf1;
}
pub use names::*;

/// The opcode byte of `call`.
pub const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const JA: u8 = 0x05;
const LDDW: u8 = 0x18;
const LDX: u8 = 0x61;
const LDXSX: u8 = 0x81;
const ST: u8 = 0x62;
const STX: u8 = 0x63;
const ATOMIC: u8 = 0xc3;
/// The class of 64-bit arithmetic.
pub const ALU64: u8 = 0x07;
/// The class of 32-bit arithmetic.
pub const ALU32: u8 = 0x04;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
/// The source bit: the second operand is a register.
pub const REG: u8 = 0x08;

/// The arithmetic of two operands: names, operations and offsets (1 for the signed
/// divisions).
pub const ARITHMETIC: [(&str, u8, i16); 14] = [
    ("add", ADD, 0),
    ("sub", SUB, 0),
    ("mul", MUL, 0),
    ("div", DIV, 0),
    ("sdiv", DIV, 1),
    ("mod", MOD, 0),
    ("smod", MOD, 1),
    ("or", OR, 0),
    ("and", AND, 0),
    ("xor", XOR, 0),
    ("lsh", LSH, 0),
    ("rsh", RSH, 0),
    ("arsh", ARSH, 0),
    ("mov", MOV, 0),
];

/// A program in the making.
#[derive(Debug, Clone, Default)]
pub struct Asm {
    insns: Vec<Insn>,
    labels: HashMap<String, usize>,
    jumps: Vec<(usize, String, Field)>,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Off,
    Imm,
}

impl Asm {
    /// An empty program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Any slot.
    pub fn insn(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) -> &mut Self {
        self.insns.push(Insn { code, dst, src, off, imm });
        self
    }

    /// `dst = imm` in 64 bits, sign-extended.
    pub fn mov(&mut self, dst: u8, imm: i32) -> &mut Self {
        self.alu64(MOV, dst, imm)
    }

    /// `dst = src` in 64 bits.
    pub fn mov_reg(&mut self, dst: u8, src: u8) -> &mut Self {
        self.alu64_reg(MOV, dst, src)
    }

    /// `dst op= imm` in 64 bits.
    pub fn alu64(&mut self, op: u8, dst: u8, imm: i32) -> &mut Self {
        self.insn(ALU64 | op, dst, 0, 0, imm)
    }

    /// `dst op= src` in 64 bits.
    pub fn alu64_reg(&mut self, op: u8, dst: u8, src: u8) -> &mut Self {
        self.insn(ALU64 | REG | op, dst, src, 0, 0)
    }

    /// `dst op= imm` in 32 bits.
    pub fn alu32(&mut self, op: u8, dst: u8, imm: i32) -> &mut Self {
        self.insn(ALU32 | op, dst, 0, 0, imm)
    }

    /// `dst op= src` in 32 bits.
    pub fn alu32_reg(&mut self, op: u8, dst: u8, src: u8) -> &mut Self {
        self.insn(ALU32 | REG | op, dst, src, 0, 0)
    }

    /// `dst = *(size *)(src + off)`
    pub fn ldx(&mut self, size: u8, dst: u8, src: u8, off: i16) -> &mut Self {
        self.insn(LDX | size, dst, src, off, 0)
    }

    /// `dst = *(signed size *)(src + off)`
    pub fn ldxsx(&mut self, size: u8, dst: u8, src: u8, off: i16) -> &mut Self {
        self.insn(LDXSX | size, dst, src, off, 0)
    }

    /// `*(size *)(dst + off) = src`
    pub fn stx(&mut self, size: u8, dst: u8, off: i16, src: u8) -> &mut Self {
        self.insn(STX | size, dst, src, off, 0)
    }

    /// `*(size *)(dst + off) = imm`
    pub fn st(&mut self, size: u8, dst: u8, off: i16, imm: i32) -> &mut Self {
        self.insn(ST | size, dst, 0, off, imm)
    }

    /// An atomic operation on `*(size *)(dst + off)`.
    pub fn atomic(&mut self, size: u8, dst: u8, off: i16, src: u8, op: i32) -> &mut Self {
        self.insn(ATOMIC | size, dst, src, off, op)
    }

    /// `dst = imm` in 64 bits.
    pub fn lddw(&mut self, dst: u8, imm: u64) -> &mut Self {
        self.wide(dst, 0, imm)
    }

    /// `dst =` the map with descriptor `fd`
    pub fn map(&mut self, dst: u8, fd: i32) -> &mut Self {
        self.wide(dst, 1, u64::from(fd.cast_unsigned()))
    }

    /// `dst =` the address of byte `off` of the only value of the map with descriptor
    /// `fd`
    pub fn map_value(&mut self, dst: u8, fd: i32, off: u32) -> &mut Self {
        self.wide(dst, 2, u64::from(off) << 32 | u64::from(fd.cast_unsigned()))
    }

    /// `dst =` the function at `label`
    pub fn func(&mut self, dst: u8, label: &str) -> &mut Self {
        self.fix(label, Field::Imm);
        self.wide(dst, 4, 0)
    }

    /// Jumps to `label` if `dst op imm` in 64 bits.
    pub fn jmp(&mut self, op: u8, dst: u8, imm: i32, label: &str) -> &mut Self {
        self.fix(label, Field::Off);
        self.insn(JMP | op, dst, 0, 0, imm)
    }

    /// Jumps to `label` if `dst op src` in 64 bits.
    pub fn jmp_reg(&mut self, op: u8, dst: u8, src: u8, label: &str) -> &mut Self {
        self.fix(label, Field::Off);
        self.insn(JMP | REG | op, dst, src, 0, 0)
    }

    /// Jumps to `label` if `dst op imm` in 32 bits.
    pub fn jmp32(&mut self, op: u8, dst: u8, imm: i32, label: &str) -> &mut Self {
        self.fix(label, Field::Off);
        self.insn(JMP32 | op, dst, 0, 0, imm)
    }

    /// Jumps to `label`.
    pub fn ja(&mut self, label: &str) -> &mut Self {
        self.fix(label, Field::Off);
        self.insn(JA, 0, 0, 0, 0)
    }

    /// Calls a helper by number.
    pub fn call(&mut self, helper: i32) -> &mut Self {
        self.insn(CALL, 0, 0, 0, helper)
    }

    /// Calls the sub-program at `label`.
    pub fn call_sub(&mut self, label: &str) -> &mut Self {
        self.fix(label, Field::Imm);
        self.insn(CALL, 0, 1, 0, 0)
    }

    /// Returns.
    pub fn exit(&mut self) -> &mut Self {
        self.insn(EXIT, 0, 0, 0, 0)
    }

    /// Names the place of the next slot.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn label(&mut self, name: &str) -> &mut Self {
        let before = self.labels.insert(name.to_owned(), self.insns.len());
        assert!(before.is_none(), "label `{name}` stands twice");
        self
    }

    /// How many slots there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.insns.len()
    }

    /// Whether there is no slot yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.insns.is_empty()
    }

    /// The slot that a label names.
    ///
    /// # Panics
    /// When there is no such label.
    #[must_use]
    pub fn at(&self, label: &str) -> usize {
        *self.labels.get(label).unwrap_or_else(|| panic!("no label `{label}`"))
    }

    /// The program.
    ///
    /// # Panics
    /// When a jump goes to an unknown label or too far.
    #[must_use]
    pub fn build(&self) -> Vec<Insn> {
        let mut insns = self.insns.clone();
        for (from, label, field) in &self.jumps {
            let distance = self.at(label).cast_signed() - from.cast_signed() - 1;
            let too_far = "a jump is shorter than 32,768 slots";
            match field {
                Field::Off => insns[*from].off = i16::try_from(distance).expect(too_far),
                Field::Imm => insns[*from].imm = i32::try_from(distance).expect(too_far),
            }
        }
        insns
    }

    fn fix(&mut self, label: &str, field: Field) {
        self.jumps.push((self.insns.len(), label.to_owned(), field));
    }

    fn wide(&mut self, dst: u8, src: u8, imm: u64) -> &mut Self {
        let bytes = imm.to_le_bytes();
        let [low, high] = [0, 4]
            .map(|at| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
        self.insn(LDDW, dst, src, 0, low).insn(0, 0, 0, 0, high)
    }
}
