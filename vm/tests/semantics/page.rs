//! `docs/maps.md`: what each map type is made with and does, found by asking the code, and how
//! much of it a kernel has answered. `SKEP_WRITE_DOCS=1` writes the page; without, a test
//! compares it.

use std::any::Any;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use libtest_mimic::{Failed, Trial};
use skep_maps::batch::{self, BatchRequest};
use skep_maps::perf::{PerfEvent, PerfEventAttr};
use skep_maps::{
    Cgroup, CreateError, Descriptor, Keys, Map, MapDef, MapType, ProgramOp, Resource, StackTrace,
    XdpSocket, flags, sys,
};
use skep_oracle::asm::{Asm, R0};

use crate::lab::Lab;
use crate::text::name;
use crate::{cells, sockets};

/// The flags of creation, without their common prefix.
const FLAGS: &[(u32, &str)] = &[
    (flags::BPF_F_NO_PREALLOC, "NO_PREALLOC"),
    (flags::BPF_F_NO_COMMON_LRU, "NO_COMMON_LRU"),
    (flags::BPF_F_NUMA_NODE, "NUMA_NODE"),
    (flags::BPF_F_RDONLY, "RDONLY"),
    (flags::BPF_F_WRONLY, "WRONLY"),
    (flags::BPF_F_STACK_BUILD_ID, "STACK_BUILD_ID"),
    (flags::BPF_F_ZERO_SEED, "ZERO_SEED"),
    (flags::BPF_F_RDONLY_PROG, "RDONLY_PROG"),
    (flags::BPF_F_WRONLY_PROG, "WRONLY_PROG"),
    (flags::BPF_F_MMAPABLE, "MMAPABLE"),
    (flags::BPF_F_PRESERVE_ELEMS, "PRESERVE_ELEMS"),
    (flags::BPF_F_INNER_MAP, "INNER_MAP"),
];

const ONE: BatchRequest = BatchRequest { count: 1, elem_flags: 0, flags: 0 };

pub(crate) fn trial() -> Trial {
    Trial::test("page: docs/maps.md", || {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/maps.md");
        let page = page();
        if env::var_os("SKEP_WRITE_DOCS").is_some() {
            fs::write(&path, &page)?;
        }
        if fs::read_to_string(&path)? == page {
            return Ok(());
        }
        let how = "SKEP_WRITE_DOCS=1 cargo test -p skep-vm --test semantics page";
        Err(Failed::from(format!("docs/maps.md is not what the code does; `{how}` writes it")))
    })
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let (have, refused): (Vec<MapType>, Vec<MapType>) =
        MapType::ALL.iter().partition(|map_type| map_type.is_supported());
    page +=
        "## How they are made\n\n| type | key, value and entries here | flags |\n|---|---|---|\n";
    for &map_type in &have {
        let bench = Bench::new(map_type);
        let MapDef { key_size, value_size, max_entries, .. } = bench.def;
        let sizes = format!("{key_size}, {value_size}, {max_entries}");
        writeln!(page, "| {map_type} | {sizes} | {} |", bench.flags()).expect("memory");
    }
    page += SYSTEM;
    for &map_type in &have {
        let answers: Vec<String> =
            OPERATIONS.iter().map(|op| Bench::new(map_type).ask(*op)).collect();
        writeln!(page, "| {map_type} | {} |", answers.join(" | ")).expect("memory");
    }
    page += PROGRAMS;
    for &map_type in &have {
        let helpers: Vec<&str> = map_type.program_ops().iter().map(|op| helpers(*op)).collect();
        writeln!(page, "| {map_type} | {} |", helpers.join(", ")).expect("memory");
    }
    let names: Vec<&str> = refused.iter().map(|map_type| map_type.name()).collect();
    writeln!(page, "\nNot there: {}.", names.join(", ")).expect("memory");
    page += PROOF;
    let mut sum = [0; 3];
    for &map_type in &have {
        let [system, program, rules] = cells::counts(map_type.name());
        sum = [sum[0] + system, sum[1] + program, sum[2] + rules];
        writeln!(page, "| {map_type} | {system} | {program} | {rules} |").expect("memory");
    }
    writeln!(page, "| all | {} | {} | {} |", sum[0], sum[1], sum[2]).expect("memory");
    page
}

const INTRODUCTION: &str = "\
# Map types

What each type is made with, and what can be done with a map of it. The tables are written by a test
that asks the code, and compared with it in each run of the tests:

    SKEP_WRITE_DOCS=1 cargo test -p skep-vm --test semantics page

Behaviour and error numbers are those of Linux 6.18; `testdata/maps/cells.tsv` lists the rules.

";

const SYSTEM: &str = "
## What user space does

Each command of bpf(2) on a map that holds one element, for the key of that element: `yes`, or the
error. A queue, a stack and a bloom filter have no key; `lookup` of a bloom filter asks for the value.

| type | lookup | update | delete | lookup and delete | next key | lookup batch | lookup and delete batch | update batch | delete batch |
|---|---|---|---|---|---|---|---|---|---|
";

const PROGRAMS: &str = "
## What programs do

| type | helpers |
|---|---|
";

const PROOF: &str = "
## What a kernel has answered

Questions that Linux 6.18 has answered, as they stand in `testdata/semantics` and `testdata/maps`
(what a line repeats counts each time), and the rules of `testdata/maps/cells.tsv`, of which each has at
least one of them; a test names a rule that has none. skep gives the same answers in each run of the
tests but for the rows of `testdata/semantics/differences.tsv`, which say why.

| type | by user space | by programs | rules |
|---|---:|---:|---:|
";

/// The commands of the table, in the order of its columns.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Lookup,
    Update,
    Delete,
    LookupAndDelete,
    NextKey,
    LookupBatch,
    LookupAndDeleteBatch,
    UpdateBatch,
    DeleteBatch,
}

const OPERATIONS: &[Operation] = &[
    Operation::Lookup,
    Operation::Update,
    Operation::Delete,
    Operation::LookupAndDelete,
    Operation::NextKey,
    Operation::LookupBatch,
    Operation::LookupAndDeleteBatch,
    Operation::UpdateBatch,
    Operation::DeleteBatch,
];

/// A map with one element, and what the element needs.
struct Bench {
    lab: Lab,
    def: MapDef,
    map: Arc<dyn Map>,
    key: Vec<u8>,
    value: Vec<u8>,
    _held: Box<dyn Any>,
}

impl Bench {
    fn new(map_type: MapType) -> Self {
        let lab = Lab::new();
        let def = def(map_type);
        let map = lab.map(&def);
        let (number, held) = element(&lab, map_type);
        let mut value = number.to_le_bytes().to_vec();
        value.resize(map.core().user_value_size(), 0);
        let mut key = vec![0; def.key_size as usize];
        if let Some(stacks) = map.downcast::<StackTrace>() {
            key = stacks.id_of(&[1, 2], 0).expect("there is room").to_le_bytes().to_vec();
        } else if def.map_type != MapType::Ringbuf.id() && def.map_type != MapType::UserRingbuf.id()
        {
            let put = sys::update(&*map, key_of(&key), &value, 0);
            put.unwrap_or_else(|errno| panic!("{map_type}: {}", name(errno)));
        }
        Self { lab, def, map, key, value, _held: held }
    }

    /// The flags that the type takes, one at a time.
    fn flags(&self) -> String {
        let takes = |flag: u32| {
            let base = if self.def.map_type == MapType::LpmTrie.id() { self.def.flags } else { 0 };
            let def = MapDef { flags: base | flag, ..self.def.clone() };
            match self.lab.create(&def) {
                Ok(_) => true,
                Err(CreateError::Refused { .. } | CreateError::Unsupported { .. }) => false,
                Err(other) => panic!("{other}"),
            }
        };
        let taken: Vec<&str> = FLAGS.iter().filter(|own| takes(own.0)).map(|own| own.1).collect();
        taken.join(", ")
    }

    fn ask(&self, operation: Operation) -> String {
        let (map, key) = (&*self.map, key_of(&self.key));
        let mut value = self.value.clone();
        let of =
            |done: batch::Batch| done.error.filter(|_| done.count == 0 || done.keys.is_empty());
        let wrote = |done: batch::Batch| done.error;
        let failed = match operation {
            Operation::Lookup => sys::lookup(map, key, 0, &mut value).err(),
            Operation::Update => sys::update(map, key, &value, 0).err(),
            Operation::Delete => sys::delete(map, key).err(),
            Operation::LookupAndDelete => sys::lookup_and_delete(map, key, 0, &mut value).err(),
            Operation::NextKey => sys::next_key(map, None, &mut vec![0; self.key.len()]).err(),
            Operation::LookupBatch => of(batch::lookup(map, None, ONE)),
            Operation::LookupAndDeleteBatch => of(batch::lookup_and_delete(map, None, ONE)),
            Operation::UpdateBatch => wrote(batch::update(map, &self.key, &value, ONE)),
            Operation::DeleteBatch => wrote(batch::delete(map, &self.key, ONE)),
        };
        failed.map_or("yes".to_owned(), name)
    }
}

/// No key for types that have none.
fn key_of(key: &[u8]) -> Option<&[u8]> {
    (!key.is_empty()).then_some(key)
}

/// A small map of a type.
fn def(map_type: MapType) -> MapDef {
    use MapType::{
        BloomFilter, Cpumap, Devmap, DevmapHash, LpmTrie, Queue, Ringbuf, Stack, StackTrace,
        UserRingbuf, Xskmap,
    };
    let (key_size, value_size, max_entries) = match map_type {
        Ringbuf | UserRingbuf => (0, 0, 4096),
        Queue | Stack | BloomFilter => (0, 8, 4),
        Devmap | DevmapHash | Cpumap | Xskmap => (4, 4, 2),
        StackTrace => (4, 64, 4),
        LpmTrie => (8, 8, 4),
        handles if handles.holds_handles() => (4, 4, 4),
        _ => (4, 8, 4),
    };
    assert_eq!(key_size == 0, map_type.keys() == Some(Keys::None), "{map_type}");
    let inner = matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
    MapDef {
        name: "m".to_owned(),
        map_type: map_type.id(),
        key_size,
        value_size,
        max_entries,
        flags: if map_type == LpmTrie { flags::BPF_F_NO_PREALLOC } else { 0 },
        inner: inner.then(|| Box::new(def(MapType::Array))),
        ..MapDef::default()
    }
}

/// A value for a type, and what must stay for it to be one.
fn element(lab: &Lab, map_type: MapType) -> (u32, Box<dyn Any>) {
    use MapType::{
        ArrayOfMaps, CgroupArray, Cpumap, Devmap, DevmapHash, HashOfMaps, PerfEventArray,
        ProgArray, ReuseportSockarray, Sockhash, Sockmap, Xskmap,
    };
    let world = lab.machine.world();
    match map_type {
        ProgArray => {
            let insns = Asm::new().mov(R0, 0).exit().build();
            let program = lab.load("xdp", insns, &[]).expect("it returns 0");
            (program.id(), Box::new(program))
        }
        ArrayOfMaps | HashOfMaps => {
            let inner = lab.map(&def(MapType::Array));
            (inner.core().id(), Box::new(inner))
        }
        PerfEventArray => held(PerfEvent::open(world, PerfEventAttr::output(0))),
        CgroupArray => held(Descriptor::open(world, Cgroup::root().child(1))),
        Xskmap => {
            let socket = XdpSocket::new(world, 0).expect("there is room");
            held(Descriptor::open(world, socket))
        }
        Sockmap | Sockhash => held(sockets::open(lab, "tcp-listen")),
        ReuseportSockarray => held(sockets::open(lab, "tcp-reuse-listen")),
        Devmap | DevmapHash | Cpumap => (1, Box::new(())),
        _ => (7, Box::new(())),
    }
}

fn held<T: Resource>(descriptor: Descriptor<T>) -> (u32, Box<dyn Any>) {
    (descriptor.number(), Box::new(descriptor))
}

/// The helpers of an operation.
fn helpers(op: ProgramOp) -> &'static str {
    match op {
        ProgramOp::Lookup => "map_lookup_elem",
        ProgramOp::LookupPercpu => "map_lookup_percpu_elem",
        ProgramOp::Update => "map_update_elem",
        ProgramOp::Delete => "map_delete_elem",
        ProgramOp::ForEach => "for_each_map_elem",
        ProgramOp::TailCall => "tail_call",
        ProgramOp::RingBuf => {
            "ringbuf_output, ringbuf_reserve, ringbuf_reserve_dynptr, ringbuf_query"
        }
        ProgramOp::UserRingBuf => "user_ringbuf_drain",
        ProgramOp::StackTrace => "get_stackid",
        ProgramOp::PerfEvent => "perf_event_output, perf_event_read, perf_event_read_value",
        ProgramOp::Push => "map_push_elem",
        ProgramOp::Pop => "map_pop_elem",
        ProgramOp::Peek => "map_peek_elem",
        ProgramOp::Redirect => "redirect_map",
        ProgramOp::UnderCgroup => "current_task_under_cgroup, skb_under_cgroup",
    }
}
