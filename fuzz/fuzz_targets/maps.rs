//! Map scripts, whose choices are the fuzzer's bytes: skep must answer as the model does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_difftest::Rng;
use skep_difftest::maps::{Engine, KINDS, Kind, Model, Skep, difference, generate, script, shrink};
use skep_maps::MapType;

/// The most operations of a script.
const OPERATIONS: u64 = 60;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, choices)) = bytes.split_first() else { return };
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| is_supported(kind)).collect();
    let mut rng = Rng::with_choices(choices);
    let operations = 1 + rng.below(OPERATIONS);
    let case = generate(&mut rng, *kinds[usize::from(first) % kinds.len()], operations);
    let engines = [
        Engine { name: "model", make: &|| Box::new(Model::new()) },
        Engine { name: "skep", make: &|| Box::new(Skep::new()) },
    ];
    if difference(&case, &engines).is_some() {
        let smaller = shrink(&case, &engines);
        panic!("the model answers:\n{}", script(&smaller, &engines[0]));
    }
});

/// Whether skep has the type.
fn is_supported(kind: &Kind) -> bool {
    let supported = MapType::ALL.iter().filter(|map_type| map_type.is_supported());
    supported.map(|map_type| map_type.name()).any(|name| name == kind.map_type)
}
