//! Which fields of its context a program may read and write, and how wide.

use skep_oracle::asm::{Asm, R1, R6, W};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting};
use crate::probe::Probe;
use crate::section::Section;
use crate::text::asked_signed;
use skep_oracle::fields::{Field, named, width};

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let answer = |case: &Case<'_>| {
        let (prog_type, kind) = (case.question[0], case.question[1]);
        match (kind, case.question[2]) {
            ("atomic", _) => atomic(&lab, prog_type),
            (_, "across") => across(&lab, prog_type, kind),
            (_, at) if at.starts_with("at=") => single(&lab, case),
            (_, field) => within(&lab, prog_type, kind, named(prog_type, field)),
        }
    };
    section.cases.iter().map(answer).collect()
}

fn access(lab: &Lab, prog_type: &str, kind: &str, at: i16, size: u8) -> Result<(), String> {
    let body = |asm: &mut Asm| {
        let size = width(size);
        match kind {
            "read" => asm.ldx(size, R1, R6, at),
            "signed-read" => asm.ldxsx(size, R1, R6, at),
            "write" => asm.mov(R1, 0).stx(size, R6, at, R1),
            "write-imm" => asm.st(size, R6, at, 0),
            other => panic!("`{other}` is no access"),
        };
    };
    run(lab, prog_type, body)
}

fn run(lab: &Lab, prog_type: &str, body: impl FnOnce(&mut Asm)) -> Result<(), String> {
    let probe = Probe::new(lab, prog_type, &[], body)?;
    lab.run(&probe.program, &Input::packet(counting(64))).map(drop)
}

fn takes(lab: &Lab, prog_type: &str, kind: &str, at: i16, size: u8) -> bool {
    // There is no sign-extending load of 8 bytes.
    (kind != "signed-read" || size < 8) && access(lab, prog_type, kind, at, size).is_ok()
}

/// OFFSET:SIZE of the accesses within a field.
fn within(lab: &Lab, prog_type: &str, kind: &str, (_, at, len): Field) -> String {
    let mut taken = Vec::new();
    for size in [1, 2, 4, 8].into_iter().filter(|&size| size <= len) {
        for offset in 0..=i16::from(len - size) {
            if takes(lab, prog_type, kind, at + offset, size) {
                taken.push(format!("{offset}:{size}"));
            }
        }
    }
    crate::text::list(&taken)
}

/// Accesses of 8 bytes to two fields of 4, unaligned ones, and ones past the end.
fn across(lab: &Lab, prog_type: &str, kind: &str) -> String {
    let xdp = prog_type.starts_with("xdp");
    let end = if xdp { 24 } else { 192 };
    let mut taken = Vec::new();
    for at in -8..end + 8 {
        for size in [2_u8, 4, 8] {
            let crosses = at / 4 != (at + i16::from(size) - 1) / 4 || at < 0 || at >= end;
            let wide = size == 8 && at % 8 == 0 && !xdp && [144, 152, 168, 184].contains(&at);
            if crosses && !wide && takes(lab, prog_type, kind, at, size) {
                taken.push(format!("{at}:{size}"));
            }
        }
    }
    crate::text::list(&taken)
}

fn single(lab: &Lab, case: &Case<'_>) -> String {
    let number = |name| asked_signed(case, name).expect("a number");
    let at = i16::try_from(number("at")).expect("a displacement");
    let size = u8::try_from(number("size")).expect("a size");
    let result = access(lab, case.question[0], case.question[1], at, size);
    result.err().unwrap_or_else(|| "taken".to_owned())
}

fn atomic(lab: &Lab, prog_type: &str) -> String {
    let body = |asm: &mut Asm| {
        asm.mov(R1, 0).atomic(W, R6, 8, R1, 0);
    };
    run(lab, prog_type, body).err().unwrap_or_else(|| "taken".to_owned())
}
