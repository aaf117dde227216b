//! A program with its input, and what an engine makes of it.

use std::fmt;

use skep_vm::isa::{Insn, Shape, disassemble};
use skep_vm::prog::ProgType;

use crate::layout::{MEMORY, OUT};
use crate::shrink::nothing;

/// A program and what it runs on.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its type; `None` for one that gets its memory's address in r1.
    pub prog_type: Option<&'static ProgType>,
    /// The program.
    pub insns: Vec<Insn>,
    /// [`MEMORY`] bytes: the value of the one map that typed programs have.
    pub memory: Vec<u8>,
    /// The packet of typed programs.
    pub packet: Vec<u8>,
}

/// What a program left behind.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// r0; of kernel programs only the low half comes back, and the rest through memory.
    pub r0: u64,
    /// The memory.
    pub memory: Vec<u8>,
    /// The packet.
    pub packet: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { r0, memory, packet } = self;
        writeln!(f, "r0 {r0:#x}")?;
        for (at, word) in memory.as_chunks::<8>().0.iter().enumerate() {
            let name = match at.checked_sub(OUT / 8) {
                Some(r @ 0..=9) => format!("r{r}"),
                _ => format!("+{:#x}", at * 8),
            };
            writeln!(f, "{name} {:#x}", u64::from_le_bytes(*word))?;
        }
        write!(f, "packet {packet:x?}")
    }
}

impl Answer {
    /// Lines that differ from another answer, named by what they are.
    #[must_use]
    pub fn difference(&self, other: &Self) -> String {
        let (mine, theirs) = (format!("{self:?}"), format!("{other:?}"));
        let lines = mine.lines().zip(theirs.lines()).filter(|(a, b)| a != b);
        lines.map(|(a, b)| format!("  {a}  but  {b}\n")).collect()
    }
}

impl fmt::Display for Case {
    /// The listing, to be read beside a difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} program", self.prog_type.map_or("raw", |t| t.name))?;
        writeln!(f, "memory {:x?}", &self.memory[..MEMORY.min(OUT)])?;
        let mut slots = self.insns.iter().enumerate();
        while let Some((at, &insn)) = slots.next() {
            if insn == nothing() {
                continue;
            }
            let Ok(op) = insn.op() else {
                writeln!(f, "{at:4}: {insn:?}")?;
                continue;
            };
            let mut wide = u64::from(insn.imm.cast_unsigned());
            if op.row().shape == Shape::Lddw
                && let Some((_, high)) = slots.next()
            {
                wide |= u64::from(high.imm.cast_unsigned()) << 32;
            }
            writeln!(f, "{at:4}: {}", disassemble(op, insn, wide, &()))?;
        }
        Ok(())
    }
}
