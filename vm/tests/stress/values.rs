//! Values: words are never torn, and what is written under a lock is never mixed.

use skep_maps::flags::BPF_F_LOCK;
use skep_maps::{Map, MapDef, MapType, SpecialField, SpecialKind, sys};

use crate::{RUNNERS, RUNS, Turns, create, def, key, load, machine, stress, word};

#[test]
fn atomic_adds_to_an_array_are_all_counted() {
    let machine = machine();
    let array = create(&machine, &def(MapType::Array, 4, 8, 4));
    let asm = format!(
        "{}lddw map_idx %r1, 0\ncall 1\njeq %r0, 0, out\nmov %r1, 1\nlock add [%r0], %r1\n\
         out:\nmov %r0, 0\nexit",
        key(4)
    );
    let program = load(&machine, &asm, &[&array]);
    let reads = |turns: &Turns| {
        let mut last = 0;
        while turns.go_on() {
            let now = word(&*array, 0).expect("it is always there")[0];
            assert!(now >= last, "a count never goes down");
            last = now;
        }
    };
    stress(&machine, &program, reads, |_| ());
    let sum: u64 = (0..4).map(|key| word(&*array, key).expect("it is there")[0]).sum();
    assert_eq!(sum, RUNS * u64::from(RUNNERS));
}

#[test]
fn replaced_values_of_a_hash_are_seen_whole() {
    let machine = machine();
    let hash = create(&machine, &def(MapType::Hash, 4, 64, 4));
    // A value is one number eight times.
    let stores: String = (0..8).map(|at| format!("stxdw [%r10{}], %r7\n", at * 8 - 80)).collect();
    let asm = format!(
        "mov %r6, %r1\nldxdw %r7, [%r6+8]\nmov %r8, %r7\nand %r8, 3\nstxw [%r10-4], %r8\n{stores}\
         mov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\nmov %r3, %r10\nadd %r3, -80\n\
         mov %r4, 0\ncall 2\nexit"
    );
    let program = load(&machine, &asm, &[&hash]);
    let reads = |turns: &Turns| {
        while turns.go_on() {
            for key in 0..4 {
                let Ok(words) = word(&*hash, key) else {
                    continue;
                };
                assert!(words.iter().all(|word| *word == words[0]), "torn: {words:?}");
            }
        }
    };
    stress(&machine, &program, reads, |r0| assert_eq!(r0, 0, "the map is never too full"));
    assert_eq!(sys::keys(&*hash).len(), 4);
}

#[test]
fn a_value_of_eight_bytes_is_never_torn() {
    for map_type in [MapType::Array, MapType::Hash, MapType::LruHash] {
        let machine = machine();
        // In an LRU map each update has two elements at a time: the new one and the old one.
        let map = create(&machine, &def(map_type, 4, 8, 4 + 2 * (RUNNERS + 1)));
        // A value is one byte eight times. Reads it, says 1 when it is not, writes another.
        let asm = format!(
            "{}lddw map_idx %r1, 0\ncall 1\njeq %r0, 0, write\nldxdw %r1, [%r0]\n\
             mov %r2, %r1\nand %r2, 255\nlddw %r3, 0x0101010101010101\nmul %r2, %r3\n\
             jeq %r1, %r2, write\nmov %r0, 1\nexit\nwrite:\nldxdw %r2, [%r6+8]\nrsh %r2, 2\n\
             and %r2, 255\nlddw %r3, 0x0101010101010101\nmul %r2, %r3\nstxdw [%r10-16], %r2\n\
             lddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -4\nmov %r3, %r10\nadd %r3, -16\n\
             mov %r4, 0\ncall 2\nmov %r0, 0\nexit",
            key(4)
        );
        let program = load(&machine, &asm, &[&map]);
        let user = |turns: &Turns| {
            let mut byte = 0_u8;
            while turns.go_on() {
                for key in 0..4_u32 {
                    byte = byte.wrapping_add(1);
                    let updated = sys::update(&*map, Some(&key.to_le_bytes()), &[byte; 8], 0);
                    updated.expect("the map is never too full");
                    let mut value = [0; 8];
                    // An LRU map may have put it out.
                    let _gone = sys::lookup(&*map, Some(&key.to_le_bytes()), 0, &mut value);
                    assert!(value.iter().all(|byte| *byte == value[0]), "torn: {value:?}");
                }
            }
        };
        stress(&machine, &program, user, |r0| assert_eq!(r0, 0, "{map_type}: torn"));
    }
}

/// Bytes of a value with a lock: the lock, four bytes, then seven words.
const LOCKED: u32 = 64;

#[test]
fn values_that_are_written_under_their_lock_are_never_mixed() {
    for map_type in [MapType::Array, MapType::Hash] {
        let machine = machine();
        let lock = SpecialField { kind: SpecialKind::SpinLock, offset: 0, size: 4 };
        let map = create(&machine, &MapDef { special: vec![lock], ..def(map_type, 4, LOCKED, 2) });
        let update = |key: u32, number: u64| {
            let mut value = [0; LOCKED as usize];
            let words = value[8..].as_chunks_mut::<8>().0;
            words.iter_mut().for_each(|word| *word = number.to_le_bytes());
            let flags = if map_type == MapType::Array || number > 0 { BPF_F_LOCK } else { 0 };
            sys::update(&*map, Some(&key.to_le_bytes()), &value, flags).expect("there is room");
        };
        (0..2).for_each(|key| update(key, 0));
        // Every other run updates with BPF_F_LOCK; the others take the lock, compare the
        // words, and say 1 when they differ.
        let stores: String =
            (1..8).map(|at| format!("stxdw [%r10{}], %r7\n", at * 8 - 80)).collect();
        let compares: String = (2..8)
            .map(|at| format!("ldxdw %r2, [%r0+{}]\nxor %r2, %r1\nor %r9, %r2\n", at * 8))
            .collect();
        let asm = format!(
            "ldxdw %r7, [%r1+8]\nmov %r8, %r7\nrsh %r8, 1\nand %r8, 1\nstxw [%r10-4], %r8\n\
             stdw [%r10-80], 0\n{stores}mov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\n\
             and %r7, 1\njeq %r7, 0, read\nmov %r3, %r10\nadd %r3, -80\nmov %r4, 4\ncall 2\n\
             exit\nread:\ncall 1\njne %r0, 0, there\nmov %r0, 2\nexit\nthere:\n\
             mov %r6, %r0\nmov %r1, %r6\ncall 93\nmov %r0, %r6\nldxdw %r1, [%r0+8]\nmov %r9, 0\n\
             {compares}mov %r1, %r6\ncall 94\nmov %r0, 0\njeq %r9, 0, out\nmov %r0, 1\nout:\nexit"
        );
        let program = load(&machine, &asm, &[&map]);
        let user = |turns: &Turns| {
            let mut number = 1 << 32;
            while turns.go_on() {
                for key in 0..2_u32 {
                    number += 1;
                    update(key, number);
                    let words = locked_words(&*map, key);
                    assert!(words.iter().all(|word| *word == words[0]), "mixed: {words:x?}");
                }
            }
        };
        stress(&machine, &program, user, |r0| assert_eq!(r0, 0, "{map_type}: 1 is mixed"));
    }
}

/// The words of a value behind its lock, read under it.
fn locked_words(map: &dyn Map, key: u32) -> Vec<u64> {
    let mut value = [0; LOCKED as usize];
    sys::lookup(map, Some(&key.to_le_bytes()), BPF_F_LOCK, &mut value).expect("it is there");
    value[8..].as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
}
