//! A machine that runs one case after the other.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use skep_maps::sys::UserRef;
use skep_maps::{Map, MapDef, MapType, RingBuf, UserRingBuf, sys};
use skep_vm::isa::{Insn, assemble};
use skep_vm::{
    FixedHost, Input, Limits, Machine, Program, ProgramError, ProgramSpec, RunError, Runner,
};

use super::{Contents, End, Engine, Ran};
use crate::case::{Case, CaseInput, CaseMap, Fill};

/// A machine that is used again for case after case: making one reserves address space.
#[derive(Debug)]
pub struct Rig {
    engine: Engine,
    machine: Arc<Machine>,
    runner: Runner,
    /// A program that does nothing.
    nothing: ProgramSpec,
    /// A program that leaves all frames of a program full of bytes that are not zero: what
    /// reads a frame that it has not written, and that was not zeroed, sees them.
    dirt: Arc<Program>,
}

/// The engine does not load a program of the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which program.
    pub program: usize,
    /// Why.
    pub error: Box<ProgramError>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Functions nested as deep as they can be, each of which fills its frame.
fn dirty() -> Vec<Insn> {
    const DEPTH: u32 = 8;
    let fill: String =
        (1..=64).map(|word| format!("stdw [%r10-{}], 0x5a5a5a5a\n", 8 * word)).collect();
    let functions = (1..=DEPTH).map(|depth| {
        let call = if depth < DEPTH { "call local +1\n" } else { "mov %r0, 0\n" };
        format!("{fill}{call}exit\n")
    });
    assemble(&functions.collect::<String>()).expect("it is right")
}

impl Rig {
    /// A machine of one CPU for an engine.
    ///
    /// # Panics
    /// When the host has no memory for it.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self::with_cpus(engine, 1)
    }

    /// A machine of so many CPUs, of which programs run on the first.
    ///
    /// # Panics
    /// When the host has no memory for it.
    #[must_use]
    pub fn with_cpus(engine: Engine, cpus: u32) -> Self {
        let machine = Machine::new(cpus).expect("memory for a machine");
        let runner = (engine.runner)(&machine, 0).expect("memory for a runner");
        let insns = assemble("mov %r0, 0\nexit").expect("it is right");
        let nothing = ProgramSpec { insns, ..ProgramSpec::default() };
        let spec = ProgramSpec { insns: dirty(), ..ProgramSpec::default() };
        let dirt = machine.load(spec).expect("it is right");
        Self { engine, machine, runner, nothing, dirt }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs a case on all its inputs; each run may execute so many instructions.
    ///
    /// # Errors
    /// When a program does not load.
    ///
    /// # Panics
    /// When a map of the case cannot be made or filled, or an input does not fit.
    pub fn run(&mut self, case: &Case, max_insns: u64) -> Result<Vec<Ran>, Refusal> {
        self.run_around(case, max_insns, &[])
    }

    /// The same with other instructions in some slots of the first program, which stop it.
    ///
    /// # Errors
    /// As [`Rig::run`].
    ///
    /// # Panics
    /// As [`Rig::run`].
    pub fn run_around(
        &mut self,
        case: &Case,
        max_insns: u64,
        poisoned: &[(usize, u32)],
    ) -> Result<Vec<Ran>, Refusal> {
        let maps: Vec<Arc<dyn Map>> = case.maps.iter().map(|map| self.create(map)).collect();
        // With the last of user space's references, program arrays lose their programs, which
        // hold them in turn.
        let refs: Vec<Arc<UserRef>> = maps.iter().cloned().map(UserRef::new).collect();
        let result = self.run_case(case, &maps, max_insns, poisoned);
        drop(refs);
        self.forget(maps);
        result
    }

    fn run_case(
        &mut self,
        case: &Case,
        maps: &[Arc<dyn Map>],
        max_insns: u64,
        poisoned: &[(usize, u32)],
    ) -> Result<Vec<Ran>, Refusal> {
        let programs: Result<Vec<Arc<Program>>, Refusal> =
            (0..case.programs.len()).map(|index| self.load(case, index, maps, poisoned)).collect();
        let programs = programs?;
        for (map, of) in maps.iter().zip(&case.maps) {
            fill(&**map, of, maps, &programs);
        }
        let host = FixedHost::default();
        let ran = self.runner.run(&self.dirt, &Input::default(), &host, Limits::default());
        ran.expect("it only writes its frames");
        let run = |input| self.run_once(&programs[0], maps, &host, input, max_insns);
        Ok(case.inputs.iter().map(run).collect())
    }

    fn create(&self, map: &CaseMap) -> Arc<dyn Map> {
        skep_maps::create(self.machine.world(), &map.def).unwrap_or_else(|error| panic!("{error}"))
    }

    fn load(
        &self,
        case: &Case,
        index: usize,
        maps: &[Arc<dyn Map>],
        poisoned: &[(usize, u32)],
    ) -> Result<Arc<Program>, Refusal> {
        let program = &case.programs[index];
        let poisoned = poisoned.iter().filter(|(of, _)| *of == index);
        let spec = ProgramSpec {
            name: format!("p{index}"),
            prog_type: program.prog_type,
            insns: program.insns.clone(),
            maps: maps.to_vec(),
            poisoned: poisoned.map(|&(_, slot)| (slot, "a slot that is reached".into())).collect(),
            ..ProgramSpec::default()
        };
        (self.engine.load)(&self.machine, spec)
            .map_err(|error| Refusal { program: index, error: Box::new(error) })
    }

    fn run_once(
        &mut self,
        program: &Program,
        maps: &[Arc<dyn Map>],
        host: &FixedHost,
        input: &CaseInput,
        max_insns: u64,
    ) -> Ran {
        for (map, sample) in &input.samples {
            push_sample(&*maps[*map], sample);
        }
        let typed = program.prog_type().is_some();
        let data = input.data.clone();
        let given = if typed { Input::packet(data) } else { Input::raw(data) };
        let counts = self.engine.counts;
        let limits = Limits { max_insns: counts.then_some(max_insns), ..Limits::default() };
        let ran = self.runner.run(program, &given, host, limits);
        let (end, insns, printk, redirect) = match ran {
            Ok(outcome) => {
                (End::Returned(outcome.r0), outcome.insns, outcome.printk, outcome.redirect)
            }
            Err(RunError::Fault(fault, printk)) => {
                let insns = fault.insns;
                (End::Stopped(fault), insns, printk, None)
            }
            Err(other) => panic!("{other:?}"),
        };
        let context = self.runner.context_out();
        let (output, context) = if typed {
            (self.runner.packet_out().unwrap_or_default(), context)
        } else {
            (context, Vec::new())
        };
        let maps = maps.iter().map(|map| contents(&**map)).collect();
        Ran { end, insns, printk, redirect, output, context, maps }
    }

    /// Lets go of what a case leaves, so that the next one finds the same addresses free as
    /// the first: the runner's references, when a map goes and a program comes, and then the
    /// maps, the last one first.
    fn forget(&mut self, mut maps: Vec<Arc<dyn Map>>) {
        drop(self.create(&CaseMap::new(MapType::Array, 4, 8, 1)));
        let program = self.machine.load(self.nothing.clone()).expect("it is right");
        let limits = Limits::default();
        let host = FixedHost::default();
        self.runner.run(&program, &Input::none(), &host, limits).expect("it ends");
        while let Some(map) = maps.pop() {
            drop(map);
        }
    }
}

/// Puts in what stands in a map before the first run.
fn fill(map: &dyn Map, of: &CaseMap, maps: &[Arc<dyn Map>], programs: &[Arc<Program>]) {
    for (key, fill) in &of.fill {
        let value = match fill {
            Fill::Bytes(bytes) => {
                let size = map.core().user_value_size();
                let slot = bytes.iter().copied().chain(std::iter::repeat(0));
                let slot: Vec<u8> = slot.take(bytes.len().next_multiple_of(8)).collect();
                if size == bytes.len() { bytes.clone() } else { slot.repeat(size / slot.len()) }
            }
            Fill::Map(index) => maps[*index].core().id().to_le_bytes().to_vec(),
            Fill::Program(index) => programs[*index].id().to_le_bytes().to_vec(),
        };
        let key = (!key.is_empty()).then_some(key.as_slice());
        // A case may fill more than fits: then the rest stays out, in the kernel, too.
        let _ = sys::update(map, key, &value, 0);
    }
    if of.frozen {
        let _ = sys::freeze(map);
    }
}

fn push_sample(map: &dyn Map, sample: &[u8]) {
    let Some(ring) = map.downcast::<UserRingBuf>() else { return };
    let Ok(len) = u32::try_from(sample.len()) else { return };
    if let Ok(record) = ring.reserve(len) {
        ring.record_data(record).write(sample);
        ring.commit(record, false);
    }
}

/// What a map holds. Records of a ring are consumed.
fn contents(map: &dyn Map) -> Contents {
    if let Some(ring) = map.downcast::<RingBuf>() {
        let mut records = Vec::new();
        ring.consume(|data| {
            records.push((Vec::new(), data.to_vec()));
            ControlFlow::Continue(())
        });
        records.push((Vec::new(), ring.query(3).to_le_bytes().to_vec()));
        return records;
    }
    if let Some(ring) = map.downcast::<UserRingBuf>() {
        return vec![(Vec::new(), ring.consumer_pos().to_le_bytes().to_vec())];
    }
    if !shows(map.core().def()) {
        return Vec::new();
    }
    let mut value = vec![0; map.core().user_value_size()];
    if is_queue(map.core().def()) {
        let head = sys::lookup(map, None, 0, &mut value);
        return head.map(|()| vec![(Vec::new(), value)]).unwrap_or_default();
    }
    let mut entries = Contents::new();
    for key in sys::keys(map) {
        if sys::lookup(map, Some(&key), 0, &mut value).is_ok() {
            entries.push((key, value.clone()));
        }
    }
    entries.sort_unstable();
    entries
}

/// Whether a map has entries that mean the same everywhere: not ids of objects.
pub(crate) fn shows(def: &MapDef) -> bool {
    use MapType::{
        Array, Hash, LpmTrie, LruHash, LruPercpuHash, PercpuArray, PercpuHash, Queue, Stack,
        StackTrace,
    };
    let map_type = MapType::from_id(def.map_type);
    map_type.is_some_and(|map_type| {
        matches!(
            map_type,
            Array | Hash | LpmTrie | LruHash | LruPercpuHash | PercpuArray | PercpuHash
        ) || matches!(map_type, Queue | Stack | StackTrace)
    })
}

/// Whether a map has no keys, and shows the value at its head.
pub(crate) fn is_queue(def: &MapDef) -> bool {
    matches!(MapType::from_id(def.map_type), Some(MapType::Queue | MapType::Stack))
}
