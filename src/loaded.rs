//! A loaded object: its maps exist, its programs are linked.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::Value;
use skep_loader::{DataKind, Endian, Init, MapDecl, POISON_CALL, ProgramDef};
use skep_maps::perf::{PerfEvent, PerfRecord};
use skep_maps::{MapType, PerfEventArray, RingBuf};
use skep_vm::isa::Op;
use skep_vm::prog::ProgType;
use skep_vm::{ProgramError, ProgramSpec, SourceLine};

use crate::map::Types;
use crate::{Engine, Error, Map, Object, PerfBuffer, Snapshot, Vm, value};

/// A loaded object. A cheap handle; clones are the same object.
#[derive(Debug, Clone)]
pub struct Loaded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    maps: Vec<Map>,
    programs: Vec<Linked>,
}

/// A program of the object, or why it is not there.
#[derive(Debug)]
struct Linked {
    name: Arc<str>,
    result: Result<Program, Broken>,
}

#[derive(Debug, Clone)]
enum Broken {
    Load(skep_loader::LoadError),
    Program(Box<ProgramError>),
}

/// A program, ready to run. A cheap handle.
#[derive(Debug, Clone)]
pub struct Program {
    inner: Arc<skep_vm::Program>,
}

/// A record or a sample that a program sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The name of the map it came through.
    pub map: String,
    /// For a sample of a perf event, the virtual CPU that the program ran on; ring buffers
    /// do not tell.
    pub cpu: Option<u32>,
    /// Its bytes.
    pub data: Vec<u8>,
    /// What they hold, when the map's value type says so.
    pub value: Option<Value>,
}

/// Samples that found no room in the buffer of a perf event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The name of the map.
    pub map: String,
    /// The virtual CPU that programs ran on.
    pub cpu: u32,
    /// How many there were, since the buffer was opened.
    pub count: u64,
}

impl Loaded {
    pub(crate) fn new(vm: &Vm, object: Object) -> Result<Self, Error> {
        let Object { parsed, shared } = object;
        let name = parsed.name().to_owned();
        if parsed.endian() == Endian::Big {
            return Err(Error::BigEndian { object: name });
        }
        let mut maps = Vec::with_capacity(parsed.maps().len());
        for (index, decl) in parsed.maps().iter().enumerate() {
            maps.push(match shared.get(&index) {
                Some(map) => map.clone(),
                None => create(vm, &name, &parsed, decl)?,
            });
        }
        let programs = parsed.programs().iter().map(|def| link(vm, &parsed, def, &maps));
        let programs: Vec<Linked> = programs.collect();
        for linked in programs.iter().filter_map(|linked| linked.result.as_ref().ok()) {
            vm.list_native(linked)?;
        }
        let loaded = Self { inner: Arc::new(Inner { name, maps, programs }) };
        for (index, decl) in parsed.maps().iter().enumerate() {
            if !shared.contains_key(&index) {
                loaded.fill(index, decl)?;
            }
        }
        Ok(loaded)
    }

    /// Fills the slots of a map that the object gives contents.
    fn fill(&self, index: usize, decl: &MapDecl) -> Result<(), Error> {
        let map = &self.inner.maps[index];
        for (slot, init) in &decl.values {
            match init {
                Init::Map(inner) => map.set_map(slot, &self.inner.maps[*inner])?,
                Init::Program(name) => map.set_program(*slot, &self.program(name)?)?,
            }
        }
        Ok(())
    }

    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The program of that name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::Load`] and [`Error::Program`] when it could not be
    /// linked.
    pub fn program(&self, name: &str) -> Result<Program, Error> {
        let Some(linked) = self.inner.programs.iter().find(|linked| &*linked.name == name) else {
            return Err(Error::NotFound {
                object: self.inner.name.clone(),
                what: "program",
                name: name.to_owned(),
                have: self.program_names().map(str::to_owned).collect(),
            });
        };
        match &linked.result {
            Ok(program) => Ok(program.clone()),
            Err(Broken::Load(error)) => Err(Error::Load(error.clone())),
            Err(Broken::Program(error)) => {
                Err(Error::Program { object: self.inner.name.clone(), source: error.clone() })
            }
        }
    }

    /// The names of all programs, those that could not be linked included.
    pub fn program_names(&self) -> impl Iterator<Item = &str> {
        self.inner.programs.iter().map(|linked| &*linked.name)
    }

    /// The map of that name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub fn map(&self, name: &str) -> Result<Map, Error> {
        let found = self.inner.maps.iter().find(|map| map.name() == name);
        found.cloned().ok_or_else(|| Error::NotFound {
            object: self.inner.name.clone(),
            what: "map",
            name: name.to_owned(),
            have: self.inner.maps.iter().map(|map| map.name().to_owned()).collect(),
        })
    }

    /// All maps, those of data sections included, in the object's order.
    #[must_use]
    pub fn maps(&self) -> &[Map] {
        &self.inner.maps
    }

    /// Opens buffers of `pages` pages for all arrays of perf events of the object that
    /// hold no event yet, as [`Map::perf_buffer`] does; what programs put out then waits
    /// there for [`Loaded::events`] for as long as the result is kept.
    ///
    /// # Errors
    ///
    /// As [`Map::perf_buffer`].
    pub fn open_perf_buffers(&self, pages: u32) -> Result<Vec<PerfBuffer>, Error> {
        let unset = |map: &&Map| {
            let array = map.map().downcast::<PerfEventArray>();
            array.is_some_and(|array| array.events().is_empty())
        };
        self.maps().iter().filter(unset).map(|map| map.perf_buffer(pages)).collect()
    }

    /// Takes the records and samples that wait in the object's ring buffers and perf
    /// events, map by map, and CPU by CPU.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for map in self.maps() {
            if let Some(ring) = map.map().downcast::<RingBuf>() {
                ring.consume(|record| {
                    let data = record.to_vec();
                    let value = map.value_value(&data);
                    events.push(Event { map: map.name().to_owned(), cpu: None, data, value });
                    ControlFlow::Continue(())
                });
            }
            for (cpu, event) in perf_events(map) {
                event.consume(|record| {
                    if let PerfRecord::Sample(data) = record {
                        // The type of the map's values is that of descriptors.
                        let (map, data) = (map.name().to_owned(), data.to_vec());
                        events.push(Event { map, cpu: Some(cpu), data, value: None });
                    }
                    ControlFlow::Continue(())
                });
            }
        }
        events
    }

    /// The samples that found no room in perf events, where there were any.
    #[must_use]
    pub fn lost(&self) -> Vec<Lost> {
        let lost = |map: &Map| {
            let name = map.name().to_owned();
            let events = perf_events(map).into_iter();
            events.map(move |(cpu, event)| Lost { map: name.clone(), cpu, count: event.lost() })
        };
        self.maps().iter().flat_map(lost).filter(|lost| lost.count > 0).collect()
    }

    /// The contents of all maps and the records that wait in ring buffers, which are
    /// taken: as text and for serde, the same for the same state.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self)
    }
}

/// The perf events that a map holds, with the virtual CPU of each.
fn perf_events(map: &Map) -> Vec<(u32, Arc<PerfEvent>)> {
    let events = map.map().downcast::<PerfEventArray>().map(PerfEventArray::events);
    let events = events.unwrap_or_default().into_iter();
    events.map(|(index, event)| (event.attr().cpu.unwrap_or(index), event)).collect()
}

fn create(
    vm: &Vm,
    object: &str,
    parsed: &skep_loader::Object,
    decl: &MapDecl,
) -> Result<Map, Error> {
    let mut def = decl.def.clone();
    if def.max_entries == 0 && def.map_type == MapType::PerfEventArray.id() {
        def.max_entries = vm.cpus();
    }
    let made = skep_maps::create(vm.inner.machine.world(), &def);
    let made = made.map_err(|source| Error::Create { object: object.to_owned(), source })?;
    let variables = decl.data.as_ref().map_or_else(Vec::new, |data| data.vars.clone());
    let types = Types {
        btf: parsed.btf().cloned(),
        key: decl.key_type,
        value: decl.value_type,
        inner: decl.inner,
        variables,
    };
    let map = Map::new(made, types);
    if let Some(data) = &decl.data {
        let mut bytes = data.bytes.clone();
        bytes.resize(def.value_size as usize, 0);
        if bytes.iter().any(|&byte| byte != 0) {
            map.update_bytes(&0u32.to_le_bytes(), &bytes, 0)?;
        }
        if matches!(data.kind, DataKind::Rodata | DataKind::Kconfig) {
            map.freeze()?;
        }
    }
    Ok(map)
}

fn link(vm: &Vm, parsed: &skep_loader::Object, def: &ProgramDef, maps: &[Map]) -> Linked {
    let name = Arc::clone(&def.name);
    if let Some(problem) = &def.problem {
        return Linked { name, result: Err(Broken::Load(problem.clone())) };
    }
    let lines = def.lines.iter().map(|line| SourceLine {
        insn: line.insn,
        file: Arc::clone(&line.file),
        line: line.line,
        column: line.column,
        text: Arc::clone(&line.text),
    });
    let spec = ProgramSpec {
        name: def.name.to_string(),
        prog_type: def.prog_type,
        insns: def.insns.clone(),
        maps: maps.iter().map(|map| Arc::clone(map.map())).collect(),
        functions: def.funcs.iter().map(|func| (func.start, func.name.to_string())).collect(),
        lines: lines.collect(),
        poisoned: missing_functions(parsed, def),
    };
    let loaded = vm.inner.machine.load(spec);
    let result = loaded.map(Program::new).map_err(|error| Broken::Program(Box::new(error)));
    Linked { name, result }
}

/// Calls of weak functions that the object does not define: the loader leaves a number
/// there that says which, and reaching the call is a fault.
fn missing_functions(parsed: &skep_loader::Object, def: &ProgramDef) -> Vec<(u32, String)> {
    let calls = def.insns.iter().enumerate().filter(|(_, insn)| insn.op() == Ok(Op::CallHelper));
    calls
        .filter_map(|(slot, insn)| {
            let index = usize::try_from(insn.imm.checked_sub(POISON_CALL)?).ok()?;
            let name = &parsed.externs().get(index)?.name;
            let why = format!("function `{name}` is declared weak and not defined anywhere");
            Some((u32::try_from(slot).ok()?, why))
        })
        .collect()
}

impl Program {
    pub(crate) fn new(inner: Arc<skep_vm::Program>) -> Self {
        Self { inner }
    }

    pub(crate) fn get(&self) -> &skep_vm::Program {
        &self.inner
    }

    /// The program's id in its machine.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// The program's type; `None` for one that gets plain bytes.
    #[must_use]
    pub fn prog_type(&self) -> Option<&'static ProgType> {
        self.inner.prog_type()
    }

    /// What is known of the program without running it.
    #[must_use]
    pub fn explain(&self) -> skep_vm::Explanation {
        self.inner.explain()
    }

    /// The engine that runs it when `wanted` is asked for.
    #[must_use]
    pub fn engine(&self, wanted: Engine) -> Engine {
        if self.why_interpreted(wanted).is_some() { Engine::Interp } else { wanted }
    }

    /// Why the program runs in the interpreter when another engine is asked for; `None` when
    /// it does not. Native code is made now, if it has not been yet.
    #[must_use]
    pub fn why_interpreted(&self, wanted: Engine) -> Option<String> {
        self.inner.why_interpreted(wanted)
    }

    /// The program's native code, made now if it has not been yet; with `counting`, that which
    /// counts instructions and heeds a budget.
    ///
    /// # Errors
    ///
    /// Why there is none; the program runs in the interpreter then.
    pub fn native_listing(&self, counting: bool) -> Result<skep_vm::Listing, String> {
        self.inner.native_listing(counting)
    }

    /// The number of instructions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether there are no instructions; there always are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }
}

impl Event {
    /// The record's bytes in hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        value::to_hex(&self.data)
    }
}
