//! Which fields of its context a program may read and write, and how wide.

use skep_oracle::Kernel;
use skep_oracle::asm::*;

use crate::probe::{Probe, TYPES, Type, XDP, XDP_CPUMAP, XDP_DEVMAP, reason};
use crate::record::{Record, check};
use skep_oracle::fields::{Field, SK_BUFF, XDP_MD, width};

#[test]
fn context_access() {
    check(
        "context-access",
        "TYPE read or write FIELD -> OFFSET:SIZE of each access within the field that the\n\
         verifier takes, one after another; `-` for none. A read loads the bytes, a write\n\
         stores a register with 0. `imm` writes store an immediate. Sizes are in bytes.\n\
         `across` are accesses over the border of two fields, and behind the last.",
        |kernel, record| {
            for ty in TYPES.into_iter().chain([XDP_DEVMAP, XDP_CPUMAP]) {
                record.note(ty.name);
                let fields: &[Field] = if ty.id == XDP.id { &XDP_MD } else { &SK_BUFF };
                for kind in [Kind::Read, Kind::SignedRead, Kind::Write, Kind::Immediate] {
                    for &field in fields {
                        within(kernel, record, ty, kind, field);
                    }
                    across(kernel, record, ty, kind);
                }
                refusals(kernel, record, ty);
            }
        },
    );
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    SignedRead,
    Write,
    Immediate,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::SignedRead => "signed-read",
            Self::Write => "write",
            Self::Immediate => "write-imm",
        }
    }
}

fn load(kernel: &Kernel, ty: Type, kind: Kind, at: i16, size: u8) -> Result<Probe, String> {
    let body = |asm: &mut Asm| {
        let size = width(size);
        match kind {
            Kind::Read => asm.ldx(size, R1, R6, at),
            Kind::SignedRead => asm.ldxsx(size, R1, R6, at),
            Kind::Write => asm.mov(R1, 0).stx(size, R6, at, R1),
            Kind::Immediate => asm.st(size, R6, at, 0),
        };
    };
    Probe::new(kernel, ty, body)
        .map_err(|refused| format!("{} {:?}", refused.errno, reason(&refused)))
}

fn takes(kernel: &Kernel, ty: Type, kind: Kind, at: i16, size: u8) -> bool {
    // There is no sign-extending load of 8 bytes.
    (kind != Kind::SignedRead || size < 8) && load(kernel, ty, kind, at, size).is_ok()
}

fn within(kernel: &Kernel, record: &mut Record, ty: Type, kind: Kind, (name, at, len): Field) {
    let mut taken = Vec::new();
    for size in [1, 2, 4, 8].into_iter().filter(|&size| size <= len) {
        for offset in (0..=i16::from(len - size)).filter(|&o| takes(kernel, ty, kind, at + o, size))
        {
            taken.push(format!("{offset}:{size}"));
        }
    }
    let taken = if taken.is_empty() { "-".to_owned() } else { taken.join(",") };
    record.case(&format!("{} {} {name}", ty.name, kind.name()), &taken);
}

/// Accesses of 8 bytes to two fields of 4, unaligned ones, and ones past the end.
fn across(kernel: &Kernel, record: &mut Record, ty: Type, kind: Kind) {
    let end = if ty.id == XDP.id { 24 } else { 192 };
    let mut taken = Vec::new();
    for at in -8..end + 8 {
        for size in [2_u8, 4, 8] {
            let crosses = at / 4 != (at + i16::from(size) - 1) / 4 || at < 0 || at >= end;
            let wide =
                size == 8 && at % 8 == 0 && ty.id != XDP.id && [144, 152, 168, 184].contains(&at);
            if crosses && !wide && takes(kernel, ty, kind, at, size) {
                taken.push(format!("{at}:{size}"));
            }
        }
    }
    let taken = if taken.is_empty() { "-".to_owned() } else { taken.join(",") };
    record.case(&format!("{} {} across", ty.name, kind.name()), &taken);
}

/// How a refusal sounds.
fn refusals(kernel: &Kernel, record: &mut Record, ty: Type) {
    for (kind, at, size) in [
        (Kind::Write, 0, 4),
        (Kind::Read, 1, 4),
        (Kind::Read, -4, 4),
        (Kind::Read, 192, 4),
        (Kind::Read, 24, 8),
        (Kind::Read, 0, 8),
    ] {
        let answer = load(kernel, ty, kind, at, size).err().unwrap_or_else(|| "taken".to_owned());
        record.case(&format!("{} {} at={at} size={size}", ty.name, kind.name()), &answer);
    }
    let body = |asm: &mut Asm| {
        asm.mov(R1, 0).atomic(W, R6, 8, R1, 0);
    };
    let answer = match Probe::new(kernel, ty, body) {
        Ok(_) => "taken".to_owned(),
        Err(refused) => format!("{} {:?}", refused.errno, reason(&refused)),
    };
    record.case(&format!("{} atomic at=8 size=4", ty.name), &answer);
}
