//! A program in the running kernel, with maps of its own, run by `BPF_PROG_TEST_RUN`.

use std::collections::BTreeMap;

use skep::loader::{DataKind, Object, ProgramDef, elf::Elf};
use skep::prog::{Context, ProgType};
use skep::value::to_hex;
use skep::{Loaded, MapDef, MapType, helpers, isa};
use skep_oracle::{
    Btf, Errno, Map, MapSpec, Next, PerfEvent, PerfSpec, Prog, ProgSpec, Rejection, RingReader,
    TestRun, loadable,
};

use super::compare::{Contents, End, Observed};
use super::ours::{Ours, is_small, made_inside};
use crate::args::Preload;
use crate::case::Case;
use crate::machine::PERF_PAGES;

/// Helpers whose answer is the host's: skep and the kernel rightly differ.
const HOSTS: &[(&str, &[u32])] = &[
    ("the clock", &[5, 118, 125, 160, 208]),
    ("random numbers", &[7]),
    ("the calling task", &[14, 15, 16]),
    ("the cgroup", &[33, 37, 80, 123]),
    ("the call stack", &[27, 67]),
    ("the memory node", &[42]),
    ("memory of the kernel", &[4, 45, 112, 113, 114, 115]),
    ("performance counters", &[22, 55]),
];
/// Room for what a program adds to a packet.
const GROWTH: u32 = 4096;
const SYSCALL: u32 = 31;
const RAW_TRACEPOINT: u32 = 17;
const CGROUP_SKB: u32 = 8;
const F_SLEEPABLE: u32 = 1 << 4;
const F_XDP_HAS_FRAGS: u32 = 1 << 5;
const CGROUP_INET_EGRESS: u32 = 1;
const SAMPLE: u32 = 9;

/// The running kernel.
pub(crate) struct Kernel(skep_oracle::Kernel);

/// The object in the kernel, and the program to run.
pub(crate) struct Theirs {
    kernel: skep_oracle::Kernel,
    /// In the object's order.
    maps: Vec<Map>,
    /// Those made in maps of maps, by name.
    inner: Vec<(String, Map)>,
    rings: Vec<(String, RingReader)>,
    perf: Vec<(String, Vec<PerfEvent>)>,
    prog: Prog,
    prog_type: &'static ProgType,
    /// Programs and types that are kept.
    _kept: (Vec<Prog>, Option<Btf>),
}

impl Kernel {
    /// The kernel, if the caller may ask it; else why not.
    pub(crate) fn open() -> Result<Self, String> {
        skep_oracle::Kernel::open().map(Self).map_err(|why| why.to_string())
    }

    /// How many CPUs its per-CPU maps have.
    pub(crate) fn cpus(&self) -> u32 {
        u32::try_from(self.0.possible_cpus()).unwrap_or(u32::MAX)
    }
}

/// What is loaded: the object, as parsed and as bytes, and its state in skep before any run.
struct Source<'a> {
    object: &'a Object,
    loaded: &'a Loaded,
    types: Option<Btf>,
}

impl Theirs {
    /// Loads the program that `base` runs, with its maps as they are there; else why not.
    pub(crate) fn start(
        kernel: &Kernel,
        (object, bytes): (&Object, &[u8]),
        base: &Ours,
        settings: &Preload,
    ) -> Result<Self, String> {
        let Kernel(kernel) = kernel;
        let named = |name: &str| object.programs().iter().find(|def| &*def.name == name);
        let def = named(base.program.name()).ok_or("it is not in the object")?;
        let prog_type = testable(def)?;
        let called = targets(&base.loaded);
        for def in called.iter().filter_map(|(_, _, name)| named(name)).chain([def]) {
            may_be_asked(def)?;
        }
        let source = Source { object, loaded: &base.loaded, types: types(kernel, bytes) };
        let mut maps = Vec::new();
        for index in 0..object.maps().len() {
            maps.push(create(kernel, &source, index)?);
        }
        let mut inner = Vec::new();
        for index in 0..maps.len() {
            fill(kernel, &source, settings, &maps, index, &mut inner)?;
        }
        let mut kept = Vec::new();
        let by_index: Vec<&Map> = maps.iter().collect();
        for (map, slot, name) in &called {
            let target = named(name).ok_or("a program of an array is not in the object")?;
            let target = load(kernel, &source, &by_index, target)?;
            let put = maps[*map].update(&slot.to_le_bytes(), &target.fd().to_le_bytes(), 0);
            put.map_err(|errno| format!("program `{name}` cannot be put into its array: {errno}"))?;
            kept.push(target);
        }
        let prog = load(kernel, &source, &by_index, def)?;
        let (mut rings, mut perf) = (Vec::new(), Vec::new());
        for (map, ours) in maps.iter().zip(base.loaded.maps()) {
            let name = ours.name().to_owned();
            match ours.map_type() {
                MapType::Ringbuf => {
                    let reader = RingReader::new(map);
                    rings.push((name, reader.map_err(|errno| format!("ring buffer: {errno}"))?));
                }
                MapType::PerfEventArray => perf.push((name, open_events(kernel, map)?)),
                _ => {}
            }
        }
        let kernel = kernel.clone();
        let kept = (kept, source.types);
        Ok(Self { kernel, maps, inner, rings, perf, prog, prog_type, _kept: kept })
    }

    /// Runs the program on a CPU; the only error is an input that the kernel does not take.
    pub(crate) fn run(&mut self, cpu: u32, case: &Case) -> Result<Observed, String> {
        let ctx = match &case.ctx {
            Some(ctx) => Some(ctx.clone()).filter(|ctx| !ctx.is_empty()),
            None if case.fields.is_empty() => None,
            None => Some(self.context(case)),
        };
        let mut run = TestRun::new();
        if let Some(packet) = &case.packet {
            let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            run = run.data_in(packet).data_out(len.saturating_add(GROWTH)).repeat(1);
        }
        if let Some(ctx) = &ctx {
            run = run.ctx_in(ctx);
            if self.prog_type.takes_packet() {
                run = run.ctx_out(u32::try_from(ctx.len()).unwrap_or(0));
            }
        }
        let at = usize::try_from(cpu).unwrap_or(usize::MAX);
        let ran = self.kernel.on_cpu(at, || self.prog.test_run(&run));
        let ran = ran.map_err(|_| format!("CPU {cpu} is not there"))?;
        let ran = ran.ok().map_err(|errno| format!("BPF_PROG_TEST_RUN: {errno}"))?;
        let ctx = match self.prog_type.id {
            SYSCALL => Some(ran.ctx_in),
            _ => Some(ran.ctx_out).filter(|_| ctx.is_some() && self.prog_type.takes_packet()),
        };
        Ok(Observed {
            end: End::Retval(ran.retval),
            packet: case.packet.as_ref().map(|_| ran.data_out),
            ctx,
            events: self.events(),
            ..Observed::default()
        })
    }

    /// The context with the fields of a case set.
    fn context(&self, case: &Case) -> Vec<u8> {
        let fields = self.prog_type.fields;
        let len = fields.last().map_or(0, |field| field.offset + field.size);
        let mut ctx = vec![0; len as usize];
        let mut put = |offset: u32, bytes: &[u8]| {
            let start = offset as usize;
            if let Some(place) = ctx.get_mut(start..start + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        let packet = case.packet.as_ref().map_or(0, Vec::len);
        if self.prog_type.context == Context::Xdp {
            put(4, &u32::try_from(packet).unwrap_or(0).to_le_bytes());
            put(12, &1u32.to_le_bytes());
        }
        for (name, value) in &case.fields {
            if let Some(field) = self.prog_type.field(name) {
                put(field.offset, &value.to_le_bytes()[..field.size as usize]);
            }
        }
        ctx
    }

    /// Takes what was sent to user space.
    fn events(&mut self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut events = BTreeMap::new();
        for (name, ring) in &mut self.rings {
            let mut records = Vec::new();
            loop {
                match ring.pop() {
                    Next::Record(record) => records.push(record),
                    Next::Discarded { .. } => {}
                    Next::Empty | Next::Busy => break,
                }
            }
            events.insert(name.clone(), records);
        }
        for (name, perf) in &self.perf {
            let records = perf.iter().flat_map(|event| std::iter::from_fn(|| event.pop()));
            let samples = records.filter_map(|record| sample(&record));
            events.insert(name.clone(), samples.collect());
        }
        events
    }

    /// The contents of maps, of those that can be read; of large ones, and of those that
    /// reading empties, at the end only, when `all` are asked for.
    pub(crate) fn maps(&mut self, like: &Ours, all: bool) -> BTreeMap<String, Contents> {
        let mut contents = BTreeMap::new();
        for (map, ours) in self.maps.iter().zip(like.loaded.maps()) {
            if all || (is_small(ours) && !ours.is_keyless()) {
                let read = read(map, ours);
                contents.extend(read.map(|entries| (ours.name().to_owned(), entries)));
            }
            for (name, ours) in made_inside(ours) {
                if let Some((_, map)) = self.inner.iter().find(|(other, _)| *other == name)
                    && (all || is_small(&ours))
                {
                    contents.extend(read(map, &ours).map(|entries| (name, entries)));
                }
            }
        }
        contents
    }
}

/// The type, if the kernel tests programs of it as skep runs them.
fn testable(def: &ProgramDef) -> Result<&'static ProgType, String> {
    let prog_type = def.prog_type.ok_or("its section names no program type")?;
    let tests = prog_type.takes_packet() || matches!(prog_type.id, SYSCALL | RAW_TRACEPOINT);
    if !tests {
        return Err(format!("the kernel cannot test-run {} programs", prog_type.name));
    }
    if def.section.ends_with("/devmap") || def.section.ends_with("/cpumap") {
        return Err("the kernel cannot test-run programs of device and CPU maps".to_owned());
    }
    Ok(prog_type)
}

/// Whether nothing that a program calls has answers that rightly differ, or effects elsewhere.
fn may_be_asked(def: &ProgramDef) -> Result<(), String> {
    for insn in &def.insns {
        match insn.op() {
            Ok(isa::Op::CallHelper) => {
                let id = insn.imm.cast_unsigned();
                let name = helpers::name(id).unwrap_or("a helper that is not there");
                if let Some((what, _)) = HOSTS.iter().find(|(_, ids)| ids.contains(&id)) {
                    return Err(format!("`{}` asks for {what} (bpf_{name})", def.name));
                }
                if helpers::by_id(id).is_none() {
                    return Err(format!("`{}` calls bpf_{name}, which skep has not", def.name));
                }
            }
            Ok(isa::Op::CallKfunc) => {
                return Err(format!("`{}` calls functions of the kernel", def.name));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The programs in program arrays: map, slot, name.
fn targets(loaded: &Loaded) -> Vec<(usize, u32, String)> {
    let mut targets = Vec::new();
    for (index, map) in loaded.maps().iter().enumerate() {
        if map.map_type() != MapType::ProgArray {
            continue;
        }
        for (key, value) in map.entries() {
            let word = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
            let id = word(&value);
            let mut programs = loaded.program_names().filter_map(|name| loaded.program(name).ok());
            if let Some(program) = programs.find(|program| program.id() == id) {
                targets.push((index, word(&key), program.name().to_owned()));
            }
        }
    }
    targets
}

/// The object's types in the kernel; without them fewer programs load.
fn types(kernel: &skep_oracle::Kernel, bytes: &[u8]) -> Option<Btf> {
    let elf = Elf::parse(bytes).ok()?;
    let blob = loadable(elf.section(".BTF")?.data)?;
    kernel.load_btf(&blob).ok()
}

fn create(kernel: &skep_oracle::Kernel, source: &Source<'_>, index: usize) -> Result<Map, String> {
    let decl = &source.object.maps()[index];
    // As declared: some types get flags when they are made. What depends on CPUs is known now.
    let max_entries = source.loaded.maps()[index].def().max_entries;
    let def = &MapDef { max_entries, ..decl.def.clone() };
    let types = source.types.as_ref().zip(decl.key_type).zip(decl.value_type);
    let types = types.filter(|_| !def.special.is_empty());
    let types = types.map(|((btf, key), value)| (btf, key.0, value.0));
    make(kernel, def, types)
}

fn make(
    kernel: &skep_oracle::Kernel,
    def: &MapDef,
    btf: Option<(&Btf, u32, u32)>,
) -> Result<Map, String> {
    let inner = def.inner.as_deref().map(|inner| make(kernel, inner, None)).transpose()?;
    let spec = MapSpec {
        map_extra: def.map_extra,
        inner: inner.as_ref(),
        btf,
        ..MapSpec::new(def.map_type, def.key_size, def.value_size, def.max_entries)
    };
    let made = kernel.create_map(&spec.flags(def.flags));
    made.map_err(|errno| format!("the kernel does not make map `{}`: {errno}", def.name))
}

/// Puts into a map what it holds in skep; into program arrays programs are put later.
fn fill(
    kernel: &skep_oracle::Kernel,
    source: &Source<'_>,
    settings: &Preload,
    maps: &[Map],
    index: usize,
    inner: &mut Vec<(String, Map)>,
) -> Result<(), String> {
    let (ours, theirs) = (&source.loaded.maps()[index], &maps[index]);
    let name = ours.name();
    match ours.map_type() {
        MapType::ProgArray | MapType::Ringbuf | MapType::PerfEventArray | MapType::StackTrace => {
            return Ok(());
        }
        MapType::BloomFilter | MapType::UserRingbuf => {
            // What was put in cannot be read back.
            let given = settings.map.iter().any(|setting| setting.starts_with(name));
            return if given {
                Err(format!("what `{name}` holds cannot be copied"))
            } else {
                Ok(())
            };
        }
        _ => {}
    }
    let made = made_inside(ours);
    let mut entries = ours.entries();
    if ours.map_type() == MapType::Stack {
        entries.reverse();
    }
    for (key, value) in entries {
        if ours.holds_maps() {
            let Some(map) = ours.inner_map(&key).ok().flatten() else { continue };
            let label = format!("{name}[{}]", to_hex(&key));
            let of_object = source.loaded.maps().iter().position(|other| other.id() == map.id());
            let fd = if let Some(index) = of_object {
                maps[index].fd()
            } else {
                if !made.iter().any(|(other, _)| *other == label) {
                    return Err(format!("a map in `{name}` is of elsewhere"));
                }
                let copy = make(kernel, map.def(), None)?;
                for (key, value) in map.entries() {
                    put(&copy, &label, &key, &value)?;
                }
                let fd = copy.fd();
                inner.push((label, copy));
                fd
            };
            put(theirs, name, &key, &fd.to_le_bytes())?;
        } else if !(ours.map_type().is_indexed() && value.iter().all(|&byte| byte == 0)) {
            put(theirs, name, &key, &value)?;
        }
    }
    let data = source.object.maps()[index].data.as_ref();
    if data.is_some_and(|data| matches!(data.kind, DataKind::Rodata | DataKind::Kconfig)) {
        theirs.freeze().map_err(|errno| format!("map `{name}` cannot be frozen: {errno}"))?;
    }
    Ok(())
}

fn put(map: &Map, name: &str, key: &[u8], value: &[u8]) -> Result<(), String> {
    map.update(key, value, 0).map_err(|errno| format!("map `{name}` cannot be filled: {errno}"))
}

fn load(
    kernel: &skep_oracle::Kernel,
    source: &Source<'_>,
    maps: &[&Map],
    def: &ProgramDef,
) -> Result<Prog, String> {
    let prog_type = def.prog_type.ok_or("its section names no program type")?;
    let functions: Option<Vec<(u32, u32)>> =
        def.funcs.iter().map(|func| Some((func.start, func.type_id?.0))).collect();
    let types = source.types.as_ref().zip(functions.as_deref());
    let mut flags = if prog_type.id == SYSCALL { F_SLEEPABLE } else { 0 };
    if def.section.starts_with("xdp.frags") {
        flags |= F_XDP_HAS_FRAGS;
    }
    let egress = prog_type.id == CGROUP_SKB && def.section.ends_with("/egress");
    let spec = ProgSpec {
        license: source.object.license().unwrap_or_default(),
        flags,
        expected_attach_type: if egress { CGROUP_INET_EGRESS } else { 0 },
        maps,
        func_info: types,
        ..ProgSpec::new(prog_type.id, &def.insns)
    };
    kernel.load(&spec).map_err(|rejection| refused(&def.name, &rejection))
}

/// What the verifier says, in one line.
fn refused(name: &str, Rejection { errno, log }: &Rejection) -> String {
    let statistics =
        ["processed ", "verification time", "stack depth", "mark_precise", "max_states"];
    let lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
    let told = lines.filter(|line| !statistics.iter().any(|start| line.starts_with(start)));
    match told.into_iter().next_back() {
        Some(line) => format!("the verifier refuses `{name}` ({errno}): {line}"),
        None => format!("the kernel refuses `{name}`: {errno}"),
    }
}

/// Opens an event for each CPU, and puts it into its slot.
fn open_events(kernel: &skep_oracle::Kernel, map: &Map) -> Result<Vec<PerfEvent>, String> {
    let slots = u32::try_from(kernel.possible_cpus()).unwrap_or(0).min(map.info().max_entries);
    let mut events = Vec::new();
    for cpu in 0..slots {
        let spec = PerfSpec::output(cpu, PERF_PAGES as usize);
        let event = match kernel.open_event(&spec) {
            Ok(event) => event,
            // A CPU that may come later.
            Err(Errno::ENODEV | Errno::ENXIO) => continue,
            Err(errno) => return Err(format!("no perf event can be opened: {errno}")),
        };
        let put = map.update(&cpu.to_le_bytes(), &event.fd().to_le_bytes(), 0);
        put.map_err(|errno| format!("a perf event cannot be put into its array: {errno}"))?;
        events.push(event);
    }
    Ok(events)
}

/// The bytes of a sample; `None` for records that are none.
fn sample(record: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| {
        let bytes = record.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if word(0)? != SAMPLE {
        return None;
    }
    let len = usize::try_from(word(8)?).ok()?;
    Some(record.get(12..12 + len)?.to_vec())
}

/// Keys and values; without the values where they are numbers of objects. `None` when the
/// kernel does not tell.
fn read(map: &Map, like: &skep::Map) -> Option<Contents> {
    match like.map_type() {
        MapType::BloomFilter
        | MapType::Ringbuf
        | MapType::UserRingbuf
        | MapType::PerfEventArray
        | MapType::StackTrace => return None,
        _ => {}
    }
    if like.is_keyless() {
        let values = std::iter::from_fn(|| map.lookup_and_delete(&[], 0).ok());
        return Some(values.map(|value| (Vec::new(), value)).collect());
    }
    let mut keys = map.keys().ok()?;
    if !like.map_type().is_indexed() {
        keys.sort_unstable();
    }
    let handles = like.map_type().holds_handles();
    let mut contents = Vec::new();
    for key in keys {
        match map.lookup(&key, 0) {
            Ok(_) if handles => contents.push((key, Vec::new())),
            Ok(value) => contents.push((key, value)),
            // A slot that is empty.
            Err(Errno::ENOENT) => {}
            Err(_) => return None,
        }
    }
    Some(contents)
}
