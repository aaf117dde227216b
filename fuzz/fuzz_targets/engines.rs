//! Structured programs, whose choices are the fuzzer's bytes: all engines must agree about
//! them.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use skep_difftest::text::{Expected, Vector, write};
use skep_difftest::{ENGINES, INTERP, Profile, Rig, Rng, agree, generate, mutate};

const MAX_INSNS: u64 = 20_000;

thread_local! {
    static RIGS: RefCell<Vec<Rig>> =
        RefCell::new(ENGINES.iter().map(|engine| Rig::with_cpus(*engine, 2)).collect());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, choices)) = bytes.split_first() else { return };
    let mut rng = Rng::with_choices(choices);
    let mut case = generate(&mut rng, Profile::Engines);
    if first % 4 == 0 {
        mutate(&mut rng, case.insns_mut());
    }
    RIGS.with_borrow_mut(|rigs| {
        if let Err(difference) = agree(rigs, &case, MAX_INSNS) {
            let expected = Rig::with_cpus(INTERP, 2).run(&case, MAX_INSNS).unwrap_or_default();
            let vector = Vector {
                about: difference.clone(),
                budget: MAX_INSNS,
                case: case.clone(),
                expected: expected.iter().map(Expected::of).collect(),
            };
            panic!("{difference}\n{}", write(&vector));
        }
    });
});
