//! Checks and chores of the workspace: `cargo xtask TASK`.

mod asan;
mod check;
mod tidy;

use std::process::ExitCode;

/// A task: its name, what it does, and how.
struct Task {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<(), String>,
}

const TASKS: &[Task] = &[
    Task {
        name: "tidy",
        about: "file sizes, the unsafe list, opcode literals, stubs",
        run: tidy::run,
    },
    Task { name: "fmt", about: "rustfmt", run: check::fmt },
    Task { name: "lint", about: "clippy with all lints denied", run: check::lint },
    Task { name: "test", about: "the README's test command", run: check::test },
    Task { name: "doc", about: "rustdoc with warnings denied", run: check::doc },
    Task {
        name: "readme",
        about: "the README's run command against what the README shows",
        run: check::readme,
    },
    Task {
        name: "counts",
        about: "instructions of the engines against benches/engine/counts.tsv",
        run: check::counts,
    },
    Task { name: "ci", about: "all of the above", run: ci },
    Task {
        name: "asan",
        about: "tests of the sandbox under AddressSanitizer; not a part of `ci`",
        run: asan::asan,
    },
];

fn ci() -> Result<(), String> {
    for task in TASKS.iter().take_while(|task| task.name != "ci") {
        eprintln!("xtask: {} ({})", task.name, task.about);
        (task.run)().map_err(|error| format!("{}: {error}", task.name))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("usage: cargo xtask TASK");
        for task in TASKS {
            eprintln!("  {:<8} {}", task.name, task.about);
        }
        return ExitCode::from(2);
    };
    match (task.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
