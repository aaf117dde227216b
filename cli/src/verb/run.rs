//! `skep run`: loads an object, runs programs, prints what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep::{Engine, FixedHost, Input, Loaded, Map, MapSnapshot, MapType, Object, Program, Runner};

use crate::args::{Global, RunArgs};
use crate::failure::Failure;
use crate::input::Packet;
use crate::machine::{self, PERF_PAGES};
use crate::preload::{preload, set_globals};
use crate::report::Report;
use crate::sent::LostSoFar;
use crate::steps::place;
use crate::task::{Inputs, Task};

pub(crate) fn run(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let steps = args.steps.all()?;
    let mut object = Object::open(&args.object)?;
    set_globals(&mut object, &args.preload)?;
    let fixed = machine::fixed_host(global);
    let vm = machine::build(global, global.engine, global.cpus, &fixed)?;
    let at = |index: usize| move |failure: Failure| failure.at(&place(index, steps.len()));
    let names = steps
        .iter()
        .enumerate()
        .map(|(index, step)| choose(&object, step.prog.as_deref()).map_err(at(index)));
    let names = names.collect::<Result<Vec<String>, Failure>>()?;
    let object_name = object.name().to_owned();
    let loaded = vm.load(object)?;
    let tasks = steps
        .iter()
        .zip(&names)
        .enumerate()
        .map(|(index, (step, name))| Task::new(&loaded, name, step).map_err(at(index)));
    let tasks = tasks.collect::<Result<Vec<Task>, Failure>>()?;
    preload(&loaded, &args.preload)?;
    if global.verbose {
        tell_interpreted(global.engine, &loaded, &tasks);
    }
    // Samples wait there until the end of each run.
    let _buffers = loaded.open_perf_buffers(PERF_PAGES)?;

    let before = contents(&loaded);
    let mut session = Session {
        report: Report::new(global, args, &object_name, &tasks),
        runners: machine::runners(global, &vm)?,
        loaded: &loaded,
        fixed,
        lost: LostSoFar::default(),
        repeat: args.repeat,
        count: 0,
    };
    session.report.start()?;
    let mut runs = tasks.into_iter().enumerate();
    let mut result = runs.try_for_each(|(index, task)| session.run(task).map_err(at(index)));
    let dump = result.is_err() || !global.quiet;
    let maps = if dump { changed(&loaded, &before, args.dump_maps) } else { Vec::new() };
    session.report.finish(&maps, &mut result)?;
    result?;
    match session.report.take_unexpected() {
        Some(message) => Err(Failure::expectation(message)),
        None => Ok(()),
    }
}

/// Says which programs run in the interpreter though another engine is asked for: those of
/// the steps, and those that they can come to by tail calls.
fn tell_interpreted(engine: Engine, loaded: &Loaded, tasks: &[Task]) {
    let named = tasks.iter().map(|task| task.program.clone());
    let calls = loaded.maps().iter().any(|map| map.map_type() == MapType::ProgArray);
    let others = loaded.program_names().filter(|_| calls);
    let others = others.filter_map(|name| loaded.program(name).ok());
    let mut told = BTreeSet::new();
    for program in named.chain(others).filter(|program| told.insert(program.id())) {
        if let Some(why) = program.why_interpreted(engine) {
            eprintln!("note: program `{}` runs in the interpreter: {why}", program.name());
        }
    }
}

/// The program to run: the one named, or the only one.
fn choose(object: &Object, named: Option<&str>) -> Result<String, Failure> {
    let names: Vec<String> =
        object.parsed().programs().iter().map(|def| def.name.to_string()).collect();
    let list = || {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    match (named, names.as_slice()) {
        (Some(name), _) if names.iter().any(|n| n == name) => Ok(name.to_owned()),
        (Some(name), _) => Err(Failure::usage(
            format!("{}: there is no program `{name}`", object.name()),
            Some(format!("its programs are {}", list())),
        )),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Failure::usage(format!("{}: it has no programs", object.name()), None)),
        (None, _) => Err(Failure::usage(
            format!("{}: it has several programs", object.name()),
            Some(format!("choose one with -n: {}", list())),
        )),
    }
}

/// The entries of maps, by name.
type Contents = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

/// The entries of all maps, to see later which have changed.
fn contents(loaded: &Loaded) -> Contents {
    let maps = loaded.maps().iter();
    maps.map(|map| (map.name().to_owned(), entries(map))).collect()
}

/// The entries of a map, and of the maps in it that are nowhere else.
fn entries(map: &Map) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = map.entries();
    if map.holds_maps() {
        let inner = all.iter().filter_map(|(key, _)| map.inner_map(key).ok().flatten());
        let inner = inner.filter(|inner| inner.is_made_in(map)).flat_map(|inner| inner.entries());
        all.extend(inner.collect::<Vec<_>>());
    }
    all
}

fn changed(loaded: &Loaded, before: &Contents, all: bool) -> Vec<MapSnapshot> {
    let maps = loaded.maps().iter();
    let maps = maps.filter(|map| all || before.get(map.name()) != Some(&entries(map)));
    maps.map(MapSnapshot::of).collect()
}

/// All runs of one command.
struct Session<'a> {
    report: Report<'a>,
    runners: Vec<Runner>,
    loaded: &'a Loaded,
    fixed: Arc<FixedHost>,
    lost: LostSoFar,
    repeat: u64,
    count: u64,
}

impl Session<'_> {
    fn run(&mut self, task: Task) -> Result<(), Failure> {
        let Task { program, inputs, fields } = task;
        let with_fields = |input: Input| {
            fields.iter().fold(input, |input, (name, value)| input.set(name.clone(), *value))
        };
        let mut packets = match inputs {
            Inputs::Packets(packets) => packets,
            Inputs::One(input) => return self.repeat(&program, &with_fields(input)),
        };
        while let Some(Packet { data, time }) = packets.next()? {
            if let Some(time) = time {
                self.fixed.set_clock(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            }
            self.repeat(&program, &with_fields(Input::packet(data)))?;
        }
        Ok(())
    }

    fn repeat(&mut self, program: &Program, input: &Input) -> Result<(), Failure> {
        for _ in 0..self.repeat {
            let count = self.runners.len() as u64;
            let turn = usize::try_from(self.count % count).unwrap_or(0);
            self.count += 1;
            let runner = &mut self.runners[turn];
            let cpu = runner.cpu();
            let result = runner.run_keeping_printk(program, input);
            let sent = self.lost.take(self.loaded, cpu);
            match result {
                Ok(output) => self.report.run(self.count, program, &output, &sent)?,
                Err((error, printk)) => {
                    self.report.cut_short(self.count, program, &printk, &sent)?;
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}
