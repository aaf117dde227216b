//! The format of instruction vectors: that of the public conformance suite.
//!
//! A file has sections: `-- asm`, `-- raw` (a slot a line) or both, `-- mem` (bytes in
//! hexadecimal; r1 points to them, r2 is their number), `-- result` (r0) or `-- error`
//! (`load: …` or `run: …`).

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use skep_vm::isa::{Insn, assemble};

/// A vector, read.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) insns: Vec<Insn>,
    pub(crate) memory: Vec<u8>,
    pub(crate) expected: Expected,
}

/// What must come of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Result(u64),
    Error(String),
}

/// The repository's own vectors.
pub(crate) fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/isa")
}

/// The vectors of a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "data"))
        .collect();
    files.sort();
    files
}

/// A vector's name: that of its file.
pub(crate) fn name(path: &Path) -> String {
    path.file_stem().expect("a file").to_string_lossy().into_owned()
}

/// Reads a vector.
pub(crate) fn read(path: &Path) -> Result<Vector, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let sections = sections(&text);
    let assembled = sections.get("asm").map(|asm| assemble(asm)).transpose()?;
    let raw = sections.get("raw").map(|raw| slots(raw)).transpose()?;
    let insns = match (assembled, raw) {
        (Some(assembled), Some(raw)) if assembled != raw => {
            return Err(format!("`asm` is {assembled:x?}, but `raw` is {raw:x?}").into());
        }
        (Some(insns), _) | (None, Some(insns)) => insns,
        (None, None) => return Err("a vector has an `asm` or a `raw` section".into()),
    };
    let memory = sections.get("mem").map_or(Ok(Vec::new()), |hex| bytes(hex))?;
    let expected = match (sections.get("result"), sections.get("error")) {
        (Some(result), None) => Expected::Result(number(result)?),
        (None, Some(error)) => Expected::Error(error.trim().to_owned()),
        _ => return Err("a vector has a `result` or an `error` section".into()),
    };
    Ok(Vector { insns, memory, expected })
}

fn sections(text: &str) -> HashMap<&str, String> {
    let mut sections: HashMap<&str, String> = HashMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("-- ") {
            current = Some(name.trim());
        } else if let Some(name) = current {
            let section = sections.entry(name).or_default();
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

fn number(text: &str) -> Result<u64, Box<dyn Error>> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    Ok(u64::from_str_radix(digits, 16)?)
}

fn slots(text: &str) -> Result<Vec<Insn>, Box<dyn Error>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(|line| Ok(Insn::from_le_bytes(number(line)?.to_le_bytes()))).collect()
}

fn bytes(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    text.split_whitespace().map(|byte| Ok(u8::from_str_radix(byte, 16)?)).collect()
}
