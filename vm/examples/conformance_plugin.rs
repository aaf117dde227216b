//! The plugin that the public bpf_conformance suite runs a program with.
//!
//! ```text
//! conformance_plugin [--engine NAME] [MEMORY] < BYTECODE
//! ```
//!
//! Both are bytes in hexadecimal, spaces allowed between them. r1 points to the memory and
//! r2 is its length; without memory r1 is 0. Prints r0 in hexadecimal, or says on stderr
//! why there is none and exits with 1. The engine is the default one of the build.

use std::error::Error;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, io, thread};

use skep_vm::isa::Insn;
use skep_vm::{Engine, FixedHost, Input, Limits, Machine, ProgramSpec, RunError, Runner, Stop};

/// How long a program may run.
const TIME_LIMIT: Duration = Duration::from_secs(10);

#[expect(clippy::print_stdout, reason = "the suite reads the result there")]
fn main() -> ExitCode {
    match run() {
        Ok(r0) => {
            println!("{r0:x}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u64, Box<dyn Error>> {
    let mut arguments = env::args().skip(1).peekable();
    let mut engine = Engine::default();
    if arguments.next_if(|argument| argument == "--engine").is_some() {
        let name = arguments.next().unwrap_or_default();
        let found = Engine::ALL.iter().find(|engine| engine.name() == name);
        engine = *found.ok_or_else(|| format!("there is no engine `{name}`"))?;
    }
    let memory = bytes(&arguments.next().unwrap_or_default())?;
    if let Some(extra) = arguments.next() {
        return Err(format!("`{extra}` is not understood: give memory in hexadecimal").into());
    }
    let mut code = String::new();
    io::stdin().read_to_string(&mut code)?;
    let insns = Insn::parse_le(&bytes(&code)?);
    let insns = insns.ok_or("the bytecode is not a whole number of 8-byte slots")?;

    let machine = Machine::new(1)?;
    let spec = ProgramSpec { name: "conformance".to_owned(), insns, ..ProgramSpec::default() };
    let program = machine.load(spec)?;
    let mut runner = Runner::new(&machine, 0, engine)?;
    let cell = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&cell);
    thread::spawn(move || {
        thread::sleep(TIME_LIMIT);
        clock.store(1, Ordering::Relaxed);
    });
    let limits = Limits { stop: Some(Stop { cell: &cell, at: 1 }), ..Limits::default() };
    match runner.run(&program, &Input::raw(memory), &FixedHost::default(), limits) {
        Ok(outcome) => Ok(outcome.r0),
        Err(RunError::Fault(fault, _)) => Err(fault),
        Err(RunError::Input(error)) => Err(error.into()),
        Err(error) => Err(format!("{error:?}").into()),
    }
}

/// Reads bytes of two digits each; only between bytes may there be space.
fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    for word in hex.split_ascii_whitespace() {
        let (pairs, rest) = word.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let read: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        match read {
            Some(read) if rest.is_empty() => bytes.extend(read),
            _ => return Err(format!("`{word}` is not bytes in hexadecimal")),
        }
    }
    Ok(bytes)
}
