//! The command line.

use skep::Engine;

use crate::programs::{EMPTY, PROGRAMS, Program};

/// Rounds, unless said otherwise.
const ROUNDS: usize = 9;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    /// Parts of the names of programs; none for all.
    programs: Vec<String>,
    /// Parts of the names of engines; none for all.
    engines: Vec<String>,
    pub(crate) rounds: usize,
    /// A file for the figures.
    pub(crate) tsv: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// Measure time.
    Measure,
    /// Count instructions, and compare or write the table.
    Counts { write: bool },
    /// Run the programs to have their instructions counted: what `Counts` starts.
    Counted,
    /// Go from an object to its first result: what `Measure` starts.
    First(Engine),
}

impl Options {
    /// Reads the arguments; `--bench` is cargo's.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (programs, engines) = (Vec::new(), Vec::new());
        let mut this = Self { mode: Mode::Measure, programs, engines, rounds: ROUNDS, tsv: None };
        let mut args = args.filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
            match arg.as_str() {
                "--rounds" => {
                    this.rounds = value()?.parse().map_err(|error| format!("{arg}: {error}"))?;
                }
                "--engine" => this.engines.push(value()?),
                "--tsv" => this.tsv = Some(value()?),
                "--counts" => this.mode = Mode::Counts { write: false },
                "--write" if matches!(this.mode, Mode::Counts { .. }) => {
                    this.mode = Mode::Counts { write: true };
                }
                "--counted" => this.mode = Mode::Counted,
                "--first" => {
                    let engine =
                        skep::engine_by_name(&value()?).map_err(|error| error.to_string())?;
                    this.mode = Mode::First(engine);
                }
                name if !name.starts_with('-') => this.programs.push(arg),
                other => return Err(format!("there is no option `{other}`")),
            }
        }
        if this.rounds == 0 {
            return Err("there must be a round".to_owned());
        }
        Ok(this)
    }

    /// The programs that were asked for, and `empty`, which others are compared with.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &'static Program> {
        PROGRAMS.iter().filter(|program| program.name == EMPTY.name || self.wants(program))
    }

    /// The arguments that ask for the same programs and engines.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &str> {
        let engines = self.engines.iter().flat_map(|engine| ["--engine", engine]);
        self.programs.iter().map(String::as_str).chain(engines)
    }

    /// Whether a program was asked for.
    pub(crate) fn wants(&self, program: &Program) -> bool {
        among(&self.programs, program.name)
    }

    /// Whether an engine was asked for.
    pub(crate) fn wants_engine(&self, name: &str) -> bool {
        among(&self.engines, name)
    }
}

fn among(parts: &[String], name: &str) -> bool {
    parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
}
