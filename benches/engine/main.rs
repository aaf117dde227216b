//! How fast programs run: on skep's engines, and beside them as native code, under the
//! Linux kernel's JIT and on rbpf's engines.
//!
//! `cargo bench --bench engines` prints nanoseconds a run, ratios, and how far the engines
//! are from their goals. All engines take turns within each round, and the least of the
//! rounds counts, since noise only adds; compare figures of one invocation only. Where
//! there is no clang 19, no kernel that may be asked or no registry to build rbpf from,
//! this is said, and the columns are empty.
//!
//! ```text
//! cargo bench --bench engines -- [NAME]… [--rounds N] [--engine NAME]… [--tsv FILE]
//! cargo xtask counts [--write] [NAME]… [--engine NAME]…
//! ```
//!
//! * `NAME` runs the programs with that in their name, `--engine` the engines.
//! * `--tsv` also writes the figures to a file: the table, an empty line, the goals.
//! * `counts` measures no time: it counts the instructions that skep's engines execute, under
//!   callgrind, and compares them with `counts.tsv`, which `--write` makes anew.
//!
//! `programs.rs` lists the programs, `progs/` has them. A [`side::Side`] is an engine with a
//! program: `own.rs`, `linux.rs`, and in processes of their own `native.rs` and `rbpf.rs`.
//! `measure.rs` runs the rounds, `report.rs` and `goals.rs` print what came out.

#![expect(clippy::print_stdout, reason = "the tables are the answer")]

mod child;
mod counts;
mod engine;
mod first;
mod goals;
mod linux;
mod measure;
mod native;
mod options;
mod own;
mod programs;
mod rbpf;
mod report;
mod side;

use std::process::ExitCode;

use options::{Mode, Options};

fn main() -> ExitCode {
    let result = Options::parse(std::env::args().skip(1)).and_then(|options| match options.mode {
        Mode::Measure => measure(&options),
        Mode::Counts { write } => counts::run(&options, write),
        Mode::Counted => counts::drive(&options),
        Mode::First(engine) => first::print(engine),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    measure::stay_on_this_cpu()?;
    let engines = engine::Engines::of(options);
    let results = measure::all(options, &engines)?;
    report::print(&results);
    let reached = goals::reach(options, &results);
    reached.print();
    if let Some(path) = &options.tsv {
        let tables = [report::tsv(&results), reached.tsv()].join("\n");
        std::fs::write(path, tables).map_err(|error| format!("{path}: {error}"))?;
    }
    results.check_retvals()
}
