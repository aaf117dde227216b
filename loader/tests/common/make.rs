//! Objects and BTF made by hand, for what no compiler at hand writes.

/// An ELF file in the making; `le` decides the byte order.
pub(crate) struct Elf {
    pub(crate) machine: u16,
    pub(crate) rela: bool,
    sections: Vec<Section>,
    symbols: Vec<Symbol>,
}

struct Section {
    name: String,
    kind: u32,
    flags: u64,
    data: Vec<u8>,
    size: u64,
    relocs: Vec<(u64, usize, u32)>,
}

/// A section header: name, type, flags, contents, size, link, info, entry size.
type Row = (u32, u32, u64, Vec<u8>, u64, u32, u32, u64);

struct Symbol {
    name: String,
    info: u8,
    section: u16,
    value: u64,
    size: u64,
}

pub(crate) const LOCAL: u8 = 0;
pub(crate) const GLOBAL: u8 = 1;
pub(crate) const WEAK: u8 = 2;
pub(crate) const NOTYPE: u8 = 0;
pub(crate) const OBJECT: u8 = 1;
pub(crate) const FUNC: u8 = 2;
pub(crate) const SECTION: u8 = 3;

impl Elf {
    pub(crate) fn new() -> Self {
        Self { machine: 247, rela: false, sections: Vec::new(), symbols: Vec::new() }
    }

    fn add(&mut self, name: &str, kind: u32, flags: u64, data: Vec<u8>) -> usize {
        let size = data.len() as u64;
        let relocs = Vec::new();
        self.sections.push(Section { name: name.to_owned(), kind, flags, data, size, relocs });
        self.sections.len()
    }

    /// Adds a section of instructions; gives its number.
    pub(crate) fn code(&mut self, name: &str, insns: &[u64]) -> usize {
        let data = insns.iter().flat_map(|insn| insn.to_le_bytes()).collect();
        self.add(name, 1, 6, data)
    }

    /// Adds a section of data.
    pub(crate) fn data(&mut self, name: &str, bytes: &[u8]) -> usize {
        self.add(name, 1, 3, bytes.to_vec())
    }

    /// Adds a section that is not in memory.
    pub(crate) fn meta(&mut self, name: &str, bytes: &[u8]) -> usize {
        self.add(name, 1, 0, bytes.to_vec())
    }

    /// Adds a section without contents.
    pub(crate) fn bss(&mut self, name: &str, size: u64) -> usize {
        let number = self.add(name, 8, 3, Vec::new());
        self.sections[number - 1].size = size;
        number
    }

    /// Adds a symbol; gives its number. Section 0 means undefined.
    pub(crate) fn symbol(
        &mut self,
        name: &str,
        bind: u8,
        kind: u8,
        place: (usize, u64, u64),
    ) -> usize {
        let (section, value, size) = place;
        self.symbols.push(Symbol {
            name: name.to_owned(),
            info: bind << 4 | kind,
            section: u16::try_from(section).unwrap(),
            value,
            size,
        });
        self.symbols.len()
    }

    /// Relocates a place of a section against a symbol.
    pub(crate) fn reloc(&mut self, section: usize, offset: u64, symbol: usize, kind: u32) {
        self.sections[section - 1].relocs.push((offset, symbol, kind));
    }

    /// Takes all relocations of a section back.
    pub(crate) fn clear_relocs(&mut self, section: usize) {
        self.sections[section - 1].relocs.clear();
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut strings = vec![0u8];
        let mut name = |text: &str| {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend(text.as_bytes());
            strings.push(0);
            if text.is_empty() { 0 } else { at }
        };
        let mut headers: Vec<Row> = Vec::new();
        for s in &self.sections {
            headers.push((name(&s.name), s.kind, s.flags, s.data.clone(), s.size, 0, 0, 0));
        }
        let symtab = self.sections.len() + 1;
        let mut table = vec![0u8; 24];
        for s in &self.symbols {
            table.extend(name(&s.name).to_le_bytes());
            table.extend([s.info, 0]);
            table.extend(s.section.to_le_bytes());
            table.extend(s.value.to_le_bytes());
            table.extend(s.size.to_le_bytes());
        }
        let link = u32::try_from(symtab + 1).unwrap();
        let size = table.len() as u64;
        headers.push((name(".symtab"), 2, 0, table, size, link, 1, 24));
        let strtab_name = name(".strtab");
        let mut relocs = Vec::new();
        for (number, s) in self.sections.iter().enumerate().filter(|(_, s)| !s.relocs.is_empty()) {
            let mut data = Vec::new();
            for &(offset, symbol, kind) in &s.relocs {
                data.extend(offset.to_le_bytes());
                data.extend((u64::try_from(symbol).unwrap() << 32 | u64::from(kind)).to_le_bytes());
                if self.rela {
                    data.extend(0u64.to_le_bytes());
                }
            }
            let (kind, entry) = if self.rela { (4, 24) } else { (9, 16) };
            let size = data.len() as u64;
            let (link, info) = (u32::try_from(symtab).unwrap(), u32::try_from(number + 1).unwrap());
            relocs.push((name(&format!(".rel{}", s.name)), kind, 0, data, size, link, info, entry));
        }
        let size = strings.len() as u64;
        headers.push((strtab_name, 3, 0, strings, size, 0, 0, 0));
        headers.extend(relocs);

        let mut file = vec![0u8; 64];
        let mut rows = vec![0u8; 64];
        for (name, kind, flags, data, size, link, info, entry) in headers {
            rows.extend(name.to_le_bytes());
            rows.extend(kind.to_le_bytes());
            rows.extend(flags.to_le_bytes());
            rows.extend(0u64.to_le_bytes());
            rows.extend((file.len() as u64).to_le_bytes());
            rows.extend(size.to_le_bytes());
            rows.extend(link.to_le_bytes());
            rows.extend(info.to_le_bytes());
            rows.extend(8u64.to_le_bytes());
            rows.extend(entry.to_le_bytes());
            file.extend(data);
            // Nothing promises aligned sections.
        }
        let start = file.len() as u64;
        let count = u16::try_from(rows.len() / 64).unwrap();
        file.extend(rows);
        file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file[16..18].copy_from_slice(&1u16.to_le_bytes());
        file[18..20].copy_from_slice(&self.machine.to_le_bytes());
        file[20..24].copy_from_slice(&1u32.to_le_bytes());
        file[40..48].copy_from_slice(&start.to_le_bytes());
        file[52..54].copy_from_slice(&64u16.to_le_bytes());
        file[58..60].copy_from_slice(&64u16.to_le_bytes());
        file[60..62].copy_from_slice(&count.to_le_bytes());
        let strings = u16::try_from(symtab + 1).unwrap();
        file[62..64].copy_from_slice(&strings.to_le_bytes());
        file
    }
}

/// An instruction slot.
pub(crate) fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    u64::from(code)
        | u64::from(src << 4 | dst) << 8
        | u64::from(off.cast_unsigned()) << 16
        | u64::from(imm.cast_unsigned()) << 32
}

/// `exit`.
pub(crate) const EXIT: u64 = 0x95;
/// `r0 = 0`.
pub(crate) const ZERO: u64 = 0xb7;

/// A call to be relocated, with what the compiler leaves in `imm`.
pub(crate) fn call(imm: i32) -> u64 {
    insn(0x85, 0, 1, 0, imm)
}

/// Both slots of `r1 = symbol + imm`.
pub(crate) fn lddw(imm: i32) -> [u64; 2] {
    [insn(0x18, 1, 0, 0, imm), 0]
}

/// A `.BTF` section in the making.
#[derive(Default)]
pub(crate) struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Btf {
    pub(crate) fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], count: 0 }
    }

    pub(crate) fn name(&mut self, text: &str) -> u32 {
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        if text.is_empty() { 0 } else { at }
    }

    /// Adds a type: kind, name, vlen, size or type, and the words that follow.
    pub(crate) fn add(
        &mut self,
        kind: u32,
        name: &str,
        vlen: u32,
        size: u32,
        words: &[u32],
    ) -> u32 {
        let name = self.name(name);
        self.raw(name, kind << 24 | vlen, size, words)
    }

    pub(crate) fn raw(&mut self, name: u32, info: u32, size: u32, words: &[u32]) -> u32 {
        for word in [name, info, size].iter().chain(words) {
            self.types.extend(word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len(), self.strings.len());
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, strings] {
            bytes.extend(u32::try_from(word).unwrap().to_le_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}
