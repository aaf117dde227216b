//! Computation: no memory, no control.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

use super::Translator;
use crate::ir::Insn;
use crate::isa::{Alu, Op, Source, Width};

/// The type of numbers of a width.
pub(super) fn ty(width: Width) -> Type {
    match width {
        Width::W64 => types::I64,
        Width::W32 => types::I32,
    }
}

impl Translator<'_> {
    /// A register's value in a width.
    pub(super) fn reg_as(&mut self, number: u8, width: Width) -> Value {
        let value = self.reg(number);
        self.narrow(value, width)
    }

    /// The low part of a value.
    pub(super) fn narrow(&mut self, value: Value, width: Width) -> Value {
        match width {
            Width::W64 => value,
            Width::W32 => self.b.ins().ireduce(types::I32, value),
        }
    }

    /// A value of a width, zero-extended.
    pub(super) fn widen(&mut self, value: Value, width: Width) -> Value {
        match width {
            Width::W64 => value,
            Width::W32 => self.b.ins().uextend(types::I64, value),
        }
    }

    /// The second operand.
    pub(super) fn operand(&mut self, insn: &Insn, source: Source, width: Width) -> Value {
        match source {
            Source::Reg => self.reg_as(insn.src, width),
            Source::Imm => {
                // Cranelift wants constants of 32 bits without sign.
                let imm = match width {
                    Width::W64 => insn.imm,
                    Width::W32 => insn.imm & u64::from(u32::MAX),
                };
                self.b.ins().iconst(ty(width), imm.cast_signed())
            }
        }
    }

    pub(super) fn alu(&mut self, insn: &Insn, alu: Alu, width: Width, source: Source) {
        if alu == Alu::Mov && width == Width::W64 && source == Source::Imm {
            let value = self.number(insn.imm);
            return self.set_reg(insn.dst, value);
        }
        let b = self.operand(insn, source, width);
        let result = match alu {
            Alu::Mov => b,
            _ => {
                let a = self.reg_as(insn.dst, width);
                let known = (source == Source::Imm).then_some(insn.imm);
                self.compute(alu, a, b, known, width)
            }
        };
        let result = self.widen(result, width);
        self.set_reg(insn.dst, result);
    }

    /// `a ∘ b`; `known` is `b` when it is an immediate.
    fn compute(&mut self, alu: Alu, a: Value, b: Value, known: Option<u64>, width: Width) -> Value {
        match alu {
            Alu::Add => self.b.ins().iadd(a, b),
            Alu::Sub => self.b.ins().isub(a, b),
            Alu::Mul => self.b.ins().imul(a, b),
            Alu::Or => self.b.ins().bor(a, b),
            Alu::And => self.b.ins().band(a, b),
            Alu::Xor => self.b.ins().bxor(a, b),
            // Counts are masked by the processor as RFC 9669 masks them.
            Alu::Lsh => self.b.ins().ishl(a, b),
            Alu::Rsh => self.b.ins().ushr(a, b),
            Alu::Arsh => self.b.ins().sshr(a, b),
            Alu::Mov => b,
            Alu::Div | Alu::Mod | Alu::Sdiv | Alu::Smod => match known {
                Some(divisor) => self.divide_by_constant(alu, a, b, divisor, width),
                None => self.divide(alu, a, b, width),
            },
        }
    }

    /// The processor's division, for divisors that it can divide by.
    fn divide_plainly(&mut self, alu: Alu, a: Value, b: Value) -> Value {
        match alu {
            Alu::Div => self.b.ins().udiv(a, b),
            Alu::Mod => self.b.ins().urem(a, b),
            Alu::Sdiv => self.b.ins().sdiv(a, b),
            _ => self.b.ins().srem(a, b),
        }
    }

    /// Division by an immediate, which is not 0: structure checks have seen to that.
    fn divide_by_constant(
        &mut self,
        alu: Alu,
        a: Value,
        b: Value,
        divisor: u64,
        width: Width,
    ) -> Value {
        let minus_one = match width {
            Width::W64 => divisor == u64::MAX,
            Width::W32 => divisor & u64::from(u32::MAX) == u64::from(u32::MAX),
        };
        match alu {
            Alu::Sdiv if minus_one => self.b.ins().ineg(a),
            Alu::Smod if minus_one => self.b.ins().iconst(ty(width), 0),
            _ => self.divide_plainly(alu, a, b),
        }
    }

    /// Division by a register: by 0 the quotient is 0 and the remainder the dividend; by -1
    /// the processor would trap on the smallest number.
    fn divide(&mut self, alu: Alu, a: Value, b: Value, width: Width) -> Value {
        let signed = matches!(alu, Alu::Sdiv | Alu::Smod);
        let (odd, plain) = (self.b.create_block(), self.b.create_block());
        let done = self.b.create_block();
        let result = self.b.append_block_param(done, ty(width));
        let is_odd = if signed {
            // 0 and -1, in one comparison.
            let above = self.b.ins().iadd_imm_s(b, 1);
            self.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, above, 1)
        } else {
            self.b.ins().icmp_imm_u(IntCC::Equal, b, 0)
        };
        self.b.ins().brif(is_odd, odd, &[], plain, &[]);
        self.b.set_cold_block(odd);
        self.b.switch_to_block(odd);
        let zero = self.b.ins().iconst(ty(width), 0);
        let by_zero = if matches!(alu, Alu::Div | Alu::Sdiv) { zero } else { a };
        let value = if signed {
            let by_minus_one = if alu == Alu::Sdiv { self.b.ins().ineg(a) } else { zero };
            self.b.ins().select(b, by_minus_one, by_zero)
        } else {
            by_zero
        };
        self.b.ins().jump(done, &[value.into()]);
        self.b.switch_to_block(plain);
        let value = self.divide_plainly(alu, a, b);
        self.b.ins().jump(done, &[value.into()]);
        self.b.switch_to_block(done);
        result
    }

    pub(super) fn unary(&mut self, insn: &Insn, width: Width) {
        let a = self.reg_as(insn.dst, width);
        let b = &mut self.b;
        let zext =
            |b: &mut cranelift_frontend::FunctionBuilder<'_>, v| b.ins().uextend(types::I64, v);
        let result = match insn.op {
            Op::Neg64 | Op::Neg32 => {
                let negated = b.ins().ineg(a);
                self.widen(negated, width)
            }
            Op::Le16 => b.ins().band_imm_u(a, 0xffff),
            Op::Le32 => b.ins().band_imm_u(a, 0xffff_ffff),
            Op::Be16 | Op::Swap16 => {
                let low = b.ins().ireduce(types::I16, a);
                let swapped = b.ins().bswap(low);
                zext(b, swapped)
            }
            Op::Be32 | Op::Swap32 => {
                let low = b.ins().ireduce(types::I32, a);
                let swapped = b.ins().bswap(low);
                zext(b, swapped)
            }
            Op::Be64 | Op::Swap64 => b.ins().bswap(a),
            _ => a,
        };
        self.set_reg(insn.dst, result);
    }

    pub(super) fn movsx(&mut self, insn: &Insn, from: u32, width: Width) {
        let value = self.reg(insn.src);
        let narrow = match from {
            8 => types::I8,
            16 => types::I16,
            _ => types::I32,
        };
        let low = self.b.ins().ireduce(narrow, value);
        let extended = self.b.ins().sextend(ty(width), low);
        let result = self.widen(extended, width);
        self.set_reg(insn.dst, result);
    }
}
