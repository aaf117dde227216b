//! What the analysis has found, in words.

use super::value::{Pointer, Region, Value};
use super::{Facts, Proof, access_of};
use crate::program::Program;

/// What is known of an access to memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessReport {
    /// The slot of the instruction.
    pub insn: u32,
    /// The instruction's text.
    pub text: String,
    /// Whether the access is always granted, so that native code does not check it.
    pub proven: bool,
    /// Why, or why not.
    pub why: String,
}

/// What is known of a loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopReport {
    /// The slot of its first instruction.
    pub insn: u32,
    /// How often it goes back there at most, if that is known.
    pub rounds: Option<u64>,
}

/// What is known of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Of each access that can be reached, in order.
    pub accesses: Vec<AccessReport>,
    /// Of each loop, in order.
    pub loops: Vec<LoopReport>,
}

impl Program {
    /// What is known of the program without running it: which accesses are always granted,
    /// and how often loops go round.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let facts = Facts::of(self);
        let accesses = facts.accesses.iter().map(|(&index, proof)| AccessReport {
            insn: self.slot(index as usize),
            text: self.text(index as usize),
            proven: proof.granted && (proof.aligned || !self.is_atomic(index)),
            why: self.why(index, proof),
        });
        let mut loops = Vec::new();
        for (function, facts) in self.ir().functions.iter().zip(&facts.functions) {
            for (this, rounds) in facts.flow.loops.iter().zip(&facts.rounds) {
                let block = function.blocks.start as usize + this.header;
                let start = self.ir().blocks[block].start;
                loops.push(LoopReport { insn: self.slot(start as usize), rounds: *rounds });
            }
        }
        loops.sort_by_key(|report| report.insn);
        Explanation { accesses: accesses.collect(), loops }
    }

    fn is_atomic(&self, index: u32) -> bool {
        crate::ir::is_atomic(&self.ir().insns[index as usize])
    }

    fn why(&self, index: u32, proof: &Proof) -> String {
        let insn = &self.ir().insns[index as usize];
        let Some((base, size, _)) = access_of(insn) else {
            return String::new();
        };
        let Some(pointer) = proof.base.pointer() else {
            return format!("r{base} {}", self.no_pointer(proof.base));
        };
        let (least, most) = pointer.span();
        let off = i64::from(insn.off);
        let (first, last) = (least + off, most + off + i64::from(size) - 1);
        let bytes = format!("bytes {first} to {last} of {}", self.region(&pointer));
        match (proof.granted, proof.aligned || !self.is_atomic(index)) {
            (true, true) => bytes,
            (true, false) => format!("{bytes}, but the address may not be a multiple of {size}"),
            (false, _) => format!("{bytes} are not known to be accessible"),
        }
    }

    fn no_pointer(&self, value: Value) -> String {
        match value {
            Value::Nullable(pointer, _) => {
                format!("is a pointer to {} or NULL", self.region(&pointer))
            }
            Value::PacketEnd => "is the end of the packet".to_owned(),
            Value::Map(_) | Value::Inner(_) | Value::NullableInner(..) => "is a map".to_owned(),
            Value::Function(_) => "is a function".to_owned(),
            Value::Num(num) => match num.value() {
                Some(crate::interp::POISON) => "was not written".to_owned(),
                Some(number) => format!("is the number {number:#x}"),
                None => "is not known to be a pointer".to_owned(),
            },
            Value::Pointer(_) => String::new(),
        }
    }

    fn region(&self, pointer: &Pointer) -> String {
        let map = |index: u32| {
            let map = self.maps().get(index as usize);
            map.map_or_else(String::new, |map| map.core().def().name.clone())
        };
        match pointer.region {
            Region::Frame => "the stack frame (from its end)".to_owned(),
            Region::Context => "the context".to_owned(),
            Region::Packet => "the packet".to_owned(),
            Region::Meta => "the packet's metadata".to_owned(),
            Region::Value(index) => format!("a value of map `{}`", map(index)),
            Region::InnerValue(index) => format!("a value of a map in `{}`", map(index)),
            Region::Record(size) => format!("a ring buffer record of {size} bytes"),
            Region::Lent(first, behind, _) => {
                format!("memory of the caller ({} bytes)", behind - first)
            }
        }
    }
}
