//! Programs that were right before something in them was changed: skep refuses, stops or
//! runs them, and what the kernel runs ends the same in skep.
//!
//! `SKEP_SEED` sets the seed, `SKEP_MUTANTS` the number of programs.
//!
//! The kernel is asked as it is by a process without `CAP_PERFMON`: then the verifier
//! accepts no program that shows an address or reads stack that it has not written.
//! What such a program computes is not defined, and differs from one kernel to the next.

mod common;

use std::collections::BTreeMap;
use std::thread;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use skep_difftest::{
    Case, INTERP, Linux, Profile, Ran, Refusal, Rig, Rng, calls_out, generate, kernel_differs,
    mutate,
};
use skep_oracle::Kernel;
use skep_vm::isa::{Insn, Op};
use skep_vm::{FaultKind, ProgramErrorKind};

use common::{number, say, seed};

const MUTANTS: u64 = 10_000;
/// More than the verifier follows.
const MAX_INSNS: u64 = 2_000_000;

#[test]
fn mutants_do_no_harm_and_end_as_in_the_kernel() {
    let kernel = Kernel::for_test("mutants");
    // Capabilities are a thread's own.
    let test = thread::spawn(move || {
        if kernel.is_some() {
            let wanted = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
            let now = capabilities(None).expect("a thread may read its capabilities");
            let fewer = CapabilitySets { effective: now.permitted & wanted, ..now };
            set_capabilities(None, fewer).expect("a thread may drop capabilities");
        }
        run(kernel);
    });
    if let Err(panic) = test.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run(kernel: Option<Kernel>) {
    let linux = kernel.map(Linux::new);
    let mut skep = Rig::new(INTERP);
    let (seed, mutants) = (seed(), number("SKEP_MUTANTS", MUTANTS));
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for mutant in 0..mutants {
        let mut rng = Rng::new(seed.wrapping_add(mutant));
        let mut case = generate(&mut rng, Profile::LinuxPlain);
        let before = case.insns().to_vec();
        mutate(&mut rng, case.insns_mut());
        let ours = skep.run(&case, MAX_INSNS);
        let what = match &ours {
            Ok(runs) if runs[0].fault().is_some() => "stopped",
            Ok(_) => "run",
            Err(_) => "refused",
        };
        *counts.entry(what).or_default() += 1;
        let comparable = !calls_out(case.insns())
            && !moves_below_zero(case.insns())
            && initialises_stack(&before, case.insns());
        let Some(linux) = linux.as_ref().filter(|_| comparable) else {
            continue;
        };
        let Ok(theirs) = linux.try_run(&case) else {
            continue;
        };
        *counts.entry("accepted by the kernel").or_default() += 1;
        if ours.is_err() {
            *counts.entry("refused by skep for dead code").or_default() += 1;
        }
        if let Some(wrong) = difference(&mut skep, &case, ours, &theirs) {
            panic!("mutant {mutant} of seed {seed:#x}: {wrong}\n{case}");
        }
    }
    say(&format!("mutants: {mutants}; in skep and the kernel {counts:?}; seed {seed:#x}"));
    for what in ["run", "refused", "stopped"] {
        assert!(counts.contains_key(what), "no mutant was {what}");
    }
    if linux.is_some() {
        let accepted = counts.get("accepted by the kernel").copied().unwrap_or_default();
        assert!(accepted > mutants / 20, "the kernel accepts only {accepted}");
    }
}

/// Whether the packet's address may be moved below zero before it is compared with the
/// packet's end. The verifier lets a program subtract up to 2^29; addresses in skep are
/// smaller than the kernel's, so that there the difference may wrap.
fn moves_below_zero(insns: &[Insn]) -> bool {
    const FAR: i32 = 1 << 12;
    insns.iter().take(8).any(|insn| match insn.op() {
        Ok(Op::Add64Imm) => insn.imm < -FAR,
        Ok(Op::Sub64Imm) => insn.imm > FAR,
        _ => false,
    })
}

/// Whether all stores of whole stack slots are still there. When only a part of a slot is
/// stored, the verifier may take all of it for initialised.
fn initialises_stack(before: &[Insn], after: &[Insn]) -> bool {
    let stores =
        |insn: &Insn| matches!(insn.op(), Ok(Op::StDw | Op::StxDw)).then_some((insn.dst, insn.off));
    let mut stores =
        before.iter().zip(after).map(|(before, after)| (stores(before), stores(after)));
    stores.all(|(before, after)| before.is_none_or(|(dst, _)| dst != 10) || before == after)
}

/// What differs between skep and the kernel, which runs the program.
fn difference(
    skep: &mut Rig,
    case: &Case,
    ours: Result<Vec<Ran>, Refusal>,
    theirs: &[Ran],
) -> Option<String> {
    let ours = match ours {
        Ok(ours) => ours,
        Err(why) => match run_without_dead_code(skep, case, why) {
            Ok(ours) => ours,
            Err(why) => return Some(why),
        },
    };
    // How often a `may_goto` lets a program go on depends on the clock in the kernel.
    let budget =
        |ran: &Ran| ran.fault().is_some_and(|fault| matches!(fault.kind, FaultKind::Budget { .. }));
    if ours.iter().any(budget) && case.insns().iter().any(|insn| insn.op() == Ok(Op::MayGoto)) {
        return None;
    }
    kernel_differs(&ours, theirs)
}

/// Runs a program that skep refuses for single instructions, if they are never reached.
///
/// The verifier looks at the fields of instructions that it thinks can be reached; skep
/// looks at all of them.
fn run_without_dead_code(
    skep: &mut Rig,
    case: &Case,
    mut why: Refusal,
) -> Result<Vec<Ran>, String> {
    let mut case = case.clone();
    let mut dead = Vec::new();
    loop {
        use ProgramErrorKind as Kind;
        let error = &why.error;
        let single = matches!(
            error.kind,
            Kind::Decode(_) | Kind::FramePointerWritten | Kind::DivisionByZero | Kind::NoSkb { .. }
        );
        if !single || dead.contains(&(0, error.insn)) {
            return Err(format!("skep refuses it: {why}"));
        }
        dead.push((0, error.insn));
        case.insns_mut()[error.insn as usize] = Op::Exit.row().encode(Insn::default());
        match skep.run_around(&case, MAX_INSNS, &dead) {
            Ok(runs) => match runs[0].fault() {
                Some(fault) => return Err(format!("skep refuses it: {why}; {fault}")),
                None => return Ok(runs),
            },
            Err(next) => why = next,
        }
    }
}
