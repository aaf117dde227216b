//! Runs the instruction vectors of `testdata/isa`: one trial for each file and engine.
//!
//! A file has sections, as in the public conformance suite: `-- asm` or `-- raw` (a
//! slot a line), `-- mem` (bytes in hexadecimal, r1 points to them, r2 is their number),
//! `-- result` (r0) or `-- error` (`load: …` or `run: …`).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use skep_vm::isa::{DecodeError, Insn, assemble};
use skep_vm::{
    FaultKind, FixedHost, Input, Limits, Machine, ProgramErrorKind, ProgramSpec, RunError, Runner,
};

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/isa");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the vectors are part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "data"))
        .collect();
    files.sort();
    let trials = files.into_iter().map(|path| {
        let name = path.file_stem().expect("a file").to_string_lossy();
        Trial::test(format!("{name}::interp"), move || check(&path))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn check(path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let sections = sections(&text);
    let insns = match (sections.get("asm"), sections.get("raw")) {
        (Some(asm), None) => assemble(asm)?,
        (None, Some(raw)) => slots(raw)?,
        _ => return Err("a vector has an `asm` or a `raw` section".into()),
    };
    let memory = sections.get("mem").map_or(Ok(Vec::new()), |hex| bytes(hex))?;
    let got = run(insns, memory);
    match (sections.get("result"), sections.get("error")) {
        (Some(result), None) => {
            let result = number(result)?;
            if got == Ok(result) {
                return Ok(());
            }
            Err(format!("expected {result:#x}, got {got:x?}").into())
        }
        (None, Some(error)) => {
            let error = error.trim();
            if got.as_ref().is_err_and(|got| got == error) {
                return Ok(());
            }
            Err(format!("expected `{error}`, got {got:x?}").into())
        }
        _ => Err("a vector has a `result` or an `error` section".into()),
    }
}

fn run(insns: Vec<Insn>, memory: Vec<u8>) -> Result<u64, String> {
    let machine = Machine::new(1).map_err(|e| e.to_string())?;
    let spec = ProgramSpec { name: "vector".to_owned(), insns, ..ProgramSpec::default() };
    let program = match machine.load(spec) {
        Ok(program) => program,
        Err(error) => return Err(format!("load: {}", load_class(&error.kind))),
    };
    let mut runner = Runner::new(&machine, 0).map_err(|e| e.to_string())?;
    let limits = Limits { max_insns: Some(100_000_000), expired: &mut || false };
    match runner.run(&program, &Input::raw(memory), &FixedHost::default(), limits) {
        Ok(outcome) => Ok(outcome.r0),
        Err(RunError::Fault(fault, _)) => Err(format!("run: {}", run_class(&fault.kind))),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// The vectors' words for what is wrong with a program.
fn load_class(kind: &ProgramErrorKind) -> String {
    use ProgramErrorKind as Kind;
    let class = match kind {
        Kind::Decode(DecodeError::Reserved { .. }) => "reserved field is not zero",
        Kind::Decode(DecodeError::UnknownOpcode { .. }) => "unknown opcode",
        Kind::Decode(DecodeError::NoRegister { .. }) => "unknown register",
        Kind::Decode(DecodeError::UnknownForm { code, .. }) => match code {
            0xc3 | 0xcb | 0xd3 | 0xdb => "unknown atomic operation",
            0x18 => "unknown kind of lddw",
            0x85 => "unknown kind of call",
            0xd4 | 0xd7 | 0xdc => "unknown width",
            _ => "reserved field is not zero",
        },
        Kind::FramePointerWritten => "write to %r10",
        Kind::ShiftTooFar { .. } => "shift count out of range",
        Kind::DivisionByZero => "division by zero",
        Kind::JumpIntoLddw { .. } => "jump into the middle of an instruction",
        Kind::JumpOut { .. } => "jump out of the program",
        Kind::JumpOutOfFunction { .. } => "jump out of the function",
        Kind::CallIntoLddw { .. } => "call into the middle of an instruction",
        Kind::CallOut { .. } => "call out of the program",
        Kind::FallsThrough => "falls off the end",
        Kind::TruncatedLddw => "truncated instruction",
        Kind::BadLddw => "reserved field is not zero",
        Kind::CallReg => "unknown opcode",
        other => return other.to_string(),
    };
    class.to_owned()
}

/// The vectors' words for faults.
fn run_class(kind: &FaultKind) -> String {
    let class = match kind {
        FaultKind::Memory(fault) if fault.why == skep_memory::Why::Misaligned => {
            "unaligned atomic operation"
        }
        FaultKind::Memory(fault) if fault.wanted == skep_memory::Access::Read => {
            "load outside of every region"
        }
        FaultKind::Memory(_) => "store outside of every region",
        FaultKind::CallDepth => "too many frames",
        FaultKind::Helper(_) => "unknown helper",
        other => return other.to_string(),
    };
    class.to_owned()
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

fn number(text: &str) -> Result<u64, Failed> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    Ok(u64::from_str_radix(digits, 16)?)
}

fn slots(text: &str) -> Result<Vec<Insn>, Failed> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(|line| Ok(Insn::from_le_bytes(number(line)?.to_le_bytes()))).collect()
}

fn bytes(text: &str) -> Result<Vec<u8>, Failed> {
    text.split_whitespace().map(|byte| Ok(u8::from_str_radix(byte, 16)?)).collect()
}
