//! Writing.

use std::fmt::Write as _;

use skep_maps::SpecialKind;

use super::{Vector, asm};
use crate::case::{CaseMap, Fill};
use crate::engine::hex;

/// A vector as text.
#[must_use]
pub fn write(vector: &Vector) -> String {
    let mut text = String::from("# SPDX-License-Identifier: MIT OR Apache-2.0\n");
    for line in vector.about.lines() {
        let _ = writeln!(text, "# {line}");
    }
    let _ = writeln!(text, "budget {}", vector.budget);
    if vector.undefined {
        text.push_str("undefined\n");
    }
    for map in &vector.case.maps {
        self::map(&mut text, map, &vector.case.maps);
    }
    for program in &vector.case.programs {
        let _ = writeln!(text, "program {}", program.prog_type.map_or("raw", |t| t.name));
        text += &asm::program(&program.insns);
        text += "end\n";
    }
    for (index, input) in vector.case.inputs.iter().enumerate() {
        let _ = writeln!(text, "input {}", hex(&input.data));
        for (map, sample) in &input.samples {
            let _ = writeln!(text, "sample {map} {}", hex(sample));
        }
        if let Some(expected) = vector.expected.get(index) {
            let _ = writeln!(text, "expect {} insns {}", expected.end, expected.insns);
            for line in &expected.printk {
                let _ = writeln!(text, "printk {}", hex(line.as_bytes()));
            }
        }
    }
    text
}

fn map(text: &mut String, map: &CaseMap, all: &[CaseMap]) {
    let def = &map.def;
    let _ = write!(
        text,
        "map {} key {} value {} entries {}",
        map.map_type().name(),
        def.key_size,
        def.value_size,
        def.max_entries
    );
    if def.flags != 0 {
        let _ = write!(text, " flags {:#x}", def.flags);
    }
    if def.map_extra != 0 {
        let _ = write!(text, " extra {}", def.map_extra);
    }
    if let Some(inner) = &def.inner {
        let index = all.iter().position(|other| other.def == **inner);
        let _ = write!(text, " inner {}", index.unwrap_or(0));
    }
    for field in def.special.iter().filter(|field| field.kind == SpecialKind::SpinLock) {
        let _ = write!(text, " lock {}", field.offset);
    }
    if map.frozen {
        text.push_str(" frozen");
    }
    text.push('\n');
    for (key, fill) in &map.fill {
        let _ = match fill {
            Fill::Bytes(bytes) => {
                let len = bytes.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
                writeln!(text, "fill {} = {}", hex(key), hex(&bytes[..len.min(bytes.len())]))
            }
            Fill::Map(index) => writeln!(text, "fill {} = map {index}", hex(key)),
            Fill::Program(index) => writeln!(text, "fill {} = program {index}", hex(key)),
        };
    }
}
