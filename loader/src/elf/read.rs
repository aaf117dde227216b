//! From bytes to sections, symbols and relocations.

use std::sync::Arc;

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::SectionIndex;
use object::read::elf::{FileHeader as _, Rel as _, Rela as _, SectionHeader as _, Sym as _};

use crate::bytes::{Endian, index, until_nul};
use crate::error::{LoadError, Site};

use super::{Bind, Elf, Home, Reloc, Section, Symbol, SymbolKind};

/// Longest section or symbol name that is read, in bytes. Mangled names come to a
/// few hundred; without a limit, overlapping names would take quadratic time.
const MAX_NAME: usize = 4096;

/// `EM_BPF`; compilers from before it was assigned wrote 0.
const EM_BPF: u16 = 247;

type Header = FileHeader64<Endianness>;

impl<'a> Elf<'a> {
    /// Reads the section table, the symbol table and every relocation table.
    ///
    /// # Errors
    /// [`LoadError::NotBpf`] when the file is not a 64-bit ELF file for BPF,
    /// [`LoadError::Elf`] when a table or name leads out of the file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let (header, endianness) = file_header(bytes)?;
        let broken = |e: object::Error| LoadError::elf(Site::default(), e.to_string());
        let table = header.sections(endianness, bytes).map_err(broken)?;
        let names = section_names(header, endianness, bytes)?;
        let mut names_left = Names::new(bytes);
        let mut sections = Vec::with_capacity(table.len());
        for (number, raw) in table.iter().enumerate() {
            let offset = index(raw.sh_name(endianness).into());
            let name: Arc<str> = match names_left.get(names, offset) {
                Some(name) => name,
                // Section 0 is a placeholder whatever it holds.
                None if number == 0 => "".into(),
                None => {
                    let reason = format!("name of section {number} is not in the string table");
                    return Err(LoadError::elf(Site::default(), reason));
                }
            };
            let kind = raw.sh_type(endianness);
            let size = raw.sh_size(endianness);
            let data = match number > 0 && kind != elf::SHT_NULL {
                true => raw.data(endianness, bytes).map_err(|_| {
                    let reason = format!("its {size} bytes lead out of the file");
                    LoadError::elf(Site::section(&name), reason)
                })?,
                false => &[],
            };
            sections.push(Section {
                name,
                kind: kind.0,
                flags: raw.sh_flags(endianness).0,
                size,
                data,
                relocs: Vec::new(),
            });
        }
        let symbols = read_symbols(&table, endianness, bytes, &sections, &mut names_left)?;
        read_relocs(&table, endianness, bytes, &mut sections, symbols.len())?;
        let endian = match endianness {
            Endianness::Little => Endian::Little,
            Endianness::Big => Endian::Big,
        };
        Ok(Self { endian, sections, symbols })
    }
}

/// Reads names out of string tables. Names may share bytes, so a small file could
/// name any amount: all together may come to four times the file.
struct Names {
    left: usize,
}

impl Names {
    fn new(bytes: &[u8]) -> Self {
        Self { left: bytes.len().saturating_mul(4) }
    }

    fn get(&mut self, table: &[u8], offset: usize) -> Option<Arc<str>> {
        let name = until_nul(table.get(offset..)?, MAX_NAME)?;
        self.left = self.left.checked_sub(name.len())?;
        Some(String::from_utf8_lossy(name).into())
    }
}

fn file_header(bytes: &[u8]) -> Result<(&Header, Endianness), LoadError> {
    let not_bpf =
        |reason: String| LoadError::NotBpf { site: Site::default(), reason: reason.into() };
    if bytes.is_empty() {
        return Err(not_bpf("the file is empty".to_owned()));
    }
    if bytes.get(..4) != Some(b"\x7fELF") {
        return Err(not_bpf("the file does not start with the ELF magic number".to_owned()));
    }
    if bytes.get(4) == Some(&1) {
        return Err(not_bpf("the file is 32-bit ELF".to_owned()));
    }
    let header = Header::parse(bytes).map_err(|_| {
        LoadError::elf(Site::default(), "the file header is truncated or not of version 1")
    })?;
    let endian = header
        .endian()
        .map_err(|_| LoadError::elf(Site::default(), "the header names no byte order"))?;
    let machine = header.e_machine(endian).0;
    if machine != EM_BPF && machine != 0 {
        return Err(not_bpf(format!("the file is for ELF machine {machine}, BPF is {EM_BPF}")));
    }
    Ok((header, endian))
}

fn section_names<'a>(
    header: &Header,
    endian: Endianness,
    bytes: &'a [u8],
) -> Result<&'a [u8], LoadError> {
    let broken = |e: object::Error| LoadError::elf(Site::default(), e.to_string());
    let headers = header.section_headers(endian, bytes).map_err(broken)?;
    if headers.is_empty() {
        return Ok(&[]);
    }
    let number = header.shstrndx(endian, bytes).map_err(broken)?;
    let table = headers.get(index(number.into())).ok_or_else(|| {
        LoadError::elf(Site::default(), format!("section {number}, which holds names, is missing"))
    })?;
    table.data(endian, bytes).map_err(|_| {
        LoadError::elf(Site::default(), "the section name table leads out of the file")
    })
}

fn read_symbols<'a>(
    table: &object::read::elf::SectionTable<'a, Header>,
    endian: Endianness,
    bytes: &'a [u8],
    sections: &[Section<'a>],
    names_left: &mut Names,
) -> Result<Vec<Symbol>, LoadError> {
    let broken = |e: object::Error| LoadError::elf(Site::section(".symtab"), e.to_string());
    let raw = table.symbols(endian, bytes, elf::SHT_SYMTAB).map_err(broken)?;
    let names = sections.get(raw.string_section().0).map_or(&[][..], |section| section.data);
    let mut symbols = Vec::with_capacity(raw.len());
    for (number, symbol) in raw.enumerate() {
        let site =
            || Site::at(".symtab", number.0 as u64 * size_of::<elf::Sym64<Endianness>>() as u64);
        let offset = index(symbol.st_name(endian).into());
        let name: Arc<str> = match offset {
            0 => "".into(),
            _ => names_left
                .get(names, offset)
                .ok_or_else(|| LoadError::elf(site(), "symbol name is not in the string table"))?,
        };
        let shndx = symbol.st_shndx(endian);
        let place = match raw.symbol_section(endian, symbol, number).map_err(broken)? {
            Some(SectionIndex(0)) => Home::Undefined,
            Some(SectionIndex(section)) if section < sections.len() => Home::Section(section),
            Some(SectionIndex(section)) => {
                let reason = format!("symbol `{name}` is in section {section}, which is missing");
                return Err(LoadError::elf(site(), reason));
            }
            None if shndx == elf::SHN_UNDEF => Home::Undefined,
            None if shndx == elf::SHN_COMMON => Home::Common,
            None => Home::Absolute,
        };
        symbols.push(Symbol {
            name,
            value: symbol.st_value(endian),
            size: symbol.st_size(endian),
            kind: match symbol.st_type() {
                elf::STT_NOTYPE => SymbolKind::NoType,
                elf::STT_OBJECT => SymbolKind::Object,
                elf::STT_FUNC => SymbolKind::Func,
                elf::STT_SECTION => SymbolKind::Section,
                _ => SymbolKind::Other,
            },
            bind: match symbol.st_bind() {
                elf::STB_LOCAL => Bind::Local,
                elf::STB_WEAK => Bind::Weak,
                _ => Bind::Global,
            },
            place,
        });
    }
    Ok(symbols)
}

fn read_relocs<'a>(
    table: &object::read::elf::SectionTable<'a, Header>,
    endian: Endianness,
    bytes: &'a [u8],
    sections: &mut [Section<'a>],
    symbols: usize,
) -> Result<(), LoadError> {
    // Tables that share bytes would multiply what a small file makes us hold.
    let mut budget = bytes.len() as u64;
    for raw in table.iter() {
        let kind = raw.sh_type(endian);
        if kind != elf::SHT_REL && kind != elf::SHT_RELA {
            continue;
        }
        let info = index(raw.sh_info(endian).into());
        let Some(target) = sections.get_mut(info).filter(|_| info != 0) else {
            let reason = format!("a relocation table is for section {info}, which is missing");
            return Err(LoadError::elf(Site::default(), reason));
        };
        // Only code and data in memory is patched; debug sections carry dozens of
        // thousands of relocations of every type that nothing here needs.
        if !target.is_alloc() && !target.is_code() {
            continue;
        }
        let (name, relocs) = (&target.name, &mut target.relocs);
        let damaged = |reason: &str| LoadError::elf(Site::section(name), reason);
        budget = budget
            .checked_sub(raw.sh_size(endian))
            .ok_or_else(|| damaged("its relocation tables overlap"))?;
        let outside = |_| damaged("its relocation table leads out of the file");
        let mut add = |offset: u64, symbol: u32, kind: u32, addend: i64| {
            let symbol = index(symbol.into());
            if symbol >= symbols {
                let reason = format!("a relocation is against symbol {symbol}, which is missing");
                return Err(LoadError::elf(Site::at(name, offset), reason));
            }
            relocs.push(Reloc { offset, symbol, kind, addend });
            Ok(())
        };
        if let Some((entries, _)) = raw.rel(endian, bytes).map_err(outside)? {
            for entry in entries {
                let (symbol, kind) = (entry.r_sym(endian), entry.r_type(endian).0);
                add(entry.r_offset(endian), symbol, kind, 0)?;
            }
        }
        if let Some((entries, _)) = raw.rela(endian, bytes).map_err(outside)? {
            for entry in entries {
                let (symbol, kind) = (entry.r_sym(endian, false), entry.r_type(endian, false).0);
                add(entry.r_offset(endian), symbol, kind, entry.r_addend(endian))?;
            }
        }
    }
    for section in sections {
        section.relocs.sort_by_key(|reloc| reloc.offset);
    }
    Ok(())
}
