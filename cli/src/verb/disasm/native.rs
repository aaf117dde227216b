//! `skep disasm --jit`: the native code of programs.

use serde_json::{Value, json};
use skep::loader::ProgramDef;
use skep::{Listing, NativeExit, Object};

use crate::args::Global;
use crate::failure::Failure;
use crate::machine;
use crate::print::{Printer, document};

/// An instruction of the processor.
struct Row {
    /// Where it stands in the code, in bytes.
    offset: usize,
    text: String,
    /// Where it jumps to or what it calls, if that is in the code.
    target: Option<usize>,
}

pub(crate) fn run(global: &Global, object: &Object, wanted: &[&ProgramDef]) -> Result<(), Failure> {
    // Naming the engine says whether this build has it.
    let engine = skep::engine_by_name("jit")?;
    let vm = machine::build(global, engine, global.cpus, &machine::fixed_host(global))?;
    let loaded = vm.load(object.clone())?;
    let (mut programs, mut out) = (Vec::new(), Printer::new());
    for def in wanted {
        let program = match loaded.program(&def.name) {
            Ok(program) => program,
            Err(error) if wanted.len() == 1 => return Err(error.into()),
            Err(error) => {
                eprintln!("note: {error}");
                continue;
            }
        };
        let listing = program.native_listing(global.count || global.max_insns.is_some());
        if global.json {
            programs.push(to_json(def, &listing));
            continue;
        }
        match &listing {
            Ok(listing) => print(&mut out, def, listing)?,
            Err(why) => {
                out.line(&format!("{}: it runs in the interpreter: {why}", def.name))?;
            }
        }
    }
    if global.json {
        return document(&json!({ "object": object.name(), "programs": programs }));
    }
    out.flush()
}

fn print(out: &mut Printer, def: &ProgramDef, listing: &Listing) -> Result<(), Failure> {
    let bytes = listing.bytes.len();
    out.line(&format!("{} (section {}), {bytes} bytes:", def.name, def.section))?;
    for function in &listing.functions {
        out.line(&format!("{}:", function.name))?;
        for row in decode(listing, function.start, function.end) {
            match row.target.and_then(|target| meaning(def, listing, target)) {
                Some(meaning) => {
                    out.line(&format!("{:6x}: {:<40} # {meaning}", row.offset, row.text))?;
                }
                None => out.line(&format!("{:6x}: {}", row.offset, row.text))?,
            }
        }
    }
    out.line("exits:")?;
    let end = listing.exits.first().map_or(bytes, |exit| exit.start);
    for row in decode(listing, end, bytes) {
        let exit = listing.exits.iter().find(|exit| exit.start == row.offset);
        match exit {
            Some(exit) => {
                let why = told(def, exit);
                out.line(&format!("{:6x}: {:<40} # {why}", row.offset, row.text))?;
            }
            None => out.line(&format!("{:6x}: {}", row.offset, row.text))?,
        }
    }
    Ok(())
}

fn to_json(def: &ProgramDef, listing: &Result<Listing, String>) -> Value {
    let listing = match listing {
        Ok(listing) => listing,
        Err(why) => return json!({ "name": &*def.name, "interpreted": why }),
    };
    let functions = listing.functions.iter().map(|function| {
        let rows = decode(listing, function.start, function.end);
        let rows = rows.into_iter().map(|row| {
            let exit = row.target.and_then(|target| exit_at(listing, target));
            json!({
                "offset": row.offset,
                "text": row.text,
                "insn": exit.map(|exit| exit.insn),
                "exit": exit.map(|exit| exit.why),
            })
        });
        json!({
            "name": function.name,
            "insn": function.insn,
            "offset": function.start,
            "native": rows.collect::<Vec<_>>(),
        })
    });
    json!({
        "name": &*def.name,
        "section": &*def.section,
        "bytes": listing.bytes.len(),
        "functions": functions.collect::<Vec<_>>(),
    })
}

fn exit_at(listing: &Listing, offset: usize) -> Option<&NativeExit> {
    let at = listing.exits.binary_search_by_key(&offset, |exit| exit.start).ok()?;
    listing.exits.get(at)
}

/// What stands at an offset, for people.
fn meaning(def: &ProgramDef, listing: &Listing, offset: usize) -> Option<String> {
    if let Some(exit) = exit_at(listing, offset) {
        return Some(told(def, exit));
    }
    let function = listing.functions.iter().find(|function| function.start == offset)?;
    Some(function.name.clone())
}

/// The instruction that an exit belongs to, and why a run ends there.
fn told(def: &ProgramDef, exit: &NativeExit) -> String {
    let NativeExit { insn, text, why, .. } = exit;
    let place = def.line_at(*insn).map(|line| format!(" ({}:{})", line.file, line.line));
    format!("insn {insn}{}: {text}: {why}", place.unwrap_or_default())
}

/// The instructions between two offsets.
#[cfg(target_arch = "x86_64")]
fn decode(listing: &Listing, start: usize, end: usize) -> Vec<Row> {
    use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};

    let Some(bytes) = listing.bytes.get(start..end) else { return Vec::new() };
    // What fills the space up to the next function.
    let filled = bytes.iter().rev().take_while(|&&byte| byte == INT3).count();
    let bytes = &bytes[..bytes.len() - filled];
    let mut data = start + bytes.len();
    // Offsets instead of addresses, so that the same program gives the same text.
    let mut decoder = Decoder::with_ip(64, bytes, start as u64, DecoderOptions::NONE);
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_small_hex_numbers_in_decimal(true);
    options.set_rip_relative_addresses(true);
    options.set_space_after_operand_separator(true);
    let mut instruction = Instruction::default();
    let mut rows = Vec::new();
    let code_end = data;
    while decoder.can_decode() && decoder.ip() < data as u64 {
        let next = usize::try_from(decoder.ip()).unwrap_or(end);
        let gap = listing.bytes.get(next..data).unwrap_or_default();
        if data < code_end && gap.iter().all(|&byte| byte == 0) {
            break;
        }
        decoder.decode_out(&mut instruction);
        if instruction.is_ip_rel_memory_operand() {
            // Constants stand behind the code.
            let constant = usize::try_from(instruction.ip_rel_memory_address()).unwrap_or(end);
            data = data.min(constant.max(start));
        }
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        let offset = usize::try_from(instruction.ip()).unwrap_or(end);
        let near = instruction.near_branch_target();
        let target = usize::try_from(near).ok().filter(|&target| near != 0 && target > 0);
        rows.push(Row { offset, text, target });
    }
    let from = data.max(usize::try_from(decoder.ip()).unwrap_or(end));
    let constants = listing.bytes.get(from..code_end).unwrap_or_default();
    rows.extend(constants.chunks(16).enumerate().map(|(number, part)| {
        let bytes: Vec<String> = part.iter().map(|byte| format!("0x{byte:02x}")).collect();
        let text = format!(".byte {}", bytes.join(", "));
        Row { offset: from + number * 16, text, target: None }
    }));
    rows
}

/// `int3`.
#[cfg(target_arch = "x86_64")]
const INT3: u8 = 0xcc;

/// There is no native code for other processors.
#[cfg(not(target_arch = "x86_64"))]
fn decode(_: &Listing, _: usize, _: usize) -> Vec<Row> {
    Vec::new()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use skep::{Vm, isa};

    /// Any bytes are some text, and all of them are told.
    #[test]
    fn no_bytes_are_too_strange() {
        let vm = Vm::builder().build().expect("a machine");
        let insns = isa::assemble("mov %r0, 2\nexit").expect("right");
        let program = vm.program_from_insns("two", None, &insns, &[]).expect("well-formed");
        let Ok(mut listing) = program.native_listing(false) else { return };
        let mut state = 1u64;
        for len in 0..600 {
            listing.bytes = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    state.to_le_bytes()[6]
                })
                .collect();
            let rows = decode(&listing, 0, len);
            assert_eq!(rows.is_empty(), listing.bytes.iter().all(|&byte| byte == INT3));
            assert!(rows.iter().all(|row| row.offset < len && !row.text.is_empty()));
        }
    }
}
