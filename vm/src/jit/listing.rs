//! Native code as data.

use super::Native;
use super::site::{EXIT_LEN, Why};
use crate::listing::{Listing, NativeExit, NativeFunction};
use crate::program::Program;

impl Native {
    /// What it consists of; `program` is what it was made from.
    pub(crate) fn listing(&self, program: &Program) -> Listing {
        let bytes = self.code.bytes().to_vec();
        let exits_at = self.sites.start;
        let ends = self.functions.iter().skip(1).copied().chain([exits_at]);
        let functions = self.functions.iter().zip(ends).zip(&program.ir().functions);
        let functions = functions.map(|((&start, end), function)| {
            let insn = program.slot(function.start as usize);
            let name = program.function_at(insn).unwrap_or(program.name()).to_owned();
            NativeFunction { start, end, insn, name }
        });
        let exits = self.sites.list.iter().enumerate().map(|(number, site)| {
            let start = exits_at + number * EXIT_LEN;
            NativeExit {
                start,
                end: start + EXIT_LEN,
                insn: program.slot(site.insn as usize),
                text: program.text(site.insn as usize),
                why: site.why.words(),
            }
        });
        Listing {
            address: self.code.at(0) as u64,
            functions: functions.collect(),
            exits: exits.collect(),
            bytes,
        }
    }
}

impl Why {
    fn words(self) -> &'static str {
        match self {
            Self::Denied { .. } => "the access is denied",
            Self::Called => "what was called ends the run",
            Self::Stopped => "the time is up",
            Self::Budget => "the budget is used up",
            Self::Impossible => "the instruction cannot be executed",
        }
    }
}
