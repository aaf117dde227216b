//! What can be known of a program before it runs: which accesses are always granted, and how
//! often loops go round.
//!
//! A forward data flow over kinds of pointers and ranges of numbers, function by function,
//! callers first. It only ever says that a check would not fail, or that a loop ends soon;
//! that memory is safe does not rest on it.
//!
//! ```text
//! num         ranges of numbers
//! value       pointers: into what, how far
//! state       registers, stack slots, proven bytes of the packet; where paths meet
//! transfer    instructions          call    calls
//! branch      conditions            access  whether an access is proven
//! frame       reads of the stack before it is written
//! induction   counting loops        flow    until nothing changes
//! ```

mod access;
mod branch;
mod call;
mod explain;
mod flow;
mod frame;
mod induction;
#[cfg(all(test, feature = "jit", target_arch = "x86_64"))]
pub(crate) mod lies;
mod num;
mod state;
mod transfer;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_maps::{Map, MapDef};
use skep_memory::Access;

use crate::helpers;
use crate::interp::POISON;
use crate::ir::{Flow, Insn, Ir, Link};
use crate::isa::{Cond, Kind, Op, Source, Width};
use crate::prog::{Context, ProgType, skb, xdp};
use crate::program::Program;

use access::Wish;
pub use explain::{AccessReport, Explanation, LoopReport};
pub(crate) use frame::Bytes;
use frame::Reads;
use state::State;
pub(crate) use value::{Pointer, Region, Value};

/// What is known of a program.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Of each instruction that accesses memory and is reached.
    accesses: BTreeMap<u32, Proof>,
    /// Of each call of a helper that is reached.
    calls: BTreeMap<u32, CallFacts>,
    /// Of comparisons for equality that lead back.
    jumps: BTreeMap<u32, Sides>,
    /// Of each function, by number.
    pub(crate) functions: Vec<FunctionFacts>,
}

/// What is known of an access.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof {
    /// What the base register holds.
    pub(crate) base: Value,
    /// All bytes are always accessible.
    pub(crate) granted: bool,
    /// The address is always a multiple of the size.
    pub(crate) aligned: bool,
}

/// What is known of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownMap {
    /// It is this one of the program's, by index.
    This(u32),
    /// It is one that was found in this one.
    In(u32),
}

/// What is known of a call of a helper on a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallFacts {
    /// The map in the argument that is one.
    pub(crate) map: KnownMap,
    /// The argument behind it points to a key that can be read.
    pub(crate) key: bool,
    /// The one behind that points to a value that can be read.
    pub(crate) value: bool,
    /// The first one is the program's context.
    pub(crate) context: bool,
}

/// What is known of the sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sides {
    /// The left one is at most the right one, both without sign.
    AtMost,
    /// The left one is at least the right one, both with sign.
    AtLeast,
}

/// What is known of a function.
#[derive(Debug)]
pub(crate) struct FunctionFacts {
    pub(crate) flow: Flow,
    /// How often each loop goes back to its header at most, by number.
    pub(crate) rounds: Vec<Option<u64>>,
    /// What of its frame must be zeroed when it is entered; `None` when that is what the
    /// interpreter zeroes.
    pub(crate) early: Option<Bytes>,
}

/// What the analysis knows of the program as a whole.
struct Setting<'p> {
    ir: &'p Ir,
    maps: &'p [Arc<dyn Map>],
    prog_type: Option<&'static ProgType>,
    /// Whether parts of the stack can become inaccessible.
    closes_stack: bool,
    /// Calls of functions that were met, and what the functions got.
    calls: Vec<(u32, [Value; 5])>,
    /// A function was called that is not known.
    calls_unknown: bool,
}

/// So often may a function's arguments change before nothing is assumed of them.
const PATIENCE: u32 = 4;

impl Facts {
    /// Analyses a program.
    pub(crate) fn of(program: &Program) -> Self {
        let ir = program.ir();
        let closes_stack = ir.insns.iter().any(
            |insn| matches!(insn.link, Link::Helper(position) if helpers::closes_stack(position)),
        );
        let mut setting = Setting {
            ir,
            maps: program.maps(),
            prog_type: program.prog_type(),
            closes_stack,
            calls: Vec::new(),
            calls_unknown: false,
        };
        let flows: Vec<Flow> = ir.functions.iter().map(|f| Flow::of(ir, f)).collect();
        let mut entries: Vec<Option<State>> = vec![None; ir.functions.len()];
        entries[0] = Some(setting.entry());
        let mut known = vec![None; ir.functions.len()];
        let mut changes = vec![0; ir.functions.len()];
        let mut dirty = std::collections::BTreeSet::from([0]);
        while let Some(number) = dirty.pop_first() {
            let Some(entry) = entries[number].clone() else { continue };
            let function = &ir.functions[number];
            known[number] =
                flow::known(&mut setting, ir, function, &flows[number], &entry).map(Arc::new);
            if known[number].is_none() {
                // Nothing is known of what it calls, either.
                setting.calls_unknown = true;
            }
            for (callee, args) in setting.take_calls() {
                let entry = match &entries[callee] {
                    None => with_args(args),
                    Some(before) if changes[callee] < PATIENCE => {
                        before.join(&with_args(args), &|_| Pointer::LOST)
                    }
                    Some(_) => with_args([Value::ANY; 5]),
                };
                if entries[callee].as_ref() != Some(&entry) {
                    entries[callee] = Some(entry);
                    changes[callee] += 1;
                    dirty.insert(callee);
                }
            }
        }
        let mut facts = Self {
            accesses: BTreeMap::new(),
            calls: BTreeMap::new(),
            jumps: BTreeMap::new(),
            functions: Vec::new(),
        };
        let mut anywhere = false;
        for ((number, flow), known) in flows.into_iter().enumerate().zip(known) {
            let (rounds, reads) = match known {
                Some(known) => {
                    let reads = setting.judge(number, &known, &flow, &mut facts);
                    (known.rounds.clone(), reads)
                }
                None => {
                    anywhere = true;
                    (vec![None; flow.loops.len()], Reads::default())
                }
            };
            anywhere |= reads.anywhere;
            facts.functions.push(FunctionFacts { flow, rounds, early: Some(reads.early) });
        }
        if anywhere {
            facts.functions.iter_mut().for_each(|function| function.early = None);
        }
        #[cfg(all(test, feature = "jit", target_arch = "x86_64"))]
        lies::tell(program, &mut facts);
        facts
    }

    /// What is known of the call of a helper.
    pub(crate) fn call(&self, index: u32) -> Option<&CallFacts> {
        self.calls.get(&index)
    }

    /// What is known of a comparison for equality.
    pub(crate) fn jump(&self, index: u32) -> Option<Sides> {
        self.jumps.get(&index).copied()
    }

    /// What is known of the access of an instruction.
    pub(crate) fn access(&self, index: u32) -> Option<&Proof> {
        self.accesses.get(&index)
    }
}

fn with_args(args: [Value; 5]) -> State {
    let mut regs = [Value::exactly(POISON); 11];
    regs[1..=5].copy_from_slice(&args);
    regs[10] = Value::Pointer(Pointer::to(Region::Frame));
    State::new(regs)
}

impl Setting<'_> {
    /// What is known where the program is entered.
    fn entry(&self) -> State {
        let poison = Value::exactly(POISON);
        let r1 = if self.has_fields() {
            Value::Pointer(Pointer::to(Region::Context))
        } else {
            Value::ANY
        };
        let r2 = if self.prog_type.is_none() { Value::ANY } else { poison };
        with_args([r1, r2, poison, poison, poison])
    }

    /// Whether the context is a structure with fields.
    fn has_fields(&self) -> bool {
        let context = self.prog_type.map(|t| t.context);
        matches!(context, Some(Context::Xdp | Context::Skb(_)))
    }

    /// Where in the context `data`, `data_end` and `data_meta` stand.
    fn packet_fields(&self) -> Option<(u32, u32, u32)> {
        match self.prog_type?.context {
            Context::Xdp => Some((xdp::DATA, xdp::DATA_END, xdp::DATA_META)),
            Context::Skb(_) => Some((skb::DATA, skb::DATA_END, skb::DATA_META)),
            _ => None,
        }
    }

    /// The calls met since the last time, by number of the callee.
    fn take_calls(&mut self) -> Vec<(usize, [Value; 5])> {
        if std::mem::take(&mut self.calls_unknown) {
            // Any function may have been called with anything.
            self.calls.extend(self.ir.functions.iter().map(|f| (f.start, [Value::ANY; 5])));
        }
        let calls = std::mem::take(&mut self.calls).into_iter();
        calls.filter_map(|(start, args)| Some((self.ir.function_index(start)?, args))).collect()
    }

    /// Judges all accesses of a function; gives what it reads early.
    fn judge(
        &mut self,
        number: usize,
        known: &flow::Known,
        flow: &Flow,
        facts: &mut Facts,
    ) -> Reads {
        let mut reads = Reads::default();
        let ir = self.ir;
        let first = ir.functions[number].blocks.start as usize;
        for (block, before) in known.before.iter().enumerate() {
            let Some(mut state) = before.clone() else { continue };
            let extent = &ir.blocks[first + block];
            for index in extent.start..extent.end {
                let insn = &ir.insns[index as usize];
                let mut granted = false;
                if let Some((base, size, access)) = access_of(insn) {
                    let proof = self.prove(&state, insn, base, size, access);
                    granted = proof.granted;
                    facts.accesses.insert(index, proof);
                }
                self.reads(&state, insn, granted, &mut reads);
                if insn.op == Op::CallHelper {
                    facts.calls.extend(self.call_facts(&state, insn).map(|call| (index, call)));
                }
                if index + 1 == extent.end
                    && extent.edges.iter().any(|to| self.leads_back(flow, (first, block), to))
                    && let Some(sides) = sides(&state, insn)
                {
                    facts.jumps.insert(index, sides);
                }
                self.step(&mut state, index, insn);
            }
        }
        self.calls.clear();
        self.calls_unknown = false;
        reads
    }

    /// Whether an edge leads back, past a `goto` perhaps.
    fn leads_back(&self, flow: &Flow, (first, block): (usize, usize), to: u32) -> bool {
        let number = |block: u32| block as usize - first;
        flow.leads_back(block, number(to))
            || self.ir.goto_of(to).is_some_and(|next| flow.leads_back(number(to), number(next)))
    }

    /// What is known of a call on a map.
    fn call_facts(&self, state: &State, insn: &Insn) -> Option<CallFacts> {
        let at = match insn.link {
            Link::TailCall => 2,
            Link::Helper(_) => 1,
            _ => return None,
        };
        let map = match state.regs[at] {
            Value::Map(index) => KnownMap::This(index),
            Value::Inner(index) => KnownMap::In(index),
            _ => return None,
        };
        let def = self.map_of(state.regs[at])?;
        let granted = |reg: usize, size: u32| {
            let wish = Wish { off: 0, size: i64::from(size), access: Access::Read };
            state.regs[reg].pointer().is_some_and(|pointer| self.proves(state, &pointer, wish))
        };
        let (key, value) = (granted(at + 1, def.key_size), granted(at + 2, def.value_size));
        let own = Value::Pointer(Pointer::to(Region::Context));
        Some(CallFacts { map, key, value, context: state.regs[1] == own })
    }

    /// The definition of the map that a value is the handle of.
    fn map_of(&self, value: Value) -> Option<&MapDef> {
        match value {
            Value::Map(index) => Some(self.maps.get(index as usize)?.core().def()),
            Value::Inner(index) => self.maps.get(index as usize)?.core().def().inner.as_deref(),
            _ => None,
        }
    }

    fn prove(&self, state: &State, insn: &Insn, base: u8, size: u32, access: Access) -> Proof {
        let base = state.regs[usize::from(base)];
        let off = i64::from(insn.off);
        let (granted, aligned) = match base.pointer() {
            Some(pointer) => (
                self.proves(state, &pointer, Wish { off, size: i64::from(size), access }),
                self.is_aligned(&pointer, off, size),
            ),
            None => (false, false),
        };
        Proof { base, granted, aligned }
    }
}

/// What is known of the sides of a comparison with a constant.
fn sides(state: &State, insn: &Insn) -> Option<Sides> {
    let Kind::Jump(Cond::Eq | Cond::Ne, Width::W64, Source::Imm) = insn.kind() else {
        return None;
    };
    let Value::Num(num) = state.regs[usize::from(insn.dst)] else {
        return None;
    };
    if insn.imm > 0 && num.max <= insn.imm {
        Some(Sides::AtMost)
    } else if num.smin >= insn.imm.cast_signed() {
        Some(Sides::AtLeast)
    } else {
        None
    }
}

/// The base register, size and kind of the access that an instruction makes.
pub(crate) fn access_of(insn: &Insn) -> Option<(u8, u32, Access)> {
    if matches!(insn.link, Link::Poisoned) {
        return None;
    }
    Some(match insn.kind() {
        Kind::Load { size, .. } | Kind::LoadAcquire { size } => (insn.src, size, Access::Read),
        Kind::Store { size, .. } | Kind::StoreRelease { size } => (insn.dst, size, Access::Write),
        Kind::Atomic { size, .. } => (insn.dst, size, Access::ReadWrite),
        Kind::Misc if insn.op == Op::AtomicCmpxchg64 => (insn.dst, 8, Access::ReadWrite),
        Kind::Misc if insn.op == Op::AtomicCmpxchg32 => (insn.dst, 4, Access::ReadWrite),
        _ => return None,
    })
}
