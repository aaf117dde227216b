//! Whether engines agree.

use std::fmt::Write as _;

use skep_vm::FaultKind;
use skep_vm::isa::Shape;

use super::{Contents, End, Ran, Rig};
use crate::case::{Case, instructions};

/// What differs, in a few lines, and the two engines between which it does.
pub type Difference = String;

/// Runs a case on all rigs and compares each with the first; the observations of the first
/// when they agree.
///
/// # Errors
/// What differs.
pub fn agree(rigs: &mut [Rig], case: &Case, max_insns: u64) -> Result<Vec<Ran>, Difference> {
    let (first, others) = rigs.split_first_mut().expect("there is an engine");
    let expected = first.run(case, max_insns);
    for other in others {
        let found = match &expected {
            // Who does not count would not end.
            Ok(runs) if !other.engine().counts => other.run(&up_to_a_limit(case, runs), max_insns),
            _ => other.run(case, max_insns),
        };
        let names = || format!("{}, {}: ", first.engine().name, other.engine().name);
        match (&expected, &found) {
            (Ok(expected), Ok(found)) => {
                if let Some(difference) = same(case, expected, found) {
                    return Err(names() + &difference);
                }
            }
            (Err(expected), Err(found)) if expected == found => {}
            (expected, found) => {
                let what = |runs: &Result<_, super::Refusal>| match runs {
                    Ok(_) => "loads".to_owned(),
                    Err(why) => format!("refuses ({why})"),
                };
                return Err(format!("{}{} but {}", names(), what(expected), what(found)));
            }
        }
    }
    Ok(expected.unwrap_or_default())
}

/// The case with the inputs before the first on which a limit ends the run.
fn up_to_a_limit(case: &Case, runs: &[Ran]) -> Case {
    let mut case = case.clone();
    case.inputs.truncate(runs.iter().position(is_limit).unwrap_or(runs.len()));
    case
}

/// What differs between two engines' runs of a case.
///
/// A budget may be noticed up to one basic block late; then nothing behind it is compared.
#[must_use]
pub fn same(case: &Case, expected: &[Ran], found: &[Ran]) -> Option<Difference> {
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        if is_limit(expected) {
            // Who notices late may even have come to another end.
            let late = found.insns.zip(expected.insns);
            let late = late.and_then(|(found, expected)| found.checked_sub(expected));
            if late.is_some_and(|late| late <= longest_block(case)) {
                return None;
            }
        }
        if let Some(difference) = compare(expected, found) {
            return Some(format!("input {index}: {difference}"));
        }
    }
    let uncounted = found.len() < expected.len() && is_limit(&expected[found.len()]);
    let runs = expected.len() == found.len() || uncounted;
    (!runs).then(|| "another number of runs".to_owned())
}

/// What differs between two runs that may differ in nothing.
#[must_use]
pub fn compare(expected: &Ran, found: &Ran) -> Option<Difference> {
    let mut text = String::new();
    let mut differs = |what: &str, a: String, b: String| {
        let _ = writeln!(text, "{what}: {a} but {b}");
    };
    match (&expected.end, &found.end) {
        (End::Returned(a), End::Returned(b)) if a == b => {}
        (End::Stopped(a), End::Stopped(b))
            if a.kind == b.kind && a.program == b.program && a.insn == b.insn => {}
        (End::Stopped(a), End::Stopped(b)) => differs("fault", a.to_string(), b.to_string()),
        (a, b) => differs("end", a.to_string(), b.to_string()),
    }
    if let (Some(a), Some(b)) = (expected.insns, found.insns)
        && a != b
    {
        differs("insns", a.to_string(), b.to_string());
    }
    if expected.printk != found.printk {
        differs("printk", format!("{:?}", expected.printk), format!("{:?}", found.printk));
    }
    if expected.redirect != found.redirect {
        differs("redirect", format!("{:?}", expected.redirect), format!("{:?}", found.redirect));
    }
    bytes(&mut differs, "output", &expected.output, &found.output);
    bytes(&mut differs, "context", &expected.context, &found.context);
    for (index, (a, b)) in expected.maps.iter().zip(&found.maps).enumerate() {
        contents(&mut differs, index, a, b);
    }
    (!text.is_empty()).then_some(text)
}

fn contents(
    differs: &mut impl FnMut(&str, String, String),
    map: usize,
    a: &Contents,
    b: &Contents,
) {
    if a == b {
        return;
    }
    let keys = |of: &Contents| of.iter().map(|(key, _)| hex(key)).collect::<Vec<_>>().join(" ");
    if keys(a) != keys(b) {
        differs(&format!("keys of map {map}"), keys(a), keys(b));
        return;
    }
    for ((key, a), (_, b)) in a.iter().zip(b) {
        bytes(differs, &format!("map {map} at {}", hex(key)), a, b);
    }
}

/// Says which words differ.
fn bytes(differs: &mut impl FnMut(&str, String, String), what: &str, a: &[u8], b: &[u8]) {
    if a.len() != b.len() {
        differs(&format!("length of {what}"), a.len().to_string(), b.len().to_string());
        return;
    }
    for (at, (a, b)) in a.chunks(8).zip(b.chunks(8)).enumerate().filter(|(_, (a, b))| a != b) {
        differs(&format!("{what}+{:#x}", at * 8), hex(a), hex(b));
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a limit ended the run.
fn is_limit(ran: &Ran) -> bool {
    let kind = ran.fault().map(|fault| &fault.kind);
    matches!(kind, Some(FaultKind::Budget { .. } | FaultKind::Timeout))
}

/// The most instructions of a basic block of the case's programs.
#[must_use]
pub fn longest_block(case: &Case) -> u64 {
    case.programs.iter().map(|program| longest(&program.insns)).max().unwrap_or(0)
}

fn longest(insns: &[skep_vm::isa::Insn]) -> u64 {
    let all: Vec<_> = instructions(insns).collect();
    let mut starts = vec![false; insns.len() + 1];
    for &(at, insn, op, _) in &all {
        let Some(op) = op else { continue };
        let distance = match op.row().shape {
            Shape::JumpImm | Shape::JumpReg | Shape::Goto => i64::from(insn.off),
            Shape::GotoLong | Shape::Call => i64::from(insn.imm),
            Shape::Exit => 0,
            _ => continue,
        };
        let next = i64::try_from(at).unwrap_or(i64::MAX) + 1;
        for start in [next, next + distance] {
            if let Some(start) = usize::try_from(start).ok().and_then(|at| starts.get_mut(at)) {
                *start = true;
            }
        }
    }
    let (mut longest, mut len) = (0, 0);
    for (at, ..) in all {
        len = if starts[at] { 1 } else { len + 1 };
        longest = longest.max(len);
    }
    longest
}
