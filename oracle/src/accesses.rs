//! Accesses of memory, one program each: what the rights of map values are tried with.

use crate::asm::{
    ADD, AND, Asm, B, CMPXCHG, DW, FETCH, H, R0, R1, R2, R3, R4, R6, R7, R8, R10, W, XCHG,
};

/// One way to touch the memory that r8 points to. What is learnt from it is stored where
/// r7 points to; r6 is a `__sk_buff`.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// What recordings call it; a number at the end is its size in bytes.
    pub name: &'static str,
    /// How many bytes it touches.
    pub size: u32,
    write: fn(&mut Asm, i32),
}

impl Access {
    /// Writes the access; `other` names a HASH with keys of 4 and values of 8 bytes.
    pub fn write(&self, asm: &mut Asm, other: i32) {
        (self.write)(asm, other);
    }

    /// The access of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ACCESSES.iter().find(|access| access.name == name)
    }
}

/// Where in the stack frame helpers' other arguments stand.
const SCRATCH: i16 = -16;

const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const SKB_LOAD_BYTES: i32 = 26;
const STRTOL: i32 = 105;
const LOAD_ACQUIRE: i32 = 0x100;
const STORE_RELEASE: i32 = 0x110;

/// All of them.
pub static ACCESSES: &[Access] = &[
    Access { name: "load1", size: 1, write: |asm, _| load(asm, B) },
    Access { name: "load2", size: 2, write: |asm, _| load(asm, H) },
    Access { name: "load4", size: 4, write: |asm, _| load(asm, W) },
    Access { name: "load8", size: 8, write: |asm, _| load(asm, DW) },
    Access { name: "signed_load4", size: 4, write: |asm, _| signed_load(asm) },
    Access { name: "load_acquire8", size: 8, write: |asm, _| load_acquire(asm) },
    Access { name: "store1", size: 1, write: |asm, _| store(asm, B) },
    Access { name: "store2", size: 2, write: |asm, _| store(asm, H) },
    Access { name: "store4", size: 4, write: |asm, _| store(asm, W) },
    Access { name: "store8", size: 8, write: |asm, _| store(asm, DW) },
    Access { name: "store_imm8", size: 8, write: |asm, _| store_imm(asm) },
    Access { name: "store_release8", size: 8, write: |asm, _| atomic(asm, STORE_RELEASE) },
    Access { name: "atomic_add8", size: 8, write: |asm, _| atomic(asm, ADD.into()) },
    Access { name: "fetch_and8", size: 8, write: |asm, _| atomic(asm, FETCH | i32::from(AND)) },
    Access { name: "xchg8", size: 8, write: |asm, _| atomic(asm, XCHG) },
    Access { name: "cmpxchg8", size: 8, write: |asm, _| atomic(asm, CMPXCHG) },
    Access { name: "key_of_lookup4", size: 4, write: key_of_lookup },
    Access { name: "value_of_update8", size: 8, write: value_of_update },
    Access { name: "skb_load_bytes8", size: 8, write: |asm, _| skb_load_bytes(asm) },
    Access { name: "strtol8", size: 8, write: |asm, _| strtol(asm) },
];

fn load(asm: &mut Asm, size: u8) {
    asm.ldx(size, R1, R8, 0).stx(DW, R7, 0, R1);
}

fn signed_load(asm: &mut Asm) {
    asm.ldxsx(W, R1, R8, 0).stx(DW, R7, 0, R1);
}

fn load_acquire(asm: &mut Asm) {
    asm.atomic(DW, R1, 0, R8, LOAD_ACQUIRE).stx(DW, R7, 0, R1);
}

fn store(asm: &mut Asm, size: u8) {
    asm.lddw(R1, 0x0807_0605_0403_0201).stx(size, R8, 0, R1);
}

fn store_imm(asm: &mut Asm) {
    asm.st(DW, R8, 0, 7);
}

fn atomic(asm: &mut Asm, operation: i32) {
    asm.mov(R0, 0).mov(R1, 5).atomic(DW, R8, 0, R1, operation);
}

fn key_of_lookup(asm: &mut Asm, other: i32) {
    asm.map(R1, other).mov_reg(R2, R8).call(LOOKUP);
}

fn value_of_update(asm: &mut Asm, other: i32) {
    asm.st(DW, R10, SCRATCH, 0).map(R1, other).mov_reg(R2, R10);
    asm.alu64(ADD, R2, SCRATCH.into()).mov_reg(R3, R8).mov(R4, 0).call(UPDATE);
    asm.stx(DW, R7, 0, R0);
}

fn skb_load_bytes(asm: &mut Asm) {
    asm.mov_reg(R1, R6).mov(R2, 0).mov_reg(R3, R8).mov(R4, 8).call(SKB_LOAD_BYTES);
    asm.stx(DW, R7, 0, R0);
}

fn strtol(asm: &mut Asm) {
    // "42" and zeros.
    asm.st(DW, R10, SCRATCH, 0x3234).mov_reg(R1, R10).alu64(ADD, R1, SCRATCH.into());
    asm.mov(R2, 8).mov(R3, 0).mov_reg(R4, R8).call(STRTOL).stx(DW, R7, 0, R0);
}
