//! Runs the faulty programs of `testdata/faults`: one trial for each, and one that finds
//! kinds of faults that none of them makes.
//!
//! A file has sections: `-- asm`; `-- fault`, the message and how many instructions were
//! executed; and where they are needed `-- prog` (the program's type; its packet then has
//! 64 bytes), `-- mem` (the context, in hexadecimal), `-- maps` (a line for each: name,
//! type, sizes of key and value, number of entries, then `flags=`, `lock`, or `listener`
//! for a socket under key 0), `-- poison` (a slot and why it is a fault), `-- limits` (`insns=`
//! or `expired`).

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use libtest_mimic::{Arguments, Failed, Trial};
use skep_maps::{
    Descriptor, Map, MapDef, MapType, Socket, SocketDef, SpecialField, SpecialKind, sys,
};
use skep_vm::isa::assemble;
use skep_vm::{
    Engine, Fault, FaultKind, FixedHost, Input, Limits, Machine, ProgramSpec, RunError, Runner,
    Stop, prog,
};

fn main() {
    let files = files();
    let mut trials: Vec<Trial> = files
        .iter()
        .cloned()
        .flat_map(|path| {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            Engine::ALL.iter().map(move |&engine| {
                let path = path.clone();
                Trial::test(format!("{name}::{engine}"), move || check(&path, engine))
            })
        })
        .collect();
    trials.push(Trial::test("every_kind_of_fault_is_made", move || every_kind(&files)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/faults");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the programs are part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "data"))
        .collect();
    files.sort();
    files
}

fn check(path: &Path, engine: Engine) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let sections = sections(&text);
    let expected = sections.get("fault").ok_or("there is no `fault` section")?.trim();
    let fault = run(&sections, engine)?;
    let insns = fault.insns.ok_or("instructions were not counted")?;
    if fault.kind == FaultKind::Timeout && engine != Engine::Interp {
        // When an engine looks at the time is its own affair.
        let expected = expected.lines().next().unwrap_or_default();
        let found = fault.to_string();
        return if found == expected { Ok(()) } else { Err(found.into()) };
    }
    let found = format!("{fault}\nafter {insns} instructions");
    if found == expected {
        return Ok(());
    }
    Err(format!("expected:\n{expected}\nfound:\n{found}").into())
}

/// The variants of `FaultKind`, as the source says, that no program makes.
fn every_kind(files: &[PathBuf]) -> Result<(), Failed> {
    let source = include_str!("../src/fault.rs");
    let body = source.split_once("pub enum FaultKind {").ok_or("the enum has gone")?.1;
    let body = body.split_once("\n}").ok_or("the enum does not end")?.0;
    let variants = body.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.split(['(', ' ', ',']).next()?;
        name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(name)
    });
    let mut missing: BTreeSet<&str> = variants.collect();
    if missing.len() < 10 {
        return Err(format!("only {} kinds were found in the source", missing.len()).into());
    }
    for path in files {
        let fault = run(&sections(&fs::read_to_string(path)?), Engine::Interp)?;
        let debug = format!("{:?}", fault.kind);
        let name = debug.split(['(', ' ']).next().unwrap_or_default();
        missing.remove(name);
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("no program makes {missing:?}").into()) }
}

fn run(sections: &HashMap<&str, String>, engine: Engine) -> Result<Box<Fault>, Failed> {
    let machine = Machine::new(1)?;
    let asm = sections.get("asm").ok_or("there is no `asm` section")?;
    let section = |name: &str| sections.get(name).map_or("", |text| text.trim());
    let mut open = Vec::new();
    let prog_type = prog::by_name(section("prog"));
    let spec = ProgramSpec {
        name: "faulty".to_owned(),
        prog_type,
        insns: assemble(asm)?,
        maps: section("maps")
            .lines()
            .map(|line| map(&machine, line, &mut open))
            .collect::<Result<_, _>>()?,
        poisoned: section("poison").lines().map(poison).collect::<Result<_, _>>()?,
        ..ProgramSpec::default()
    };
    let program = machine.load(spec)?;
    let mut runner = Runner::new(&machine, 0, engine)?;
    let input = match prog_type {
        Some(prog_type) if prog_type.takes_packet() => Input::packet([0; 64]),
        _ => Input::raw(bytes(section("mem"))?),
    };
    let limits = section("limits");
    let max_insns = limits.strip_prefix("insns=").map(str::parse).transpose()?;
    let cell = AtomicU64::new(7);
    let stop = (limits == "expired").then_some(Stop { cell: &cell, at: 7 });
    let limits = Limits { max_insns, stop, count: true };
    match runner.run(&program, &input, &FixedHost::default(), limits) {
        Err(RunError::Fault(fault, _)) => Ok(fault),
        other => Err(format!("it does not fault: {other:?}").into()),
    }
}

/// Makes a map; the sockets that it holds are put into `open`.
fn map(
    machine: &Machine,
    line: &str,
    open: &mut Vec<Descriptor<Socket>>,
) -> Result<Arc<dyn Map>, Failed> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, map_type, key_size, value_size, max_entries, rest @ ..] = &words[..] else {
        return Err(format!("`{line}` is no map").into());
    };
    let map_type = MapType::ALL.iter().find(|t| t.name() == *map_type).ok_or("no such type")?;
    let mut def = MapDef {
        name: (*name).to_owned(),
        map_type: map_type.id(),
        key_size: key_size.parse()?,
        value_size: value_size.parse()?,
        max_entries: max_entries.parse()?,
        ..MapDef::default()
    };
    let mut listens = false;
    for word in rest {
        match (*word, word.strip_prefix("flags=0x")) {
            (_, Some(flags)) => def.flags = u32::from_str_radix(flags, 16)?,
            ("lock", _) => {
                let lock = SpecialField { kind: SpecialKind::SpinLock, offset: 0, size: 4 };
                def.special.push(lock);
            }
            ("listener", _) => listens = true,
            _ => return Err(format!("`{word}` says nothing of a map").into()),
        }
    }
    let map = skep_maps::create(machine.world(), &def)?;
    if listens {
        let listener = SocketDef::tcp_listener(([127, 0, 0, 1], 80).into());
        let socket = Descriptor::open(machine.world(), Socket::new(machine.world(), listener)?);
        sys::update(&*map, Some(&[0; 4]), &socket.number().to_le_bytes(), 0)
            .map_err(|errno| format!("{errno:?}"))?;
        open.push(socket);
    }
    Ok(map)
}

fn poison(line: &str) -> Result<(u32, String), Failed> {
    let (slot, why) = line.split_once(' ').ok_or("a slot and why")?;
    Ok((slot.parse()?, why.to_owned()))
}

fn bytes(text: &str) -> Result<Vec<u8>, Failed> {
    text.split_whitespace().map(|byte| Ok(u8::from_str_radix(byte, 16)?)).collect()
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
