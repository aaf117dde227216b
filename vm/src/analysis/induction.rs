//! Loops that count: how often they go round, and what their counters hold.
//!
//! A register that a loop changes only by adding constants holds, when the header is reached
//! for the k-th time, its first value plus at most k times the constants; and a comparison of
//! one that is changed exactly once each time round tells how large k can become. None of
//! this walks the iterations.

use super::num::{Num, mirrored, negated};
use super::state::State;
use super::transfer::mark_of;
use super::value::{Mark, Pointer, Value};
use crate::ir::{Edges, Flow, Function, Insn, Ir, Loop, touches};
use crate::isa::{Alu, Cond, Kind, Source, Width};

/// The registers that a loop changes only by adding constants.
#[derive(Debug, Default)]
pub(super) struct Induction {
    registers: Vec<Counter>,
    tests: Vec<Test>,
}

/// Such a register.
#[derive(Debug)]
struct Counter {
    reg: u8,
    /// What is added each time round at most, and taken away.
    up: i64,
    down: i64,
    /// Whether some of it is done in 32 bits.
    narrow: bool,
}

/// A comparison that is made each time round, and leads out of the loop.
#[derive(Debug)]
struct Test {
    /// Goes on while this holds for the counter and the bound.
    cond: Cond,
    width: Width,
    /// Whether the counter is advanced in 32 bits.
    narrow: bool,
    reg: u8,
    /// What is added each time round, exactly.
    step: i64,
    /// Whether that is done before the comparison.
    stepped: bool,
    bound: Bound,
}

#[derive(Debug)]
enum Bound {
    Imm(u64),
    Reg(u8),
}

/// A register's definitions in a loop.
#[derive(Debug, Clone, Copy, Default)]
struct Changes {
    up: i64,
    down: i64,
    count: u32,
    narrow: bool,
    /// The block and place of one of them.
    at: (usize, u32),
    /// Something else is done to it, or it is done in an inner loop.
    other: bool,
}

impl Induction {
    /// Looks at a loop; numbers of blocks are the function's own.
    pub(super) fn of(ir: &Ir, function: &Function, flow: &Flow, number: usize) -> Self {
        let this = &flow.loops[number];
        let mut changes = [Changes::default(); 11];
        for &block in &this.blocks {
            let inner = flow.loop_of[block] != Some(number);
            let extent = &ir.blocks[function.blocks.start as usize + block];
            for index in extent.start..extent.end {
                note(&ir.insns[index as usize], (block, index), inner, &mut changes);
            }
        }
        let registers = (0u8..10)
            .filter(|&reg| changes[usize::from(reg)].count > 0 && !changes[usize::from(reg)].other)
            .map(|reg| {
                let Changes { up, down, narrow, .. } = changes[usize::from(reg)];
                Counter { reg, up, down, narrow }
            });
        let registers = registers.collect();
        let tests = this.blocks.iter();
        let tests =
            tests.filter_map(|&block| test(ir, function, flow, this, number, block, &changes));
        Self { registers, tests: tests.collect() }
    }

    /// How often the loop can go back to its header, when it is entered with `entry`.
    pub(super) fn rounds(&self, entry: &State) -> Option<u64> {
        self.tests.iter().filter_map(|test| test.rounds(entry)).min()
    }

    /// Puts into `header` what counters hold when the loop is entered with `entry` and goes
    /// round at most `rounds` times. `mark` gives marks for what is new here.
    pub(super) fn settle(
        &self,
        header: &mut State,
        entry: &State,
        rounds: u64,
        mark: impl Fn(u32) -> Mark,
    ) {
        for counter in &self.registers {
            let reg = usize::from(counter.reg);
            let known = counter.after(entry.regs[reg], rounds, mark(u32::from(counter.reg)));
            if let Some(value) = known {
                header.regs[reg] = value;
            }
        }
    }
}

impl Counter {
    /// What it holds after at most so many rounds.
    fn after(&self, first: Value, rounds: u64, mark: Mark) -> Option<Value> {
        let rounds = i64::try_from(rounds).ok()?;
        let (up, down) = (self.up.checked_mul(rounds)?, self.down.checked_mul(rounds)?);
        match first {
            Value::Num(num) => {
                // Only where nothing wraps do the numbers stay in between.
                let min = num.min.checked_add_signed(down)?;
                let max = num.max.checked_add_signed(up)?;
                let fits =
                    if self.narrow { max <= u64::from(u32::MAX) } else { max <= i64::MAX as u64 };
                let align = num.trailing_zeros().min(self.alignment());
                fits.then(|| Value::Num(Num::range_of_multiples(min, max, align)))
            }
            Value::Pointer(pointer) if !self.narrow => {
                let (least, most) = pointer.span();
                let var = (least.checked_add(down)?, most.checked_add(up)?);
                let align = pointer.alignment().min(self.alignment());
                let moved = Pointer { fixed: 0, var, align, mark, ..pointer };
                moved
                    .moved(0)
                    .filter(|_| var.0.abs().max(var.1.abs()) < 1 << 29)
                    .map(Value::Pointer)
            }
            _ => None,
        }
    }

    fn alignment(&self) -> u32 {
        self.up.trailing_zeros().min(self.down.trailing_zeros())
    }
}

impl Test {
    /// After how many rounds it leads out at the latest.
    fn rounds(&self, entry: &State) -> Option<u64> {
        let Value::Num(first) = entry.regs[usize::from(self.reg)] else {
            return None;
        };
        let bound = match self.bound {
            Bound::Imm(imm) => Num::exactly(imm),
            Bound::Reg(reg) => match entry.regs[usize::from(reg)] {
                Value::Num(num) => num,
                _ => return None,
            },
        };
        let signed = matches!(self.cond, Cond::Slt | Cond::Sle | Cond::Sgt | Cond::Sge);
        let bound = match self.width {
            Width::W64 => bound,
            // The comparison sees the low half, as a number with a sign perhaps.
            Width::W32 if signed && bound.low().max > i32::MAX as u64 => return None,
            Width::W32 => bound.low(),
        };
        // All numbers as 128-bit ones, so that nothing wraps here; that nothing wraps there is
        // looked at below.
        let pair = |num: Num| match signed {
            true => (i128::from(num.smin), i128::from(num.smax)),
            false => (i128::from(num.min), i128::from(num.max)),
        };
        let step = i128::from(self.step);
        let ahead = if self.stepped { step } else { 0 };
        let (first_least, first_most) = pair(first);
        let (least, most) = (first_least + ahead, first_most + ahead);
        let (bound_least, bound_most) = pair(bound);
        let rounds = match (self.cond, step > 0) {
            (Cond::Lt | Cond::Slt, true) => div_up(bound_most - least, step),
            (Cond::Le | Cond::Sle, true) => div_up(bound_most + 1 - least, step),
            (Cond::Gt | Cond::Sgt, false) => div_up(most - bound_least, -step),
            (Cond::Ge | Cond::Sge, false) => div_up(most + 1 - bound_least, -step),
            (Cond::Ne, _) if least == most && bound_least == bound_most => {
                let distance = (bound_least - least) * step.signum();
                let exact = distance >= 0 && distance % step.abs() == 0;
                exact.then_some(distance / step.abs())?
            }
            _ => return None,
        };
        let rounds = rounds.max(0);
        // One round more than those that go on: what the comparison itself sees.
        let (lowest, highest) = if step > 0 {
            (least.min(first_least), most + rounds * step)
        } else {
            (least + rounds * step, most.max(first_most))
        };
        // Where the numbers stay among these, nothing wraps, and all halves compared are whole.
        let (floor, ceiling) = match (self.width, signed) {
            (Width::W64, true) => (i128::from(i64::MIN), i128::from(i64::MAX)),
            (Width::W64, false) => (0, i128::from(u64::MAX)),
            (Width::W32, true) => (0, i128::from(i32::MAX)),
            (Width::W32, false) => (0, i128::from(u32::MAX)),
        };
        let (floor, ceiling) = match self.narrow {
            true => (floor.max(0), ceiling.min(i128::from(u32::MAX))),
            false => (floor, ceiling),
        };
        let fits = floor <= lowest && highest <= ceiling;
        fits.then_some(u64::try_from(rounds).ok()?)
    }
}

fn div_up(a: i128, b: i128) -> i128 {
    (a + b - 1).div_euclid(b)
}

/// What an instruction of a loop does to the registers that it writes.
fn note(insn: &Insn, at: (usize, u32), inner: bool, changes: &mut [Changes; 11]) {
    let (_, writes) = touches(insn, |_| 0);
    for reg in (0..10).filter(|reg| writes & 1 << reg != 0) {
        let change = &mut changes[reg];
        change.count += 1;
        change.at = at;
        let added = match insn.kind() {
            Kind::Alu(Alu::Add, width, Source::Imm) => Some((insn.imm.cast_signed(), width)),
            Kind::Alu(Alu::Sub, width, Source::Imm) => {
                insn.imm.cast_signed().checked_neg().map(|by| (by, width))
            }
            _ => None,
        };
        match added {
            Some((by, width)) if !inner => {
                change.narrow |= width == Width::W32;
                change.up = change.up.saturating_add(by.max(0));
                change.down = change.down.saturating_add(by.min(0));
            }
            _ => change.other = true,
        }
    }
}

/// The comparison at the end of a block, if it is made each time round and leads out.
fn test(
    ir: &Ir,
    function: &Function,
    flow: &Flow,
    this: &Loop,
    number: usize,
    block: usize,
    changes: &[Changes; 11],
) -> Option<Test> {
    let always = |block: usize| {
        flow.loop_of[block] == Some(number)
            && this.latches.iter().all(|&latch| flow.dominates(block, latch))
    };
    let first = function.blocks.start;
    let extent = &ir.blocks[first as usize + block];
    let Edges::Two { taken, next } = extent.edges else { return None };
    let inside = |to: u32| this.contains((to - first) as usize);
    let insn = &ir.insns[extent.end as usize - 1];
    let Kind::Jump(cond, width, source) = insn.kind() else { return None };
    let stays = match (inside(taken), inside(next)) {
        (true, false) => cond,
        (false, true) => negated(cond)?,
        _ => return None,
    };
    if !always(block) {
        return None;
    }
    let one = |reg: u8| {
        let change = changes[usize::from(reg)];
        let steady = change.count == 1 && !change.other && always(change.at.0);
        steady.then_some(change)
    };
    let invariant = |reg: u8| changes[usize::from(reg)].count == 0;
    let (reg, bound, cond) = match source {
        Source::Imm => (insn.dst, Bound::Imm(insn.imm), stays),
        Source::Reg if invariant(insn.src) => (insn.dst, Bound::Reg(insn.src), stays),
        Source::Reg if invariant(insn.dst) => (insn.src, Bound::Reg(insn.dst), mirrored(stays)),
        Source::Reg => return None,
    };
    let change = one(reg)?;
    // In the same block, the comparison comes last.
    let stepped = change.at.0 == block || flow.dominates(change.at.0, block);
    if !stepped && !flow.dominates(block, change.at.0) {
        return None;
    }
    let (step, narrow) = (change.up + change.down, change.narrow);
    (step != 0).then_some(Test { cond, width, narrow, reg, step, stepped, bound })
}

/// The mark of what control brings together at a place of a block that starts at `start`.
pub(super) fn join_mark(start: u32, place: u32) -> Mark {
    1 << 30 | mark_of(start) << 7 | place
}
