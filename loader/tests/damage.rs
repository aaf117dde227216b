//! No damage to an object makes the loader panic, hang or run out of memory.

mod common;

use common::Random;
use skep_loader::Object;
use skep_loader::btf::Btf;
use skep_loader::elf::Elf;

/// Damaged copies of each object.
const ROUNDS: usize = 3000;

/// Reads everything an object offers.
fn read(bytes: &[u8]) -> bool {
    match Object::parse("damaged.o", bytes) {
        Ok(mut object) => {
            let text = common::describe::object(&object);
            assert!(!text.is_empty());
            if let Some(btf) = object.btf() {
                for (id, _) in btf.types() {
                    let view = btf.view(id);
                    assert!(!view.c_name().is_empty());
                    if view.size().is_some_and(|size| size < 4096) {
                        common::describe::value(view, &[0xa5; 64]);
                    }
                }
            }
            let globals: Vec<_> =
                object.globals().map(|(_, var)| (var.name.clone(), var.size)).collect();
            for (name, size) in globals.iter().filter(|(_, size)| *size < 4096) {
                // Two may share a name.
                let _ = object.set_global(name, &vec![1; *size as usize]);
            }
            true
        }
        Err(error) => {
            assert!(error.to_string().starts_with("damaged.o: "), "{error}");
            assert!(!error.to_string().ends_with('.'), "{error}");
            false
        }
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    match random.below(6) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let (from, to) = (random.below(bytes.len()), random.below(bytes.len()));
            let len = random.below(64).min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + len, to);
        }
        2 => {
            let at = random.below(bytes.len());
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let len = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&edge[..len]);
        }
        _ => {
            for _ in 0..=random.below(6) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
    }
}

#[test]
fn damaged_objects_are_read_or_refused() {
    let mut random = Random::new(0x5eed);
    let (mut accepted, mut total) = (0, 0);
    for (name, original) in common::objects() {
        // The debug sections are most of a file and all of it is skipped: damage
        // what is read, so cut the rest off where it can be.
        let rounds = if original.len() > 100_000 { ROUNDS / 10 } else { ROUNDS };
        for _ in 0..rounds {
            let mut bytes = original.clone();
            damage(&mut bytes, &mut random);
            if !bytes.is_empty() {
                accepted += usize::from(read(&bytes));
                total += 1;
            }
        }
        assert!(Elf::parse(&original).is_ok(), "{name}");
    }
    println!("{total} damaged objects: {accepted} read, {} refused", total - accepted);
    assert!(accepted > total / 10 && accepted < total);
}

#[test]
fn objects_cut_off_anywhere_are_refused_or_read() {
    for (_, bytes) in common::objects() {
        let step = bytes.len() / 500 + 1;
        for len in (0..bytes.len()).step_by(step).chain(0..bytes.len().min(200)) {
            read(&bytes[..len]);
        }
    }
}

#[test]
fn damaged_btf_is_read_or_refused() {
    let mut random = Random::new(0xb7f);
    let (mut accepted, mut total) = (0, 0);
    for (_, bytes) in common::objects() {
        let elf = Elf::parse(&bytes).unwrap();
        let Some(section) = elf.section(".BTF") else {
            continue;
        };
        for _ in 0..ROUNDS {
            let mut damaged = section.data.to_vec();
            damage(&mut damaged, &mut random);
            if let Ok(btf) = Btf::parse(&damaged) {
                for (id, _) in btf.types() {
                    assert!(!btf.c_name(id).is_empty());
                    assert!(btf.size_of(id) != Some(u64::MAX));
                }
                accepted += 1;
            }
            total += 1;
        }
    }
    println!("{total} damaged BTF sections: {accepted} read");
    assert!(accepted > 0 && accepted < total);
}
