//! `skep bench`: how long programs take on each engine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skep::{Engine, Error, Input, Loaded, Object, PerfBuffer, Program, Runner};

use crate::args::{BenchArgs, Global};
use crate::case::{Cases, one, programs};
use crate::failure::Failure;
use crate::machine::{self, PERF_PAGES};
use crate::preload::{preload, set_globals};
use crate::print::{Printer, document};

/// How long a round takes at least; runs that take longer are a round each.
const ROUND: Duration = Duration::from_millis(4);

/// What was measured.
struct Measured {
    program: String,
    engine: Engine,
    ns_min: f64,
    ns_median: f64,
    insns: Option<u64>,
}

/// What was not, and why.
struct Skipped {
    program: String,
    /// The engine; `None` for all.
    engine: Option<Engine>,
    why: String,
}

pub(crate) fn run(global: &Global, args: &BenchArgs) -> Result<(), Failure> {
    let subject = &args.subject;
    let cases = Cases::read(subject)?;
    let mut object = Object::open(&subject.object)?;
    set_globals(&mut object, &subject.preload)?;
    let session = Session { global, args, object: &object, cases };
    let (mut measured, mut skipped) = (Vec::new(), Vec::new());
    for name in programs(&object, subject)? {
        session.measure(&name, &mut measured, &mut skipped)?;
    }
    if global.json {
        return document(&json!({
            "object": object.name(),
            "programs": measured.iter().map(Measured::to_json).collect::<Vec<_>>(),
            "skipped": skipped.iter().map(Skipped::to_json).collect::<Vec<_>>(),
        }));
    }
    let names = measured.iter().map(|row| row.program.chars().count());
    let width = names.max().unwrap_or(0).max("program".len());
    let mut out = Printer::new();
    if !measured.is_empty() {
        out.line(&format!(
            "{:width$}  {:6}  {:>12}  {:>12}  {:>10}",
            "program", "engine", "ns least", "ns median", "insns"
        ))?;
    }
    for Measured { program, engine, ns_min, ns_median, insns } in &measured {
        let insns = insns.map_or_else(|| "-".to_owned(), |insns| insns.to_string());
        let engine = engine.name();
        out.line(&format!(
            "{program:width$}  {engine:6}  {ns_min:12.1}  {ns_median:12.1}  {insns:>10}"
        ))?;
    }
    for Skipped { program, engine, why } in &skipped {
        let engine = engine.map(|engine| format!(" ({engine})")).unwrap_or_default();
        out.line(&format!("{program}{engine}: not measured: {why}"))?;
    }
    out.flush()
}

/// What is measured.
struct Session<'a> {
    global: &'a Global,
    args: &'a BenchArgs,
    object: &'a Object,
    cases: Cases,
}

/// A program on one engine.
struct Side {
    engine: Engine,
    loaded: Loaded,
    program: Program,
    runner: Runner,
    insns: Option<u64>,
    /// How many runs make a round.
    times: u64,
    /// Nanoseconds of a run, by round.
    rounds: Vec<f64>,
    /// Samples wait there until the end of each round.
    _buffers: Vec<PerfBuffer>,
}

impl Session<'_> {
    /// Measures a program on all engines; an error is about more than this program.
    fn measure(
        &self,
        program: &str,
        measured: &mut Vec<Measured>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<(), Failure> {
        let named = self.args.subject.prog.is_some();
        let mut skip = |engine: Option<Engine>, why: String| {
            skipped.push(Skipped { program: program.to_owned(), engine, why });
        };
        let mut sides = Vec::new();
        for &engine in Engine::ALL {
            match self.start(engine, program, false) {
                Ok(side) => match side.program.why_interpreted(engine) {
                    Some(why) => skip(Some(engine), format!("it is not in native code: {why}")),
                    None => sides.push(side),
                },
                Err(failure) if !named && failure.is_about_program() => {
                    skip(None, failure.message().to_owned());
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
        }
        let Some(side) = sides.first() else { return Ok(()) };
        let cases = self.cases.for_program(&side.program, one);
        let Some(case) = cases.first() else {
            skip(None, "the capture holds no packet".to_owned());
            return Ok(());
        };
        let input = case.input();
        for side in &mut sides {
            // Counting costs time, so it is done elsewhere.
            let mut counting = self.start(side.engine, program, true)?;
            side.insns = match counting.runner.run(&counting.program, input.clone()) {
                Ok(output) => output.insns,
                // Of the first engine; the others do the same.
                Err(Error::Fault(fault)) => {
                    skip(None, fault.to_string());
                    return Ok(());
                }
                Err(error) if !named => {
                    skip(None, error.to_string());
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
        }
        for round in 0..=self.args.rounds {
            for side in &mut sides {
                let done = if round == 0 { side.warm_up(&input) } else { side.round(&input) };
                match done {
                    Ok(()) => {}
                    Err(Error::Fault(fault)) => {
                        skip(None, fault.to_string());
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        measured.extend(sides.into_iter().map(|side| side.finish(program)));
        Ok(())
    }

    fn start(&self, engine: Engine, program: &str, counting: bool) -> Result<Side, Failure> {
        let global = self.global;
        let fixed = machine::fixed_host(global);
        let builder = machine::builder(global, engine, global.cpus, &fixed);
        let vm = builder.count(counting || global.count).build()?;
        let loaded = vm.load(self.object.clone())?;
        let program = loaded.program(program)?;
        preload(&loaded, &self.args.subject.preload)?;
        let buffers = loaded.open_perf_buffers(PERF_PAGES)?;
        let runner = machine::runners(global, &vm)?.swap_remove(0);
        Ok(Side {
            engine,
            loaded,
            program,
            runner,
            insns: None,
            times: 1,
            rounds: Vec::new(),
            _buffers: buffers,
        })
    }
}

impl Side {
    /// Runs so often that a round is long enough to be measured.
    fn warm_up(&mut self, input: &Input) -> Result<(), Error> {
        loop {
            let took = self.time(input)?;
            if took >= ROUND {
                return Ok(());
            }
            let wanted = ROUND.as_nanos() * u128::from(self.times) / took.as_nanos().max(1);
            let most = self.times.saturating_mul(16);
            self.times = u64::try_from(wanted).unwrap_or(most).clamp(self.times + 1, most);
        }
    }

    fn round(&mut self, input: &Input) -> Result<(), Error> {
        let took = self.time(input)?;
        #[expect(clippy::cast_precision_loss, reason = "a round has far fewer runs than 2^53")]
        self.rounds.push(took.as_secs_f64() * 1e9 / self.times as f64);
        Ok(())
    }

    fn time(&mut self, input: &Input) -> Result<Duration, Error> {
        let input = input.clone();
        let start = Instant::now();
        self.runner.repeat(&self.program, input, self.times)?;
        let took = start.elapsed();
        // Rings would be full for good.
        drop(self.loaded.events());
        Ok(took)
    }

    fn finish(mut self, program: &str) -> Measured {
        self.rounds.sort_by(f64::total_cmp);
        let median = self.rounds.get(self.rounds.len() / 2).copied().unwrap_or_default();
        Measured {
            program: program.to_owned(),
            engine: self.engine,
            ns_min: self.rounds.first().copied().unwrap_or_default(),
            ns_median: median,
            insns: self.insns,
        }
    }
}

impl Measured {
    fn to_json(&self) -> Value {
        // Tenths are as exact as it gets.
        let rounded = |ns: f64| (ns * 10.0).round() / 10.0;
        json!({
            "name": self.program,
            "engine": self.engine.name(),
            "ns_min": rounded(self.ns_min),
            "ns_median": rounded(self.ns_median),
            "insns": self.insns,
        })
    }
}

impl Skipped {
    fn to_json(&self) -> Value {
        json!({
            "name": self.program,
            "engine": self.engine.map(Engine::name),
            "why": self.why,
        })
    }
}
