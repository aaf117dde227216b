//! Reading.

use skep_maps::{MapType, SpecialField, SpecialKind};
use skep_vm::isa::assemble;
use skep_vm::prog;

use super::{Expected, Vector};
use crate::case::{CaseInput, CaseMap, CaseProgram, Fill};

/// A vector cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ReadError {}

/// Reads a vector.
///
/// # Errors
/// The first line that is wrong.
pub fn read(text: &str) -> Result<Vector, ReadError> {
    let mut vector = Vector::default();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let fail = |what| ReadError { line: index + 1, what };
        if let Some(about) = line.strip_prefix('#') {
            if !about.contains("SPDX-License-Identifier") {
                vector.about += about.trim();
                vector.about.push('\n');
            }
            continue;
        }
        let line = line.trim();
        if let Some(name) = line.strip_prefix("program ") {
            let source: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "end").collect();
            let prog_type = match name {
                "raw" => None,
                _ => Some(prog::by_name(name).ok_or_else(|| fail(format!("no type {name}")))?),
            };
            let insns = assemble(&source.join("\n")).map_err(|error| fail(error.to_string()))?;
            vector.case.programs.push(CaseProgram { prog_type, insns, marks: Vec::new() });
        } else if !line.is_empty() {
            self::line(&mut vector, line).map_err(fail)?;
        }
    }
    Ok(vector)
}

fn line(vector: &mut Vector, line: &str) -> Result<(), String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let case = &mut vector.case;
    match verb {
        "budget" => vector.budget = number(rest)?,
        "undefined" => vector.undefined = true,
        "map" => {
            let map = map(rest, &case.maps)?;
            case.maps.push(map);
        }
        "fill" => {
            let map = case.maps.last_mut().ok_or("there is no map before it")?;
            let (key, value) = rest.split_once(" = ").ok_or("a fill has a ` = `")?;
            let index = |text: &str| number(text).and_then(|n| small(n).map(|n| n as usize));
            let fill = match value.split_once(' ') {
                Some(("map", of)) => Fill::Map(index(of)?),
                Some(("program", of)) => Fill::Program(index(of)?),
                _ => {
                    let mut bytes = bytes(value)?;
                    bytes.resize(map.def.value_size as usize, 0);
                    Fill::Bytes(bytes)
                }
            };
            map.fill.push((self::bytes(key.trim())?, fill));
        }
        "input" => case.inputs.push(CaseInput { data: bytes(rest)?, samples: Vec::new() }),
        "sample" => {
            let input = case.inputs.last_mut().ok_or("there is no input before it")?;
            let (map, sample) = rest.split_once(' ').ok_or("a sample has a map and bytes")?;
            input.samples.push((small(number(map)?)? as usize, bytes(sample)?));
        }
        "expect" => {
            let (end, insns) = rest.rsplit_once(" insns ").ok_or("there is no ` insns `")?;
            let insns = number(insns)?;
            vector.expected.push(Expected { end: end.to_owned(), insns, printk: Vec::new() });
        }
        "printk" => {
            let expected = vector.expected.last_mut().ok_or("there is no `expect` before it")?;
            let text = String::from_utf8(bytes(rest)?).map_err(|error| error.to_string())?;
            expected.printk.push(text);
        }
        _ => return Err(format!("no line starts with `{verb}`")),
    }
    Ok(())
}

fn map(text: &str, others: &[CaseMap]) -> Result<CaseMap, String> {
    let mut words = text.split_whitespace();
    let name = words.next().ok_or("a map has a type")?;
    let map_type = MapType::ALL.iter().find(|map_type| map_type.name() == name);
    let map_type = *map_type.ok_or_else(|| format!("no map type {name}"))?;
    let mut map = CaseMap::new(map_type, 0, 0, 0);
    while let Some(word) = words.next() {
        if word == "frozen" {
            map.frozen = true;
            continue;
        }
        let value = number(words.next().ok_or_else(|| format!("`{word}` has a number"))?)?;
        match word {
            "key" => map.def.key_size = small(value)?,
            "value" => map.def.value_size = small(value)?,
            "entries" => map.def.max_entries = small(value)?,
            "flags" => map.def.flags = small(value)?,
            "extra" => map.def.map_extra = value,
            "inner" => {
                let inner = others.get(small(value)? as usize).ok_or("no such map before it")?;
                map.def.inner = Some(Box::new(inner.def.clone()));
            }
            "lock" => {
                let kind = SpecialKind::SpinLock;
                map.def.special.push(SpecialField { kind, offset: small(value)?, size: 4 });
            }
            _ => return Err(format!("a map has no `{word}`")),
        }
    }
    Ok(map)
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number"))
}

fn small(number: u64) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("{number} is too great"))
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("`{hex}` is not made of bytes");
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(bad());
    }
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs.iter().map(byte).collect::<Option<Vec<u8>>>().ok_or_else(bad)
}
