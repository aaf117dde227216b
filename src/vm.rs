//! The virtual machine: one world of maps and programs.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use skep_maps::MapMemory;
use skep_vm::isa::Insn;
use skep_vm::prog::ProgType;
use skep_vm::{Host, Machine, ProgramSpec};

use crate::cpus::Cpus;
use crate::{Engine, Error, Loaded, Map, Object, Program, Runner, SystemHost};

/// A virtual machine: guest memory, maps, programs, virtual CPUs. A cheap handle; clones
/// are the same machine.
///
/// Several objects may be loaded into one machine, and many runners may run at once.
#[derive(Debug, Clone)]
pub struct Vm {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) machine: Arc<Machine>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) engine: Engine,
    pub(crate) cpus: Arc<Cpus>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_insns: Option<u64>,
    pub(crate) count: bool,
    pub(crate) perf_map: bool,
}

/// Settings of a virtual machine to be built.
#[derive(Debug)]
pub struct VmBuilder {
    cpus: u32,
    host: Arc<dyn Host>,
    engine: Engine,
    timeout: Option<Duration>,
    max_insns: Option<u64>,
    count: bool,
    perf_map: bool,
    max_map_memory: Option<u64>,
}

impl Vm {
    /// Starts with the defaults: as many virtual CPUs as the machine has, at most 8; the
    /// real host; native code where this build has it, else the interpreter; ten seconds for
    /// a run.
    #[must_use]
    pub fn builder() -> VmBuilder {
        let cpus = available_parallelism().map_or(1, std::num::NonZero::get).min(8);
        VmBuilder {
            cpus: u32::try_from(cpus).unwrap_or(1),
            host: Arc::new(SystemHost),
            engine: Engine::default(),
            timeout: Some(Duration::from_secs(10)),
            max_insns: None,
            count: false,
            perf_map: false,
            max_map_memory: None,
        }
    }

    /// Loads an object: creates its maps, fills its data sections, links its programs.
    ///
    /// A program that cannot be linked does not fail the load; asking for it does.
    ///
    /// # Errors
    ///
    /// [`Error::Create`] when a map cannot be created, [`Error::BigEndian`]; [`Error::Io`] as
    /// [`VmBuilder::perf_map`] says.
    pub fn load(&self, object: Object) -> Result<Loaded, Error> {
        Loaded::new(self, object)
    }

    /// A runner on any free virtual CPU; waits until one is free.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when guest memory is full.
    pub fn runner(&self) -> Result<Runner, Error> {
        Runner::new(self, self.inner.cpus.wait(None)?)
    }

    /// A runner on a certain virtual CPU; waits until it is free.
    ///
    /// # Errors
    ///
    /// [`Error::NoCpu`] when there is no such CPU, [`Error::Memory`] when guest memory is
    /// full.
    pub fn runner_on(&self, cpu: u32) -> Result<Runner, Error> {
        Runner::new(self, self.inner.cpus.wait(Some(cpu))?)
    }

    /// A runner on any virtual CPU that is free now.
    ///
    /// # Errors
    ///
    /// [`Error::NoCpu`] when none is free, [`Error::Memory`] when guest memory is full.
    pub fn try_runner(&self) -> Result<Runner, Error> {
        Runner::new(self, self.inner.cpus.take(None)?)
    }

    /// A program without an object. `insns` name maps by their index in `maps`
    /// (`BPF_PSEUDO_MAP_IDX`). Without a type, the program gets raw bytes as its context
    /// and their number in r2.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] when it is not well-formed; [`Error::Io`] as [`VmBuilder::perf_map`]
    /// says.
    pub fn program_from_insns(
        &self,
        name: &str,
        prog_type: Option<&'static ProgType>,
        insns: &[Insn],
        maps: &[Map],
    ) -> Result<Program, Error> {
        let spec = ProgramSpec {
            name: name.to_owned(),
            prog_type,
            insns: insns.to_vec(),
            maps: maps.iter().map(|map| Arc::clone(map.map())).collect(),
            ..ProgramSpec::default()
        };
        let program = self.inner.machine.load(spec).map_err(|source| Error::Program {
            object: "program".to_owned(),
            source: Box::new(source),
        })?;
        let program = Program::new(program);
        self.list_native(&program)?;
        Ok(program)
    }

    /// The number of virtual CPUs.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.inner.machine.world().cpus()
    }

    /// The map with this id (`BPF_MAP_GET_FD_BY_ID`); `None` when it has gone.
    #[must_use]
    pub fn map_by_id(&self, id: u32) -> Option<Map> {
        self.inner.machine.world().map_by_id(id).map(Map::reopen)
    }

    /// All maps of the machine, by ascending id: of objects, made without one, and inner
    /// maps that only their outer maps keep.
    #[must_use]
    pub fn maps(&self) -> Vec<Map> {
        self.inner.machine.world().maps().into_iter().map(Map::reopen).collect()
    }

    /// What the maps take by the kernel's formula ([`MapInfo::memlock`](crate::MapInfo)),
    /// and may take.
    #[must_use]
    pub fn map_memory(&self) -> MapMemory {
        self.inner.machine.world().map_memory()
    }

    /// The engine that runs programs.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.inner.engine
    }
}

impl VmBuilder {
    /// The number of virtual CPUs, 1 to 1024.
    #[must_use]
    pub fn cpus(self, cpus: u32) -> Self {
        Self { cpus, ..self }
    }

    /// Where clocks, random numbers and the task come from.
    #[must_use]
    pub fn host(self, host: impl Host + 'static) -> Self {
        Self { host: Arc::new(host), ..self }
    }

    /// The same with a host that others have a handle to.
    #[must_use]
    pub fn shared_host(self, host: Arc<dyn Host>) -> Self {
        Self { host, ..self }
    }

    /// The engine.
    #[must_use]
    pub fn engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// How long a run may take; `None` for as long as it wants. A run ends a few milliseconds
    /// later, ten at most on a machine that is not busy, whatever the program does; but a helper
    /// that updates a value of many megabytes is not interrupted.
    #[must_use]
    pub fn timeout(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }

    /// Whether native code counts instructions, too ([`Output::insns`](crate::Output)); it
    /// is slower then. The interpreter always does.
    #[must_use]
    pub fn count(self, count: bool) -> Self {
        Self { count, ..self }
    }

    /// Whether functions in native code are listed in `/tmp/perf-PID.map`, where perf(1) looks
    /// for names: `skep:PROGRAM/FUNCTION`. Programs are compiled when they are loaded then,
    /// and loading fails with [`Error::Io`] when the file cannot be written. Nobody takes the
    /// file away.
    ///
    /// ```
    /// use skep::{Vm, isa};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let vm = Vm::builder().perf_map(true).build()?;
    /// vm.program_from_insns("two", None, &isa::assemble("mov %r0, 2\nexit")?, &[])?;
    /// # let path = format!("/tmp/perf-{}.map", std::process::id());
    /// if vm.engine().name() == "jit" {
    ///     let lines = std::fs::read_to_string(&path)?;
    ///     assert!(lines.lines().any(|line| line.ends_with(" skep:two/two")));
    ///     std::fs::remove_file(path)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn perf_map(self, perf_map: bool) -> Self {
        Self { perf_map, ..self }
    }

    /// How many instructions a run may execute: exactly in the interpreter; native code, which
    /// counts then, ends at the next jump back, call or exit.
    #[must_use]
    pub fn max_insns(self, max_insns: u64) -> Self {
        Self { max_insns: Some(max_insns), ..self }
    }

    /// How many bytes all maps together may take, counted as the kernel charges them
    /// ([`MapInfo::memlock`](crate::MapInfo)); without it, as many as there is room for.
    ///
    /// Most maps are charged for all their entries when they are made; hashes with
    /// `BPF_F_NO_PREALLOC`, tries and maps of devices for each as it comes.
    ///
    /// Beyond the limit making a map fails with `ENOMEM`, and so does putting an element
    /// into a map that grows, by programs too.
    ///
    /// ```
    /// use skep::{Map, MapDef, MapType, Vm};
    ///
    /// # fn main() -> Result<(), skep::Error> {
    /// let vm = Vm::builder().max_map_memory(64 << 10).build()?;
    /// let def = MapDef {
    ///     name: "table".to_owned(),
    ///     map_type: MapType::Array.id(),
    ///     key_size: 4,
    ///     value_size: 40_000,
    ///     max_entries: 1,
    ///     ..MapDef::default()
    /// };
    /// let first = Map::create(&vm, &def)?;
    /// let error = Map::create(&vm, &def).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "map: map `table` (array): it takes 40312 bytes, and 40312 of the 65536 bytes that \
    ///      maps may take are in use: out of memory (ENOMEM, 12)"
    /// );
    /// drop(first);
    /// assert!(Map::create(&vm, &def).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn max_map_memory(self, bytes: u64) -> Self {
        Self { max_map_memory: Some(bytes), ..self }
    }

    /// Builds the machine.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when the host grants no address space.
    pub fn build(self) -> Result<Vm, Error> {
        let machine = Machine::new(self.cpus)?;
        if let Some(bytes) = self.max_map_memory {
            machine.world().limit_map_memory(bytes);
        }
        let inner = Inner {
            cpus: Cpus::new(machine.world().cpus()),
            machine,
            host: self.host,
            engine: self.engine,
            timeout: self.timeout,
            max_insns: self.max_insns,
            count: self.count,
            perf_map: self.perf_map,
        };
        Ok(Vm { inner: Arc::new(inner) })
    }
}
