//! The committed programs, on all engines.
//!
//! `SKEP_RECORD=1` writes anew what they are expected to come to.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use skep_difftest::text::{Expected, Vector, read, write};
use skep_difftest::{ENGINES, INTERP, Linux, Profile, Rig, Rng, agree, generate, kernel_differs};
use skep_oracle::Kernel;

fn vectors() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/programs");
    let files = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    files
}

#[test]
fn committed_programs_come_to_what_they_did() {
    let record = std::env::var_os("SKEP_RECORD").is_some_and(|value| value == "1");
    let mut engines = ENGINES.to_vec();
    if engines.len() == 1 {
        engines.push(INTERP);
    }
    let files = vectors();
    for file in &files {
        let name = file.display();
        let text = fs::read_to_string(file).expect("it can be read");
        let vector = read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Machines of their own: what ran before does not matter.
        let mut rigs: Vec<Rig> = engines.iter().map(|engine| Rig::with_cpus(*engine, 2)).collect();
        let runs = agree(&mut rigs, &vector.case, vector.budget);
        let runs = runs.unwrap_or_else(|difference| panic!("{name}: {difference}"));
        let expected: Vec<Expected> = runs.iter().map(Expected::of).collect();
        if record {
            fs::write(file, with_expected(&text, &expected)).expect("it can be written");
        } else {
            assert_eq!(vector.expected, expected, "{name}: expected, found");
        }
    }
    assert!(files.len() >= 10, "only {} programs", files.len());
    let (programs, engines) = (files.len(), ENGINES.len());
    // Not println!, which a test that passes keeps for itself.
    let _ = writeln!(io::stderr(), "programs: {programs} committed ones on {engines} engine(s)");
}

#[test]
fn committed_programs_that_the_kernel_takes_end_the_same_there() {
    let Some(kernel) = Kernel::for_test("committed programs") else {
        return;
    };
    let linux = Linux::new(kernel);
    let mut skep = Rig::with_cpus(INTERP, linux.cpus());
    let mut taken = 0;
    for file in vectors() {
        let name = file.display();
        let text = fs::read_to_string(&file).expect("it can be read");
        let vector = read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let raw = vector.case.programs.iter().any(|program| program.prog_type.is_none());
        if raw || vector.undefined {
            continue;
        }
        // Most are about programs that no verifier takes.
        let Ok(theirs) = linux.try_run(&vector.case) else { continue };
        taken += 1;
        let ours = skep.run(&vector.case, vector.budget).expect("what the kernel takes loads");
        if let Some(difference) = kernel_differs(&ours, &theirs) {
            panic!("{name}: {difference}");
        }
    }
    assert!(taken >= 7, "the kernel takes only {taken}");
}

/// The text with other `expect` lines.
fn with_expected(text: &str, expected: &[Expected]) -> String {
    let mut expected = expected.iter();
    let mut result = String::new();
    let mut pending: Option<&Expected> = None;
    let flush = |pending: &mut Option<&Expected>, result: &mut String| {
        if let Some(Expected { end, insns, printk }) = pending.take() {
            let _ = writeln!(result, "expect {end} insns {insns}");
            for line in printk {
                let hex: String = line.bytes().map(|byte| format!("{byte:02x}")).collect();
                let _ = writeln!(result, "printk {hex}");
            }
        }
    };
    for line in text.lines() {
        if line.starts_with("expect ") || line.starts_with("printk ") {
            continue;
        }
        if !line.starts_with("sample ") {
            flush(&mut pending, &mut result);
        }
        result += line;
        result.push('\n');
        if line.starts_with("input ") {
            pending = expected.next();
        }
    }
    flush(&mut pending, &mut result);
    result
}

#[test]
fn what_is_written_is_read_again() {
    let mut rig = Rig::with_cpus(INTERP, 2);
    for seed in 0..60 {
        let case = generate(&mut Rng::new(seed), Profile::Engines);
        let runs = rig.run(&case, 5_000).unwrap_or_default();
        let about = "two lines\nof comment\n".to_owned();
        let expected = runs.iter().map(Expected::of).collect();
        let vector = Vector { about, budget: 5_000, undefined: false, case, expected };
        let text = write(&vector);
        let again = read(&text).unwrap_or_else(|error| panic!("{seed}: {error}\n{text}"));
        assert_eq!(vector, again, "seed {seed}");
    }
}
