//! Source lines of code sections, from `.BTF.ext`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::btf::{Btf, BtfExt, Str};
use crate::bytes::index;
use crate::code::SLOT;

/// Longest source line or file name that is kept, in bytes.
const MAX_TEXT: usize = 1024;

/// Source lines by section, ordered by slot.
#[derive(Default)]
pub(crate) struct Lines<'a>(BTreeMap<&'a str, Vec<SourceLine>>);

/// The source line that starts at a slot.
pub(crate) struct SourceLine {
    pub(crate) slot: usize,
    pub(crate) file: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl<'a> Lines<'a> {
    pub(crate) fn collect(btf: &'a Btf, ext: &BtfExt) -> Self {
        let mut texts = Texts::new(btf);
        let mut all: BTreeMap<&str, Vec<SourceLine>> = BTreeMap::new();
        for section in &ext.lines {
            let lines = all.entry(btf.str(section.section)).or_default();
            lines.extend(section.records.iter().map(|line| SourceLine {
                slot: index(u64::from(line.offset) / SLOT),
                file: texts.get(line.file),
                text: texts.get(line.text),
                line: line.line,
                column: line.column,
            }));
        }
        for lines in all.values_mut() {
            lines.sort_by_key(|line| line.slot);
            // The kernel takes one line per instruction (`check_btf_line`).
            lines.dedup_by_key(|line| line.slot);
        }
        Self(all)
    }

    /// Those of a section from slot `start` up to `end`.
    pub(crate) fn range(&self, section: &str, start: usize, end: usize) -> &[SourceLine] {
        let all = self.0.get(section).map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|line| line.slot < start);
        let last = all.partition_point(|line| line.slot < end);
        all.get(first..last).unwrap_or_default()
    }
}

/// Source lines and file names, each held once.
///
/// A hostile string table can overlap its strings; once they come to more than
/// twice the table, lines stay empty.
struct Texts<'a> {
    btf: &'a Btf,
    known: BTreeMap<u32, Arc<str>>,
    budget: usize,
}

impl<'a> Texts<'a> {
    fn new(btf: &'a Btf) -> Self {
        Self { btf, known: BTreeMap::new(), budget: btf.strings_len().saturating_mul(2) }
    }

    fn get(&mut self, name: Str) -> Arc<str> {
        if let Some(known) = self.known.get(&name.offset()) {
            return Arc::clone(known);
        }
        let text = self.btf.text(name, MAX_TEXT);
        let text = match self.budget.checked_sub(text.len()) {
            Some(rest) => {
                self.budget = rest;
                text
            }
            None => "",
        };
        let text: Arc<str> = text.into();
        self.known.insert(name.offset(), Arc::clone(&text));
        text
    }
}
