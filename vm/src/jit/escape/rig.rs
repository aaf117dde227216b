//! A machine between canaries, and what is seen of a run there.

use std::ops::ControlFlow;
use std::sync::Arc;

use skep_maps::sys::{self, UserRef};
use skep_maps::{Map, MapDef, MapType, RingBuf};

use super::canary::{Fence, Secret};
use crate::analysis::lies;
use crate::engine::Engine;
use crate::fault::FaultKind;
use crate::host::FixedHost;
use crate::isa::assemble;
use crate::jit::Mode;
use crate::machine::Machine;
use crate::prog::ProgType;
use crate::program::{Program, ProgramSpec};
use crate::runner::{Limits, RunError, Runner};
use crate::{Input, isa};

/// A program and what it is run on.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) prog_type: Option<&'static ProgType>,
    pub(super) insns: Vec<isa::Insn>,
    pub(super) inputs: Vec<Words>,
}

/// What an input begins with: a pointer or a distance, and an operand.
pub(super) type Words = [u64; 2];

/// How programs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Interp,
    Native(Mode),
    /// In native code that is made by what a lying analysis says.
    Lying(Mode),
}

impl How {
    pub(super) const HONEST: [Self; 3] =
        [Self::Interp, Self::Native(Mode::Plain), Self::Native(Mode::Counting)];
    pub(super) const LYING: [Self; 2] = [Self::Lying(Mode::Plain), Self::Lying(Mode::Counting)];

    pub(super) fn lies(self) -> bool {
        matches!(self, Self::Lying(_))
    }
}

/// What is seen of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) end: End,
    /// r0 to r10 where it was stopped, as far as they are known.
    registers: [Option<u64>; 11],
    insns: Option<u64>,
    /// The context or packet, and what was printed.
    output: Vec<u8>,
    printk: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    Returned(u64),
    Stopped { program: String, insn: u32, kind: FaultKind },
}

impl Seen {
    /// Whether two engines show the same; what only one of them knows does not count.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let counted = self.insns.zip(other.insns).is_none_or(|(a, b)| a == b);
        self.end == other.end
            && counted
            && self.output == other.output
            && self.printk == other.printk
    }

    fn leaks(&self, secret: Secret) -> bool {
        let r0 = match self.end {
            End::Returned(r0) => Some(r0),
            End::Stopped { .. } => None,
        };
        let mut words = self.registers.into_iter().chain([r0]).flatten();
        words.any(|word| secret.leaks(&word.to_le_bytes())) || secret.leaks(&self.output)
    }
}

/// What runs of a case left behind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Left {
    pub(super) runs: Vec<Seen>,
    /// What the maps hold.
    pub(super) maps: Vec<Vec<u8>>,
}

/// Where things lie that programs may touch: guest addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Places {
    pub(super) window: u64,
    pub(super) stack: u64,
    pub(super) context: u64,
    pub(super) packet: u64,
    pub(super) value: u64,
    pub(super) direct: u64,
    pub(super) record: u64,
}

/// A machine between canaries.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) how: How,
    secret: Secret,
    runner: Runner,
    host: FixedHost,
    maps: Vec<Arc<dyn Map>>,
    /// User space's references, which keep what program arrays hold.
    _refs: Vec<Arc<UserRef>>,
    /// What tail calls lead to.
    _target: Arc<Program>,
    // The last: it unmaps what the others are in.
    pub(super) fence: Fence,
}

/// The maps' indexes.
const ARRAY: usize = 0;
const SINGLE: usize = 1;
const PROGS: usize = 10;
const NESTED: usize = 7;

/// Type, size of keys and of values, entries.
const MAPS: [(MapType, u32, u32, u32); 13] = [
    (MapType::Array, 4, 16, 4),
    (MapType::Array, 4, 64, 1),
    (MapType::Hash, 8, 16, 64),
    (MapType::Hash, 40, 100, 64),
    (MapType::Hash, 6, 8, 64),
    (MapType::LruHash, 4, 8, 64),
    (MapType::PercpuArray, 4, 8, 4),
    (MapType::ArrayOfMaps, 4, 4, 4),
    (MapType::Ringbuf, 0, 0, 4096),
    (MapType::Queue, 0, 8, 4),
    (MapType::ProgArray, 4, 4, 4),
    (MapType::LpmTrie, 8, 8, 64),
    (MapType::PercpuHash, 4, 8, 64),
];

impl Rig {
    /// A machine with a window of `len` bytes.
    pub(super) fn new(how: How, len: u64, secret: Secret) -> Self {
        let fence = Fence::around(len, secret, how.lies());
        let machine = Machine::within(Arc::clone(fence.window()), 2).expect("room for it");
        let maps = make_maps(&machine);
        let refs = maps.iter().cloned().map(UserRef::new).collect();
        let target = load_target(&machine, &maps);
        let zero = 0u32.to_le_bytes();
        sys::update(&*maps[PROGS], Some(&zero), &target.id().to_le_bytes(), 0).expect("it fits");
        let engine = if how == How::Interp { Engine::Interp } else { Engine::Jit };
        let runner = Runner::new(&machine, 0, engine).expect("room for a runner");
        let host = FixedHost::default();
        Self { how, secret, runner, host, maps, _refs: refs, _target: target, fence }
    }

    /// Asks where things lie.
    pub(super) fn places(&mut self) -> Places {
        let mut ask = |prog_type, asm: &str| {
            let insns = assemble(asm).expect("it is right");
            let case = Case { name: "ask".into(), prog_type, insns, inputs: vec![[0; 2]] };
            match self.run(&case).runs[0].end {
                End::Returned(r0) => r0,
                ref end => panic!("{end:?}"),
            }
        };
        let stack = ask(None, "mov %r0, %r10\nexit") - 64;
        let context = ask(None, "mov %r0, %r1\nexit");
        let packet = ask(Some(&crate::prog::XDP), "ldxw %r0, [%r1]\nexit");
        let record = ask(
            None,
            "lddw map_idx %r1, 8\nmov %r2, 64\nmov %r3, 0\ncall 131\nmov %r6, %r0\n\
             jeq %r0, 0, exit\nmov %r1, %r0\nmov %r2, 0\ncall 133\nmov %r0, %r6\nexit",
        );
        let first = |map: usize| {
            let found = self.maps[map].lookup(&0u32.to_le_bytes(), 0);
            found.expect("arrays have all entries").addr()
        };
        let window = self.fence.window().len();
        let (value, direct) = (first(ARRAY), first(SINGLE));
        Places { window, stack, context, packet, value, direct, record }
    }

    /// Runs a case on all its inputs.
    pub(super) fn run(&mut self, case: &Case) -> Left {
        let program = self.load(case);
        let runs = case.inputs.iter().map(|&words| self.step(case, &program, words)).collect();
        Left { runs, maps: self.finish(case) }
    }

    /// Loads and compiles the program of a case.
    pub(super) fn load(&self, case: &Case) -> Arc<Program> {
        let spec = ProgramSpec {
            name: "p".into(),
            prog_type: case.prog_type,
            insns: case.insns.clone(),
            maps: self.maps.clone(),
            ..ProgramSpec::default()
        };
        let program = self.runner.machine().load(spec);
        let program = program.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        if let How::Native(mode) | How::Lying(mode) = self.how {
            let native = lies::while_lying(self.how.lies(), || program.native(mode));
            native.unwrap_or_else(|refusal| panic!("{}: {refusal}", case.name));
        }
        program
    }

    /// Runs the program of a case on one input, and looks at the canaries.
    pub(super) fn step(&mut self, case: &Case, program: &Program, words: Words) -> Seen {
        // The target of tail calls is compiled when it is first run.
        let seen = lies::while_lying(self.how.lies(), || self.run_once(program, words));
        let leak = seen.leaks(self.secret).then(|| format!("a secret: {seen:x?}"));
        if let Some(problem) = self.fence.check().err().or(leak) {
            panic!("{:?} of `{}` on {words:x?}: {problem}", self.how, case.name);
        }
        seen
    }

    /// Looks at the slop and at the maps after the last input of a case; what they hold.
    pub(super) fn finish(&self, case: &Case) -> Vec<Vec<u8>> {
        let slop = self.fence.check_slop();
        slop.unwrap_or_else(|problem| panic!("{:?} of `{}`: {problem}", self.how, case.name));
        let maps: Vec<Vec<u8>> = self.maps.iter().map(|map| contents(&**map)).collect();
        assert!(!maps.iter().any(|map| self.secret.leaks(map)), "{}: maps leak", case.name);
        maps
    }

    fn run_once(&mut self, program: &Program, words: Words) -> Seen {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(64, 0);
        let typed = program.prog_type().is_some();
        let input = if typed { Input::packet(bytes) } else { Input::raw(bytes) };
        let count = matches!(self.how, How::Native(Mode::Counting) | How::Lying(Mode::Counting));
        let limits = Limits { count, ..Limits::default() };
        let ran = self.runner.run(program, &input, &self.host, limits);
        let (end, registers, insns, printk) = match ran {
            Ok(outcome) => (End::Returned(outcome.r0), [None; 11], outcome.insns, outcome.printk),
            Err(RunError::Fault(fault, printk)) => {
                let end =
                    End::Stopped { program: fault.program, insn: fault.insn, kind: fault.kind };
                (end, fault.registers, fault.insns, printk)
            }
            Err(other) => panic!("{other:?}"),
        };
        let mut output = self.runner.context_out();
        output.extend(self.runner.packet_out().unwrap_or_default());
        Seen { end, registers, insns, output, printk }
    }
}

fn make_maps(machine: &Machine) -> Vec<Arc<dyn Map>> {
    let inner = def("inner", (MapType::Array, 4, 16, 4));
    let create = |def: &MapDef| {
        skep_maps::create(machine.world(), def).unwrap_or_else(|error| panic!("{error}"))
    };
    let nested = create(&inner);
    let maps = (0..).zip(MAPS).map(|(number, row)| {
        let mut def = def(&format!("m{number}"), row);
        if row.0 == MapType::ArrayOfMaps {
            def.inner = Some(Box::new(inner.clone()));
        }
        create(&def)
    });
    let maps: Vec<Arc<dyn Map>> = maps.collect();
    let id = nested.core().id().to_le_bytes();
    sys::update(&*maps[NESTED], Some(&0u32.to_le_bytes()), &id, 0).expect("it fits");
    maps
}

fn def(
    name: &str,
    (map_type, key_size, value_size, max_entries): (MapType, u32, u32, u32),
) -> MapDef {
    let flags = if map_type == MapType::LpmTrie { skep_maps::flags::BPF_F_NO_PREALLOC } else { 0 };
    let (name, map_type) = (name.to_owned(), map_type.id());
    MapDef { name, map_type, key_size, value_size, max_entries, flags, ..MapDef::default() }
}

/// The target of tail calls; it follows the pointer in its context.
fn load_target(machine: &Machine, maps: &[Arc<dyn Map>]) -> Arc<Program> {
    let insns = assemble(
        "mov %r6, %r1\nldxdw %r7, [%r6+0]\nldxdw %r8, [%r6+8]\nstxdw [%r7+0], %r8\n\
         ldxdw %r0, [%r7+8]\nexit",
    );
    let insns = insns.expect("it is right");
    let spec =
        ProgramSpec { name: "target".into(), insns, maps: maps.to_vec(), ..ProgramSpec::default() };
    machine.load(spec).expect("it is well-formed")
}

/// What a map holds, keys and values one behind the other. Records of a ring are consumed.
fn contents(map: &dyn Map) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(ring) = map.downcast::<RingBuf>() {
        ring.consume(|data| {
            bytes.extend(data.to_vec());
            ControlFlow::Continue(())
        });
        return bytes;
    }
    if matches!(map.core().map_type(), MapType::Queue | MapType::ProgArray | MapType::ArrayOfMaps) {
        return bytes;
    }
    let mut value = vec![0; map.core().user_value_size()];
    let mut keys = sys::keys(map);
    keys.sort_unstable();
    for key in keys {
        if sys::lookup(map, Some(&key), 0, &mut value).is_ok() {
            bytes.extend(key);
            bytes.extend(&value);
        }
    }
    bytes
}
