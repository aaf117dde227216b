//! Accesses to guest memory, with their checks.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Type, Value, types};
use skep_memory::Access;

use super::super::site::Why;
use super::Translator;
use crate::ir::Insn;
use crate::isa::{Op, Rmw, Source, Width};
use crate::program::FRAME_SIZE;
use crate::state::State;

/// Where an access goes: a host address and a displacement.
#[derive(Clone, Copy)]
struct Place {
    addr: Value,
    displacement: i32,
}

/// What is asked of memory.
#[derive(Clone, Copy)]
struct Wish {
    size: u32,
    wanted: Access,
    atomic: bool,
}

fn int(size: u32) -> Type {
    match size {
        1 => types::I8,
        2 => types::I16,
        4 => types::I32,
        _ => types::I64,
    }
}

impl Translator<'_> {
    pub(super) fn guest_flags(&self) -> MemFlagsData {
        // Not `aligned`: guest addresses may be odd.
        MemFlagsData::new().with_notrap().with_alias_region(Some(self.regions.guest))
    }

    /// Checks an access at `base + off` and gives its place.
    fn place(&mut self, base: u8, off: i16, wish: Wish) -> Place {
        if let Some(place) = self.frame_place(base, off, wish) {
            return place;
        }
        let pointer = self.reg(base);
        if self.is_proven(wish) {
            let index = self.masked(pointer);
            let addr = self.b.ins().iadd(self.base, index);
            return Place { addr, displacement: i32::from(off) };
        }
        self.store_state(pointer, offset_of!(State, pointer));
        let why = Why::Denied { size: wish.size, wanted: wish.wanted, atomic: wish.atomic };
        // The upper half is checked on the pointer, not on the sum: the first and last 64 KiB
        // of the window are never accessible.
        let flags = self.state_flags();
        let last = self.load_state(types::I64, flags, offset_of!(State, last));
        let beyond = self.b.ins().icmp(IntCC::UnsignedGreaterThan, pointer, last);
        self.exit_if(beyond, why);
        let index = self.masked(pointer);
        if wish.atomic && wish.size > 1 {
            let sum = self.b.ins().iadd_imm_s(pointer, i64::from(off));
            let odd = self.b.ins().band_imm_u(sum, i64::from(wish.size - 1));
            self.exit_if(odd, why);
        }
        let denied = self.denied(index, off, wish);
        self.exit_if(denied, why);
        let addr = self.b.ins().iadd(self.base, index);
        Place { addr, displacement: i32::from(off) }
    }

    /// Whether the analysis has shown that the current access is granted.
    fn is_proven(&self, wish: Wish) -> bool {
        let proof = self.facts.access(self.at);
        proof.is_some_and(|proof| proof.granted && (proof.aligned || !wish.atomic))
    }

    /// The place of an access to the function's own frame at a constant offset, which needs
    /// no check: the frame is open.
    fn frame_place(&mut self, base: u8, off: i16, wish: Wish) -> Option<Place> {
        let (start, end) = (i64::from(off), i64::from(off) + i64::from(wish.size));
        let inside = -i64::from(FRAME_SIZE) <= start && end <= 0;
        let aligned = !wish.atomic || start % i64::from(wish.size) == 0;
        if base != 10 || !inside || !aligned || self.plan.closes_stack {
            return None;
        }
        Some(Place { addr: self.host_fp?, displacement: i32::from(off) })
    }

    /// The low bits of a guest pointer, which are inside the window whatever they are (N1).
    pub(super) fn masked(&mut self, pointer: Value) -> Value {
        let len = self.window_len;
        if len == 1 << 32 {
            let low = self.b.ins().ireduce(types::I32, pointer);
            return self.b.ins().uextend(types::I64, low);
        }
        let mask = self.number(len - 1);
        self.b.ins().band(pointer, mask)
    }

    /// Not zero when the shadow denies an access.
    fn denied(&mut self, index: Value, off: i16, wish: Wish) -> Value {
        let ty = int(wish.size);
        let flags = MemFlagsData::new().with_notrap().with_alias_region(Some(self.regions.shadow));
        let at = self.b.ins().iadd(self.shadow, index);
        let shadow = self.b.ins().load(ty, flags, at, i32::from(off));
        let bits = match wish.wanted {
            Access::Read => 0x0101_0101_0101_0101,
            Access::Write => 0x8080_8080_8080_8080,
            Access::ReadWrite | Access::None => u64::MAX,
        };
        let bits = bits >> (64 - 8 * wish.size);
        let bits = self.b.ins().iconst(ty, bits.cast_signed());
        let granted = match wish.wanted {
            Access::Read | Access::Write => self.b.ins().band(shadow, bits),
            Access::ReadWrite | Access::None => shadow,
        };
        self.b.ins().icmp(IntCC::NotEqual, granted, bits)
    }

    pub(super) fn load(&mut self, insn: &Insn, size: u32, signed: bool) {
        let wish = Wish { size, wanted: Access::Read, atomic: false };
        let place = self.place(insn.src, insn.off, wish);
        let value = self.load_from(place, size, signed);
        self.set_reg(insn.dst, value);
    }

    fn load_from(&mut self, place: Place, size: u32, signed: bool) -> Value {
        let Place { addr, displacement } = place;
        let flags = self.guest_flags();
        let b = self.b.ins();
        match (size, signed) {
            (1, false) => b.uload8(types::I64, flags, addr, displacement),
            (1, true) => b.sload8(types::I64, flags, addr, displacement),
            (2, false) => b.uload16(types::I64, flags, addr, displacement),
            (2, true) => b.sload16(types::I64, flags, addr, displacement),
            (4, true) => b.sload32(flags, addr, displacement),
            // Not `uload32`, which hides the extension from the optimiser.
            (4, false) => {
                let word = b.load(types::I32, flags, addr, displacement);
                self.b.ins().uextend(types::I64, word)
            }
            _ => b.load(types::I64, flags, addr, displacement),
        }
    }

    pub(super) fn store(&mut self, insn: &Insn, size: u32, source: Source) {
        let wish = Wish { size, wanted: Access::Write, atomic: false };
        let place = self.place(insn.dst, insn.off, wish);
        let value = match source {
            Source::Imm => self.number(insn.imm),
            Source::Reg => self.reg(insn.src),
        };
        let (flags, Place { addr, displacement }) = (self.guest_flags(), place);
        let b = self.b.ins();
        match size {
            1 => b.istore8(flags, value, addr, displacement),
            2 => b.istore16(flags, value, addr, displacement),
            4 => b.istore32(flags, value, addr, displacement),
            _ => b.store(flags, value, addr, displacement),
        };
    }

    /// The host address of an atomic operation's cell, aligned.
    fn cell(&mut self, base: u8, off: i16, size: u32, wanted: Access) -> Value {
        let place = self.place(base, off, Wish { size, wanted, atomic: true });
        self.b.ins().iadd_imm_s(place.addr, i64::from(place.displacement))
    }

    fn atomic_flags(&self) -> MemFlagsData {
        self.guest_flags().with_aligned()
    }

    pub(super) fn atomic(&mut self, insn: &Insn, rmw: Rmw, size: u32, fetch: bool) {
        let cell = self.cell(insn.dst, insn.off, size, Access::ReadWrite);
        let width = if size == 8 { Width::W64 } else { Width::W32 };
        let operand = self.reg_as(insn.src, width);
        let op = match rmw {
            Rmw::Add => AtomicRmwOp::Add,
            Rmw::Or => AtomicRmwOp::Or,
            Rmw::And => AtomicRmwOp::And,
            Rmw::Xor => AtomicRmwOp::Xor,
            Rmw::Xchg => AtomicRmwOp::Xchg,
        };
        let flags = self.atomic_flags();
        let old = self.b.ins().atomic_rmw(int(size), flags, op, cell, operand);
        if fetch {
            let old = self.widen(old, width);
            self.set_reg(insn.src, old);
        }
    }

    pub(super) fn cmpxchg(&mut self, insn: &Insn) {
        let (size, width) = match insn.op {
            Op::AtomicCmpxchg64 => (8, Width::W64),
            _ => (4, Width::W32),
        };
        let cell = self.cell(insn.dst, insn.off, size, Access::ReadWrite);
        let (expected, new) = (self.reg_as(0, width), self.reg_as(insn.src, width));
        let flags = self.atomic_flags();
        let old = self.b.ins().atomic_cas(flags, cell, expected, new);
        let old = self.widen(old, width);
        self.set_reg(0, old);
    }

    pub(super) fn load_acquire(&mut self, insn: &Insn, size: u32) {
        let cell = self.cell(insn.src, insn.off, size, Access::Read);
        let flags = self.atomic_flags();
        let value = self.b.ins().atomic_load(int(size), flags, cell);
        let value = if size < 8 { self.b.ins().uextend(types::I64, value) } else { value };
        self.set_reg(insn.dst, value);
    }

    pub(super) fn store_release(&mut self, insn: &Insn, size: u32) {
        let cell = self.cell(insn.dst, insn.off, size, Access::Write);
        let value = self.reg(insn.src);
        let value = if size < 8 { self.b.ins().ireduce(int(size), value) } else { value };
        let flags = self.atomic_flags();
        self.b.ins().atomic_store(flags, value, cell);
    }

    /// Makes the function's frame accessible, when it is the first of its depth in this run.
    pub(super) fn open_frame(&mut self) {
        let Some(fp) = self.fp else { return };
        let flags = self.state_flags();
        let open = self.load_state(types::I64, flags, offset_of!(State, open_fp));
        let closed = self.b.ins().icmp(IntCC::UnsignedGreaterThan, fp, open);
        let (cold, done) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(closed, cold, &[], done, &[]);
        self.b.set_cold_block(cold);
        self.b.switch_to_block(cold);
        self.call_open_frame(fp);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
    }

    /// Zeroes what the function may read of its frame before it writes it.
    pub(super) fn clear_frame(&mut self) {
        let Some(host_fp) = self.host_fp else { return };
        let lowest = -self.function().stack.bytes.cast_signed();
        let words: Vec<i32> = match self.facts.functions[self.number].early {
            Some(early) => early.words().filter(|&at| at >= lowest).collect(),
            None => (lowest..0).step_by(8).collect(),
        };
        if words.is_empty() {
            return;
        }
        let flags = self.guest_flags();
        let zero = self.b.ins().iconst(types::I64, 0);
        let mut zeros = None;
        let mut words = words.as_slice();
        while let [at, rest @ ..] = words {
            words = match rest {
                [next, rest @ ..] if *next == at + 8 => {
                    let wide = *zeros.get_or_insert_with(|| self.b.ins().splat(types::I64X2, zero));
                    self.b.ins().store(flags, wide, host_fp, *at);
                    rest
                }
                _ => {
                    self.b.ins().store(flags, zero, host_fp, *at);
                    rest
                }
            };
        }
    }
}
