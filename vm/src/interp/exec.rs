//! The match.
//!
//! Instructions are counted without a counter: the number executed is `done + pc`,
//! where only a taken jump, a call or a return changes `done`, by how far it leads
//! back. There, too, the limits are looked at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_memory::{Access, Word};

use super::lower::unpack;
use super::op::{Code, Op, Regs, poison_scratch};
use super::{Compiled, POISON};
use crate::fault::FaultKind;
use crate::helpers::{self, Call, Caller};
use crate::isa::{Int, isa};
use crate::program::Program;
use crate::run::{Run, Trap};

/// Why the match was left, and at which operation.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) pc: usize,
    pub(super) why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    /// The function that this run of the match started in has returned.
    Exit,
    /// The limits are to be looked at before `pc` is executed.
    Poll,
    /// The same, because much was executed without a jump: the operation at `pc` stands in for
    /// another.
    Look,
    /// Another program replaces the current frame.
    TailCall(Arc<Program>),
    /// A load, store or atomic operation was denied.
    Denied { addr: u64, size: u32, wanted: Access, atomic: bool },
    /// Anything else.
    Trap(Trap),
}

/// Which limit the match itself sees to.
pub(super) trait Counting {
    /// Whether to stop before an instruction when so many have been executed.
    fn stops(limit: i64, executed: i64) -> bool;

    /// The operations that it runs.
    fn ops(compiled: &Compiled) -> &[Op];
}

/// Stops at polls only.
pub(super) struct Loose;

/// Stops exactly when the budget is used up.
pub(super) struct Exact;

impl Counting for Loose {
    #[inline(always)]
    fn stops(_limit: i64, _executed: i64) -> bool {
        false
    }

    fn ops(compiled: &Compiled) -> &[Op] {
        &compiled.fused
    }
}

impl Counting for Exact {
    #[inline(always)]
    fn stops(limit: i64, executed: i64) -> bool {
        executed >= limit
    }

    fn ops(compiled: &Compiled) -> &[Op] {
        &compiled.ops
    }
}

/// Keeps the old value of an atomic operation, or not.
macro_rules! then {
    (keep $reg:expr, $old:expr) => {
        $reg = u64::from($old)
    };
    (forget $reg:expr, $old:expr) => {{
        let _ = $old;
    }};
}

/// `ld_abs` and `ld_ind`: a word of the packet in host order, or the end of the function
/// with result 0 (kernel `bpf_gen_ld_abs`).
macro_rules! ld_skb {
    ($run:ident, $regs:ident, $op:ident, $size:literal, $base:expr, $leave:ident, $go:ident) => {{
        let offset = ($base as u32).wrapping_add($op.imm as u32).cast_signed();
        match $run.load_packet_word($regs.0[6], offset, $size) {
            Ok(Some(word)) => $regs.0[0] = u64::from(word),
            Ok(None) => {
                $regs.0[0] = 0;
                match $run.pop_frame($regs) {
                    Some(back) => $go!(back),
                    None => $leave!(Why::Exit),
                }
            }
            Err(trap) => $leave!(Why::Trap(trap)),
        }
        poison_scratch($regs);
    }};
}

macro_rules! define_exec {
    (
        alu { $($aname:ident $abits:literal $aoff:literal $amn:literal $atext:literal
                [$ai64:ident $ar64:ident $ai32:ident $ar32:ident] |$aa:ident, $ab:ident| $asem:expr;)* }
        unary { $($uop:ident $uw:ident $ucode:literal $ukey:literal $umn:literal $utext:literal
                |$ua:ident| $usem:expr;)* }
        movsx { $($xop:ident $xw:ident $xcode:literal $xoff:literal $xmn:literal $xtext:literal
                |$xa:ident| $xsem:expr;)* }
        load { $($lop:ident $lw:ident $lcode:literal $lmn:literal $ltext:literal
                |$lv:ident| $lsem:expr;)* }
        store { $($sw:ident $stext:literal [$sop:ident $scode:literal $smn:literal]
                [$sxop:ident $sxcode:literal $sxmn:literal];)* }
        atomic { $($tname:ident $timm:literal $tmn:literal $ttext:literal [$t64:ident $t32:ident]
                $tmethod:ident $tthen:ident;)* }
        ordered { $($ow:ident $otext:literal [$oaop:ident $oacode:literal $oamn:literal]
                [$orop:ident $orcode:literal $ormn:literal];)* }
        jump { $($jname:ident $jbits:literal $jmn:literal $jtext:literal
                [$ji64:ident $jr64:ident $ji32:ident $jr32:ident] |$ja:ident, $jb:ident| $jsem:expr;)* }
        misc { $($mop:ident $mcode:literal ($mkey:ident $mval:literal) $mshape:ident $mmn:literal
                $mtext:literal;)* }
    ) => {
        /// Runs operations from `start` on until something needs the driver.
        #[expect(clippy::too_many_lines, reason = "one flat match, generated from the table")]
        #[allow(
            clippy::cast_possible_truncation,
            reason = "32-bit operations work on the low halves of registers"
        )]
        pub(super) fn exec<C: Counting>(
            run: &mut Run<'_>,
            program: &Program,
            regs: &mut Regs,
            start: usize,
        ) -> Stop {
            let view = run.view;
            let ops = C::ops(program.compiled());
            let poll_at = run.poll_at();
            let mut pc = start;
            let mut done = run.executed() - start as i64;

            /// Leaves the match at `pc`, whose instruction has been executed.
            macro_rules! leave {
                ($why:expr) => {{
                    run.set_executed(done + pc as i64 + 1);
                    return Stop { pc, why: $why };
                }};
            }
            macro_rules! denied {
                ($addr:expr, $word:ty, $wanted:ident, $atomic:expr) => {
                    leave!(Why::Denied {
                        addr: $addr,
                        size: <$word as Word>::SIZE,
                        wanted: Access::$wanted,
                        atomic: $atomic,
                    })
                };
            }
            /// Two instructions to an address, and a load from it.
            macro_rules! indexed {
                ($op:ident, $word:ty) => {{
                    let base = regs[$op.src].wrapping_add(*regs.third($op.imm));
                    *regs.third($op.imm >> 4) = base;
                    pc += 2;
                    let addr = address(base, $op.off);
                    let Some(word) = view.load::<$word>(addr) else {
                        denied!(addr, $word, Read, false);
                    };
                    regs[$op.dst] = word.widen();
                }};
            }
            /// A jump over a `goto` if a condition holds, else the `goto`.
            macro_rules! either {
                ($op:ident, $holds:expr) => {{
                    let holds: bool = $holds;
                    pc += 1;
                    if !holds {
                        go!($op.target());
                    }
                    // The skipped `goto` is not executed: as if from one instruction
                    // further back.
                    done -= 1;
                }};
            }
            /// Goes to an index, from a jump, call or exit.
            macro_rules! go {
                ($target:expr) => {{
                    let target: usize = $target;
                    let executed = done + pc as i64 + 1;
                    done = executed - target as i64;
                    pc = target;
                    if executed > poll_at {
                        run.set_executed(executed);
                        return Stop { pc, why: Why::Poll };
                    }
                    continue;
                }};
            }

            loop {
                let op: &Op = &ops[pc];
                if C::stops(poll_at, done + pc as i64) {
                    run.set_executed(done + pc as i64);
                    return Stop { pc, why: Why::Poll };
                }
                match op.code {
                    $(
                        Code::$ai64 => {
                            let ($aa, $ab): (u64, u64) = (regs[op.dst], op.imm);
                            regs[op.dst] = $asem;
                        }
                        Code::$ar64 => {
                            let ($aa, $ab): (u64, u64) = (regs[op.dst], regs[op.src]);
                            regs[op.dst] = $asem;
                        }
                        Code::$ai32 => {
                            let ($aa, $ab) = (regs[op.dst] as u32, op.imm as u32);
                            regs[op.dst] = u64::from($asem);
                        }
                        Code::$ar32 => {
                            let ($aa, $ab) = (regs[op.dst] as u32, regs[op.src] as u32);
                            regs[op.dst] = u64::from($asem);
                        }
                    )*
                    $(
                        Code::$uop => {
                            let $ua = regs[op.dst] as $uw;
                            regs[op.dst] = u64::from($usem);
                        }
                    )*
                    $(
                        Code::$xop => {
                            let $xa = regs[op.src] as $xw;
                            regs[op.dst] = u64::from($xsem);
                        }
                    )*
                    $(
                        Code::$lop => {
                            let addr = address(regs[op.src], op.off);
                            let Some(word) = view.load::<$lw>(addr) else {
                                denied!(addr, $lw, Read, false);
                            };
                            let $lv = word.widen();
                            regs[op.dst] = $lsem;
                        }
                    )*
                    $(
                        Code::$sop => {
                            let addr = address(regs[op.dst], op.off);
                            if !view.store(addr, <$sw as Word>::narrow(op.imm)) {
                                denied!(addr, $sw, Write, false);
                            }
                        }
                        Code::$sxop => {
                            let addr = address(regs[op.dst], op.off);
                            if !view.store(addr, <$sw as Word>::narrow(regs[op.src])) {
                                denied!(addr, $sw, Write, false);
                            }
                        }
                    )*
                    $(
                        Code::$t64 => {
                            let addr = address(regs[op.dst], op.off);
                            let Some(cell) = view.atomic64(addr) else {
                                denied!(addr, u64, ReadWrite, true);
                            };
                            let old = cell.$tmethod(regs[op.src], Ordering::SeqCst);
                            then!($tthen regs[op.src], old);
                        }
                        Code::$t32 => {
                            let addr = address(regs[op.dst], op.off);
                            let Some(cell) = view.atomic32(addr) else {
                                denied!(addr, u32, ReadWrite, true);
                            };
                            let old = cell.$tmethod(regs[op.src] as u32, Ordering::SeqCst);
                            then!($tthen regs[op.src], old);
                        }
                    )*
                    $(
                        Code::$oaop => {
                            let addr = address(regs[op.src], op.off);
                            let Some(word) = view.load_acquire::<$ow>(addr) else {
                                denied!(addr, $ow, Read, true);
                            };
                            regs[op.dst] = word.widen();
                        }
                        Code::$orop => {
                            let addr = address(regs[op.dst], op.off);
                            let word = <$ow as Word>::narrow(regs[op.src]);
                            if !view.store_release(addr, word) {
                                denied!(addr, $ow, Write, true);
                            }
                        }
                    )*
                    $(
                        Code::$ji64 => {
                            let ($ja, $jb): (u64, u64) = (regs[op.dst], op.imm);
                            if $jsem {
                                go!(op.target());
                            }
                        }
                        Code::$jr64 => {
                            let ($ja, $jb): (u64, u64) = (regs[op.dst], regs[op.src]);
                            if $jsem {
                                go!(op.target());
                            }
                        }
                        Code::$ji32 => {
                            let ($ja, $jb) = (regs[op.dst] as u32, op.imm as u32);
                            if $jsem {
                                go!(op.target());
                            }
                        }
                        Code::$jr32 => {
                            let ($ja, $jb) = (regs[op.dst] as u32, regs[op.src] as u32);
                            if $jsem {
                                go!(op.target());
                            }
                        }
                    )*
                    Code::AtomicCmpxchg64 => {
                        let addr = address(regs[op.dst], op.off);
                        let Some(cell) = view.atomic64(addr) else {
                            denied!(addr, u64, ReadWrite, true);
                        };
                        let (expected, new) = (regs.0[0], regs[op.src]);
                        let seq = Ordering::SeqCst;
                        let old = cell.compare_exchange(expected, new, seq, seq);
                        regs.0[0] = old.unwrap_or_else(|old| old);
                    }
                    Code::AtomicCmpxchg32 => {
                        let addr = address(regs[op.dst], op.off);
                        let Some(cell) = view.atomic32(addr) else {
                            denied!(addr, u32, ReadWrite, true);
                        };
                        let (expected, new) = (regs.0[0] as u32, regs[op.src] as u32);
                        let seq = Ordering::SeqCst;
                        let old = cell.compare_exchange(expected, new, seq, seq);
                        regs.0[0] = u64::from(old.unwrap_or_else(|old| old));
                    }
                    Code::Ja | Code::Ja32 => go!(op.target()),
                    Code::MayGoto => {
                        if run.may_goto_spent() {
                            go!(op.target());
                        }
                    }
                    Code::Lddw
                    | Code::LddwMapFd
                    | Code::LddwMapValue
                    | Code::LddwBtfId
                    | Code::LddwFunc
                    | Code::LddwMapIdx
                    | Code::LddwMapIdxValue => regs[op.dst] = op.imm,
                    Code::CallLocal => {
                        if let Err(kind) = run.push_frame(regs, pc + 1, unpack(op.imm)) {
                            leave!(Why::Trap(Trap::new(kind)));
                        }
                        go!(op.target());
                    }
                    Code::Exit => match run.pop_frame(regs) {
                        Some(back) => go!(back),
                        None => leave!(Why::Exit),
                    },
                    Code::CallHelper => {
                        let [_, r1, r2, r3, r4, r5, ..] = regs.0;
                        let args = [r1, r2, r3, r4, r5];
                        run.set_executed(done + pc as i64 + 1);
                        let call = Call { caller: Caller::Known(program), args };
                        match (helpers::at(op.off.cast_unsigned() as usize).function)(run, &call) {
                            Ok(r0) => regs.0[0] = r0,
                            Err(trap) => return Stop { pc, why: Why::Trap(trap) },
                        }
                        // It may have taken long.
                        if run.is_stopped() {
                            let trap = Trap::new(FaultKind::Timeout);
                            return Stop { pc, why: Why::Trap(trap) };
                        }
                        poison_scratch(regs);
                        done = run.executed() - pc as i64 - 1;
                    }
                    Code::TailCall => {
                        let [_, ctx, map, index, ..] = regs.0;
                        match run.tail_call(ctx, map, index) {
                            Ok(Some(next)) => leave!(Why::TailCall(next)),
                            Ok(None) => regs.0[0] = POISON,
                            Err(trap) => leave!(Why::Trap(trap)),
                        }
                        poison_scratch(regs);
                    }
                    Code::LdAbsB => ld_skb!(run, regs, op, 1, 0, leave, go),
                    Code::LdAbsH => ld_skb!(run, regs, op, 2, 0, leave, go),
                    Code::LdAbsW => ld_skb!(run, regs, op, 4, 0, leave, go),
                    Code::LdIndB => ld_skb!(run, regs, op, 1, regs[op.src], leave, go),
                    Code::LdIndH => ld_skb!(run, regs, op, 2, regs[op.src], leave, go),
                    Code::LdIndW => ld_skb!(run, regs, op, 4, regs[op.src], leave, go),
                    Code::Look => {
                        run.set_executed(done + pc as i64);
                        return Stop { pc, why: Why::Look };
                    }
                    Code::NoHelper => {
                        leave!(Why::Trap(Trap::new(helpers::missing(op.imm as u32))))
                    }
                    Code::CallKfunc => leave!(unsupported(program, pc)),
                    Code::CallReg => leave!(unsupported(program, pc)),
                    Code::AddrSpaceCast => leave!(unsupported(program, pc)),
                    Code::MovAdd64Imm => {
                        regs[op.dst] = regs[op.src].wrapping_add(op.imm);
                        pc += 1;
                    }
                    Code::MovAnd64Imm => {
                        regs[op.dst] = regs[op.src] & op.imm;
                        pc += 1;
                    }
                    Code::MovLsh64Imm => {
                        regs[op.dst] = regs[op.src].lsh(op.imm);
                        pc += 1;
                    }
                    Code::MovRsh64Imm => {
                        regs[op.dst] = regs[op.src].rsh(op.imm);
                        pc += 1;
                    }
                    Code::MovAdd32Imm => {
                        let sum = (regs[op.src] as u32).wrapping_add(op.imm as u32);
                        regs[op.dst] = u64::from(sum);
                        pc += 1;
                    }
                    Code::MovAnd32Imm => {
                        regs[op.dst] = u64::from(regs[op.src] as u32 & op.imm as u32);
                        pc += 1;
                    }
                    Code::MovLsh32Imm => {
                        regs[op.dst] = u64::from((regs[op.src] as u32).lsh(op.imm as u32));
                        pc += 1;
                    }
                    Code::MovRsh32Imm => {
                        regs[op.dst] = u64::from((regs[op.src] as u32).rsh(op.imm as u32));
                        pc += 1;
                    }
                    Code::MovImmExit => {
                        regs[op.dst] = op.imm;
                        pc += 1;
                        match run.pop_frame(regs) {
                            Some(back) => go!(back),
                            None => leave!(Why::Exit),
                        }
                    }
                    Code::MovAdd64Reg => {
                        regs[op.dst] = regs[op.src].wrapping_add(*regs.third(op.imm));
                        pc += 1;
                    }
                    Code::MovLshOr64 => {
                        let shifted = regs[op.src].lsh(op.off as u64);
                        regs[op.dst] = shifted | *regs.third(op.imm);
                        pc += 2;
                    }
                    Code::MovLshOr32 => {
                        let shifted = (regs[op.src] as u32).lsh(op.off as u32);
                        regs[op.dst] = u64::from(shifted | *regs.third(op.imm) as u32);
                        pc += 2;
                    }
                    Code::IndexedB => indexed!(op, u8),
                    Code::IndexedH => indexed!(op, u16),
                    Code::IndexedW => indexed!(op, u32),
                    Code::IndexedDw => indexed!(op, u64),
                    Code::Jeq64ImmElse => either!(op, regs[op.dst] == op.imm),
                    Code::Jeq64RegElse => either!(op, regs[op.dst] == regs[op.src]),
                    Code::Jeq32ImmElse => either!(op, regs[op.dst] as u32 == op.imm as u32),
                    Code::AddJne64Imm => {
                        let (step, end) = halves(op.imm);
                        regs[op.dst] = regs[op.dst].wrapping_add(step);
                        pc += 1;
                        if regs[op.dst] != end {
                            go!(op.target());
                        }
                    }
                    Code::AddJeq64Imm => {
                        let (step, end) = halves(op.imm);
                        regs[op.dst] = regs[op.dst].wrapping_add(step);
                        pc += 1;
                        if regs[op.dst] == end {
                            go!(op.target());
                        }
                    }
                    Code::AddJeq64ImmElse => {
                        let (step, end) = halves(op.imm);
                        regs[op.dst] = regs[op.dst].wrapping_add(step);
                        pc += 1;
                        either!(op, regs[op.dst] == end);
                    }
                    Code::Poisoned => leave!(unsupported(program, pc)),
                }
                pc += 1;
            }
        }
    };
}

isa!(define_exec);

#[inline(always)]
fn address(base: u64, displacement: i32) -> u64 {
    base.wrapping_add_signed(i64::from(displacement))
}

/// The two numbers in the immediate of a fused operation, sign-extended.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "each half is 32 bits wide")]
fn halves(imm: u64) -> (u64, u64) {
    let extend = |half: u32| i64::from(half.cast_signed()).cast_unsigned();
    (extend(imm as u32), extend((imm >> 32) as u32))
}

#[cold]
fn unsupported(program: &Program, pc: usize) -> Why {
    let what = crate::engine::unsupported(&program.ir().insns[pc]);
    Why::Trap(Trap::new(FaultKind::Unsupported(what)))
}

impl Compiled {
    /// How many operations there are.
    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }
}
