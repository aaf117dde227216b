//! The `skep` command line: one file per verb, one row per verb.
//!
//! Answers go to stdout, trouble to stderr as a sentence and what to do next.

#[allow(rustdoc::broken_intra_doc_links, reason = "help texts have brackets that are no links")]
mod args;
mod case;
mod failure;
mod input;
mod machine;
mod preload;
mod print;
mod redirect;
mod report;
mod sent;
mod steps;
mod task;
mod verb;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind as ClapKind;

use args::{Cli, Verb};
use failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let result = match &cli.verb {
        Verb::Run(args) => verb::run::run(&cli.global, args),
        Verb::Inspect(args) => verb::inspect::run(&cli.global, args),
        Verb::Disasm(args) => verb::disasm::run(&cli.global, args),
        Verb::Bench(args) => verb::bench::run(&cli.global, args),
        Verb::Check(args) => verb::check::run(&cli.global, args),
        Verb::Diff(args) => verb::diff::run(&cli.global, args),
        Verb::Features => verb::features::run(&cli.global),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.global.json),
    }
}

/// Reports what clap found wrong; help and version are no failures.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion) {
        // A closed pipe is the only thing that can go wrong, and then nobody reads it.
        let _closed_pipe = error.print();
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|arg| arg == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        return Failure::usage(message, None).report(true);
    }
    let _closed_pipe = error.print();
    ExitCode::from(failure::USAGE)
}
