//! Damaged objects: every byte region of every committed object is changed, cut and
//! swapped, and what still loads is run. Nothing may panic, hang or leave the sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skep::{FixedHost, Input, Object, Vm};

/// Damaged versions of each object.
const ROUNDS: u64 = 150;

fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the test objects are part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    let folders: Vec<PathBuf> = found.iter().filter(|path| path.is_dir()).cloned().collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "o"));
    found.extend(folders.iter().flat_map(|folder| objects(folder)));
    found.sort();
    found
}

/// A repeatable sequence of numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 27
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }
}

/// Changes a few bytes somewhere, writes a telling number, or cuts the end off.
fn damage(bytes: &[u8], round: u64, random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    // The rounds walk over the object, so that every region has its turn.
    let region = bytes.len().div_ceil(usize::try_from(ROUNDS).expect("small"));
    let start = usize::try_from(round).expect("small") * region;
    let at = (start + random.below(region)).min(bytes.len() - 1);
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = 0xff,
        3 => {
            let end = (at + 4).min(bytes.len());
            let word = [0u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][random.below(5)];
            bytes[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
        }
        4 => {
            let other = random.below(bytes.len());
            bytes.swap(at, other);
        }
        _ => {
            for _ in 0..8 {
                let near = (at + random.below(64)).min(bytes.len() - 1);
                bytes[near] = u8::try_from(random.next() & 0xff).expect("a byte");
            }
        }
    }
    bytes
}

fn run_all(vm: &Vm, object: Object) -> u64 {
    let Ok(loaded) = vm.load(object) else { return 0 };
    let packet: Vec<u8> = (0..64).collect();
    let mut ran = 0;
    for name in loaded.program_names() {
        let Ok(program) = loaded.program(name) else { continue };
        let mut runner = vm.runner().expect("a free CPU");
        let takes_packet = program.prog_type().is_some_and(|t| t.takes_packet());
        let input = if takes_packet { Input::packet(&packet[..]) } else { Input::raw(&packet[..]) };
        // Faults are fine; they must have a place.
        if let Err(error) = runner.run(&program, input) {
            assert!(!error.to_string().is_empty());
        }
        ran += 1;
    }
    assert!(loaded.snapshot().to_string().len() < usize::MAX);
    ran
}

#[test]
fn damaged_objects_do_no_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/objects");
    let (mut tried, mut loaded, mut ran) = (0u64, 0u64, 0u64);
    for path in objects(&folder) {
        let bytes = fs::read(&path).expect("readable");
        let mut random = Random(bytes.len() as u64);
        for round in 0..ROUNDS {
            let damaged = damage(&bytes, round, &mut random);
            tried += 1;
            let Ok(object) = Object::parse(&damaged) else { continue };
            loaded += 1;
            let vm = Vm::builder()
                .cpus(2)
                .host(FixedHost::default())
                .timeout(Some(Duration::from_secs(2)))
                .max_insns(20_000)
                .build()
                .expect("address space");
            ran += run_all(&vm, object);
        }
    }
    println!("{tried} damaged objects, {loaded} opened, {ran} programs run");
    assert!(tried > 5000 && loaded > tried / 4 && ran > 1000, "{tried} {loaded} {ran}");
}
