//! `skep inspect`: what is in an object.

use serde_json::{Value, json};
use skep::isa::Op;
use skep::loader::{Endian, MapDecl, Object, ProgramDef, Reference};
use skep::{MapType, helpers};

use crate::args::{Global, ObjectArgs};
use crate::failure::Failure;
use crate::print::{Printer, document};

pub(crate) fn run(global: &Global, args: &ObjectArgs) -> Result<(), Failure> {
    let object = skep::Object::open(&args.object)?;
    let json = describe(object.parsed());
    if global.json {
        return document(&json);
    }
    print(&json)
}

fn describe(object: &Object) -> Value {
    json!({
        "object": object.name(),
        "license": object.license(),
        "endian": match object.endian() {
            Endian::Little => "little",
            Endian::Big => "big",
        },
        "programs": object.programs().iter().map(program).collect::<Vec<_>>(),
        "maps": object.maps().iter().map(|decl| map(object, decl)).collect::<Vec<_>>(),
        "globals": object
            .globals()
            .map(|(index, var)| json!({
                "map": object.maps()[index].def.name,
                "name": var.name,
                "type": type_name(object, var.type_id),
                "size": var.size,
            }))
            .collect::<Vec<_>>(),
        "externs": object
            .externs()
            .iter()
            .map(|e| json!({ "name": &*e.name, "kind": e.kind.name(), "weak": e.weak }))
            .collect::<Vec<_>>(),
        "relocations": object
            .relocations()
            .iter()
            .map(|r| json!({
                "section": &*r.section,
                "offset": r.offset,
                "kind": r.kind,
                "symbol": &*r.symbol,
                "target": target(object, &r.target),
            }))
            .collect::<Vec<_>>(),
        "core": object
            .core_relocations()
            .iter()
            .map(|r| json!({
                "section": &*r.section,
                "insn": r.insn,
                "kind": r.kind.name(),
                "type": type_name(object, Some(r.type_id)),
                "access": &*r.access,
            }))
            .collect::<Vec<_>>(),
    })
}

fn program(def: &ProgramDef) -> Value {
    let mut called: Vec<u32> = def
        .insns
        .iter()
        .filter(|insn| insn.op() == Ok(Op::CallHelper))
        .map(|insn| insn.imm.cast_unsigned())
        .collect();
    called.sort_unstable();
    called.dedup();
    let name = |id: &u32| helpers::name(*id).map_or_else(|| id.to_string(), |n| format!("bpf_{n}"));
    let unsupported = called.iter().filter(|id| helpers::by_id(**id).is_none()).map(name);
    json!({
        "name": &*def.name,
        "section": &*def.section,
        "type": def.prog_type.map(|t| t.name),
        "insns": def.insns.len(),
        "autoload": def.autoload,
        "helpers": called.iter().map(name).collect::<Vec<_>>(),
        "unsupported": unsupported.collect::<Vec<_>>(),
        "problem": def.problem.as_ref().map(ToString::to_string),
    })
}

fn map(object: &Object, decl: &MapDecl) -> Value {
    let def = &decl.def;
    let map_type = MapType::from_id(def.map_type);
    json!({
        "name": def.name,
        "type": map_type.map_or_else(|| def.map_type.to_string(), |t| t.name().to_owned()),
        "key_size": def.key_size,
        "value_size": def.value_size,
        "max_entries": def.max_entries,
        "flags": def.flags,
        "key_type": type_name(object, decl.key_type),
        "value_type": type_name(object, decl.value_type),
        "pinning": decl.pinning,
        "supported": map_type.is_some_and(MapType::is_supported),
    })
}

fn type_name(object: &Object, id: Option<skep::loader::btf::TypeId>) -> Option<String> {
    Some(object.btf()?.c_name(id?))
}

fn target(object: &Object, reference: &Reference) -> String {
    let map = |index: usize| object.maps().get(index).map_or("?", |decl| &decl.def.name);
    match reference {
        Reference::Function(name) => format!("function {name}"),
        Reference::Map(index) => format!("map {}", map(*index)),
        Reference::Variable { map: index, offset } => format!("map {} + {offset}", map(*index)),
        Reference::Missing => "weak, not defined".to_owned(),
        Reference::Unresolved => "unresolved".to_owned(),
    }
}

fn print(json: &Value) -> Result<(), Failure> {
    let mut out = Printer::new();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let list = |value: &Value| {
        let items = value.as_array().map(|items| items.iter().map(text).collect::<Vec<_>>());
        items.unwrap_or_default().join(" ")
    };
    out.line(&format!(
        "{}: {}-endian, license {}",
        text(&json["object"]),
        text(&json["endian"]),
        text(&json["license"])
    ))?;
    for p in json["programs"].as_array().into_iter().flatten() {
        let (name, section) = (text(&p["name"]), text(&p["section"]));
        out.line(&format!(
            "program {name}: section {section}, type {}, {} insns",
            text(&p["type"]),
            p["insns"]
        ))?;
        for (title, member) in [("calls", "helpers"), ("unsupported", "unsupported")] {
            let names = list(&p[member]);
            if !names.is_empty() {
                out.line(&format!("  {title} {names}"))?;
            }
        }
        if let Some(problem) = p["problem"].as_str() {
            out.line(&format!("  cannot be loaded: {problem}"))?;
        }
    }
    for m in json["maps"].as_array().into_iter().flatten() {
        let unsupported = if m["supported"] == true { "" } else { " (unsupported)" };
        out.line(&format!(
            "map {}: {}{unsupported}, key {} ({}), value {} ({}), max {}, flags {:#x}",
            text(&m["name"]),
            text(&m["type"]),
            m["key_size"],
            text(&m["key_type"]),
            m["value_size"],
            text(&m["value_type"]),
            m["max_entries"],
            m["flags"].as_u64().unwrap_or_default()
        ))?;
    }
    for g in json["globals"].as_array().into_iter().flatten() {
        out.line(&format!(
            "global {} in {}: {}, {} bytes",
            text(&g["name"]),
            text(&g["map"]),
            text(&g["type"]),
            g["size"]
        ))?;
    }
    for e in json["externs"].as_array().into_iter().flatten() {
        let weak = if e["weak"] == true { "weak " } else { "" };
        out.line(&format!("extern {}: {weak}{}", text(&e["name"]), text(&e["kind"])))?;
    }
    for r in json["relocations"].as_array().into_iter().flatten() {
        out.line(&format!(
            "relocation {}+{:#x}: {} {} -> {}",
            text(&r["section"]),
            r["offset"].as_u64().unwrap_or_default(),
            text(&r["kind"]),
            text(&r["symbol"]),
            text(&r["target"])
        ))?;
    }
    for c in json["core"].as_array().into_iter().flatten() {
        out.line(&format!(
            "core {} insn {}: {} {} {}",
            text(&c["section"]),
            c["insn"],
            text(&c["kind"]),
            text(&c["type"]),
            text(&c["access"])
        ))?;
    }
    out.flush()
}
