//! An object as text, for snapshots.

use std::fmt::Write as _;

use skep_loader::btf::{Scalar, Shape, TypeId, View};
use skep_loader::{Init, MapDecl, Object, Reference};

/// Everything the public interface says about an object.
pub(crate) fn object(object: &Object) -> String {
    let mut out = String::new();
    let license = object.license().unwrap_or("none");
    writeln!(out, "{}-endian, license {license}", object.endian().name()).unwrap();
    for (number, map) in object.maps().iter().enumerate() {
        describe_map(&mut out, object, number, map);
    }
    for program in object.programs() {
        let auto = if program.autoload { "" } else { ", not loaded by itself" };
        writeln!(out, "program {} in {}{auto}", program.name, program.section).unwrap();
        if let Some(problem) = &program.problem {
            writeln!(out, "  problem: {problem}").unwrap();
            if let Some(help) = problem.help() {
                writeln!(out, "  help: {help}").unwrap();
            }
        }
        let mut lines = program.lines.iter().peekable();
        let mut second = false;
        for (slot, insn) in (0u32..).zip(&program.insns) {
            if let Some(func) = program.funcs.iter().find(|func| func.start == slot) {
                let id = func.type_id.map_or("no type".to_owned(), |id| format!("type {}", id.0));
                writeln!(out, "  {} ({id}):", func.name).unwrap();
            }
            while let Some(line) = lines.next_if(|line| line.insn <= slot) {
                let text = line.text.trim();
                writeln!(out, "    ; {}:{}: {text}", line.line, line.column).unwrap();
            }
            for site in program.core.iter().filter(|site| site.insn == slot) {
                writeln!(out, "    ; CO-RE {} ({})", site.kind.name(), site.access).unwrap();
            }
            // Plain instructions say nothing about loading.
            let lddw = insn.code == 0x18;
            if lddw || second || insn.code == 0x85 {
                let (src, imm) = (insn.src, insn.imm);
                writeln!(out, "    {slot:3}: {:02x} src {src} imm {imm}", insn.code).unwrap();
            }
            second = lddw;
        }
    }
    for symbol in object.externs() {
        let weak = if symbol.weak { "weak " } else { "" };
        writeln!(out, "extern {weak}{} {}", symbol.kind.name(), symbol.name).unwrap();
    }
    for reloc in object.relocations() {
        let target = match &reloc.target {
            Reference::Function(name) => format!("function {name}"),
            Reference::Map(map) => format!("map {}", object.maps()[*map].def.name),
            Reference::Variable { map, offset } => {
                format!("{}+{offset:#x}", object.maps()[*map].def.name)
            }
            Reference::Missing => "missing".to_owned(),
            Reference::Unresolved => "unresolved".to_owned(),
        };
        let (section, offset, kind) = (&reloc.section, reloc.offset, reloc.kind);
        writeln!(out, "{section}+{offset:#x}: {kind} {} -> {target}", reloc.symbol).unwrap();
    }
    for relo in object.core_relocations() {
        let root = object.btf().unwrap().c_name(relo.type_id);
        let (section, insn, kind) = (&relo.section, relo.insn, relo.kind.name());
        writeln!(out, "{section} insn {insn}: CO-RE {kind} {root} ({})", relo.access).unwrap();
    }
    out
}

fn describe_map(out: &mut String, object: &Object, number: usize, map: &MapDecl) {
    let name = |id: Option<TypeId>| id.map(|id| object.btf().unwrap().c_name(id));
    let def = &map.def;
    writeln!(out, "map {number} {} in {}: type {}", def.name, map.section, def.map_type).unwrap();
    let (key, value) = (name(map.key_type), name(map.value_type));
    let typed = |name: Option<String>| name.map(|name| format!(" `{name}`")).unwrap_or_default();
    writeln!(
        out,
        "  key {}{}, value {}{}, entries {}, flags {:#x}, extra {:#x}, pinning {}",
        def.key_size,
        typed(key),
        def.value_size,
        typed(value),
        def.max_entries,
        def.flags,
        def.map_extra,
        map.pinning
    )
    .unwrap();
    for field in &def.special {
        writeln!(out, "  {:?} at {}, {} bytes", field.kind, field.offset, field.size).unwrap();
    }
    if let Some(inner) = &def.inner {
        writeln!(out, "  inner {inner:?}").unwrap();
    }
    for (slot, init) in &map.values {
        let what = match init {
            Init::Map(map) => format!("map {}", object.maps()[*map].def.name),
            Init::Program(name) => format!("program {name}"),
        };
        writeln!(out, "  [{slot}] = {what}").unwrap();
    }
    if let Some(data) = &map.data {
        writeln!(out, "  {:?}, {} bytes given", data.kind, data.bytes.len()).unwrap();
        for var in &data.vars {
            let ty = name(var.type_id).unwrap_or_else(|| "no type".to_owned());
            writeln!(out, "  +{} {}: {ty}, {} bytes", var.offset, var.name, var.size).unwrap();
        }
    }
}

/// A value as text, by its type.
pub(crate) fn value(view: View<'_>, bytes: &[u8]) -> String {
    match view.shape() {
        Shape::Array { element, len } => {
            let size = usize::try_from(element.size().unwrap_or(1)).unwrap().max(1);
            let bytes = match len {
                0 => bytes,
                len => bytes.get(..size.saturating_mul(len as usize)).unwrap_or(bytes),
            };
            if element.is_char() {
                return format!("{:?}", String::from_utf8_lossy(bytes).trim_end_matches('\0'));
            }
            let parts: Vec<_> = bytes.chunks_exact(size).map(|part| value(element, part)).collect();
            format!("[{}]", parts.join(", "))
        }
        Shape::Struct(_) | Shape::Union(_) => {
            let parts: Vec<_> = view
                .members()
                .map(|member| {
                    let text = match member.bytes(bytes) {
                        Some(part) => value(member.view, part),
                        None => scalar(member.scalar(bytes)),
                    };
                    format!("{}: {text}", member.name)
                })
                .collect();
            format!("{{{}}}", parts.join(", "))
        }
        _ => scalar(view.scalar(bytes)),
    }
}

fn scalar(value: Option<Scalar<'_>>) -> String {
    match value {
        None => "?".to_owned(),
        Some(Scalar::Unsigned(n)) => n.to_string(),
        Some(Scalar::Signed(n)) => n.to_string(),
        Some(Scalar::Bool(b)) => b.to_string(),
        Some(Scalar::Float(f)) => f.to_string(),
        Some(Scalar::Enum(Some(name), _)) => name.to_owned(),
        Some(Scalar::Enum(None, n)) => n.to_string(),
    }
}
