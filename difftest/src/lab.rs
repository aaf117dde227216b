//! A machine to try things on.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use skep_maps::{CreateError, Map, MapDef, MapType};
use skep_vm::isa::Insn;
use skep_vm::{
    Engine, FixedHost, Input, InputError, Limits, Machine, Outcome, Program, ProgramSpec, RunError,
    Runner, StackKind, prog,
};

/// A machine like the one of the recordings, with two CPUs, and a runner on each.
#[derive(Debug)]
pub struct Lab {
    /// The machine.
    pub machine: Arc<Machine>,
    /// CPU 0.
    pub runner: RefCell<Runner>,
    /// CPU 1.
    other: RefCell<Runner>,
    host: FixedHost,
}

thread_local! {
    /// Which engine new labs of this thread run programs on.
    static ENGINE: Cell<Engine> = const { Cell::new(Engine::Interp) };
}

/// Calls `body`, in which new labs run programs on `engine`.
pub fn on<T>(engine: Engine, body: impl FnOnce() -> T) -> T {
    let before = ENGINE.replace(engine);
    let result = body();
    ENGINE.set(before);
    result
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// How many CPUs there are.
    pub const CPUS: u32 = 2;

    /// A machine without maps and programs.
    ///
    /// # Panics
    ///
    /// When the host has no room for it.
    #[must_use]
    pub fn new() -> Self {
        Self::hosted(host())
    }

    /// A machine without maps and programs, in a certain world.
    ///
    /// # Panics
    ///
    /// When the host has no room for it.
    #[must_use]
    pub fn hosted(host: FixedHost) -> Self {
        let machine = Machine::new(Self::CPUS).expect("there is room for a machine");
        let engine = ENGINE.get();
        let runner = |cpu| {
            RefCell::new(Runner::new(&machine, cpu, engine).expect("there is room for a runner"))
        };
        Self { runner: runner(0), other: runner(1), machine, host }
    }

    /// Makes a map.
    ///
    /// # Errors
    ///
    /// Why it cannot be made.
    pub fn create(&self, def: &MapDef) -> Result<Arc<dyn Map>, CreateError> {
        skep_maps::create(self.machine.world(), def)
    }

    /// A map that can be made.
    ///
    /// # Panics
    ///
    /// When it cannot.
    #[must_use]
    pub fn map(&self, def: &MapDef) -> Arc<dyn Map> {
        self.create(def).unwrap_or_else(|error| panic!("{error}"))
    }

    /// An array of one value that starts as `value`.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn value(&self, value: &[u8], flags: u32) -> Arc<dyn Map> {
        let value_size = u32::try_from(value.len()).expect("short");
        let map = self.map(&MapDef { flags, ..def(MapType::Array, 4, value_size, 1) });
        set(&*map, value);
        map
    }

    /// Loads a program; maps are named by their place in `maps`. What comes before a
    /// `/` in `prog_type` is the type's name.
    ///
    /// # Errors
    ///
    /// `load:` and why it is refused.
    ///
    /// # Panics
    ///
    /// When there is no such type.
    pub fn load(
        &self,
        prog_type: &str,
        insns: Vec<Insn>,
        maps: &[Arc<dyn Map>],
    ) -> Result<Arc<Program>, String> {
        let family = prog_type.split('/').next().unwrap_or_default();
        let spec = ProgramSpec {
            name: "test".to_owned(),
            prog_type: Some(prog::by_name(family).unwrap_or_else(|| panic!("no type {family}"))),
            insns: insns.into_iter().map(by_index).collect(),
            maps: maps.to_vec(),
            ..ProgramSpec::default()
        };
        self.machine.load(spec).map_err(|error| format!("load: {}", error.kind))
    }

    /// Runs a program on CPU 0.
    ///
    /// # Errors
    ///
    /// An errno for an input that does not fit, `fault:` and its kind.
    pub fn run(&self, program: &Program, input: &Input) -> Result<Outcome, String> {
        self.run_on(0, program, input)
    }

    /// Runs a program on a CPU.
    ///
    /// # Errors
    ///
    /// As [`Lab::run`], and when there is no such CPU.
    pub fn run_on(&self, cpu: usize, program: &Program, input: &Input) -> Result<Outcome, String> {
        let limits = Limits::default();
        let runners = [&self.runner, &self.other];
        let mut runner = runners.get(cpu).ok_or("there is no such CPU")?.borrow_mut();
        runner.run(program, input, &self.host, limits).map_err(ended)
    }

    /// Runs it again on CPU 0, on the context that the last run left.
    ///
    /// # Errors
    ///
    /// As [`Lab::run`].
    pub fn run_again(&self, program: &Program) -> Result<Outcome, String> {
        let limits = Limits::default();
        let mut runner = self.runner.borrow_mut();
        runner.repeat(program, 1, &self.host, limits).map_err(ended)
    }
}

/// A host whose task has call stacks as deep as those of the recordings.
fn host() -> FixedHost {
    let kernel: Vec<u64> = (1..=7).map(|n| u64::MAX << 32 | n << 16 | n).collect();
    FixedHost::default().with_stack(StackKind::Kernel, kernel).with_stack(StackKind::User, [0x401])
}

fn ended(error: RunError) -> String {
    match error {
        RunError::Input(error) => errno_of(&error).to_owned(),
        RunError::Fault(fault, _) => format!("fault: {}", fault.kind),
        other => format!("{other:?}"),
    }
}

/// What the kernel's word for a wrong input is; skep's is a sentence.
fn errno_of(error: &InputError) -> &'static str {
    match error {
        InputError::PacketTooLong { .. } => "ENOMEM",
        InputError::Unsupported { .. } => "unsupported",
        _ => "EINVAL",
    }
}

/// A definition without flags and special fields.
#[must_use]
pub fn def(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    MapDef {
        name: "test".to_owned(),
        map_type: map_type.id(),
        key_size,
        value_size,
        max_entries,
        ..MapDef::default()
    }
}

/// Sets value 0 of an array.
///
/// # Panics
///
/// When it has none of this length.
pub fn set(map: &dyn Map, value: &[u8]) {
    map.user_update(&[0; 4], value, 0).expect("an array has a value 0");
}

/// The 8-byte words of value 0 of an array.
///
/// # Panics
///
/// When it has none.
#[must_use]
pub fn words(map: &dyn Map) -> Vec<i64> {
    let mut value = vec![0; map.core().user_value_size()];
    map.user_lookup(&[0; 4], 0, &mut value).expect("an array has a value 0");
    value.as_chunks::<8>().0.iter().map(|&word| i64::from_le_bytes(word)).collect()
}

/// Maps are named by descriptor in the assembler, by index in a program of skep.
fn by_index(insn: Insn) -> Insn {
    const LDDW: u8 = 0x18;
    match insn.src {
        src @ (1 | 2) if insn.code == LDDW => Insn { src: src + 4, ..insn },
        _ => insn,
    }
}

/// `n` bytes that count up from 0.
#[must_use]
pub fn counting(n: usize) -> Vec<u8> {
    (0..=255).cycle().take(n).collect()
}
