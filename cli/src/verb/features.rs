//! `skep features`: what this build supports.

use serde_json::{Value, json};
use skep::{MapType, helpers, prog};

use crate::args::Global;
use crate::failure::Failure;
use crate::print::{Printer, document};

pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    if global.json {
        return document(&json!({
            "helpers": helper_rows(),
            "kfuncs": [],
            "program_types": prog_types(),
            "map_types": map_types(),
        }));
    }
    let mut out = Printer::new();
    let groups =
        [("helpers", helper_rows()), ("program types", prog_types()), ("map types", map_types())];
    for (title, rows) in groups {
        out.line(&format!("{title}:"))?;
        for row in rows {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            out.line(&format!("  {:>3} {:<26} {}", row["id"], text("name"), text("support")))?;
        }
    }
    out.flush()
}

fn helper_rows() -> Vec<Value> {
    let names = (1..=helpers::LAST).filter_map(|id| Some((id, helpers::name(id)?)));
    names
        .map(|(id, name)| {
            let supported = helpers::by_id(id).is_some();
            let reason = (!supported).then_some("not implemented yet");
            row(id, &format!("bpf_{name}"), supported, reason)
        })
        .collect()
}

fn prog_types() -> Vec<Value> {
    let mut types: Vec<_> = prog::all().collect();
    types.sort_by_key(|t| t.id);
    let rows = types.into_iter().map(|t| {
        let supported = t.context != prog::Context::Unsupported;
        row(t.id, t.name, supported, (!supported).then_some("its context is not implemented yet"))
    });
    rows.collect()
}

fn map_types() -> Vec<Value> {
    let rows = MapType::ALL.iter().map(|t| {
        let supported = t.is_supported();
        row(t.id(), t.name(), supported, (!supported).then_some("not implemented yet"))
    });
    rows.collect()
}

fn row(id: u32, name: &str, supported: bool, reason: Option<&str>) -> Value {
    let support = if supported { "supported" } else { "refused" };
    json!({ "id": id, "name": name, "support": support, "reason": reason })
}
