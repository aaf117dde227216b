//! From machine code of functions to one piece that can be mapped.
//!
//! Cranelift gives each `trapnz` a conditional jump to a `ud2` at the end of its function. A
//! `ud2` would be a signal; so each such jump is led to an *exit* instead: a near call, of
//! which the pushed address tells the site, to code that ends the run. Both the `ud2` and the
//! jump carry the number of their site as source location; if a jump is not exactly where it
//! is expected, the program is not run in native code.

use std::mem::offset_of;
use std::ops::Range;

use cranelift_codegen::FinalizedRelocTarget;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::{ExternalName, SourceLoc};

use super::Refusal;
use super::site::{EXIT_LEN, Sites};
use super::translate::{Compiled, EXIT};
use crate::program::Program;
use crate::state::State;

/// Functions start at multiples of this, and so do the constants behind their code.
const ALIGN: usize = 64;
/// Length of `jcc rel32`.
const JCC_LEN: usize = 6;

/// Puts functions together.
pub(super) struct Linker {
    program: u32,
    bytes: Vec<u8>,
    /// Where each function starts.
    functions: Vec<usize>,
    /// Calls to bind: where the distance stands, and the callee.
    calls: Vec<(usize, usize)>,
    /// Jumps to be led to the exit with the same number: where the distance stands.
    jumps: Vec<usize>,
    sites: Sites,
}

impl Linker {
    pub(super) fn new(program: &Program) -> Self {
        Self {
            program: program.id(),
            bytes: Vec::new(),
            functions: Vec::new(),
            calls: Vec::new(),
            jumps: Vec::new(),
            sites: Sites::default(),
        }
    }

    /// Adds the next function.
    pub(super) fn add(&mut self, function: Compiled) -> Result<(), Refusal> {
        let Compiled { number, slot, code, sites, callees, .. } = function;
        debug_assert_eq!(number, self.functions.len());
        let start = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(start, INT3);
        self.bytes.extend_from_slice(code.buffer.data());
        self.functions.push(start);
        let refuse = |offset: u32| Refusal::Trap { insn: slot, offset };
        for reloc in code.buffer.relocs() {
            let callee = match &reloc.target {
                FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                    callees.get(name.as_u32() as usize).copied()
                }
                _ => None,
            };
            match (reloc.kind, callee, reloc.addend) {
                (Reloc::X86CallPCRel4, Some(callee), -4) => {
                    self.calls.push((start + reloc.offset as usize, callee));
                }
                _ => return Err(refuse(reloc.offset)),
            }
        }
        // The sites in the order of their traps.
        let mut found = Vec::with_capacity(sites.len());
        for trap in code.buffer.traps().iter().filter(|trap| trap.code == EXIT) {
            let site = site_at(code.buffer.get_srclocs_sorted(), trap.offset);
            found.push((site.ok_or_else(|| refuse(trap.offset))?, trap.offset));
        }
        found.sort_unstable();
        for pair in found.windows(2) {
            if pair[0].0 == pair[1].0 {
                return Err(refuse(pair[1].1));
            }
        }
        let mut jump_of = vec![None; sites.len()];
        for range in code.buffer.get_srclocs_sorted() {
            let Some(number) = number_of(range.loc) else { continue };
            let Ok(at) = found.binary_search_by_key(&number, |&(site, _)| site) else { continue };
            let trap = found[at].1;
            if range.start <= trap && trap < range.end {
                continue;
            }
            for jump in jumps_to(code.buffer.data(), range.start..range.end, trap) {
                if jump_of[number].replace(jump).is_some() {
                    return Err(refuse(range.start));
                }
            }
        }
        for (number, trap) in found {
            let jump = jump_of[number].ok_or_else(|| refuse(trap))?;
            self.jumps.push(start + jump);
            self.sites.list.push(sites[number]);
        }
        Ok(())
    }

    /// Binds calls, appends exits. Gives the code, where its functions start, and the sites.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Vec<usize>, Sites), Refusal> {
        for (at, callee) in std::mem::take(&mut self.calls) {
            let target = self.functions[callee];
            self.put_distance(at, target);
        }
        let start = self.bytes.len();
        self.sites.start = start;
        let common = start + self.jumps.len() * EXIT_LEN;
        for (number, at) in std::mem::take(&mut self.jumps).into_iter().enumerate() {
            let exit = start + number * EXIT_LEN;
            self.put_distance(at, exit);
            self.bytes.push(CALL);
            self.bytes.extend_from_slice(&[0; 4]);
            self.put_distance(exit + 1, common);
        }
        self.put_common_exit();
        Ok((self.bytes, self.functions, self.sites))
    }

    /// What all exits call: notes the address pushed and the program, and leaves.
    fn put_common_exit(&mut self) {
        let disp =
            |offset: usize| u8::try_from(offset).ok().filter(|&d| d < 128).expect("a small state");
        // pop [r15 + trapped_at]
        self.bytes.extend_from_slice(&[0x41, 0x8f, 0x47, disp(offset_of!(State, trapped_at))]);
        // mov dword [r15 + program], id
        self.bytes.extend_from_slice(&[0x41, 0xc7, 0x47, disp(offset_of!(State, program))]);
        self.bytes.extend_from_slice(&self.program.to_le_bytes());
        // jmp [r15 + exit]
        self.bytes.extend_from_slice(&[0x41, 0xff, 0x67, disp(offset_of!(State, exit))]);
    }

    /// Writes the distance from behind the four bytes at `at` to `target`.
    fn put_distance(&mut self, at: usize, target: usize) {
        let distance = target as i64 - (at as i64 + 4);
        let distance = i32::try_from(distance).expect("code is shorter than 2 GiB");
        self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }
}

/// `int3`, between functions.
const INT3: u8 = 0xcc;
/// `call rel32`.
const CALL: u8 = 0xe8;

type SrcLocs = [cranelift_codegen::MachSrcLoc<cranelift_codegen::Final>];

/// The site that the code at `offset` belongs to.
fn site_at(ranges: &SrcLocs, offset: u32) -> Option<usize> {
    let behind = ranges.partition_point(|range| range.start <= offset);
    let range = ranges.get(behind.checked_sub(1)?)?;
    if offset < range.end { number_of(range.loc) } else { None }
}

/// The index of a site from a source location.
fn number_of(loc: SourceLoc) -> Option<usize> {
    if loc.is_default() { None } else { (loc.bits() as usize).checked_sub(1) }
}

/// Where in `range` the distances of conditional jumps to `trap` stand. Other instructions can
/// stand behind the jump, for the allocator of registers moves values where it likes.
fn jumps_to(code: &[u8], range: Range<u32>, trap: u32) -> impl Iterator<Item = usize> {
    let (start, end) = (range.start as usize, range.end as usize);
    let windows = code.get(start..end).unwrap_or_default().windows(JCC_LEN);
    windows.enumerate().filter_map(move |(at, bytes)| {
        let [0x0f, 0x80..=0x8f, distance @ ..] = bytes else { return None };
        let distance = i32::from_le_bytes(distance.try_into().ok()?);
        let behind = (start + at + JCC_LEN) as i64;
        (behind + i64::from(distance) == i64::from(trap)).then_some(start + at + 2)
    })
}
