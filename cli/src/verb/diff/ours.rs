//! A program on one of skep's engines, in a machine of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep::value::to_hex;
use skep::{
    Engine, Error, FaultKind, FixedHost, Loaded, Map, MapDef, MapType, Object, PerfBuffer, Program,
    Runner, Vm,
};

use super::compare::{Contents, End, Observed};
use crate::args::{Global, Preload};
use crate::case::Case;
use crate::failure::Failure;
use crate::machine::{self, PERF_PAGES};
use crate::preload::preload;
use crate::redirect;

/// Maps with more entries than this are looked at once, at the end.
const MANY_ENTRIES: u32 = 4096;

/// A machine with the object, and the program to run.
pub(crate) struct Ours {
    pub(crate) engine: Engine,
    pub(crate) loaded: Loaded,
    pub(crate) program: Program,
    runners: Vec<Runner>,
    fixed: Arc<FixedHost>,
    runs: usize,
    /// Samples wait there until the end of each run.
    _buffers: Vec<PerfBuffer>,
    /// Other machines have no such map, and other addresses.
    _shift: Option<Map>,
}

impl Ours {
    /// Loads the object and fills its maps; with `shifted`, its maps and programs have other
    /// addresses than without.
    pub(crate) fn start(
        global: &Global,
        object: &Object,
        settings: &Preload,
        at: (Engine, u32),
        program: &str,
        shifted: bool,
    ) -> Result<Self, Failure> {
        let (engine, cpus) = at;
        let fixed = machine::fixed_host(global);
        let vm = machine::build(global, engine, cpus, &fixed)?;
        let shift = if shifted { Some(shift(&vm)?) } else { None };
        let loaded = vm.load(object.clone())?;
        let program = loaded.program(program)?;
        preload(&loaded, settings)?;
        let buffers = loaded.open_perf_buffers(PERF_PAGES)?;
        let runners = machine::runners(global, &vm)?;
        Ok(Self {
            engine,
            loaded,
            program,
            runners,
            fixed,
            runs: 0,
            _buffers: buffers,
            _shift: shift,
        })
    }

    /// The virtual CPU of the next run.
    pub(crate) fn cpu(&self) -> u32 {
        self.runners[self.runs % self.runners.len()].cpu()
    }

    /// Runs the program; the only error is an input that does not fit.
    pub(crate) fn run(&mut self, case: &Case) -> Result<Observed, Error> {
        if let Some(time) = case.time {
            self.fixed.set_clock(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        let turn = self.runs % self.runners.len();
        let result = self.runners[turn].run_keeping_printk(&self.program, &case.input());
        let mut observed = match result {
            Ok(output) => Observed {
                end: End::Value(output.r0),
                packet: output.packet,
                ctx: Some(output.ctx),
                printk: Some(output.printk),
                redirect: Some(output.redirect.as_ref().map_or_else(String::new, redirect::text)),
                insns: output.insns,
                ..Observed::default()
            },
            Err((Error::Fault(fault), printk)) => Observed {
                end: match fault.kind {
                    FaultKind::Timeout | FaultKind::Budget { .. } => End::Cut(fault.to_string()),
                    _ => End::Fault(fault.to_string()),
                },
                printk: Some(printk),
                insns: fault.insns,
                ..Observed::default()
            },
            Err((error, _)) => return Err(error),
        };
        self.runs += 1;
        observed.events = self.events();
        Ok(observed)
    }

    /// Takes records and samples; each map that could have had some is there.
    fn events(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let sends =
            |map: &&Map| matches!(map.map_type(), MapType::Ringbuf | MapType::PerfEventArray);
        let maps = self.loaded.maps().iter().filter(sends);
        let mut events: BTreeMap<String, Vec<Vec<u8>>> =
            maps.map(|map| (map.name().to_owned(), Vec::new())).collect();
        for event in self.loaded.events() {
            events.entry(event.map).or_default().push(event.data);
        }
        events
    }

    /// The contents of maps; of large ones only at the end, when `all` are asked for.
    pub(crate) fn maps(&self, all: bool) -> BTreeMap<String, Contents> {
        let mut contents = BTreeMap::new();
        let maps = self.loaded.maps().iter();
        for map in maps.filter(|map| all || is_small(map)) {
            contents.insert(map.name().to_owned(), map.entries());
            for (name, inner) in made_inside(map) {
                contents.insert(name, inner.entries());
            }
        }
        contents
    }
}

/// Whether a map can be looked at after each run.
pub(crate) fn is_small(map: &Map) -> bool {
    map.def().max_entries <= MANY_ENTRIES
}

/// The maps that were made in a map of maps and are nowhere else, by name.
pub(crate) fn made_inside(map: &Map) -> Vec<(String, Map)> {
    if !map.holds_maps() {
        return Vec::new();
    }
    let entries = map.entries().into_iter();
    let inner = entries.filter_map(|(key, _)| {
        let inner = map.inner_map(&key).ok().flatten()?;
        let name = format!("{}[{}]", map.name(), to_hex(&key));
        inner.is_made_in(map).then_some((name, inner))
    });
    inner.collect()
}

/// Takes memory, so that what is made later has other addresses.
fn shift(vm: &Vm) -> Result<Map, Failure> {
    let def = MapDef {
        name: "shift".to_owned(),
        map_type: MapType::Array.id(),
        key_size: 4,
        value_size: 40_000,
        max_entries: 3,
        ..MapDef::default()
    };
    Ok(Map::create(vm, &def)?)
}
