//! CO-RE relocations: instructions that depend on the layout of a target's types.
//!
//! Only what the object itself answers is applied here; everything else needs a
//! target and makes the program unloadable, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_vm::isa::Insn;

use crate::btf::{Btf, BtfExt, CoreKind, TypeId};
use crate::bytes::index;
use crate::code::SLOT;
use crate::encoding::LDDW;

/// A place in a linked program that a CO-RE relocation touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreSite {
    /// The instruction, in slots.
    pub insn: u32,
    /// What it asks.
    pub kind: CoreKind,
    /// The root type of the access, in the object's own BTF.
    pub type_id: TypeId,
    /// The access string: `0:1:2`.
    pub access: Arc<str>,
}

/// A CO-RE relocation as it stands in a section.
#[derive(Debug)]
pub(crate) struct SectionCore {
    pub(crate) slot: usize,
    pub(crate) kind: CoreKind,
    pub(crate) type_id: TypeId,
    pub(crate) access: Arc<str>,
}

/// Longest access string, in bytes: 64 levels of five digits.
const MAX_ACCESS: usize = 400;

/// All CO-RE relocations by section name, ordered by slot.
#[derive(Debug, Default)]
pub(crate) struct CoreRelocs(BTreeMap<String, Vec<SectionCore>>);

impl CoreRelocs {
    pub(crate) fn collect(btf: &Btf, ext: &BtfExt) -> Self {
        let mut all: BTreeMap<String, Vec<SectionCore>> = BTreeMap::new();
        let mut texts: BTreeMap<_, Arc<str>> = BTreeMap::new();
        for section in &ext.core {
            let relocs = section.records.iter().map(|relo| SectionCore {
                slot: index(u64::from(relo.offset) / SLOT),
                kind: relo.kind,
                type_id: relo.type_id,
                access: Arc::clone(
                    texts
                        .entry(relo.access.offset())
                        .or_insert_with(|| btf.text(relo.access, MAX_ACCESS).into()),
                ),
            });
            all.entry(btf.str(section.section).to_owned()).or_default().extend(relocs);
        }
        for relocs in all.values_mut() {
            relocs.sort_by_key(|relo| relo.slot);
            // An instruction has one answer to one question.
            relocs.dedup_by_key(|relo| relo.slot);
        }
        Self(all)
    }

    /// Those of a section from slot `start` up to `end`.
    pub(crate) fn range(&self, section: &str, start: usize, end: usize) -> &[SectionCore] {
        let all = self.0.get(section).map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|relo| relo.slot < start);
        let last = all.partition_point(|relo| relo.slot < end);
        all.get(first..last).unwrap_or_default()
    }

    /// All of them with their section's name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SectionCore)> {
        self.0.iter().flat_map(|(name, relocs)| relocs.iter().map(move |r| (name.as_str(), r)))
    }
}

/// Applies a relocation that needs no target; `false` when it needs one.
pub(crate) fn apply_local(insns: &mut [Insn], at: usize, site: &CoreSite) -> bool {
    if site.kind != CoreKind::TypeIdLocal {
        return false;
    }
    let value = site.type_id.0.cast_signed();
    let Some(insn) = insns.get_mut(at) else {
        return false;
    };
    insn.imm = value;
    if insn.code == LDDW
        && let Some(second) = insns.get_mut(at + 1)
    {
        second.imm = 0;
    }
    true
}
