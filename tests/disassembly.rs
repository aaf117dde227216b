//! Our disassembly against LLVM's, for every committed object, where llvm-objdump is
//! installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use skep::isa::{Insn, disassemble};

fn objects() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/objects");
    let entries = std::fs::read_dir(folder).expect("the test objects are there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut objects: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "o")).collect();
    objects.sort();
    objects
}

/// The words of an instruction, brought to one form: numbers are decimal, registers
/// `r`, no blanks, no labels.
fn normalize(text: &str) -> String {
    let text = text.split('<').next().unwrap_or(text).replace("w", "r");
    let mut out = String::new();
    let mut rest = text.trim();
    while let Some(c) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("0x") {
            let digits: String = hex.chars().take_while(char::is_ascii_hexdigit).collect();
            let number = u64::from_str_radix(&digits, 16).expect("digits");
            out.push_str(&number.to_string());
            rest = &hex[digits.len()..];
            continue;
        }
        if !c.is_whitespace() {
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// What LLVM writes for each slot: its bytes and its text.
fn llvm(path: &Path) -> Option<Vec<(Vec<u8>, String)>> {
    let output =
        Command::new("llvm-objdump-19").args(["-d", "--mcpu=v4"]).arg(path).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let lines = text.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().split_once(":\t")?;
        number.trim().parse::<u64>().ok()?;
        let (bytes, text) = rest.split_once('\t')?;
        let bytes = bytes.split_whitespace().map(|b| u8::from_str_radix(b, 16).ok());
        Some((bytes.collect::<Option<Vec<u8>>>()?, text.to_owned()))
    });
    Some(lines.collect())
}

#[test]
fn our_disassembly_reads_as_llvms() {
    let mut compared = 0;
    for path in objects() {
        let Some(lines) = llvm(&path) else {
            eprintln!("no llvm-objdump-19: the disassembly is not compared");
            return;
        };
        for (bytes, text) in lines {
            let slots = Insn::parse_le(&bytes).expect("whole slots");
            let op = slots[0].op().expect("clang's instructions decode");
            let high = slots.get(1).map_or(0, |slot| slot.imm);
            let wide =
                u64::from(slots[0].imm.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32;
            let ours = disassemble(op, slots[0], wide, &());
            // LLVM gives calls of functions as the immediate; ours say which way.
            let ours = ours.replace("call +", "call ");
            assert_eq!(normalize(&ours), normalize(&text), "{}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 1000, "{compared} instructions");
}
