//! Programs of all shapes are compiled in a time that grows with their length, or refused.
//!
//! `cargo bench --bench compile` has the figures.

#[path = "../benches/compile/shapes.rs"]
mod shapes;

use std::time::{Duration, Instant};

use shapes::{SHAPES, Shape};
use skep::{Engine, Map, MapDef, MapType, Vm, isa, prog};

/// Lengths of the programs compared, in instructions; four times as long is at most sixteen
/// times the work where something grows with the square.
const SHORT: usize = 1_000;
const LONG: usize = 4 * SHORT;
/// How much longer the long one may take.
const MOST: u32 = 14;
/// What is too short to be compared.
const FLOOR: Duration = Duration::from_millis(30);
/// How often a program is measured at most: the least counts.
const TRIES: usize = 5;

/// A machine with the maps that the shapes name.
fn machine() -> (Vm, [Map; 2]) {
    let vm = Vm::builder().build().expect("memory for a machine");
    let map = |map_type: MapType| {
        let def = MapDef {
            name: "map".to_owned(),
            map_type: map_type.id(),
            key_size: 4,
            value_size: 8,
            max_entries: 8,
            ..MapDef::default()
        };
        Map::create(&vm, &def).expect("there is room")
    };
    let maps = [map(MapType::Array), map(MapType::Hash)];
    (vm, maps)
}

/// Loads a program and makes native code of it, or a refusal.
fn compile((vm, maps): &(Vm, [Map; 2]), shape: &Shape, insns: &[isa::Insn]) -> Duration {
    let prog_type = shape.prog_type.map(|name| prog::by_name(name).expect("there is one"));
    let start = Instant::now();
    let program = vm.program_from_insns("shape", prog_type, insns, maps);
    let program = program.unwrap_or_else(|error| panic!("{}: {error}", shape.name));
    let _refusal = program.why_interpreted(Engine::default());
    start.elapsed()
}

#[test]
fn four_times_the_length_is_not_sixteen_times_the_work() {
    let machine = machine();
    let mut slow = Vec::new();
    for shape in SHAPES {
        let insns = |len| isa::assemble(&(shape.write)(len)).expect("it is right");
        let (short, long) = (insns(SHORT), insns(LONG));
        let least = |insns: &[isa::Insn], tries: usize| {
            (0..tries).map(|_| compile(&machine, shape, insns)).min().expect("a few")
        };
        // The longer one takes long enough to be measured once, when all is well.
        let mut times = (least(&short, 2), least(&long, 1));
        for _ in 1..TRIES {
            if times.1 <= times.0.max(FLOOR) * MOST {
                break;
            }
            times = (times.0.min(least(&short, 1)), times.1.min(least(&long, 1)));
        }
        println!("{:28} {:10.1?} {:10.1?}", shape.name, times.0, times.1);
        if times.1 > times.0.max(FLOOR) * MOST {
            slow.push((shape.name, times));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

/// What has kept the compiler busy for minutes.
#[test]
fn what_takes_too_long_is_refused_at_once() {
    let machine = machine();
    let tangled = ["loops, all nested", "back edges", "irreducible ladder", "irreducible loops"];
    for shape in SHAPES.iter().filter(|shape| tangled.contains(&shape.name)) {
        let insns = isa::assemble(&(shape.write)(25_000)).expect("it is right");
        let program = machine.0.program_from_insns("shape", None, &insns, &machine.1);
        let start = Instant::now();
        let program = program.expect("it is well-formed");
        let refusal = program.why_interpreted(Engine::default());
        let took = start.elapsed();
        println!("{:28} {took:10.1?} {refusal:?}", shape.name);
        let refused = refusal.is_some_and(|why| why.contains("takes too long"));
        assert!(refused || Engine::default() == Engine::Interp, "{}", shape.name);
        assert!(took < Duration::from_secs(60), "{}: {took:?}", shape.name);
    }
}
