//! Runs instruction vectors: one trial for each file and engine.
//!
//! They are those of `testdata/isa`, or of the folder that `SKEP_VECTORS` names: the
//! public conformance suite's, say. Thirteen of its 313 fail, and would in Linux, which
//! refuses `callx` and shifts by a constant that the register has not the bits for.

mod vector;

use std::env;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use skep_vm::isa::{DecodeError, Insn};
use skep_vm::{
    Engine, FaultKind, FixedHost, Input, Limits, Machine, ProgramErrorKind, ProgramSpec, Refusal,
    RunError, Runner,
};

use vector::{Expected, Vector};

fn main() {
    let folder = env::var_os("SKEP_VECTORS").map_or_else(vector::own, PathBuf::from);
    let files = vector::files(&folder);
    let trials = files.iter().flat_map(|path| {
        Engine::ALL.iter().map(|&engine| {
            let (name, path) = (format!("{}::{engine}", vector::name(path)), path.clone());
            Trial::test(name, move || check(&path, engine))
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn check(path: &Path, engine: Engine) -> Result<(), Failed> {
    let Vector { insns, memory, expected } = vector::read(path)?;
    let got = match run(insns, memory, engine) {
        Ok(result) => Expected::Result(result),
        Err(error) => Expected::Error(error),
    };
    if got == expected {
        return Ok(());
    }
    Err(format!("expected {expected:x?}, got {got:x?}").into())
}

fn run(insns: Vec<Insn>, memory: Vec<u8>, engine: Engine) -> Result<u64, String> {
    let machine = Machine::new(1).map_err(|e| e.to_string())?;
    let spec = ProgramSpec { name: "vector".to_owned(), insns, ..ProgramSpec::default() };
    let program = match machine.load(spec) {
        Ok(program) => program,
        Err(error) => return Err(format!("load: {}", load_class(&error.kind))),
    };
    if engine == Engine::Jit {
        match program.compile() {
            // Too deep for native code, which is for the interpreter to say.
            Ok(()) | Err(Refusal::Depth) => {}
            Err(refusal) => return Err(format!("not compiled: {refusal}")),
        }
    }
    let mut runner = Runner::new(&machine, 0, engine).map_err(|e| e.to_string())?;
    let limits = Limits { max_insns: Some(100_000_000), ..Limits::default() };
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
