//! How long it takes, and how much memory, to load and compile programs of many shapes and
//! lengths: `cargo bench --bench compile`. Words name shapes; `--most N` is the length of the
//! longest programs.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]

mod shapes;

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use shapes::{SHAPES, Shape};
use skep::{Engine, Map, MapDef, MapType, Vm, isa, prog};

const LENGTHS: [usize; 5] = [1_000, 5_000, 10_000, 25_000, 50_000];

/// What a program took.
struct Taken {
    load_ms: f64,
    compile_ms: f64,
    /// More memory than before, at most.
    peak_kib: f64,
    refusal: String,
}

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some(at) = words.iter().position(|word| word == "--one") {
        // In a process of its own, so that the peak is this program's.
        let len = words[at + 2].parse().expect("a length");
        let shape = SHAPES.iter().find(|shape| shape.name == words[at + 1]).expect("a shape");
        return one(shape, len);
    }
    let mut most = usize::MAX;
    if let Some(at) = words.iter().position(|word| word == "--most") {
        most = words[at + 1].parse().expect("a length");
        words.drain(at..at + 2);
    }
    println!(
        "{:28} {:>7} {:>9} {:>11} {:>10}",
        "shape", "insns", "load ms", "compile ms", "peak MiB"
    );
    let wanted =
        |shape: &&Shape| words.is_empty() || words.iter().any(|w| shape.name.contains(&**w));
    for shape in SHAPES.iter().filter(wanted) {
        for len in LENGTHS.into_iter().filter(|&len| len <= most) {
            let taken = measure(shape, len);
            println!(
                "{:28} {len:7} {:9.1} {:11.1} {:10.1} {}",
                shape.name,
                taken.load_ms,
                taken.compile_ms,
                taken.peak_kib / 1024.0,
                taken.refusal
            );
        }
    }
}

fn measure(shape: &Shape, len: usize) -> Taken {
    let own = std::env::current_exe().expect("a path");
    let mut child = Command::new(own)
        .args(["--one", shape.name, &len.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    let status = child.wait().expect("it ends");
    let mut words = text.trim_end_matches('\n').splitn(4, '\t').map(str::to_owned);
    let mut word = || words.next().unwrap_or_else(|| panic!("{} {len}: {status}", shape.name));
    let numbers = [word(), word(), word()].map(|word| word.parse().expect("a number"));
    let [load_ms, compile_ms, peak] = numbers;
    Taken { load_ms, compile_ms, peak_kib: peak, refusal: word() }
}

fn one(shape: &Shape, len: usize) {
    let vm = Vm::builder().build().expect("a machine");
    let map = |map_type: MapType| {
        let def = MapDef {
            name: "map".to_owned(),
            map_type: map_type.id(),
            key_size: 4,
            value_size: 8,
            max_entries: 8,
            ..MapDef::default()
        };
        Map::create(&vm, &def).expect("a map")
    };
    let maps = [map(MapType::Array), map(MapType::Hash)];
    let prog_type = shape.prog_type.map(|name| prog::by_name(name).expect("a type"));
    // What is compiled first has the compiler's tables made, too.
    let first = isa::assemble("mov %r0, 0\nexit").expect("right");
    let first = vm.program_from_insns("first", None, &first, &[]).expect("right");
    let _native = first.why_interpreted(Engine::default());
    let insns =
        isa::assemble(&(shape.write)(len)).unwrap_or_else(|e| panic!("{}: {e}", shape.name));
    let before = reset_peak();
    let start = Instant::now();
    let program = vm.program_from_insns("measured", prog_type, &insns, &maps);
    let program = program.unwrap_or_else(|e| panic!("{}: {e}", shape.name));
    let load = start.elapsed();
    let start = Instant::now();
    let refusal = program.why_interpreted(Engine::default()).unwrap_or_default();
    let compile = start.elapsed();
    let peak = status("VmHWM").saturating_sub(before);
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    println!("{}\t{}\t{peak}\t{refusal}", ms(load), ms(compile));
}

/// Lets the peak begin with what there is now.
fn reset_peak() -> u64 {
    // Where that is not allowed, the peak is that of all since the start.
    let _reset = fs::write("/proc/self/clear_refs", "5");
    status("VmRSS")
}

/// A line of the process's status, in KiB.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}
