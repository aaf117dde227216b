//! Instructions of skep's engines, counted by callgrind: a gate against regressions that
//! no noise opens or shuts.
//!
//! Callgrind runs this executable again ([`drive`]), with all programs on all engines one
//! after the other, and dumps its counts whenever [`mark`] is called: before and after what
//! is counted. So loading, compiling and filling maps are not, and it does not matter that
//! native code has a stack of its own, which makes callgrind lose track of calls.
//!
//! The figures are processor instructions for each run of the program, and `counts.tsv` has
//! those that were accepted. They depend on the compiler and hardly on the machine.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use skep::Engine;

use crate::options::Options;
use crate::own;
use crate::programs::PROGRAMS;

/// How many times as many instructions as accepted are too many.
const TOLERANCE: f64 = 1.03;
const HEAD: &str = "# program\tengine\tinstructions of a run\n";

/// Counts by program and engine.
type Counts = BTreeMap<(String, String), u64>;

/// Counts, and compares with the accepted table, or writes it.
pub(crate) fn run(options: &Options, write: bool) -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        println!("counts: none, the accepted ones are for x86-64");
        return Ok(());
    }
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        println!("counts: none, valgrind: {error}");
        return Ok(());
    }
    let counts = count(options)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/engine/counts.tsv");
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    if write {
        let mut accepted = read(&path).unwrap_or_default();
        accepted.extend(counts);
        return fs::write(&path, table(&accepted)).map_err(told);
    }
    compare(&counts, &read(&path).map_err(told)?)
}

/// Runs what was asked for under callgrind.
fn count(options: &Options) -> Result<Counts, String> {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("counts");
    let told = |error: std::io::Error| format!("{}: {error}", out.display());
    // What is there is from another time.
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).map_err(told)?;
    let mut command = Command::new("valgrind");
    // Native code is written while the process runs.
    command.args(["--tool=callgrind", "--smc-check=all-non-file"]);
    command.arg("--dump-before=*counts::mark*");
    command.arg(format!("--callgrind-out-file={}", out.join("out").display()));
    command.arg(env::current_exe().map_err(told)?).arg("--counted").args(options.asked());
    let output = command.output().map_err(told)?;
    if !output.status.success() {
        return Err(format!("callgrind: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let mut counts = Counts::new();
    // Dumps are numbered from 1, and the first is of what comes before the first mark.
    for (number, line) in (2..).step_by(2).zip(said.lines()) {
        let [program, engine, times] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("not what was counted: {line}"));
        };
        let times: u64 = times.parse().map_err(|error| format!("{line}: {error}"))?;
        let dump = fs::read_to_string(out.join(format!("out.{number}"))).map_err(told)?;
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: Option<u64> = total.and_then(|total| total.trim().parse().ok());
        let total = total.filter(|&total| total > 0).ok_or_else(|| format!("{line}: no count"))?;
        counts.insert((program.to_owned(), engine.to_owned()), total / times);
    }
    Ok(counts)
}

/// Runs all programs and prints which, on which engine, how many times.
pub(crate) fn drive(options: &Options) -> Result<(), String> {
    for &engine in Engine::ALL {
        let wanted = options.wants_engine(&format!("skep-{engine}"));
        for program in PROGRAMS.iter().filter(|program| wanted && options.wants(program)) {
            let mut side = own::side(engine, program)?;
            side.fill(program)?;
            // What is done at the first run only belongs to loading.
            side.run(1)?;
            mark();
            side.run(program.counted)?;
            mark();
            println!("{} {engine} {}", program.name, program.counted);
        }
    }
    Ok(())
}

/// Where callgrind, which knows it by its name, puts down what it has counted.
#[inline(never)]
fn mark() {
    // Something that the compiler cannot leave out.
    black_box(());
}

fn read(path: &Path) -> std::io::Result<Counts> {
    let text = fs::read_to_string(path)?;
    let rows = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, count) = line.rsplit_once('\t')?;
        let (program, engine) = name.split_once('\t')?;
        Some(((program.to_owned(), engine.to_owned()), count.parse().ok()?))
    });
    Ok(rows.collect())
}

fn table(counts: &Counts) -> String {
    let mut text = HEAD.to_owned();
    for ((program, engine), count) in counts {
        let _ = writeln!(text, "{program}\t{engine}\t{count}");
    }
    text
}

fn compare(counts: &Counts, accepted: &Counts) -> Result<(), String> {
    let mut problems = Vec::new();
    println!("{:<10} {:<8} {:>12} {:>12} {:>7}", "program", "engine", "accepted", "now", "ratio");
    for ((program, engine), &now) in counts {
        let Some(&before) = accepted.get(&(program.clone(), engine.clone())) else {
            problems.push(format!("{program} on {engine}: no count was accepted, now {now}"));
            continue;
        };
        let ratio = now as f64 / before as f64;
        println!("{program:<10} {engine:<8} {before:>12} {now:>12} {ratio:>7.3}");
        if ratio > TOLERANCE {
            problems.push(format!("{program} on {engine}: {now} instructions, {before} accepted"));
        }
        if ratio < 1.0 / TOLERANCE {
            println!("{program} on {engine} has become better: accept it with --write");
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    problems.push("`cargo xtask counts --write` accepts what is counted now".to_owned());
    Err(problems.join("\n"))
}
