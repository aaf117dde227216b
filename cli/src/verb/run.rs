//! `skep run`: loads an object, runs one program, prints what it did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map as JsonObject, Value, json};
use skep::value::{parse_integer, to_hex};
use skep::{
    Event, FixedHost, Host, Input, Loaded, Lost, MapSnapshot, MapType, Object, Output, Program,
    Runner, SystemHost, UserRingBuffer, Vm,
};

use crate::args::{Global, HostKind, RunArgs};
use crate::failure::Failure;
use crate::input::{Packet, Packets, assignment, bytes, element, read};
use crate::print::Printer;
use crate::redirect;

/// Pages of the buffer of a perf event: 256 KiB, as many tools have it.
const PERF_PAGES: u32 = 64;
/// Runs whose output packets are printed without being asked for.
const FEW_RUNS: u64 = 16;

pub(crate) fn run(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let mut object = Object::open(&args.object)?;
    for setting in &args.global {
        let (name, text) = assignment("--global", setting)?;
        object.global(name)?.set_value(&parse_value(text))?;
    }
    let fixed = Arc::new(FixedHost::default().clock_step(global.clock_step).seed(global.seed));
    let vm = build(global, &fixed)?;
    let name = choose(&object, args.prog.as_deref())?;
    let object_name = object.name().to_owned();
    let loaded = vm.load(object)?;
    let program = loaded.program(&name)?;
    preload(&loaded, args)?;
    // Samples wait there until the end of each run.
    let _buffers = loaded.open_perf_buffers(PERF_PAGES)?;

    let before = contents(&loaded);
    let mut session = Session {
        report: Report::new(global, args, &object_name, &program),
        runners: runners(global, &vm)?,
        loaded: &loaded,
        program: &program,
        fixed,
        lost: BTreeMap::new(),
        count: 0,
    };
    session.report.start()?;
    let mut result = session.run_all(args);
    let dump = result.is_err() || !global.quiet;
    let maps = if dump { changed(&loaded, &before, args.dump_maps) } else { Vec::new() };
    session.report.finish(&maps, &mut result)?;
    result?;
    match session.report.unexpected.take() {
        Some(message) => Err(Failure::expectation(message)),
        None => Ok(()),
    }
}

fn build(global: &Global, fixed: &Arc<FixedHost>) -> Result<Vm, Failure> {
    let host: Arc<dyn Host> = match global.host {
        HostKind::Fixed => Arc::clone(fixed) as Arc<dyn Host>,
        HostKind::System => Arc::new(SystemHost),
    };
    let mut builder = Vm::builder()
        .cpus(global.cpus)
        .shared_host(host)
        .engine(global.engine)
        .timeout(Some(Duration::from_secs_f64(global.timeout)));
    if let Some(max_insns) = global.max_insns {
        builder = builder.max_insns(max_insns);
    }
    Ok(builder.build()?)
}

/// The program to run: the one named, or the only one.
fn choose(object: &Object, named: Option<&str>) -> Result<String, Failure> {
    let names: Vec<String> =
        object.parsed().programs().iter().map(|def| def.name.to_string()).collect();
    let list = || {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    match (named, names.as_slice()) {
        (Some(name), _) if names.iter().any(|n| n == name) => Ok(name.to_owned()),
        (Some(name), _) => Err(Failure::usage(
            format!("{}: there is no program `{name}`", object.name()),
            Some(format!("its programs are {}", list())),
        )),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Failure::usage(format!("{}: it has no programs", object.name()), None)),
        (None, _) => Err(Failure::usage(
            format!("{}: it has several programs", object.name()),
            Some(format!("choose one with -n: {}", list())),
        )),
    }
}

/// A value as typed: JSON, a number in any base, or text.
fn parse_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn preload(loaded: &Loaded, args: &RunArgs) -> Result<(), Failure> {
    for setting in &args.prog_array {
        let (place, prog) = assignment("--prog-array", setting)?;
        let (name, index) = element("--prog-array", place)?;
        let index: u32 = index
            .parse()
            .map_err(|_| Failure::usage(format!("--prog-array: `{index}` is no index"), None))?;
        loaded.map(name)?.set_program(index, &loaded.program(prog)?)?;
    }
    for setting in &args.map {
        let (place, text) = assignment("--map", setting)?;
        if let Some(mut ring) = user_ring(loaded, place)? {
            ring.push(&bytes("--map", text)?)?;
            continue;
        }
        if let Some(path) = text.strip_prefix('@').filter(|_| !place.contains('[')) {
            let bytes = read(path.as_ref())?;
            let json: Value = serde_json::from_slice(&bytes)
                .map_err(|error| Failure::usage(format!("--map: {path}: {error}"), None))?;
            preload_file(loaded, place, &json)?;
            continue;
        }
        if let Some(map) = keyless(loaded, place) {
            put(&map, &[], &parse_value(text))?;
            continue;
        }
        let (name, key) = element("--map", place)?;
        let map = loaded.map(name)?;
        if map.is_keyless() {
            let help = Some(format!("write --map '{name}=VALUE', once for each value"));
            return Err(Failure::usage(format!("--map: map `{name}` has no keys"), help));
        }
        let key = map.encode_key(&parse_value(key))?;
        put(&map, &key, &parse_value(text))?;
    }
    Ok(())
}

/// The producer of a user ring buffer, if a map of this name is one.
fn user_ring(loaded: &Loaded, name: &str) -> Result<Option<UserRingBuffer>, Failure> {
    let found = loaded.maps().iter().find(|map| map.name() == name);
    match found.filter(|map| map.map_type() == MapType::UserRingbuf) {
        Some(map) => Ok(Some(map.user_ring_buffer()?)),
        None => Ok(None),
    }
}

/// The map of that name, if its values have no keys: they are put in one after the other.
fn keyless(loaded: &Loaded, name: &str) -> Option<skep::Map> {
    loaded.map(name).ok().filter(skep::Map::is_keyless)
}

/// Preloads a map in the shape in which maps are dumped.
fn preload_file(loaded: &Loaded, name: &str, json: &Value) -> Result<(), Failure> {
    let map = loaded.map(name)?;
    let entries = json["entries"].as_array().or_else(|| json.as_array()).ok_or_else(|| {
        Failure::usage(
            format!("--map {name}: the file has no `entries`"),
            Some(
                "write it in the shape of --dump-maps: {\"entries\": [{\"key\": …, \"value\": …}]}"
                    .to_owned(),
            ),
        )
    })?;
    let hex = |hex: &Value| hex.as_str().map(|hex| Value::String(format!("hex:{hex}")));
    for entry in entries {
        let key = hex(&entry["key_hex"]).unwrap_or_else(|| entry["key"].clone());
        let key = if map.is_keyless() { Vec::new() } else { map.encode_key(&key)? };
        if let Some(values) = entry["values"].as_array() {
            let mut bytes = Vec::new();
            for value in values {
                let value = hex(&value["value_hex"]).unwrap_or_else(|| value["value"].clone());
                let mut part = map.encode_value(&value)?;
                part.resize(part.len().next_multiple_of(8), 0);
                bytes.extend(part);
            }
            map.update_bytes(&key, &bytes, 0)?;
            continue;
        }
        let value = hex(&entry["value_hex"]).unwrap_or_else(|| entry["value"].clone());
        put(&map, &key, &value)?;
    }
    Ok(())
}

/// Writes one value, on all CPUs for per-CPU maps.
fn put(map: &skep::Map, key: &[u8], value: &Value) -> Result<(), Failure> {
    let mut bytes = map.encode_value(value)?;
    if map.map_type().is_percpu() {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes = bytes.repeat(map.cpus() as usize);
    }
    map.update_bytes(key, &bytes, 0)?;
    Ok(())
}

/// A runner for each CPU that runs are dealt to.
fn runners(global: &Global, vm: &Vm) -> Result<Vec<Runner>, Failure> {
    let range = global.cpu;
    if range.last >= vm.cpus() {
        return Err(Failure::usage(
            format!("--cpu {}: there are {} virtual CPUs", range.last, vm.cpus()),
            Some(format!("add --cpus {}", range.last + 1)),
        ));
    }
    (range.first..=range.last).map(|cpu| Ok(vm.runner_on(cpu)?)).collect()
}

/// The entries of maps, by name.
type Contents = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

/// The entries of all maps, to see later which have changed.
fn contents(loaded: &Loaded) -> Contents {
    let maps = loaded.maps().iter();
    maps.map(|map| (map.name().to_owned(), map.entries())).collect()
}

fn changed(loaded: &Loaded, before: &Contents, all: bool) -> Vec<MapSnapshot> {
    let maps = loaded.maps().iter();
    let maps = maps.filter(|map| all || before.get(map.name()) != Some(&map.entries()));
    maps.map(MapSnapshot::of).collect()
}

/// All runs of one command.
struct Session<'a> {
    report: Report<'a>,
    runners: Vec<Runner>,
    loaded: &'a Loaded,
    program: &'a Program,
    fixed: Arc<FixedHost>,
    /// Samples lost so far, by map and CPU.
    lost: BTreeMap<(String, u32), u64>,
    count: u64,
}

/// What a run sent to user space.
struct Sent {
    /// The virtual CPU that it ran on.
    cpu: u32,
    events: Vec<Event>,
    lost: Vec<Lost>,
}

impl Session<'_> {
    fn run_all(&mut self, args: &RunArgs) -> Result<(), Failure> {
        let mut fields = Vec::new();
        for setting in &args.set {
            let (name, text) = assignment("--set", setting)?;
            let value = parse_integer(text).and_then(|n| u64::try_from(n).ok());
            let value = value.ok_or_else(|| {
                Failure::usage(format!("--set {name}: `{text}` is no number"), None)
            })?;
            fields.push((name.to_owned(), value));
        }
        let with_fields = |input: Input| {
            fields.iter().fold(input, |input, (name, value)| input.set(name.clone(), *value))
        };
        if let Some(packet) = &args.packet {
            let mut packets = Packets::open(packet)?;
            while let Some(Packet { data, time }) = packets.next()? {
                if let Some(time) = time {
                    self.fixed.set_clock(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
                }
                self.repeat(args, &with_fields(Input::packet(data)))?;
            }
            return Ok(());
        }
        let input = match &args.ctx {
            Some(ctx) => Input::raw(bytes("--ctx", ctx)?),
            None => Input::none(),
        };
        self.repeat(args, &with_fields(input))
    }

    fn repeat(&mut self, args: &RunArgs, input: &Input) -> Result<(), Failure> {
        for _ in 0..args.repeat {
            let count = self.runners.len() as u64;
            let turn = usize::try_from(self.count % count).unwrap_or(0);
            self.count += 1;
            let runner = &mut self.runners[turn];
            let cpu = runner.cpu();
            let result = runner.run_keeping_printk(self.program, input);
            let sent = self.sent(cpu);
            match result {
                Ok(output) => self.report.run(self.count, &output, &sent)?,
                Err((error, printk)) => {
                    self.report.cut_short(self.count, &printk, &sent)?;
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Takes what the last run sent, and finds what it lost.
    fn sent(&mut self, cpu: u32) -> Sent {
        let mut lost = self.loaded.lost();
        for Lost { map, cpu, count } in &mut lost {
            let before = self.lost.insert((map.clone(), *cpu), *count);
            *count -= before.unwrap_or(0);
        }
        lost.retain(|lost| lost.count > 0);
        Sent { cpu, events: self.loaded.events(), lost }
    }
}

/// What is printed, as it goes.
struct Report<'a> {
    json: bool,
    out: Printer,
    head: Value,
    program: &'a Program,
    repeat: bool,
    data_out: bool,
    expect: Option<&'a str>,
    unexpected: Option<String>,
    runs: u64,
}

impl<'a> Report<'a> {
    fn new(global: &Global, args: &'a RunArgs, object: &str, program: &'a Program) -> Self {
        let head = json!({
            "object": object,
            "program": program.name(),
            "type": program.prog_type().map(|t| t.name),
            "engine": global.engine.name(),
        });
        let is_capture = args
            .packet
            .as_ref()
            .is_some_and(|packet| !packet.starts_with("hex:") && !packet.starts_with('@'));
        Self {
            json: global.json,
            out: Printer::new(),
            head,
            program,
            repeat: args.repeat > 1 || is_capture,
            data_out: args.data_out,
            expect: args.expect.as_deref(),
            unexpected: None,
            runs: 0,
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let head = serde_json::to_string(&self.head).unwrap_or_default();
        let open = head.strip_suffix('}').unwrap_or(&head).to_owned();
        self.out.text(&format!("{open},\"runs\":["))
    }

    fn run(&mut self, n: u64, output: &Output, sent: &Sent) -> Result<(), Failure> {
        self.check(n, output);
        if self.json {
            let json = self.run_json(n, output, sent);
            return self.element(&json);
        }
        let number = if self.repeat { format!("{n}: ") } else { String::new() };
        let action = output.action().map(|action| format!("{action}  ")).unwrap_or_default();
        self.out.line(&format!("{number}{action}r0={}  insns={}", output.retval, output.insns))?;
        if let Some(redirect) = &output.redirect {
            self.out.line(&format!("  {}", redirect::text(redirect)))?;
        }
        self.trace(&output.printk, sent)
    }

    /// What a run that faulted had put out before.
    fn cut_short(&mut self, n: u64, printk: &[String], sent: &Sent) -> Result<(), Failure> {
        if !self.json {
            return self.trace(printk, sent);
        }
        if printk.is_empty() && sent.events.is_empty() && sent.lost.is_empty() {
            return Ok(());
        }
        let mut json = json!({ "n": n, "events": events_json(sent), "printk": printk });
        if let Some(lost) = lost_json(sent) {
            json["lost"] = lost;
        }
        self.element(&json)
    }

    fn element(&mut self, json: &Value) -> Result<(), Failure> {
        let comma = if self.runs > 0 { "," } else { "" };
        self.runs += 1;
        self.out.text(&format!("{comma}{json}"))
    }

    fn trace(&mut self, printk: &[String], sent: &Sent) -> Result<(), Failure> {
        for line in printk {
            self.out.line(&format!("  printk {line}"))?;
        }
        for event in &sent.events {
            let cpu = event.cpu.map(|cpu| format!(" cpu{cpu}")).unwrap_or_default();
            let value = event.value.as_ref().map_or_else(|| brief(&event.data), Value::to_string);
            self.out.line(&format!("  event {}{cpu} {value}", event.map))?;
        }
        for Lost { map, cpu, count } in &sent.lost {
            self.out.line(&format!("  lost {map} cpu{cpu} {count}"))?;
        }
        Ok(())
    }

    fn run_json(&self, n: u64, output: &Output, sent: &Sent) -> Value {
        let mut run = JsonObject::new();
        run.insert("n".to_owned(), n.into());
        run.insert("retval".to_owned(), output.retval.into());
        if let Some(action) = output.action() {
            run.insert("action".to_owned(), action.into());
        }
        run.insert("insns".to_owned(), output.insns.into());
        let takes_packet = self.program.prog_type().is_some_and(|t| t.takes_packet());
        if let (Some(packet), true) = (&output.packet, takes_packet)
            && (n <= FEW_RUNS || self.data_out)
        {
            run.insert("data_out".to_owned(), to_hex(packet).into());
        }
        run.insert("events".to_owned(), events_json(sent));
        if let Some(lost) = lost_json(sent) {
            run.insert("lost".to_owned(), lost);
        }
        run.insert("printk".to_owned(), output.printk.clone().into());
        run.insert("redirect".to_owned(), redirect::json(output.redirect.as_ref()));
        Value::Object(run)
    }

    /// Compares a run with `--expect`.
    fn check(&mut self, n: u64, output: &Output) {
        let Some(expect) = self.expect else { return };
        let number = parse_integer(expect);
        let as_expected = match number {
            Some(number) => {
                number == i128::from(output.retval)
                    || number == i128::from(output.retval.cast_signed())
            }
            None => output.action() == Some(expect),
        };
        if !as_expected && self.unexpected.is_none() {
            let got = match output.action() {
                Some(action) => format!("{action} ({})", output.retval),
                None => output.retval.to_string(),
            };
            self.unexpected = Some(format!("run {n} returned {got}, not {expect}"));
        }
    }

    /// Prints the maps and, in the JSON document, what went wrong.
    fn finish(
        &mut self,
        maps: &[MapSnapshot],
        result: &mut Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.json {
            let by_name: JsonObject<String, Value> =
                maps.iter().map(|map| (map.name.clone(), map.to_json())).collect();
            self.out.text(&format!("],\"maps\":{}", Value::Object(by_name)))?;
            if let Err(failure) = result {
                self.out.text(&format!(",\"error\":{}", failure.to_json()))?;
            }
            self.out.line("}")?;
        } else {
            for map in maps {
                self.out.text(&map.to_string())?;
            }
        }
        self.out.flush()?;
        if self.json {
            *result = std::mem::replace(result, Ok(())).map_err(Failure::printed);
        }
        Ok(())
    }
}

/// Bytes in hexadecimal, cut where they get long; the JSON document has all of them.
fn brief(bytes: &[u8]) -> String {
    const MOST: usize = 64;
    match bytes.get(..MOST) {
        Some(first) if bytes.len() > MOST => {
            format!("{}… ({} bytes)", to_hex(first), bytes.len())
        }
        _ => to_hex(bytes),
    }
}

fn events_json(sent: &Sent) -> Value {
    let rows = sent.events.iter().map(|event| {
        let mut row = json!({
            "map": event.map,
            "cpu": event.cpu.unwrap_or(sent.cpu),
            "size": event.data.len(),
            "data": event.hex(),
        });
        if let Some(value) = &event.value {
            row["value"] = value.clone();
        }
        row
    });
    rows.collect()
}

/// The samples that were lost, when any were.
fn lost_json(sent: &Sent) -> Option<Value> {
    let rows = sent.lost.iter();
    let rows: Vec<Value> =
        rows.map(|lost| json!({ "map": lost.map, "cpu": lost.cpu, "count": lost.count })).collect();
    (!rows.is_empty()).then(|| rows.into())
}
