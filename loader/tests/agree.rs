//! An independent reader of ELF sees the same sections, symbols and relocations.

mod common;

use goblin::elf::section_header::{SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS};
use goblin::elf::{Elf as Goblin, sym};
use skep_loader::elf::{Bind, Elf, Home, SymbolKind};

#[test]
fn goblin_sees_the_same_sections_symbols_and_relocations() {
    let (mut sections, mut symbols, mut relocs) = (0, 0, 0);
    for (name, bytes) in common::objects() {
        let ours = Elf::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let theirs = Goblin::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        sections += same_sections(&name, &bytes, &ours, &theirs);
        symbols += same_symbols(&name, &ours, &theirs);
        relocs += same_relocs(&name, &ours, &theirs);
    }
    println!("{sections} sections, {symbols} symbols, {relocs} relocations agree");
    assert!(sections > 150 && symbols > 150 && relocs > 80);
}

fn same_sections(name: &str, bytes: &[u8], ours: &Elf<'_>, theirs: &Goblin<'_>) -> usize {
    assert_eq!(ours.sections().len(), theirs.section_headers.len(), "{name}");
    for (ours, theirs_header) in ours.sections().iter().zip(&theirs.section_headers) {
        let their_name = theirs.shdr_strtab.get_at(theirs_header.sh_name).unwrap_or_default();
        assert_eq!(&*ours.name, their_name, "{name}");
        let context = format!("{name} section {their_name}");
        assert_eq!(ours.kind, theirs_header.sh_type, "{context}");
        assert_eq!(ours.flags, theirs_header.sh_flags, "{context}");
        assert_eq!(ours.size, theirs_header.sh_size, "{context}");
        let data = match theirs_header.sh_type {
            0 | SHT_NOBITS => &[][..],
            _ => theirs_header.file_range().map_or(&[][..], |range| &bytes[range]),
        };
        assert_eq!(ours.data, data, "{context}");
    }
    ours.sections().len()
}

fn same_symbols(name: &str, ours: &Elf<'_>, theirs: &Goblin<'_>) -> usize {
    assert_eq!(ours.symbols().len(), theirs.syms.len(), "{name}");
    for (ours, theirs_symbol) in ours.symbols().iter().zip(theirs.syms.iter()) {
        let their_name = theirs.strtab.get_at(theirs_symbol.st_name).unwrap_or_default();
        assert_eq!(&*ours.name, their_name, "{name}");
        let context = format!("{name} symbol {their_name}");
        assert_eq!(ours.value, theirs_symbol.st_value, "{context}");
        assert_eq!(ours.size, theirs_symbol.st_size, "{context}");
        let kind = match theirs_symbol.st_type() {
            sym::STT_NOTYPE => SymbolKind::NoType,
            sym::STT_OBJECT => SymbolKind::Object,
            sym::STT_FUNC => SymbolKind::Func,
            sym::STT_SECTION => SymbolKind::Section,
            _ => SymbolKind::Other,
        };
        assert_eq!(ours.kind, kind, "{context}");
        let bind = match theirs_symbol.st_bind() {
            sym::STB_LOCAL => Bind::Local,
            sym::STB_GLOBAL => Bind::Global,
            sym::STB_WEAK => Bind::Weak,
            other => panic!("{context}: binding {other}"),
        };
        assert_eq!(ours.bind, bind, "{context}");
        let place = match theirs_symbol.st_shndx {
            0 => Home::Undefined,
            section if section < 0xff00 => Home::Section(section),
            _ => Home::Absolute,
        };
        assert_eq!(ours.place, place, "{context}");
    }
    ours.symbols().len()
}

/// Relocations of what is in memory; the debug sections have their own, which the
/// loader does not keep.
fn same_relocs(name: &str, ours: &Elf<'_>, theirs: &Goblin<'_>) -> usize {
    let mut count = 0;
    for (number, section) in ours.sections().iter().enumerate() {
        let header = &theirs.section_headers[number];
        let flags = u64::from(SHF_ALLOC | SHF_EXECINSTR);
        if header.sh_flags & flags == 0 {
            assert!(section.relocs.is_empty(), "{name} section {}", section.name);
            continue;
        }
        let mut expected = Vec::new();
        for (table, relocs) in &theirs.shdr_relocs {
            if theirs.section_headers[*table].sh_info as usize == number {
                expected.extend(relocs.iter().map(|reloc| {
                    (reloc.r_offset, reloc.r_sym, reloc.r_type, reloc.r_addend.unwrap_or(0))
                }));
            }
        }
        expected.sort_by_key(|reloc| reloc.0);
        let found: Vec<_> = section
            .relocs
            .iter()
            .map(|reloc| (reloc.offset, reloc.symbol, reloc.kind, reloc.addend))
            .collect();
        assert_eq!(found, expected, "{name} section {}", section.name);
        count += found.len();
    }
    count
}
