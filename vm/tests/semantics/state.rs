//! Maps in the states that the recordings describe, made anew for each operation.

use std::any::Any;
use std::sync::Arc;

use skep_maps::flags::BPF_F_MMAPABLE;
use skep_maps::perf::{PerfEvent, PerfEventAttr, PerfEventKind};
use skep_maps::{
    Cgroup, Descriptor, Map, MapDef, MapType, ProgramOp, Resource, SpecialField, SpecialKind,
    StackTrace, XdpSocket, sys,
};
use skep_oracle::asm::{Asm, R0};
use skep_oracle::recorded::Case;
use skep_vm::Program;

use crate::lab::{Lab, def};
use crate::section::Section;
use crate::text::{asked32, hex, list, name, unhex};

/// A map's state, from a `state` line.
pub(crate) struct State<'l> {
    pub(crate) lab: &'l Lab,
    def: MapDef,
    /// Keys and names of values.
    put: Vec<(Vec<u8>, String)>,
    /// What the names of values stand for.
    named: Vec<(&'static str, u32)>,
    /// What the words behind a `+` stand for, in values that end with a program.
    attached: Vec<(&'static str, u32)>,
    _programs: Vec<Arc<Program>>,
    _maps: Vec<Arc<dyn Map>>,
    _open: Vec<Box<dyn Any>>,
}

/// An open object of some other kind.
#[derive(Debug)]
struct Other {
    is_socket: bool,
}

impl Resource for Other {
    fn is_socket(&self) -> bool {
        self.is_socket
    }
}

/// A call stack of two addresses of the kernel.
const STACK: [u64; 2] = [0xffff_ffff_8100_0000, 0xffff_ffff_8100_0100];

/// The type whose name a section's lines begin with.
pub(crate) fn type_named(text: &str) -> MapType {
    let family = text.split('/').next().unwrap_or_default();
    let found = MapType::ALL.iter().find(|map_type| map_type.name() == family);
    *found.unwrap_or_else(|| panic!("no type {family}"))
}

/// A `bpf_spin_lock` at the start of a value.
pub(crate) fn lock() -> Vec<SpecialField> {
    vec![SpecialField { kind: SpecialKind::SpinLock, offset: 0, size: 4 }]
}

impl<'l> State<'l> {
    /// Reads the section's `state` line.
    pub(crate) fn new(lab: &'l Lab, section: &Section) -> Self {
        let case = &section.cases[0];
        assert_eq!(case.question[0], "state", "the section begins with the state");
        let map_type = type_named(case.question[1]);
        let (key, value) = match map_type {
            MapType::Ringbuf | MapType::UserRingbuf => (0, 0),
            map_type if map_type.holds_handles() => (4, 4),
            _ => (4, 8),
        };
        let plain =
            def(map_type, asked32(case, "key_size", key), asked32(case, "value_size", value), 0);
        let has_lock = case.asked("lock") == Some("0");
        let mut state = Self {
            lab,
            def: MapDef {
                max_entries: asked32(case, "max_entries", 0),
                flags: asked32(case, "flags", 0),
                special: if has_lock { lock() } else { Vec::new() },
                ..plain
            },
            put: elements(case),
            named: vec![("none", u32::MAX)],
            attached: Vec::new(),
            _programs: Vec::new(),
            _maps: Vec::new(),
            _open: Vec::new(),
        };
        match map_type {
            MapType::ProgArray => state.add_programs(),
            MapType::PerfEventArray => state.add_events(),
            MapType::ArrayOfMaps | MapType::HashOfMaps => {
                state.add_maps(asked32(case, "inner_flags", 0));
            }
            MapType::Devmap | MapType::DevmapHash => {
                state.named = vec![("lo", 1), ("zero", 0), ("none", 0x7fff_ffff)];
                state.add_attached();
            }
            MapType::Cpumap => {
                let sizes = ["192", "1", "0", "16384", "16385"];
                state.named = sizes.map(|size| (size, size.parse().expect("a number"))).into();
                state.named.push(("max", u32::MAX));
                state.add_attached();
            }
            MapType::Xskmap => state.add_xdp_sockets(),
            MapType::CgroupArray => {
                let (world, root) = (lab.machine.world(), Cgroup::root());
                state.open("outer", Descriptor::open(world, root.child(10)));
                state.open("inner", Descriptor::open(world, root.child(10).child(20)));
                for name in ["file", "map", "prog"] {
                    state.open(name, Descriptor::open(world, Other { is_socket: false }));
                }
            }
            _ => {}
        }
        state
    }

    fn add_programs(&mut self) {
        for (name, prog_type) in
            [("prog-a", "sched_cls"), ("prog-b", "sched_cls"), ("prog-xdp", "xdp")]
        {
            let insns = Asm::new().mov(R0, 0).exit().build();
            let program = self.lab.load(prog_type, insns, &[]).expect("it returns 0");
            self.named.push((name, program.id()));
            self._programs.push(program);
        }
        // A handle of something else; skep's are ids, and there is no such program.
        self.named.push(("map", u32::MAX - 1));
    }

    fn add_events(&mut self) {
        let output = PerfEventAttr::output;
        let counter = PerfEventAttr { kind: PerfEventKind::Counter, ..output(0) };
        for (name, attr) in [
            ("event-0", output(0)),
            ("event-1", output(1)),
            ("counter", counter),
            ("inherited", PerfEventAttr { cpu: None, inherit: true, ..counter }),
        ] {
            let event = PerfEvent::open(self.lab.machine.world(), attr);
            self.open(name, event);
        }
        // Events have numbers of their own; no map has one of them.
        self.named.push(("map", u32::MAX - 1));
    }

    /// Programs that values may end with. skep has no attach types.
    fn add_attached(&mut self) {
        for (name, prog_type) in [
            ("devmap-a", "xdp"),
            ("devmap-b", "xdp"),
            ("cpumap-a", "xdp"),
            ("cpumap-b", "xdp"),
            ("xdp", "xdp"),
            ("cls", "sched_cls"),
        ] {
            let insns = Asm::new().mov(R0, 0).exit().build();
            let program = self.lab.load(prog_type, insns, &[]).expect("it returns 0");
            self.attached.push((name, program.id()));
            self._programs.push(program);
        }
        // Ids that no program has, and none.
        self.attached.extend([("bad", 1 << 20), ("map", 1 << 21), ("minus", u32::MAX)]);
    }

    fn add_xdp_sockets(&mut self) {
        let world = self.lab.machine.world();
        for (name, queue) in [("xsk-a", 0), ("xsk-b", 0)] {
            let socket = XdpSocket::new(world, queue).expect("there is room");
            self.open(name, Descriptor::open(world, socket));
        }
        self.open("tcp", Descriptor::open(world, Other { is_socket: true }));
        // Descriptors of maps and programs are no sockets.
        self.open("map", Descriptor::open(world, Other { is_socket: false }));
        self.open("prog", Descriptor::open(world, Other { is_socket: false }));
    }

    fn open<T: Resource>(&mut self, name: &'static str, descriptor: Descriptor<T>) {
        self.named.push((name, descriptor.number()));
        self._open.push(Box::new(descriptor));
    }

    fn add_maps(&mut self, flags: u32) {
        let array = |flags, max, value| MapDef { flags, ..def(MapType::Array, 4, value, max) };
        self.def.inner = Some(Box::new(array(flags, 2, 8)));
        for (name, def, byte) in [
            ("inner-a", array(flags, 2, 8), 0xaa),
            ("inner-b", array(flags, 2, 8), 0xbb),
            ("longer", array(flags, 3, 8), 0),
            ("wider", array(flags, 2, 16), 0),
            ("flagged", array(flags | BPF_F_MMAPABLE, 2, 8), 0),
            ("hash", def(MapType::Hash, 4, 8, 2), 0),
        ] {
            let map = self.lab.map(&def);
            let value = vec![byte; def.value_size as usize];
            map.user_update(&[0; 4], &value, 0).expect("there is room");
            self.named.push((name, map.core().id()));
            self._maps.push(map);
        }
        self.named.push(("prog", u32::MAX - 1));
    }

    /// A fresh map in the state.
    pub(crate) fn make(&self) -> Arc<dyn Map> {
        let map = self.lab.map(&self.def);
        for (key, value) in &self.put {
            if let Some(stacks) = map.downcast::<StackTrace>() {
                assert_eq!(value, "stack");
                stacks.id_of(&STACK, 0).expect("the state can be made");
                continue;
            }
            let key = (!key.is_empty()).then_some(&key[..]);
            sys::update(&*map, key, &self.bytes(value), 0).expect("the state can be made");
        }
        map
    }

    /// Whether keys come in an order that depends on a hash.
    pub(crate) fn is_hashed(&self) -> bool {
        use MapType::{Hash, HashOfMaps, PercpuHash};
        matches!(MapType::from_id(self.def.map_type), Some(Hash | HashOfMaps | PercpuHash))
    }

    /// A value as it is written, as bytes.
    pub(crate) fn bytes(&self, value: &str) -> Vec<u8> {
        if !self.attached.is_empty() {
            return self.with_program(value);
        }
        match self.named.iter().find(|(name, _)| *name == value) {
            Some((_, id)) => id.to_le_bytes().to_vec(),
            None => unhex(value),
        }
    }

    /// A number and, behind a `+`, a program.
    fn with_program(&self, value: &str) -> Vec<u8> {
        let (number, program) = value.split_once('+').unwrap_or((value, ""));
        let word = |named: &[(&str, u32)], word: &str| {
            named.iter().find(|(name, _)| *name == word).map_or(0, |(_, id)| *id)
        };
        let words = [word(&self.named, number), word(&self.attached, program)];
        words.map(u32::to_le_bytes).as_flattened()[..self.def.value_size as usize].to_vec()
    }

    /// A value that the system call returned, as it is written.
    pub(crate) fn show(&self, value: &[u8]) -> String {
        if value.len() == 16 && value[..8] == STACK[0].to_le_bytes() {
            return "stack".to_owned();
        }
        if let (Some((number, program)), true) =
            (value.split_at_checked(4), !self.attached.is_empty())
        {
            let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("a word"));
            let name = |named: &[(&str, u32)], id: u32| {
                let found = named.iter().find(|(_, own)| *own == id);
                found.map_or_else(|| id.to_string(), |(name, _)| (*name).to_owned())
            };
            let number = name(&self.named, word(number));
            return match program {
                [] | [0, 0, 0, 0] => number,
                program => format!("{number}+{}", name(&self.attached, word(program))),
            };
        }
        if self.named.len() == 1 {
            return hex(value);
        }
        let id = u32::from_le_bytes(value.try_into().expect("a handle has 4 bytes"));
        let found = self.named.iter().find(|(_, own)| *own == id);
        found.map_or_else(|| format!("id-{id}"), |(name, _)| (*name).to_owned())
    }

    /// Every element, for a queue in the order of pops; the errno where the keys or a value
    /// cannot be had.
    pub(crate) fn contents(&self, map: &dyn Map) -> String {
        if map.core().allows(ProgramOp::Pop) {
            return list(&map.queued().iter().map(|value| hex(value)).collect::<Vec<_>>());
        }
        let mut keys = match walk(map) {
            Ok(keys) => keys,
            Err(errno) => return name(errno),
        };
        keys.sort();
        let mut value = vec![0; map.core().user_value_size()];
        let element = |key: &Vec<u8>| match sys::lookup(map, Some(key), 0, &mut value) {
            Ok(()) => format!("{}:{}", hex(key), self.show(&value)),
            Err(errno) => format!("{}:{}", hex(key), name(errno)),
        };
        list(&keys.iter().map(element).collect::<Vec<_>>())
    }
}

/// `KEY:VALUE,...` of a `state` line.
fn elements(case: &Case<'_>) -> Vec<(Vec<u8>, String)> {
    let put = case.asked("put").filter(|put| *put != "-").into_iter();
    put.flat_map(|put| put.split(','))
        .map(|element| {
            let (key, value) = element.split_once(':').expect("KEY:VALUE");
            (unhex(key), value.to_owned())
        })
        .collect()
}

/// All keys, in the order of the map.
pub(crate) fn walk(map: &dyn Map) -> Result<Vec<Vec<u8>>, skep_maps::Errno> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut next = vec![0; map.core().def().key_size as usize];
        match sys::next_key(map, keys.last().map(Vec::as_slice), &mut next) {
            Ok(()) => keys.push(next),
            Err(skep_maps::Errno::ENOENT) => return Ok(keys),
            Err(errno) => return Err(errno),
        }
    }
}
