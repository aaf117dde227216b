//! Random map scripts: a model, skep and the Linux kernel must answer alike, line by line.
//!
//! `SKEP_SEED` sets the seed, `SKEP_MAP_SCRIPTS` the number of scripts for each type that
//! the model and skep answer, `SKEP_KERNEL_MAP_SCRIPTS` that of those which the kernel
//! answers, too.

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use skep_difftest::Rng;
use skep_difftest::maps::{Engine, KINDS, Kind, Model, Skep, difference, generate, script, shrink};
use skep_maps::MapType;
use skep_oracle::Kernel;
use skep_oracle::script::{Backend, Case, Linux, answers};

use common::{number, say, seed};

const SCRIPTS: u64 = 300;
const KERNEL_SCRIPTS: u64 = 80;
/// The most operations of a script.
const OPERATIONS: u64 = 60;
/// Programs for the kernel change their CPU all the time, which takes long beside a thread
/// that keeps one busy.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn model<'e>() -> Engine<'e> {
    Engine { name: "model", make: &|| Box::new(Model::new()) }
}

fn skep<'e>() -> Engine<'e> {
    Engine { name: "skep", make: &|| Box::new(Skep::new()) }
}

#[test]
fn skep_answers_random_scripts_as_the_model_does() {
    let _one = ONE_AT_A_TIME.lock();
    let scripts = number("SKEP_MAP_SCRIPTS", SCRIPTS);
    for kind in KINDS.iter().filter(|kind| is_supported(kind)) {
        compare("map scripts", *kind, scripts, &[model(), skep()]);
    }
}

#[test]
fn the_kernel_answers_random_scripts_as_model_and_skep_do() {
    let Some(kernel) = Kernel::for_test("random map scripts") else {
        return;
    };
    let _one = ONE_AT_A_TIME.lock();
    let scripts = number("SKEP_KERNEL_MAP_SCRIPTS", KERNEL_SCRIPTS);
    let make = || -> Box<dyn Backend + '_> { Box::new(Linux::new(&kernel)) };
    for kind in KINDS {
        let linux = Engine { name: "kernel", make: &make };
        // Whoever puts a map into a map waits until no program runs.
        let scripts = if kind.holds_maps() { scripts.div_ceil(8) } else { scripts };
        // The model is compared with the kernel even where skep has no such type.
        if is_supported(kind) {
            compare("kernel's map scripts", *kind, scripts, &[linux, model(), skep()]);
        } else {
            compare("kernel's map scripts", *kind, scripts, &[linux, model()]);
        }
    }
}

#[test]
fn random_scripts_meet_the_errors_that_their_types_have() {
    let mut seen: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for kind in KINDS {
        let words = seen.entry(kind.map_type).or_default();
        for nth in 0..100 {
            for answer in answers(&case(*kind, seed().wrapping_add(nth)), &mut Model::new()) {
                words.extend(answer.split([' ', ':', ',']).map(str::to_owned));
            }
        }
    }
    for (map_type, expected) in [
        ("hash", &["E2BIG", "EEXIST", "ENOENT", "EINVAL", "EPERM", "EFAULT", "ENOTSUPP"][..]),
        ("array", &["E2BIG", "EEXIST", "ENOENT", "EINVAL", "EPERM", "EFAULT", "ENOTSUPP"]),
        ("percpu_hash", &["E2BIG", "EEXIST", "ENOENT", "EINVAL", "EPERM", "EFAULT", "NULL"]),
        ("percpu_array", &["E2BIG", "EEXIST", "ENOENT", "EINVAL", "EPERM", "EFAULT", "NULL"]),
        ("array_of_maps", &["E2BIG", "ENOENT", "EINVAL", "EPERM", "NULL", "inner"]),
        ("hash_of_maps", &["E2BIG", "EEXIST", "ENOENT", "EINVAL", "EPERM", "NULL", "inner"]),
        ("queue", &["E2BIG", "ENOENT", "EINVAL", "EPERM"]),
        ("stack", &["E2BIG", "ENOENT", "EINVAL", "EPERM"]),
        ("bloom_filter", &["EINVAL", "EOPNOTSUPP", "ENOTSUPP", "ok", "0"]),
        ("lpm_trie", &["ENOSPC", "EEXIST", "ENOENT", "EINVAL", "EPERM", "EFAULT", "NULL"]),
    ] {
        let missing: Vec<&&str> = expected
            .iter()
            .filter(|word| !seen[map_type].iter().any(|own| own == **word))
            .collect();
        assert!(missing.is_empty(), "no script of {map_type} meets {missing:?}");
    }
}

fn is_supported(kind: &Kind) -> bool {
    let supported = MapType::ALL.iter().filter(|map_type| map_type.is_supported());
    supported.map(|map_type| map_type.name()).any(|name| name == kind.map_type)
}

/// The script with this seed.
fn case(kind: Kind, seed: u64) -> Case {
    let mut rng = Rng::new(seed);
    let operations = 1 + rng.below(OPERATIONS);
    generate(&mut rng, kind, operations)
}

fn compare(what: &str, kind: Kind, scripts: u64, engines: &[Engine<'_>]) {
    assert!(scripts > 0, "no scripts compare nothing");
    let (seed, start, mut lines) = (seed(), Instant::now(), 0);
    for nth in 0..scripts {
        // Each script has a seed of its own, so that one can be looked at alone.
        let case = case(kind, seed.wrapping_add(nth));
        lines += case.lines.len();
        if difference(&case, engines).is_some() {
            let smaller = shrink(&case, engines);
            let found = difference(&smaller, engines).expect("it differs before");
            let question = &smaller.lines[found.line].question;
            panic!(
                "script {nth} of seed {seed:#x}: {question}: {:?}\nanswered by the {}:\n{}",
                found.answers,
                engines[0].name,
                script(&smaller, &engines[0])
            );
        }
    }
    let (names, seconds) =
        (engines.iter().map(|engine| engine.name), start.elapsed().as_secs_f64());
    let names: Vec<&str> = names.collect();
    say(&format!(
        "{what}: {}: {scripts} scripts, {lines} lines answered alike by {}; seed {seed:#x}; \
         {seconds:.1} s",
        kind.map_type,
        names.join(", ")
    ));
}
