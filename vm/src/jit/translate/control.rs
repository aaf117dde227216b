//! Control flow: jumps, limits, returns.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, Value, types};

use super::super::Mode;
use super::super::fold::Fold;
use super::super::site::{Site, Why};
use super::{Extent, Translator};
use crate::analysis::Sides;
use crate::ir::{Edges, Insn, Link};
use crate::isa::{Cond, Kind, Op, Shape, Source, Width};
use crate::run::MAX_MAY_GOTO;
use crate::state::State;

/// What comes behind an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The next one.
    Next,
    /// Nothing: the block has ended.
    End,
}

fn int_cc(cond: Cond) -> IntCC {
    match cond {
        Cond::Eq => IntCC::Equal,
        Cond::Ne | Cond::Set => IntCC::NotEqual,
        Cond::Gt => IntCC::UnsignedGreaterThan,
        Cond::Ge => IntCC::UnsignedGreaterThanOrEqual,
        Cond::Lt => IntCC::UnsignedLessThan,
        Cond::Le => IntCC::UnsignedLessThanOrEqual,
        Cond::Sgt => IntCC::SignedGreaterThan,
        Cond::Sge => IntCC::SignedGreaterThanOrEqual,
        Cond::Slt => IntCC::SignedLessThan,
        Cond::Sle => IntCC::SignedLessThanOrEqual,
    }
}

/// A comparison for equality as one for order, where one side is known never to be less.
///
/// The compiler would compare a counter before it is advanced rather than after, and keep
/// both.
fn one_sided(cond: Cond, sides: Sides) -> Option<IntCC> {
    Some(match (cond, sides) {
        (Cond::Ne, Sides::AtMost) => IntCC::UnsignedLessThan,
        (Cond::Eq, Sides::AtMost) => IntCC::UnsignedGreaterThanOrEqual,
        (Cond::Ne, Sides::AtLeast) => IntCC::SignedGreaterThan,
        (Cond::Eq, Sides::AtLeast) => IntCC::SignedLessThanOrEqual,
        _ => return None,
    })
}

impl Translator<'_> {
    /// Translates an instruction.
    pub(super) fn insn(&mut self, insn: &Insn, extent: &Extent) -> Then {
        if matches!(insn.link, Link::Poisoned | Link::NoHelper) {
            self.exit(Why::Impossible);
            return Then::End;
        }
        match insn.kind() {
            Kind::Alu(alu, width, source) => self.alu(insn, alu, width, source),
            Kind::Unary(width) => self.unary(insn, width),
            Kind::Movsx { from, width } => self.movsx(insn, from, width),
            Kind::Load { size, signed } => self.load(insn, size, signed),
            Kind::Store { size, source } => self.store(insn, size, source),
            Kind::Atomic { rmw, size, fetch } => self.atomic(insn, rmw, size, fetch),
            Kind::LoadAcquire { size } => self.load_acquire(insn, size),
            Kind::StoreRelease { size } => self.store_release(insn, size),
            Kind::Jump(cond, width, source) => {
                let holds = self.compare(insn, cond, width, source);
                self.branch(holds, extent);
                return Then::End;
            }
            Kind::Misc => return self.misc(insn, extent),
        }
        Then::Next
    }

    fn misc(&mut self, insn: &Insn, extent: &Extent) -> Then {
        match insn.op {
            Op::AtomicCmpxchg64 | Op::AtomicCmpxchg32 => self.cmpxchg(insn),
            Op::Lddw
            | Op::LddwMapFd
            | Op::LddwMapValue
            | Op::LddwBtfId
            | Op::LddwFunc
            | Op::LddwMapIdx
            | Op::LddwMapIdxValue => {
                let value = self.number(insn.imm);
                self.set_reg(insn.dst, value);
            }
            Op::CallHelper => match insn.link {
                Link::Helper(position) => self.call_helper(position),
                _ => self.tail_call(),
            },
            Op::CallLocal => self.call_local(insn),
            Op::LdAbsB | Op::LdIndB => self.load_skb(insn, 1),
            Op::LdAbsH | Op::LdIndH => self.load_skb(insn, 2),
            Op::LdAbsW | Op::LdIndW => self.load_skb(insn, 4),
            Op::Ja | Op::Ja32 => {
                self.go_on(extent);
                return Then::End;
            }
            Op::MayGoto => {
                self.may_goto(extent);
                return Then::End;
            }
            Op::Exit => {
                self.leave();
                return Then::End;
            }
            _ => {
                self.exit(Why::Impossible);
                return Then::End;
            }
        }
        Then::Next
    }

    fn compare(&mut self, insn: &Insn, cond: Cond, width: Width, source: Source) -> Value {
        let a = self.reg_as(insn.dst, width);
        let b = self.operand(insn, source, width);
        if let Some(cc) = self.facts.jump(self.at).and_then(|sides| one_sided(cond, sides)) {
            return self.b.ins().icmp(cc, a, b);
        }
        if cond == Cond::Set {
            return self.b.ins().band(a, b);
        }
        self.b.ins().icmp(int_cc(cond), a, b)
    }

    fn may_goto(&mut self, extent: &Extent) {
        let passed = self.b.use_var(self.may_goto);
        let passed = self.b.ins().iadd_imm_s(passed, 1);
        self.b.def_var(self.may_goto, passed);
        let most = i64::from(MAX_MAY_GOTO);
        let spent = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, passed, most);
        self.branch(spent, extent);
    }

    fn target(&self, number: u32) -> ir::Block {
        self.blocks[(number - self.first_block) as usize]
    }

    /// Leaves a block by its only edge.
    pub(super) fn go_on(&mut self, extent: &Extent) {
        if let Edges::One(to) = extent.edges {
            let (to, looks) = self.route(to);
            if looks {
                self.look();
            }
            self.b.ins().jump(to, &[]);
        }
    }

    fn branch(&mut self, holds: Value, extent: &Extent) {
        if let Some(fold) = self.folds.at(self.block_at) {
            return self.fold(holds, fold);
        }
        if let Edges::Two { taken, next } = extent.edges {
            let (taken, looks_there) = self.route(taken);
            let (next, looks_here) = self.route(next);
            if looks_there || looks_here {
                self.look();
            }
            self.b.ins().brif(holds, taken, &[], next, &[]);
        }
    }

    /// Executes both arms of a branch, selects from what they leave in registers, and goes on
    /// where they come together.
    fn fold(&mut self, holds: Value, fold: Fold) {
        let before = self.all_regs();
        let mut after = |arm: Option<u32>| {
            if let Some(arm) = arm {
                self.arm(arm);
            }
            let after = self.all_regs();
            (0u8..).zip(before).for_each(|(reg, value)| self.set_reg(reg, value));
            after
        };
        let (taken, next) = (after(fold.taken), after(fold.next));
        for (reg, (a, b)) in (0u8..).zip(taken.into_iter().zip(next)) {
            if a != b {
                let value = self.b.ins().select(holds, a, b);
                self.set_reg(reg, value);
            }
        }
        let arms = [fold.taken, fold.next].into_iter().flatten();
        let looks_inside = arms.clone().any(|arm| {
            let extent = &self.ir.blocks[arm as usize];
            (extent.start..extent.end).any(|index| self.pace.looks_before(index))
        });
        let mut ways = arms.chain([self.block_at]);
        if looks_inside || ways.any(|from| self.looks(from, fold.join)) {
            self.look();
        }
        let join = self.target(fold.join);
        self.b.ins().jump(join, &[]);
    }

    fn all_regs(&mut self) -> [Value; 11] {
        std::array::from_fn(|reg| self.b.use_var(self.regs[reg]))
    }

    /// Executes the instructions of an arm, which only compute.
    fn arm(&mut self, block: u32) {
        let ir = self.ir;
        let extent = &ir.blocks[block as usize];
        for insn in &ir.insns[extent.start as usize..extent.end as usize] {
            match insn.kind() {
                Kind::Alu(alu, width, source) => self.alu(insn, alu, width, source),
                Kind::Unary(width) => self.unary(insn, width),
                Kind::Movsx { from, width } => self.movsx(insn, from, width),
                _ if insn.op == Op::Lddw => {
                    let value = self.number(insn.imm);
                    self.set_reg(insn.dst, value);
                }
                _ => {}
            }
        }
    }

    /// Where control goes that goes on to a block, past blocks that are a `goto` only; and
    /// whether it must look at the time on the way.
    fn route(&self, to: u32) -> (ir::Block, bool) {
        /// So many in a row are followed: they may go round.
        const MOST: usize = 8;
        let mut looks = self.looks(self.block_at, to);
        let mut at = to;
        // Counting counts them.
        let most = if self.mode == Mode::Plain { MOST } else { 0 };
        for _ in 0..most {
            let Some(next) = self.ir.goto_of(at) else { break };
            looks |= self.looks(at, next);
            at = next;
        }
        (self.target(at), looks)
    }

    /// Whether control must look at the time where it goes from one block to another.
    fn looks(&self, from: u32, to: u32) -> bool {
        let flow = self.flow();
        let number = |block: u32| (block - self.first_block) as usize;
        self.pace.looks(self.number, flow, number(from), number(to))
    }

    pub(super) fn look(&mut self) {
        let fixed = self.state_flags().with_readonly().with_can_move();
        let cell = self.load_state(types::I64, fixed, offset_of!(State, stop));
        let at = self.load_state(types::I64, fixed, offset_of!(State, stop_at));
        let flags = self.state_flags();
        let now = self.b.ins().load(types::I64, flags, cell, 0);
        let stopped = self.b.ins().icmp(IntCC::Equal, now, at);
        self.exit_if(stopped, Why::Stopped);
        // Guest memory may have been changed by others: what was loaded counts no more.
        self.b.ins().sequence_point();
    }

    /// Returns from the function.
    pub(super) fn leave(&mut self) {
        if self.mode == Mode::Counting {
            let flags = self.state_flags();
            let executed = self.load_state(types::I64, flags, offset_of!(State, executed));
            let limit = self.load_state(types::I64, flags, offset_of!(State, limit));
            let spent = self.b.ins().icmp(IntCC::SignedGreaterThan, executed, limit);
            self.exit_if(spent, Why::Budget);
        }
        if self.plan.function(self.number).entered {
            self.note_end();
        }
        let r0 = self.reg(0);
        self.b.ins().return_(&[r0]);
    }

    /// Notes where the program ends, for the message when it may not end so.
    fn note_end(&mut self) {
        let at = self.b.ins().iconst(types::I32, i64::from(self.at));
        self.store_state(at, offset_of!(State, ended_at));
    }

    /// Counts instructions, where counting begins anew: at the start of a block and behind a
    /// call. All up to the next call or the block's end are counted in advance.
    pub(super) fn count(&mut self, extent: &Extent) {
        if self.mode == Mode::Plain {
            return;
        }
        let begins = self.at == extent.start || is_call(&self.ir.insns[self.at as usize - 1]);
        if !begins {
            self.ahead -= 1;
            return;
        }
        let rest = &self.ir.insns[self.at as usize..extent.end as usize];
        let calls = rest.iter().position(is_call);
        let len = calls.map_or(rest.len(), |at| at + 1);
        let flags = self.state_flags();
        let executed = self.load_state(types::I64, flags, offset_of!(State, executed));
        let limit = self.load_state(types::I64, flags, offset_of!(State, limit));
        let spent = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, executed, limit);
        self.exit_at(spent, Site { insn: self.at, why: Why::Budget, ahead: 0 });
        let len = u32::try_from(len).expect("no longer than a function");
        let executed = self.b.ins().iadd_imm_s(executed, i64::from(len));
        self.store_state(executed, offset_of!(State, executed));
        self.ahead = len - 1;
    }
}

/// Whether what comes behind an instruction may not be executed.
fn is_call(insn: &Insn) -> bool {
    let loads_packet = matches!(insn.op.row().shape, Shape::LdAbs | Shape::LdInd);
    loads_packet || matches!(insn.op, Op::CallHelper | Op::CallLocal)
}
