//! Which functions an object has, where they start and end, and which of them are
//! programs.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_vm::isa::Insn;

use crate::bytes::{Endian, index};
use crate::elf::{Bind, Elf, Section, Symbol, SymbolKind};
use crate::error::{LoadError, Site};

/// Size of an instruction slot in bytes.
pub(crate) const SLOT: u64 = Insn::SIZE as u64;

/// Most instruction slots in all code sections together: a hundred times what the
/// largest known object has.
const MAX_SLOTS: usize = 4 << 20;

/// A function: a run of slots of a section.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    pub(crate) section: usize,
    /// First slot in the section.
    pub(crate) start: usize,
    /// Slot after the last.
    pub(crate) end: usize,
    pub(crate) bind: Bind,
    /// Can be run by itself.
    pub(crate) is_program: bool,
}

/// All code of an object.
#[derive(Debug)]
pub(crate) struct Code {
    /// Ordered by section and start.
    functions: Vec<Function>,
    /// Decoded slots of each code section.
    sections: BTreeMap<usize, Vec<Insn>>,
}

impl Code {
    pub(crate) fn collect(elf: &Elf<'_>) -> Result<Self, LoadError> {
        let mut symbols: BTreeMap<usize, Vec<&Symbol>> = BTreeMap::new();
        for symbol in elf.symbols() {
            if let Some(section) = symbol.section() {
                symbols.entry(section).or_default().push(symbol);
            }
        }
        let mut code = Self { functions: Vec::new(), sections: BTreeMap::new() };
        let mut slots = 0usize;
        for (number, section) in elf.sections().iter().enumerate() {
            if !section.is_code() || section.data.is_empty() {
                continue;
            }
            let insns = decode(section, elf.endian())?;
            slots = slots.saturating_add(insns.len());
            if slots > MAX_SLOTS {
                let reason = format!("more than {MAX_SLOTS} instructions in the object");
                return Err(LoadError::limit(Site::section(&section.name), reason));
            }
            let symbols = symbols.get(&number).map_or(&[][..], Vec::as_slice);
            code.functions.extend(functions(number, section, insns.len(), symbols)?);
            code.sections.insert(number, insns);
        }
        Ok(code)
    }

    pub(crate) fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The decoded slots of a section; none for data.
    pub(crate) fn insns(&self, section: usize) -> &[Insn] {
        self.sections.get(&section).map_or(&[], Vec::as_slice)
    }

    /// The slots of a function.
    pub(crate) fn body(&self, function: &Function) -> &[Insn] {
        self.insns(function.section).get(function.start..function.end).unwrap_or_default()
    }

    /// The function that starts at that byte of a section.
    pub(crate) fn at(&self, section: usize, offset: u64) -> Option<usize> {
        if !offset.is_multiple_of(SLOT) {
            return None;
        }
        let slot = index(offset / SLOT);
        let key = |function: &Function| (function.section, function.start);
        self.functions.binary_search_by_key(&(section, slot), key).ok()
    }

    /// Settles which functions are programs, given which are called by others.
    ///
    /// Functions of `.text` are helpers of programs, unless there is nothing else in
    /// the object (libbpf: an object from before `SEC()`). A static function of a
    /// program section is a program too (cilium's tail calls), unless something in
    /// the object calls it.
    pub(crate) fn mark_programs(&mut self, elf: &Elf<'_>, called: &[bool]) {
        let alone = self.functions.len() == 1;
        for (number, function) in self.functions.iter_mut().enumerate() {
            let text = elf.sections().get(function.section).is_some_and(|s| &*s.name == ".text");
            let called = called.get(number).copied().unwrap_or(false);
            function.is_program = match text {
                true => alone,
                false => function.bind != Bind::Local || !called,
            };
        }
    }
}

fn decode(section: &Section<'_>, endian: Endian) -> Result<Vec<Insn>, LoadError> {
    let (slots, rest) = section.data.as_chunks::<{ Insn::SIZE }>();
    if !rest.is_empty() {
        let reason = format!("{} bytes of code are not a whole number of slots", section.size);
        let site = Site::section(&section.name);
        return Err(LoadError::Code { site, reason: reason.into() });
    }
    let read = match endian {
        Endian::Little => Insn::from_le_bytes,
        Endian::Big => Insn::from_be_bytes,
    };
    Ok(slots.iter().map(|&slot| read(slot)).collect())
}

/// The functions of one section.
///
/// clang 7 and older give functions neither type nor size and mix them with labels;
/// hand-made objects have code without any symbol.
fn functions(
    number: usize,
    section: &Section<'_>,
    slots: usize,
    symbols: &[&Symbol],
) -> Result<Vec<Function>, LoadError> {
    let typed = symbols.iter().any(|symbol| symbol.kind == SymbolKind::Func);
    let is_function = |symbol: &Symbol| match typed {
        true => symbol.kind == SymbolKind::Func,
        false => symbol.kind == SymbolKind::NoType && !is_label(&symbol.name),
    };
    let mut starts: Vec<&Symbol> =
        symbols.iter().copied().filter(|symbol| is_function(symbol)).collect();
    // Of several names for one function the visible one comes first and stays.
    starts.sort_by_key(|symbol| (symbol.value, symbol.bind == Bind::Local));
    starts.dedup_by_key(|symbol| symbol.value);
    if starts.is_empty() {
        return Ok(vec![Function {
            name: Arc::clone(&section.name),
            section: number,
            start: 0,
            end: slots,
            bind: Bind::Global,
            is_program: false,
        }]);
    }
    let mut functions = Vec::with_capacity(starts.len());
    for (at, symbol) in starts.iter().enumerate() {
        let fail = |reason: &str| {
            let reason = format!("function `{}` {reason}", symbol.name).into();
            LoadError::Code { site: Site::at(&section.name, symbol.value), reason }
        };
        let next = starts.get(at + 1).map_or(section.size, |next| next.value);
        let end = match symbol.size {
            0 => next,
            size => symbol.value.saturating_add(size),
        };
        if symbol.value > section.size || end > section.size {
            return Err(fail("leads out of its section"));
        }
        // No compiler writes this, and walking each function would take quadratic time.
        if end > next {
            return Err(fail("overlaps the one after it"));
        }
        if !symbol.value.is_multiple_of(SLOT) || !end.is_multiple_of(SLOT) {
            return Err(fail("is not a whole number of instruction slots"));
        }
        // A label behind the last instruction.
        if end == symbol.value {
            continue;
        }
        functions.push(Function {
            name: Arc::clone(&symbol.name),
            section: number,
            start: index(symbol.value / SLOT),
            end: index(end / SLOT),
            bind: symbol.bind,
            is_program: false,
        });
    }
    Ok(functions)
}

/// Block labels that old compilers left in the symbol table.
fn is_label(name: &str) -> bool {
    name.is_empty() || name.starts_with(".L") || name.starts_with("LBB")
}
