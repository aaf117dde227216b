//! `skep disasm`: instructions, interleaved with source lines; with `--jit`, native code.

mod native;

use serde_json::{Value, json};
use skep::loader::{Object, ProgramDef};
use skep::{helpers, isa};

use crate::args::{DisasmArgs, Global};
use crate::failure::Failure;
use crate::print::{Printer, document};

pub(crate) fn run(global: &Global, args: &DisasmArgs) -> Result<(), Failure> {
    let object = skep::Object::open(&args.object)?;
    let parsed = object.parsed();
    let wanted: Vec<&ProgramDef> = parsed
        .programs()
        .iter()
        .filter(|def| args.prog.as_deref().is_none_or(|name| name == &*def.name))
        .collect();
    if let (Some(name), true) = (&args.prog, wanted.is_empty()) {
        return Err(skep::Error::NotFound {
            object: parsed.name().to_owned(),
            what: "program",
            name: name.clone(),
            have: parsed.programs().iter().map(|def| def.name.to_string()).collect(),
        }
        .into());
    }
    if args.jit {
        return native::run(global, &object, &wanted);
    }
    if global.json {
        let programs: Vec<Value> = wanted
            .iter()
            .map(|def| json!({ "name": &*def.name, "section": &*def.section, "insns": rows(parsed, def) }))
            .collect();
        return document(&json!({ "object": parsed.name(), "programs": programs }));
    }
    let mut out = Printer::new();
    for def in wanted {
        out.line(&format!("{} (section {}):", def.name, def.section))?;
        print(&mut out, parsed, def)?;
    }
    out.flush()
}

fn print(out: &mut Printer, parsed: &Object, def: &ProgramDef) -> Result<(), Failure> {
    let mut lines = def.lines.iter().peekable();
    for row in rows(parsed, def) {
        let slot = row["insn"].as_u64().unwrap_or_default();
        let starts = |start: u32| u64::from(start) == slot;
        if let Some(func) = def.funcs.iter().find(|func| starts(func.start) && func.start > 0) {
            out.line(&format!("{}:", func.name))?;
        }
        while let Some(line) = lines.next_if(|line| u64::from(line.insn) <= slot) {
            out.line(&format!("; {}:{}: {}", line.file, line.line, line.text.trim()))?;
        }
        out.line(&format!("{slot:6}: {}", row["text"].as_str().unwrap_or_default()))?;
    }
    Ok(())
}

/// Each instruction with its text and place.
fn rows(parsed: &Object, def: &ProgramDef) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut slot = 0usize;
    while let Some(&insn) = def.insns.get(slot) {
        let (text, slots) = match insn.op() {
            Ok(op) => {
                let wide = op.row().shape == isa::Shape::Lddw;
                let high = def.insns.get(slot + 1).filter(|_| wide).map_or(0, |i| i.imm);
                let imm =
                    u64::from(insn.imm.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32;
                let names = Names { parsed, def, slot };
                (isa::disassemble(op, insn, imm, &names), if wide { 2 } else { 1 })
            }
            Err(error) => (format!("<{error}>"), 1),
        };
        let known = def.lines.partition_point(|line| line.insn as usize <= slot);
        let line = known.checked_sub(1).map(|index| &def.lines[index]);
        rows.push(json!({
            "insn": slot,
            "text": text,
            "file": line.map(|line| line.file.to_string()),
            "line": line.map(|line| line.line),
        }));
        slot += slots;
    }
    rows
}

struct Names<'a> {
    parsed: &'a Object,
    def: &'a ProgramDef,
    slot: usize,
}

impl isa::Names for Names<'_> {
    fn helper(&self, id: i32) -> Option<String> {
        let id = u32::try_from(id).ok()?;
        Some(format!("bpf_{}#{id}", helpers::name(id)?))
    }

    fn map(&self, index: i32) -> Option<String> {
        Some(self.parsed.maps().get(usize::try_from(index).ok()?)?.def.name.clone())
    }

    fn function(&self, distance: i32) -> Option<String> {
        let target = i64::try_from(self.slot).ok()? + 1 + i64::from(distance);
        let func = self.def.funcs.iter().find(|func| i64::from(func.start) == target)?;
        Some(func.name.to_string())
    }
}
