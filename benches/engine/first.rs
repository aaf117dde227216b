//! From the bytes of an object to its first result, in a process that has done nothing
//! else: parsing, reserving guest memory, making maps, loading, compiling, one run.

use std::process::Command;
use std::time::Instant;

use skep::{Engine, FixedHost, Input, Object, Vm};

/// A firewall with three maps, of about a hundred instructions.
const OBJECT: &[u8] = include_bytes!("../../testdata/objects/xdp_fw.bpf.o");
const PROGRAM: &str = "fw";
/// TCP, from 192.0.2.33 to 192.0.2.1, SYN.
const PACKET: [u8; 54] = [
    0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x08, 0, //
    0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 33, 192, 0, 2, 1, //
    0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0,
];

/// Goes there, and prints how many nanoseconds it took.
pub(crate) fn print(engine: Engine) -> Result<(), String> {
    let start = Instant::now();
    let action = go(engine).map_err(|error| error.to_string())?;
    let took = start.elapsed();
    if action != Some("XDP_PASS") {
        return Err(format!("the program returned {action:?}"));
    }
    println!("{}", took.as_nanos());
    Ok(())
}

fn go(engine: Engine) -> Result<Option<&'static str>, skep::Error> {
    let vm = Vm::builder().engine(engine).host(FixedHost::default()).build()?;
    let loaded = vm.load(Object::parse(OBJECT)?)?;
    let mut runner = vm.runner()?;
    let output = runner.run(&loaded.program(PROGRAM)?, Input::packet(PACKET))?;
    Ok(output.action())
}

/// Milliseconds of a new process.
pub(crate) fn measure(engine: Engine) -> Result<f64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own).args(["--first", engine.name()]).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let ns: Option<f64> = said.trim().parse().ok();
    ns.map(|ns| ns / 1e6).ok_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// What it is about, for people.
pub(crate) fn what() -> String {
    let insns = skep_loader::Object::parse(PROGRAM, OBJECT)
        .ok()
        .and_then(|object| Some(object.programs().first()?.insns.len()));
    let insns = insns.map_or("?".to_owned(), |insns| insns.to_string());
    format!("testdata/objects/xdp_fw.bpf.o: {insns} instructions, three maps")
}
