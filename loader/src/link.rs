//! Makes each program self-contained: its function first, then every function it
//! reaches, each once, all references in the kernel's own encoding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_vm::isa::Insn;

use crate::btf::{Btf, BtfExt, Type, TypeId};
use crate::bytes::index;
use crate::code::{Code, Function, SLOT};
use crate::core::{CoreRelocs, CoreSite, apply_local};
use crate::elf::Elf;
use crate::encoding::{CALL, PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE};
use crate::error::{LoadError, Site};
use crate::graph::{callees, unrelocated};
use crate::lines::Lines;
use crate::listing::is_extern;
use crate::maps::{DataKind, Maps};
use crate::program::{Func, Line, ProgramDef};
use crate::reloc::{CodeRelocs, Target, unset};

/// What stands in place of a call to a weak function that is not there: a helper
/// number that no kernel has (libbpf uses the same), to which the function's index in
/// [`Object::externs`](crate::Object::externs) is added. Reaching it is a fault.
pub const POISON_CALL: i32 = 2_002_000_000;

/// Most slots of one program: the kernel verifies no more (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_PROGRAM: usize = 1_000_000;
/// Most slots of all programs of an object together. Functions are copied into each
/// program that calls them, so a small file could ask for any amount.
const MAX_TOTAL: usize = 4 << 20;

/// Most problems of one program that are told.
const MAX_PROBLEMS: usize = 100;

/// Everything that linking reads.
pub(crate) struct Linker<'a> {
    elf: &'a Elf<'a>,
    code: &'a Code,
    relocs: &'a CodeRelocs,
    core: &'a CoreRelocs,
    btf: Option<&'a Btf>,
    /// Type of the function that starts at a slot of a section.
    types: BTreeMap<(&'a str, usize), TypeId>,
    lines: Lines<'a>,
    /// Functions that each function refers to.
    callees: Vec<Vec<usize>>,
    /// Type of each function by name.
    by_name: BTreeMap<&'a str, TypeId>,
    /// `.kconfig` variables that nobody has given a value, by map and offset.
    unset: BTreeMap<(usize, u32), &'a str>,
    /// Index in the list of externs, by symbol.
    externs: BTreeMap<usize, usize>,
    /// Slots that may still be handed out.
    budget: usize,
}

impl<'a> Linker<'a> {
    pub(crate) fn new(
        elf: &'a Elf<'a>,
        code: &'a Code,
        relocs: &'a CodeRelocs,
        core: &'a CoreRelocs,
        maps: &'a Maps,
        btf: Option<(&'a Btf, &'a BtfExt)>,
    ) -> Self {
        let mut types = BTreeMap::new();
        if let Some((btf, ext)) = btf {
            for section in &ext.funcs {
                let name = btf.str(section.section);
                types.extend(
                    section
                        .records
                        .iter()
                        .map(|func| ((name, index(u64::from(func.offset) / SLOT)), func.type_id)),
                );
            }
        }
        Self {
            elf,
            code,
            relocs,
            core,
            btf: btf.map(|(btf, _)| btf),
            types,
            lines: btf.map(|(btf, ext)| Lines::collect(btf, ext)).unwrap_or_default(),
            callees: callees(code, relocs),
            by_name: btf.map(|(btf, _)| functions(btf)).unwrap_or_default(),
            unset: unanswered(maps),
            externs: externs(elf),
            budget: MAX_TOTAL,
        }
    }

    /// Links the program that starts with function number `entry`.
    pub(crate) fn program(&mut self, entry: usize) -> Option<ProgramDef> {
        let function = self.code.functions().get(entry)?;
        let section = self.section_name(function);
        let mut program = ProgramDef {
            name: Arc::clone(&function.name),
            section: self
                .elf
                .sections()
                .get(function.section)
                .map_or("".into(), |s| Arc::clone(&s.name)),
            prog_type: skep_vm::prog::by_section(section),
            autoload: !section.starts_with('?'),
            insns: Vec::new(),
            funcs: Vec::new(),
            lines: Vec::new(),
            core: Vec::new(),
            problem: None,
            more: Vec::new(),
            unset: Vec::new(),
        };
        match self.reach(entry) {
            Ok(starts) => self.emit(&starts, &mut program),
            Err(problem) => program.problem = Some(problem),
        }
        Some(program)
    }

    fn section_name(&self, function: &Function) -> &'a str {
        self.elf.sections().get(function.section).map_or("", |section| &section.name)
    }

    /// The functions of a program, each with its first slot, in libbpf's order: a
    /// function's callees stand behind it in the order of first use, each followed by
    /// its own.
    fn reach(&mut self, entry: usize) -> Result<Vec<(usize, usize)>, LoadError> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::from([entry]);
        let mut slots = 0;
        let mut enter = Some(entry);
        // Functions whose callees are being visited, each with the next one.
        let mut open: Vec<(usize, usize)> = Vec::new();
        loop {
            if let Some(number) = enter.take() {
                let Some(function) = self.code.functions().get(number) else {
                    break;
                };
                order.push((number, slots));
                slots += function.end - function.start;
                if slots > MAX_PROGRAM.min(self.budget) {
                    return Err(self.too_large(function, slots));
                }
                open.push((number, 0));
            }
            let Some((number, next)) = open.last_mut() else {
                break;
            };
            match self.callees.get(*number).and_then(|callees| callees.get(*next)) {
                Some(&callee) => {
                    *next += 1;
                    enter = seen.insert(callee).then_some(callee);
                }
                None => {
                    open.pop();
                }
            }
        }
        self.budget -= slots;
        Ok(order)
    }

    fn too_large(&self, function: &Function, slots: usize) -> LoadError {
        let reason = match slots > MAX_PROGRAM {
            true => format!("the program has more than {MAX_PROGRAM} instructions"),
            false => format!("all programs together have more than {MAX_TOTAL} instructions"),
        };
        LoadError::limit(Site::section(self.section_name(function)), reason)
    }

    fn emit(&self, order: &[(usize, usize)], program: &mut ProgramDef) {
        let starts: BTreeMap<usize, usize> = order.iter().copied().collect();
        let mut problems = Vec::new();
        for &(number, start) in order {
            let Some(function) = self.code.functions().get(number) else {
                continue;
            };
            let section = self.section_name(function);
            program.insns.extend_from_slice(self.code.body(function));
            program.funcs.push(Func {
                name: Arc::clone(&function.name),
                start: slot(start),
                type_id: self.type_of(function),
                section: section.into(),
                slot: slot(function.start),
            });
            self.patch(function, start, &starts, program, &mut problems);
            self.copy_lines(function, start, program);
            for relo in self.core.range(section, function.start, function.end) {
                let at = relo.slot - function.start + start;
                let site = CoreSite {
                    insn: slot(at),
                    kind: relo.kind,
                    type_id: relo.type_id,
                    access: Arc::clone(&relo.access),
                };
                if !apply_local(&mut program.insns, at, &site) && problems.len() < MAX_PROBLEMS {
                    problems.push(self.core_error(section, relo.slot, &site));
                }
                program.core.push(site);
            }
        }
        let mut problems = problems.into_iter();
        program.problem = problems.next().or_else(|| program.unset.first().cloned());
        program.more = problems.collect();
    }

    fn core_error(&self, section: &str, slot: usize, site: &CoreSite) -> LoadError {
        LoadError::Core {
            site: Site::at(section, slot as u64 * SLOT),
            kind: site.kind.name(),
            root: self.btf.map(|btf| btf.c_name(site.type_id)).unwrap_or_default().into(),
            access: (&*site.access).into(),
            insn: site.insn,
        }
    }

    fn type_of(&self, function: &Function) -> Option<TypeId> {
        let known = self.types.get(&(self.section_name(function), function.start)).copied();
        // gcc writes no table of functions, but their types.
        known.or_else(|| self.by_name.get(&*function.name).copied())
    }

    fn copy_lines(&self, function: &Function, start: usize, program: &mut ProgramDef) {
        let lines = self.lines.range(self.section_name(function), function.start, function.end);
        program.lines.extend(lines.iter().map(|line| Line {
            insn: slot(line.slot - function.start + start),
            file: Arc::clone(&line.file),
            line: line.line,
            column: line.column,
            text: Arc::clone(&line.text),
        }));
    }

    /// Resolves the references of one function, which stands at `start`; where there is a
    /// problem, the rest of the function is resolved all the same.
    fn patch(
        &self,
        function: &Function,
        start: usize,
        starts: &BTreeMap<usize, usize>,
        program: &mut ProgramDef,
        problems: &mut Vec<LoadError>,
    ) {
        let section = self.section_name(function);
        let relocs = self.relocs.range(function.section, function.start, function.end);
        for reloc in relocs {
            let at = reloc.slot - function.start + start;
            let target = match &reloc.target {
                Ok(target) => target,
                Err(_) => {
                    if problems.len() < MAX_PROBLEMS {
                        problems.extend(reloc.error(self.elf, section));
                    }
                    continue;
                }
            };
            if let Target::Value { map, offset } = *target
                && let Some(name) = self.unset.get(&(map, offset))
            {
                program.unset.push(unset(section, reloc.slot, name));
            }
            self.write(&mut program.insns, at, target, starts);
        }
        // Calls that the assembler has resolved itself: within the section.
        for (at, callee) in unrelocated(self.code, function, relocs) {
            let Some(&to) = callee.and_then(|callee| starts.get(&callee)) else {
                if problems.len() < MAX_PROBLEMS {
                    let site = Site::at(section, (function.start + at) as u64 * SLOT);
                    let reason = "the call leads to no function".into();
                    problems.push(LoadError::Code { site, reason });
                }
                continue;
            };
            if let Some(insn) = program.insns.get_mut(start + at) {
                insn.imm = relative(start + at, to);
            }
        }
    }

    /// Writes a reference in the kernel's encoding.
    fn write(
        &self,
        insns: &mut [Insn],
        at: usize,
        target: &Target,
        starts: &BTreeMap<usize, usize>,
    ) {
        let number = |index: usize| i32::try_from(index).unwrap_or(i32::MAX);
        let Some(insn) = insns.get_mut(at) else {
            return;
        };
        let is_call = insn.code == CALL;
        let mut second = 0;
        match *target {
            Target::Function(function) => {
                insn.src = if is_call { PSEUDO_CALL } else { PSEUDO_FUNC };
                insn.imm = relative(at, starts.get(&function).copied().unwrap_or(0));
            }
            Target::Map(map) => {
                insn.src = PSEUDO_MAP_IDX;
                insn.imm = number(map);
            }
            Target::Value { map, offset } => {
                insn.src = PSEUDO_MAP_IDX_VALUE;
                insn.imm = number(map);
                second = offset.cast_signed();
            }
            Target::Missing(symbol) if is_call => {
                *insn = Insn {
                    code: CALL,
                    imm: POISON_CALL
                        .saturating_add(number(self.externs.get(&symbol).copied().unwrap_or(0))),
                    ..Insn::default()
                };
            }
            Target::Missing(_) => {
                insn.src = 0;
                insn.imm = 0;
            }
        }
        if !is_call && let Some(insn) = insns.get_mut(at + 1) {
            insn.imm = second;
        }
    }
}

/// A slot number; programs have at most a million.
fn slot(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// What `imm` says about a function at slot `to`, seen from slot `from`.
fn relative(from: usize, to: usize) -> i32 {
    let distance = to.cast_signed() - from.cast_signed() - 1;
    i32::try_from(distance).unwrap_or(i32::MAX)
}

/// The position of each undefined symbol among the externs.
fn externs(elf: &Elf<'_>) -> BTreeMap<usize, usize> {
    let symbols = elf.symbols().iter().enumerate();
    let externs = symbols.filter(|(_, symbol)| is_extern(symbol));
    externs.map(|(number, _)| number).zip(0..).collect()
}

/// The first type of each function name.
fn functions(btf: &Btf) -> BTreeMap<&str, TypeId> {
    let mut found = BTreeMap::new();
    for (id, ty) in btf.types() {
        if matches!(ty, Type::Func { .. }) {
            found.entry(btf.name(id)).or_insert(id);
        }
    }
    found
}

/// The places of `.kconfig` variables without a value.
fn unanswered(maps: &Maps) -> BTreeMap<(usize, u32), &str> {
    let unset: BTreeSet<&str> = maps.unset.iter().map(String::as_str).collect();
    let decls = maps.decls.iter().enumerate();
    let vars = decls.filter_map(|(map, decl)| Some((map, decl.data.as_ref()?)));
    vars.filter(|(_, data)| data.kind == DataKind::Kconfig)
        .flat_map(|(map, data)| data.vars.iter().map(move |var| (map, var)))
        .filter(|(_, var)| unset.contains(var.name.as_str()))
        .map(|(map, var)| ((map, var.offset), var.name.as_str()))
        .collect()
}
