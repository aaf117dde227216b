//! The ELF side of an object: sections, symbols and relocations as they stand.
//!
//! Liberal about what compilers of twelve years have written (no machine number,
//! REL and RELA, any relocation type), strict about what the file claims: every
//! offset, index and name is checked here, so that the rest of the crate indexes
//! sections and symbols without doubt.
//!
//! Invariant: [`Symbol::section`] and [`Reloc::symbol`] are valid indexes.

mod read;

use std::sync::Arc;

use object::elf;

use crate::bytes::Endian;

/// A parsed ELF file, borrowing from its bytes.
#[derive(Debug)]
pub struct Elf<'a> {
    endian: Endian,
    sections: Vec<Section<'a>>,
    symbols: Vec<Symbol>,
}

/// One section.
#[derive(Debug)]
pub struct Section<'a> {
    /// The name; bytes that are not UTF-8 are replaced.
    pub name: Arc<str>,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// `sh_size`: also for sections without contents in the file.
    pub size: u64,
    /// The contents; empty for `SHT_NOBITS`.
    pub data: &'a [u8],
    /// What must be patched in this section, ordered by offset.
    pub relocs: Vec<Reloc>,
}

impl Section<'_> {
    /// Holds instructions.
    #[must_use]
    pub fn is_code(&self) -> bool {
        self.kind == elf::SHT_PROGBITS.0 && self.flags & elf::SHF_EXECINSTR.0 != 0
    }

    /// Would be in memory at run time.
    #[must_use]
    pub fn is_alloc(&self) -> bool {
        self.flags & elf::SHF_ALLOC.0 != 0
    }

    /// Has no contents in the file (`.bss`).
    #[must_use]
    pub fn is_nobits(&self) -> bool {
        self.kind == elf::SHT_NOBITS.0
    }
}

/// One entry of the symbol table.
#[derive(Debug, Clone)]
pub struct Symbol {
    /// The name; empty for section symbols.
    pub name: Arc<str>,
    /// Offset in its section, in bytes.
    pub value: u64,
    /// `st_size` in bytes; old compilers write 0.
    pub size: u64,
    /// `STT_*`.
    pub kind: SymbolKind,
    /// `STB_*`.
    pub bind: Bind,
    /// Where it is defined.
    pub place: Home,
}

impl Symbol {
    /// The section that defines the symbol.
    #[must_use]
    pub fn section(&self) -> Option<usize> {
        match self.place {
            Home::Section(index) => Some(index),
            Home::Undefined | Home::Absolute | Home::Common => None,
        }
    }
}

/// Where a symbol is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Nowhere in this object.
    Undefined,
    /// In the section of this index.
    Section(usize),
    /// `SHN_ABS` or another reserved index: the value is no address.
    Absolute,
    /// `SHN_COMMON`: storage that a linker would have to allot.
    Common,
}

/// `STT_*`, as far as BPF objects use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    /// `STT_NOTYPE`: labels, and everything before clang 8.
    NoType,
    /// `STT_OBJECT`: data and maps.
    Object,
    /// `STT_FUNC`.
    Func,
    /// `STT_SECTION`: stands for the section itself.
    Section,
    /// Any other: source file names.
    Other,
}

/// `STB_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// `static`.
    Local,
    /// Visible to other objects.
    Global,
    /// May stay undefined.
    Weak,
}

/// One relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloc {
    /// Offset in the section that it patches, in bytes.
    pub offset: u64,
    /// Index into [`Elf::symbols`].
    pub symbol: usize,
    /// `R_BPF_*`.
    pub kind: u32,
    /// The addend of a RELA entry; 0 for REL, whose addend is in the patched place.
    pub addend: i64,
}

impl<'a> Elf<'a> {
    /// The byte order of the file.
    #[must_use]
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// All sections by index; index 0 is the empty placeholder.
    #[must_use]
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// All symbols by index; index 0 is the empty placeholder.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The first section of that name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| *section.name == *name)
    }

    /// The object was compiled by gcc, as `.comment` says; clang leaves none.
    #[must_use]
    pub fn is_gcc(&self) -> bool {
        let comment = self.section(".comment").map_or(&[][..], |section| section.data);
        comment.windows(4).any(|window| window == b"GCC:")
    }

    /// The name people know a symbol by: its own, or its section's.
    #[must_use]
    pub fn symbol_name(&self, symbol: &Symbol) -> Arc<str> {
        match symbol.section().and_then(|index| self.sections.get(index)) {
            Some(section) if symbol.name.is_empty() => Arc::clone(&section.name),
            _ => Arc::clone(&symbol.name),
        }
    }
}

/// The name of a relocation type (LLVM's `BPF.def`).
#[must_use]
pub fn reloc_name(kind: u32) -> &'static str {
    match kind {
        0 => "R_BPF_NONE",
        1 => "R_BPF_64_64",
        2 => "R_BPF_64_ABS64",
        3 => "R_BPF_64_ABS32",
        4 => "R_BPF_64_NODYLD32",
        10 => "R_BPF_64_32",
        // What gcc 12 writes for pointers in data.
        12 => "R_BPF_DATA_64",
        _ => "of unknown type",
    }
}
