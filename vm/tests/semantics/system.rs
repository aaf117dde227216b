//! Helpers whose answers on a kernel differ from run to run: clocks, chance, identities,
//! locks, and reads of addresses of any kind. On a host whose every answer is fixed, each
//! has one answer.

use libtest_mimic::{Failed, Trial};
use skep_maps::{MapDef, MapType};
use skep_vm::isa::assemble;
use skep_vm::{Input, helpers};

use crate::lab::{Lab, def};
use crate::state::lock;

/// When the fixed clock starts, in nanoseconds.
const START: u64 = 600_000_000_000;
/// The two halves of an identity, both 1000.
const IDENTITY: u64 = 1000 << 32 | 1000;

/// Helpers, programs that call them, and what they return.
const PROGRAMS: &[(&str, &str, u64)] = &[
    ("ktime_get_ns", "call 5", START),
    ("ktime_get_boot_ns", "call 125", START),
    ("ktime_get_coarse_ns", "call 160", START),
    ("ktime_get_tai_ns", "call 208", START + 1_704_067_237_000_000_000),
    ("jiffies64", "call 118", START / 4_000_000),
    ("get_prandom_u32", "call 7", 0xe220_a839),
    ("get_smp_processor_id", "call 8", 0),
    ("get_numa_node_id", "call 42", 0),
    ("get_current_pid_tgid", "call 14", IDENTITY),
    ("get_current_uid_gid", "call 15", IDENTITY),
    (
        "get_current_comm",
        "mov %r1, %r10\nadd %r1, -16\nmov %r2, 16\ncall 16\nldxdw %r0, [%r10-16]",
        u64::from_le_bytes(*b"skep\0\0\0\0"),
    ),
    (
        "probe_read",
        "stdw [%r10-8], 77\nmov %r1, %r10\nadd %r1, -16\nmov %r2, 8\nmov %r3, %r10\nadd %r3, -8\n\
         call 4\nldxdw %r1, [%r10-16]\nadd %r0, %r1",
        77,
    ),
    (
        "probe_read_str",
        // The text is "AB".
        "stdw [%r10-8], 0x4241\nmov %r1, %r10\nadd %r1, -16\nmov %r2, 8\nmov %r3, %r10\n\
         add %r3, -8\ncall 45\nldxh %r1, [%r10-16]\nlsh %r0, 16\nor %r0, %r1",
        3 << 16 | 0x4241,
    ),
    ("spin_lock", "call 93\nstw [%r6+4], 5\nmov %r1, %r6\ncall 94\nldxw %r0, [%r6+4]", 5),
    (
        "spin_unlock",
        "call 93\nmov %r1, %r6\ncall 94\nmov %r1, %r6\ncall 93\nmov %r1, %r6\ncall 94\nmov %r0, 2",
        2,
    ),
];

/// The helpers that a program here calls.
pub(crate) fn called() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|(name, ..)| *name)
}

/// A trial for each program.
pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    PROGRAMS.iter().map(|&(name, body, expected)| {
        Trial::test(format!("system: {name}"), move || check(name, body, expected))
    })
}

fn check(name: &str, body: &str, expected: u64) -> Result<(), Failed> {
    let helper =
        helpers::all().iter().find(|helper| helper.name == name).ok_or("there is no helper")?;
    if !body.contains(&format!("call {}", helper.id)) {
        return Err("the program does not call it".into());
    }
    let lab = Lab::new();
    let map = lab.map(&MapDef { special: lock(), ..def(MapType::Array, 4, 8, 1) });
    // r1 and r6 are the address of a value with a lock.
    let found = "stw [%r10-4], 0\nmov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\ncall 1\n\
                 jne %r0, 0, found\nexit\nfound:\nmov %r6, %r0\nmov %r1, %r0\n";
    let insns = assemble(&format!("{found}{body}\nexit"))?;
    let program = lab.load("tracepoint", insns, &[map])?;
    let r0 = lab.run(&program, &Input::none())?.r0;
    if r0 == expected { Ok(()) } else { Err(format!("{r0:#x}, not {expected:#x}").into()) }
}
