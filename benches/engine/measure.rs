//! The measurement: rounds in which all engines take turns.

use std::io::{IsTerminal, stderr};

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::engine::{Engine, Engines};
use crate::options::Options;
use crate::programs::{EMPTY, Kind, Program};
use crate::side::Side;

/// How long an engine runs in a round, in nanoseconds.
const SAMPLE: u64 = 10_000_000;
/// A try that takes this long tells how long a run takes.
const ENOUGH: u64 = 1_000_000;
/// Engines are set up anew every few rounds: where code and maps happen to lie in memory
/// matters, and the least of some places counts.
const ROUNDS_OF_A_SETUP: usize = 3;
/// Runs before the measurement, after which engines must have returned the same: the
/// first run, and some more on the state that it left.
const FIRST_RUNS: [u64; 2] = [1, 9];

/// What came out.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) engines: Vec<Engine>,
    pub(crate) rows: Vec<Row>,
    pub(crate) rounds: usize,
}

/// A program on all engines.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) program: &'static Program,
    /// For each engine what it took, or why it did not run; an empty reason is known.
    pub(crate) cells: Vec<Result<Cell, String>>,
}

/// A program on an engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// Nanoseconds a run: the least of the rounds, and the one in the middle.
    pub(crate) least: f64,
    pub(crate) median: f64,
    /// What it returned after each of [`FIRST_RUNS`].
    pub(crate) retvals: [u32; 2],
}

/// Keeps this thread, and the processes that it starts, on the CPU that it is on.
pub(crate) fn stay_on_this_cpu() -> Result<(), String> {
    let mut only = CpuSet::new();
    only.set(sched_getcpu());
    sched_setaffinity(None, &only).map_err(|error| format!("cannot stay on a CPU: {error}"))
}

/// Measures all programs.
pub(crate) fn all(options: &Options, engines: &Engines) -> Result<Results, String> {
    let mut rows = Vec::new();
    let progress = |text| {
        if stderr().is_terminal() {
            eprint!("\r{text:<10}\r");
        }
    };
    for program in options.programs() {
        progress(program.name);
        rows.push(row(program, engines, options.rounds));
    }
    progress("");
    let results = Results { engines: engines.list.clone(), rows, rounds: options.rounds };
    if results.engines.is_empty() {
        return Err("no engine has such a name".to_owned());
    }
    Ok(results)
}

/// An engine during some rounds.
struct Turn {
    side: Box<dyn Side>,
    /// Runs in a row.
    times: u64,
    cell: Samples,
}

/// What rounds gave.
struct Samples {
    ns: Vec<f64>,
    retvals: [u32; 2],
}

fn row(program: &'static Program, engines: &Engines, rounds: usize) -> Row {
    let mut all = engines.list.iter().map(|_| Ok(Vec::new())).collect::<Vec<Result<_, _>>>();
    for first in (0..rounds).step_by(ROUNDS_OF_A_SETUP) {
        let rounds = ROUNDS_OF_A_SETUP.min(rounds - first);
        for (all, new) in all.iter_mut().zip(setup(program, engines, rounds)) {
            match (&mut *all, new) {
                (Ok(all), Ok(samples)) => all.push(samples),
                (Ok(_), Err(why)) => *all = Err(why),
                (Err(_), _) => {}
            }
        }
    }
    let cells = all.into_iter().map(|all| Cell::of(&all?)).collect();
    Row { program, cells }
}

/// Sets all engines up and runs some rounds.
fn setup(
    program: &Program,
    engines: &Engines,
    rounds: usize,
) -> impl Iterator<Item = Result<Samples, String>> {
    let ready = |&engine: &Engine| get_ready(engines.side(engine, program)?, program);
    let mut turns: Vec<_> = engines.list.iter().map(ready).collect();
    for _ in 0..rounds {
        for turn in &mut turns {
            let Ok(ready) = turn else { continue };
            match ready.side.run(ready.times) {
                Ok(ran) => ready.cell.ns.push(ran.ns as f64 / ready.times as f64),
                Err(why) => *turn = Err(why),
            }
        }
    }
    turns.into_iter().map(|turn| turn.map(|turn| turn.cell))
}

/// Fills the program's maps, and finds how many runs make a sample.
fn get_ready(mut side: Box<dyn Side>, program: &Program) -> Result<Turn, String> {
    side.fill(program)?;
    let mut retvals = [0; 2];
    for (retval, times) in retvals.iter_mut().zip(FIRST_RUNS) {
        *retval = side.run(times)?.retval;
    }
    if program.most_runs != u64::MAX {
        // All of a buffer's pages are there before anything is measured, as the kernel's are.
        side.run(program.most_runs)?;
        side.run(program.most_runs)?;
    }
    let mut times = 1;
    loop {
        let ns = side.run(times)?.ns;
        if ns >= ENOUGH || times == program.most_runs {
            let wanted = (times * SAMPLE).div_ceil(ns.max(1));
            let times = wanted.clamp(1, program.most_runs.min(u64::from(u32::MAX)));
            return Ok(Turn { side, times, cell: Samples { ns: Vec::new(), retvals } });
        }
        times = (times * 4).min(program.most_runs);
    }
}

impl Cell {
    /// From the samples of all set-ups, which must have returned the same.
    fn of(setups: &[Samples]) -> Result<Self, String> {
        let retvals = setups.first().ok_or("there was no round")?.retvals;
        if let Some(other) = setups.iter().find(|setup| setup.retvals != retvals) {
            return Err(format!("IT RETURNED {retvals:?}, and {:?} next time", other.retvals));
        }
        let mut ns: Vec<f64> = setups.iter().flat_map(|setup| &setup.ns).copied().collect();
        ns.sort_by(f64::total_cmp);
        Ok(Self { least: ns[0], median: ns[ns.len() / 2], retvals })
    }
}

impl Results {
    fn row(&self, program: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.program.name == program)
    }

    /// What a program took on an engine.
    pub(crate) fn cell(&self, row: &Row, engine: Engine) -> Option<Cell> {
        let at = self.engines.iter().position(|&own| own == engine)?;
        row.cells[at].as_ref().ok().copied()
    }

    /// Nanoseconds of a run; the kernel's less those of its `empty`, which are what
    /// `BPF_PROG_TEST_RUN` does around a run. `empty` itself, and what cannot be told from
    /// it, has no such figure.
    pub(crate) fn ns(&self, row: &Row, engine: Engine) -> Option<f64> {
        let least = self.cell(row, engine)?.least;
        if engine != Engine::Kernel {
            return Some(least);
        }
        let around = self.cell(self.row(EMPTY.name)?, engine)?.least;
        Some(least - around).filter(|net| *net > around / 20.0)
    }

    /// How many times as long a program takes on one engine as on another.
    pub(crate) fn ratio(&self, row: &Row, of: Engine, to: Engine) -> Option<f64> {
        Some(self.ns(row, of)? / self.ns(row, to)?)
    }

    /// The ratios of all programs of a kind that both engines run.
    pub(crate) fn ratios(&self, kind: Kind, of: Engine, to: Engine) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| row.program.kind == kind);
        rows.filter_map(|row| self.ratio(row, of, to)).collect()
    }

    /// The same with all that the kernel's figures hold.
    pub(crate) fn ratios_with_around(&self, kind: Kind, of: Engine, to: Engine) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| row.program.kind == kind);
        rows.filter_map(|row| Some(self.cell(row, of)?.least / self.cell(row, to)?.least)).collect()
    }

    /// How many times as long as the least round the one in the middle took, on average.
    pub(crate) fn noise(&self) -> f64 {
        let cells = self.rows.iter().flat_map(|row| &row.cells).flatten();
        let logs: Vec<f64> = cells.map(|cell| (cell.median / cell.least).ln()).collect();
        (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp()
    }

    /// The ratio of one program.
    pub(crate) fn ratio_of(&self, program: &str, of: Engine, to: Engine) -> Option<f64> {
        self.ratio(self.row(program)?, of, to)
    }

    /// Whether all engines returned the same.
    pub(crate) fn check_retvals(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        for row in &self.rows {
            let ran = self.engines.iter().zip(&row.cells);
            let ran: Vec<_> = ran.filter_map(|(e, cell)| Some((e, cell.as_ref().ok()?))).collect();
            if ran.windows(2).any(|pair| pair[0].1.retvals != pair[1].1.retvals) {
                let name = row.program.name;
                let each = ran.iter().map(|(e, cell)| format!("{e} {:?}", cell.retvals));
                let each = each.collect::<Vec<_>>().join(", ");
                problems.push(format!("ENGINES DISAGREE on {name}, run 1 and 10: {each}"));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }
}
