//! `skep diff`: runs programs on every engine, and on the running kernel, and compares.

mod compare;
mod ours;
#[cfg_attr(not(feature = "kernel"), path = "diff/no_kernel.rs")]
mod theirs;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep::{Engine, Error, Object};

use crate::args::{DiffArgs, Global};
use crate::case::{Case, Cases, programs, several};
use crate::failure::Failure;
use crate::input::read;
use crate::preload::set_globals;
use crate::print::{Printer, document};
use compare::{Difference, End, Observed, differences};
use ours::Ours;
use theirs::{Kernel, Theirs};

/// The kernel's name among the engines.
const KERNEL: &str = "kernel";
/// After so many runs maps are compared at the end only.
const RUNS_WITH_MAPS: usize = 16;
/// So many differences of a run are told; the rest is counted.
const MOST_TOLD: usize = 8;

/// What came out for a program.
struct Verdict {
    name: String,
    engines: Vec<&'static str>,
    runs: usize,
    /// How many of them ended in a fault.
    faults: usize,
    /// The run that differed, counted from 1, on what, on which engine, and how.
    found: Option<Found>,
    /// Why an engine is not among them, or why runs were left out.
    notes: Vec<String>,
}

struct Found {
    run: usize,
    label: String,
    engine: &'static str,
    differences: Vec<Difference>,
}

pub(crate) fn run(global: &Global, args: &DiffArgs) -> Result<(), Failure> {
    let subject = &args.subject;
    let cases = Cases::read(subject)?;
    let mut object = Object::open(&subject.object)?;
    set_globals(&mut object, &subject.preload)?;
    let bytes = read(&subject.object)?;
    let kernel = if args.no_kernel { Err(None) } else { Kernel::open().map_err(Some) };
    if let (Err(Some(why)), true) = (&kernel, global.verbose) {
        eprintln!("note: the kernel is not asked: {why}");
    }
    let session =
        Session { global, args, object: &object, bytes: &bytes, kernel: kernel.ok(), cases };
    let mut verdicts = Vec::new();
    for name in programs(&object, &args.subject)? {
        let verdict = session.compare(&name)?;
        if global.verbose {
            for note in &verdict.notes {
                eprintln!("note: {name}: {note}");
            }
        }
        verdicts.push(verdict);
    }
    if global.json {
        document(&json!({
            "object": object.name(),
            "programs": verdicts.iter().map(Verdict::to_json).collect::<Vec<_>>(),
        }))?;
    } else {
        let mut out = Printer::new();
        for verdict in &verdicts {
            verdict.print(&mut out)?;
        }
        out.flush()?;
    }
    let differing: Vec<&str> =
        verdicts.iter().filter(|v| v.found.is_some()).map(|v| &*v.name).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = differing.iter().map(|name| format!("`{name}`")).collect();
    Err(Failure::expectation(format!("{} did not do the same everywhere", names.join(", "))))
}

/// What is compared.
struct Session<'a> {
    global: &'a Global,
    args: &'a DiffArgs,
    object: &'a Object,
    bytes: &'a [u8],
    kernel: Option<Kernel>,
    cases: Cases,
}

impl Session<'_> {
    /// Virtual CPUs: as many as the kernel has, so that per-CPU values have the same form.
    fn cpus(&self) -> u32 {
        self.kernel.as_ref().map_or(self.global.cpus, Kernel::cpus)
    }

    fn start(&self, engine: Engine, program: &str, shifted: bool) -> Result<Ours, Failure> {
        let settings = &self.args.subject.preload;
        let at = (engine, self.cpus());
        Ours::start(self.global, self.object, settings, at, program, shifted)
    }

    /// Runs a program everywhere.
    fn compare(&self, program: &str) -> Result<Verdict, Failure> {
        let named = self.args.subject.prog.is_some();
        let mut verdict = Verdict::of(program);
        let defs = self.object.parsed().programs();
        let problem = defs.iter().find(|def| &*def.name == program);
        if let Some(problem) = problem.and_then(|def| def.problem.as_ref())
            && !named
        {
            verdict.notes.push(problem.to_string());
            return Ok(verdict);
        }
        let mut ours = Vec::new();
        for &engine in Engine::ALL {
            match self.start(engine, program, false) {
                Ok(machine) => ours.push(machine),
                // A program that cannot be loaded is said, and the others go on.
                Err(failure) if !named && failure.is_about_program() => {
                    verdict.notes.push(failure.message().to_owned());
                    return Ok(verdict);
                }
                Err(failure) => return Err(failure),
            }
        }
        for machine in &ours {
            match machine.program.why_interpreted(machine.engine) {
                Some(why) => verdict.notes.push(format!("not in native code: {why}")),
                None => verdict.engines.push(machine.engine.name()),
            }
        }
        ours.retain(|machine| machine.program.why_interpreted(machine.engine).is_none());
        let cases = self.cases.for_program(&ours[0].program, several);
        let mut comparison =
            Comparison { session: self, program, theirs: None, cases: Vec::new(), ours, verdict };
        comparison.ask_kernel();
        comparison.run(&cases)?;
        Ok(comparison.verdict)
    }
}

/// One program on all engines.
struct Comparison<'a> {
    session: &'a Session<'a>,
    program: &'a str,
    /// The interpreter is the first.
    ours: Vec<Ours>,
    theirs: Option<Theirs>,
    /// What was run so far.
    cases: Vec<Case>,
    verdict: Verdict,
}

impl Comparison<'_> {
    fn ask_kernel(&mut self) {
        let Some(kernel) = &self.session.kernel else { return };
        let object = (self.session.object.parsed(), self.session.bytes);
        let settings = &self.session.args.subject.preload;
        match Theirs::start(kernel, object, &self.ours[0], settings) {
            Ok(theirs) => {
                self.theirs = Some(theirs);
                self.verdict.engines.push(KERNEL);
            }
            Err(why) => self.drop_kernel(why),
        }
    }

    fn drop_kernel(&mut self, why: String) {
        self.theirs = None;
        self.verdict.engines.retain(|name| *name != KERNEL);
        self.verdict.notes.push(format!("not in the kernel: {why}"));
    }

    fn run(&mut self, cases: &[Case]) -> Result<(), Failure> {
        let repeat = self.session.args.repeat;
        let last = cases.len().saturating_sub(1);
        for (index, case) in cases.iter().enumerate() {
            for round in 1..=repeat {
                let at_end = index == last && round == repeat;
                if !self.run_once(case, at_end)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Runs on one input everywhere; whether to go on.
    fn run_once(&mut self, case: &Case, at_end: bool) -> Result<bool, Failure> {
        let cpu = self.ours[0].cpu();
        let with_maps = self.verdict.runs < RUNS_WITH_MAPS || at_end;
        let mut kernels = None;
        if let Some(theirs) = &mut self.theirs {
            match theirs.run(cpu, case) {
                Ok(observed) => kernels = Some(observed),
                Err(why) if case.given => self.drop_kernel(why),
                Err(why) => {
                    // An input of our own that the kernel does not take is none.
                    self.verdict.notes.push(format!("{} is left out: {why}", case.label));
                    return Ok(true);
                }
            }
        }
        let mut results: Vec<Observed> = Vec::new();
        for machine in &mut self.ours {
            match machine.run(case) {
                Ok(mut observed) => {
                    if with_maps {
                        observed.maps = machine.maps(at_end);
                    }
                    results.push(observed);
                }
                Err(error @ Error::Input(_)) if !case.given && results.is_empty() => {
                    self.verdict.notes.push(format!("{} is left out: {error}", case.label));
                    return Ok(true);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(cut) = results.iter().find_map(|result| match &result.end {
            End::Cut(text) => Some(text),
            _ => None,
        }) {
            self.verdict.notes.push(format!("stopped in run {}: {cut}", self.verdict.runs + 1));
            return Ok(false);
        }
        self.verdict.runs += 1;
        let is_fault = |result: &Observed| matches!(result.end, End::Fault(_));
        self.verdict.faults += usize::from(results.first().is_some_and(is_fault));
        self.cases.push(case.clone());
        let Some((first, others)) = results.split_first_mut() else { return Ok(false) };
        for (machine, other) in self.ours[1..].iter().zip(others) {
            let found = differences(first, other);
            if !found.is_empty() {
                self.verdict.found(case, machine.engine.name(), found);
                return Ok(false);
            }
        }
        let Some(mut kernels) = kernels else { return Ok(true) };
        if let (Some(theirs), true) = (&mut self.theirs, with_maps) {
            kernels.maps = theirs.maps(&self.ours[0], at_end);
        }
        blank_handles(&self.ours[0], first);
        let found = differences(first, &kernels);
        if found.is_empty() {
            return Ok(true);
        }
        let first = first.clone();
        if self.depends_on_chance(&first, &kernels, &found, at_end)? {
            let why = "what it does depends on addresses, or on memory that it did not write";
            self.drop_kernel(why.to_owned());
            return Ok(true);
        }
        self.verdict.found(case, KERNEL, found);
        Ok(false)
    }

    /// Whether all that differs would differ in skep, too, if maps and programs had other
    /// addresses, or differs in the kernel from one time to the next: then nothing is wrong.
    fn depends_on_chance(
        &self,
        first: &Observed,
        kernels: &Observed,
        found: &[Difference],
        at_end: bool,
    ) -> Result<bool, Failure> {
        let mut moved = self.session.start(Engine::Interp, self.program, true)?;
        let mut again = Observed::default();
        for case in &self.cases {
            again = moved.run(case)?;
        }
        again.maps = moved.maps(at_end);
        blank_handles(&moved, &mut again);
        let mut unsteady = differences(first, &again);
        unsteady.extend(self.kernel_again(kernels, at_end)?);
        Ok(found.iter().all(|found| unsteady.iter().any(|other| other.what == found.what)))
    }

    /// Where the kernel differs from what it did before, when it does the same again.
    fn kernel_again(&self, kernels: &Observed, at_end: bool) -> Result<Vec<Difference>, Failure> {
        let Some(kernel) = &self.session.kernel else { return Ok(Vec::new()) };
        let mut like = self.session.start(Engine::Interp, self.program, false)?;
        let object = (self.session.object.parsed(), self.session.bytes);
        let settings = &self.session.args.subject.preload;
        let Ok(mut theirs) = Theirs::start(kernel, object, &like, settings) else {
            return Ok(Vec::new());
        };
        let mut again = Observed::default();
        for case in &self.cases {
            again = match theirs.run(like.cpu(), case) {
                Ok(observed) => observed,
                Err(_) => return Ok(Vec::new()),
            };
            // Maps made inside others are those of its maps, and CPUs take turns with it.
            like.run(case)?;
        }
        again.maps = theirs.maps(&like, at_end);
        Ok(differences(kernels, &again))
    }
}

/// Numbers of programs and maps are not the kernel's; that something is there is.
fn blank_handles(machine: &Ours, observed: &mut Observed) {
    for map in machine.loaded.maps().iter().filter(|map| map.map_type().holds_handles()) {
        if let Some(contents) = observed.maps.get_mut(map.name()) {
            for (_, value) in contents {
                value.clear();
            }
        }
    }
}

impl Verdict {
    fn of(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, engines: Vec::new(), runs: 0, faults: 0, found: None, notes: Vec::new() }
    }

    fn found(&mut self, case: &Case, engine: &'static str, differences: Vec<Difference>) {
        let label = case.label.clone();
        self.found = Some(Found { run: self.runs, label, engine, differences });
    }

    fn to_json(&self) -> Value {
        let differences = self.found.iter().flat_map(|found| {
            found.differences.iter().take(MOST_TOLD).map(|difference| {
                json!({
                    "run": found.run,
                    "input": found.label,
                    "what": difference.what,
                    "values": BTreeMap::from([
                        (Engine::Interp.name(), &difference.first),
                        (found.engine, &difference.other),
                    ]),
                })
            })
        });
        json!({
            "name": self.name,
            "engines": self.engines,
            "equal": self.found.is_none(),
            "runs": self.runs,
            "faults": self.faults,
            "differences": differences.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    fn print(&self, out: &mut Printer) -> Result<(), Failure> {
        let Self { name, engines, runs, faults, found, notes } = self;
        let engines = engines.join(", ");
        let Some(found) = found else {
            return match (runs, notes.last()) {
                (0, Some(why)) => out.line(&format!("{name}: not compared: {why}")),
                (0, None) => out.line(&format!("{name}: not compared: there is no input")),
                _ => {
                    let s = if *runs == 1 { "" } else { "s" };
                    let faults = match faults {
                        0 => String::new(),
                        n => format!(", {n} of them faults"),
                    };
                    out.line(&format!("{name}: equal in {runs} run{s}{faults} ({engines})"))
                }
            };
        };
        let Found { run, label, engine, differences } = found;
        out.line(&format!("{name}: {engine} differs in run {run}, on {label}"))?;
        for Difference { what, first, other } in differences.iter().take(MOST_TOLD) {
            out.line(&format!("  {what}: {} {first}, {engine} {other}", Engine::Interp))?;
        }
        match differences.len().checked_sub(MOST_TOLD) {
            Some(more) if more > 0 => out.line(&format!("  and {more} more")),
            _ => Ok(()),
        }
    }
}
