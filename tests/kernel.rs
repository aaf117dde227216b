//! The programs of `docs/programs.md` that see packets, in skep and in the running kernel:
//! the same maps and packets give the same verdicts and leave the same in the maps, which
//! are charged the same bytes.

use std::fs;

use serde_json::Value;
use skep::loader::{DataKind, Init, MapDecl};
use skep::{FixedHost, Input, Loaded, MapDef, MapType, Object, Vm};
use skep_oracle::{Errno, Kernel, Map, MapSpec, Prog, ProgSpec, TestRun};

const BPF_F_TEST_RUN_ON_CPU: u32 = 1;

/// A program, with the capture that it sees packet by packet, or without a context.
type Step = (&'static str, Option<&'static str>);

/// Entries put in before: map, key and value as JSON; the key is null where there is none.
type Entry = (&'static str, &'static str, &'static str);

#[test]
fn a_flow_table_forgets_the_same_flows() {
    same("flow_table", &[], &[("track", Some("flows"))]);
}

#[test]
fn the_same_networks_are_allowed() {
    let rules: [Entry; 5] = [
        ("networks4", r#"{"bits":8,"address":[10,0,0,0]}"#, r#"{"allowed":1}"#),
        ("networks4", r#"{"bits":24,"address":[10,9,0,0]}"#, r#"{"allowed":0}"#),
        ("networks4", r#"{"bits":32,"address":[10,9,0,100]}"#, r#"{"allowed":1}"#),
        (
            "networks6",
            r#"{"bits":32,"address":[32,1,13,184,0,0,0,0,0,0,0,0,0,0,0,0]}"#,
            r#"{"allowed":1}"#,
        ),
        (
            "networks6",
            r#"{"bits":64,"address":[32,1,13,184,0,1,11,173,0,0,0,0,0,0,0,0]}"#,
            r#"{"allowed":0}"#,
        ),
    ];
    same("allow", &rules, &[("allow", Some("mixed"))]);
}

#[test]
fn jobs_come_out_of_a_queue_and_slots_off_a_stack_in_the_same_order() {
    let spare = [("spare", "null", "0"), ("spare", "null", "1"), ("spare", "null", "2")];
    let steps = [("submit", Some("mixed")), ("work", None), ("work", None)];
    same("jobs", &spare, &steps);
    same("jobs", &spare[1..], &[steps[0], steps[1], ("submit", Some("syn"))]);
}

#[test]
fn a_bloom_filter_errs_about_the_same_sources() {
    same("blocklist", &[], &[("trap", Some("syn")), ("check", Some("mixed"))]);
}

#[test]
fn each_tenants_packets_are_counted_in_the_same_map() {
    same("tenants", &[("guests", "53", r#"{"packets":7}"#)], &[("admit", Some("vlans"))]);
}

#[test]
fn packets_are_counted_on_the_same_cpus() {
    same("quota", &[], &[("meter", Some("mixed")), ("meter", Some("vlans"))]);
    same("bytes", &[], &[("count_bytes", Some("mixed"))]);
}

#[test]
fn the_same_inner_maps_and_programs_are_found() {
    same("netns", &[], &[("count", Some("mixed"))]);
    same("dispatch", &[], &[("dispatch", Some("mixed")), ("on_two", Some("mixed"))]);
}

#[test]
fn a_firewall_blocks_the_same_packets() {
    same("xdp_fw", &[], &[("fw", Some("syn")), ("fw", Some("mixed"))]);
}

/// Runs the steps in skep and in the kernel, run by run on CPUs 0 and 1 in turn.
fn same(name: &str, entries: &[Entry], steps: &[Step]) {
    let Some(kernel) = Kernel::for_test("kernel") else { return };
    let cpus = kernel.possible_cpus();
    let vm = Vm::builder().host(FixedHost::default());
    let vm = vm.cpus(u32::try_from(cpus).expect("so many")).build().expect("a machine");
    let path = format!("{}/testdata/objects/{name}.bpf.o", env!("CARGO_MANIFEST_DIR"));
    let object = Object::open(path).expect("an object");
    let theirs = Theirs::load(&kernel, object.parsed());
    let ours = vm.load(object).expect("its maps");

    for &(map, key, value) in entries {
        put(&ours, &theirs, map, key, value);
    }
    let mut runs = 0;
    for &(program, capture) in steps {
        let inputs = capture.map_or_else(|| vec![None], packets);
        for input in inputs {
            let cpu = runs % cpus.min(2);
            runs += 1;
            let number = u32::try_from(cpu).expect("0 or 1");
            let mut runner = vm.runner_on(number).expect("a CPU");
            let linked = ours.program(program).expect("a program");
            let ours = input.clone().map_or_else(Input::none, Input::packet);
            let ours = runner.run(&linked, ours).expect("it ends").retval;
            let theirs = kernel.on_cpu(cpu, || theirs.run(program, input.as_deref(), number));
            assert_eq!(ours, theirs.expect("the CPU is there"), "{name}: run {runs}");
        }
    }
    for (map, theirs) in ours.maps().iter().zip(&theirs.maps) {
        assert_eq!(map.bytes_memlock(), theirs.memlock().expect("fdinfo"), "{}", map.name());
        let (ours, theirs) = (our_contents(map), their_contents(map, theirs));
        assert_eq!(ours, theirs, "{name}: map {}", map.name());
    }
    assert!(runs > 5, "the captures hold packets");
}

/// Puts an entry into both maps.
fn put(ours: &Loaded, theirs: &Theirs, name: &str, key: &str, value: &str) {
    let json = |text| serde_json::from_str::<Value>(text).expect("JSON");
    let map = ours.map(name).expect("a map");
    let key = match json(key) {
        Value::Null => Vec::new(),
        key => map.encode_key(&key).expect("a key"),
    };
    let value = map.encode_value(&json(value)).expect("a value");
    map.update_bytes(&key, &value, 0).expect("it fits");
    let index = ours.maps().iter().position(|map| map.name() == name).expect("it is there");
    theirs.maps[index].update(&key, &value, 0).expect("it fits");
}

/// The packets of a capture.
fn packets(name: &str) -> Vec<Option<Vec<u8>>> {
    let path = format!("{}/testdata/packets/{name}.pcap", env!("CARGO_MANIFEST_DIR"));
    let bytes = fs::read(path).expect("a capture");
    let mut rest = &bytes[24..];
    let mut packets = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let length = header[8..12].try_into().map(u32::from_le_bytes).expect("four bytes");
        let (packet, after) = after.split_at(length as usize);
        packets.push(Some(packet.to_vec()));
        rest = after;
    }
    packets
}

/// An object in the kernel.
struct Theirs {
    maps: Vec<Map>,
    programs: Vec<(String, Prog)>,
}

impl Theirs {
    fn load(kernel: &Kernel, object: &skep::loader::Object) -> Self {
        let decls = object.maps();
        let maps: Vec<Map> = decls.iter().map(|decl| create(kernel, &decl.def)).collect();
        for (map, decl) in maps.iter().zip(decls) {
            fill(map, decl);
        }
        let by_index: Vec<&Map> = maps.iter().collect();
        let programs = object.programs().iter().map(|def| {
            let id = def.prog_type.expect("its section says").id;
            let spec = ProgSpec::new(id, &def.insns).maps(&by_index);
            // Callbacks take types, which this test does not give; no step runs them.
            (def.name.to_string(), kernel.load(&spec).ok())
        });
        let programs: Vec<(String, Prog)> =
            programs.filter_map(|(name, program)| Some((name, program?))).collect();
        for (map, decl) in maps.iter().zip(decls) {
            for (slot, init) in &decl.values {
                let fd = match init {
                    Init::Map(index) => maps[*index].fd(),
                    Init::Program(name) => program(&programs, name).fd(),
                };
                map.update(&slot.to_le_bytes(), &fd.to_le_bytes(), 0).expect("it fits");
            }
        }
        Self { maps, programs }
    }

    fn run(&self, name: &str, packet: Option<&[u8]>, cpu: u32) -> u32 {
        let run = match packet {
            Some(packet) => TestRun::new().data_in(packet).repeat(1),
            None => TestRun { flags: BPF_F_TEST_RUN_ON_CPU, cpu, ..TestRun::new() },
        };
        program(&self.programs, name).test_run(&run).ok().expect("it runs").retval
    }
}

fn program<'p>(programs: &'p [(String, Prog)], name: &str) -> &'p Prog {
    let found = programs.iter().find(|(other, _)| other == name);
    &found.expect("the kernel takes the program").1
}

fn create(kernel: &Kernel, def: &MapDef) -> Map {
    let inner = def.inner.as_deref().map(|inner| create(kernel, inner));
    let spec = MapSpec {
        map_extra: def.map_extra,
        inner: inner.as_ref(),
        ..MapSpec::new(def.map_type, def.key_size, def.value_size, def.max_entries)
    };
    kernel.create_map(&spec.flags(def.flags)).expect("the kernel makes it")
}

/// Puts the values of global variables in.
fn fill(map: &Map, decl: &MapDecl) {
    let Some(data) = &decl.data else { return };
    let mut bytes = data.bytes.clone();
    bytes.resize(decl.def.value_size as usize, 0);
    map.update(&0u32.to_le_bytes(), &bytes, 0).expect("an array");
    if matches!(data.kind, DataKind::Rodata | DataKind::Kconfig) {
        map.freeze().expect("nothing is mapped");
    }
}

/// Keys and values; without the values where they are ids.
type Contents = Vec<(Vec<u8>, Vec<u8>)>;

fn our_contents(map: &skep::Map) -> Contents {
    let ids = map.map_type().holds_handles();
    let entries = map.entries().into_iter();
    entries.map(|(key, value)| (key, if ids { Vec::new() } else { value })).collect()
}

fn their_contents(like: &skep::Map, map: &Map) -> Contents {
    if like.map_type() == MapType::BloomFilter {
        return Vec::new();
    }
    if like.is_keyless() {
        let mut values = Vec::new();
        loop {
            match map.lookup_and_delete(&[], 0) {
                Ok(value) => values.push((Vec::new(), value)),
                Err(errno) => {
                    assert_eq!(errno, Errno::ENOENT);
                    return values;
                }
            }
        }
    }
    let mut keys = map.keys().expect("the keys");
    if !like.map_type().is_indexed() {
        keys.sort_unstable();
    }
    let value = |key: &[u8]| map.lookup(key, 0);
    let entries = keys.into_iter().filter_map(|key| match value(&key) {
        Ok(_) if like.map_type().holds_handles() => Some((key, Vec::new())),
        Ok(value) => Some((key, value)),
        // A slot of an array of references that is empty.
        Err(errno) => {
            assert_eq!(errno, Errno::ENOENT);
            None
        }
    });
    entries.collect()
}
