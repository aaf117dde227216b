//! Random programs on skep and on rbpf's interpreter.
//!
//! `SKEP_SEED` sets the seed, `SKEP_RBPF_PROGRAMS` the number of programs.

mod common;

use std::any::Any;
use std::io;

use skep_difftest::{
    Case, End, INTERP, Keep, Profile, Ran, Rig, Rng, compare as difference, generate, shrink,
};

use common::{number, say, seed};

const PROGRAMS: u64 = 10_000;
const MAX_INSNS: u64 = 1_000_000;
/// Frame sizes of the main function and of others; all must fit in 512 bytes.
const FRAMES: (u16, u16) = (152, 40);

#[test]
fn programs_end_the_same_in_rbpf() {
    let mut skep = Rig::new(INTERP);
    let (seed, programs) = (seed(), number("SKEP_RBPF_PROGRAMS", PROGRAMS));
    for program in 0..programs {
        let case = generate(&mut Rng::new(seed.wrapping_add(program)), Profile::Rbpf);
        if let Some(wrong) = compare(&mut skep, &case) {
            let smaller = shrink(&case, Keep::StackStores, |case| {
                compare(&mut skep, case).as_ref() == Some(&wrong)
            });
            panic!("program {program} of seed {seed:#x}: {wrong}\n{case}\nshrunk:\n{smaller}");
        }
    }
    say(&format!("rbpf: {programs} random programs equal; seed {seed:#x}"));
}

/// What differs between skep's answer and rbpf's, which has no limit: only a program that
/// ends in skep is given to it.
fn compare(skep: &mut Rig, case: &Case) -> Option<String> {
    let ours = match skep.run(case, MAX_INSNS) {
        Ok(mut runs) => runs.remove(0),
        Err(why) => return Some(format!("skep: {why}")),
    };
    if let Some(fault) = ours.fault() {
        return Some(format!("skep: {fault}"));
    }
    match run(case) {
        Ok(theirs) => difference(&Ran { insns: None, ..ours }, &theirs),
        Err(error) => Some(format!("rbpf: {error}")),
    }
}

fn run(case: &Case) -> io::Result<Ran> {
    let code: Vec<u8> = case.insns().iter().flat_map(|insn| insn.to_le_bytes()).collect();
    let mut vm = rbpf::EbpfVmRaw::new(None)?;
    vm.set_stack_usage_calculator(frame, Box::new(()))?;
    vm.set_program(&code)?;
    let mut memory = case.inputs[0].data.clone();
    let r0 = vm.execute_program(&mut memory)?;
    Ok(Ran {
        end: End::Returned(r0),
        insns: None,
        printk: Vec::new(),
        redirect: None,
        output: memory,
        context: Vec::new(),
        maps: Vec::new(),
    })
}

fn frame(_program: &[u8], function: usize, _data: &mut dyn Any) -> u16 {
    if function == 0 { FRAMES.0 } else { FRAMES.1 }
}
