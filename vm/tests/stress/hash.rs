//! Hashes: no key is there twice, and no element is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use skep_maps::{Errno, MapType, sys};

use crate::{RUNNERS, RUNS, Turns, create, def, key, load, machine, stress, word};

#[test]
fn keys_of_a_hash_are_inserted_and_deleted_once() {
    let machine = machine();
    // Fewer places than keys, so that it is full at times.
    let hash = create(&machine, &def(MapType::Hash, 4, 8, 6));
    // Inserts the key; if it is there already, deletes it. 1: inserted, 2: deleted.
    let asm = format!(
        "{}stxdw [%r10-16], %r7\nlddw map_idx %r1, 0\nmov %r3, %r10\nadd %r3, -16\nmov %r4, 1\n\
         call 2\njeq %r0, 0, inserted\nlddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -4\ncall 3\n\
         jeq %r0, 0, deleted\nmov %r0, 0\nja out\ninserted:\nmov %r0, 1\nja out\n\
         deleted:\nmov %r0, 2\nout:\nexit",
        key(8)
    );
    let program = load(&machine, &asm, &[&hash]);
    let counts = [const { AtomicU64::new(0) }; 3];
    let taken = AtomicU64::new(0);
    let user = |turns: &Turns| {
        let mut value = [0; 8];
        while turns.go_on() {
            for key in 0..8_u32 {
                let bytes = key.to_le_bytes();
                match sys::lookup_and_delete(&*hash, Some(&bytes), 0, &mut value) {
                    Ok(()) => {
                        assert_eq!(u64::from_le_bytes(value), key.into(), "the value is the key's");
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(errno) => assert_eq!(errno, Errno::ENOENT),
                }
                let keys = sys::keys(&*hash);
                let distinct: BTreeSet<&Vec<u8>> = keys.iter().collect();
                assert_eq!(distinct.len(), keys.len(), "no key is there twice");
            }
        }
    };
    stress(&machine, &program, user, |r0| {
        let which = usize::try_from(r0).expect("0 to 2");
        counts[which].fetch_add(1, Ordering::Relaxed);
    });
    let [_, inserted, deleted] = counts.map(AtomicU64::into_inner);
    let left = sys::keys(&*hash).len() as u64;
    assert_eq!(inserted, deleted + taken.into_inner() + left, "each insertion is deleted once");
    assert!(inserted > 0 && deleted > 0, "both happened: {inserted}, {deleted}");
    // No element was lost: the map can be filled again.
    for key in 0..8_u32 {
        let _deleted_or_absent = sys::delete(&*hash, Some(&key.to_le_bytes()));
    }
    for key in 100..106_u32 {
        sys::update(&*hash, Some(&key.to_le_bytes()), &[0; 8], 0).expect("there is room for six");
    }
    let full = sys::update(&*hash, Some(&200_u32.to_le_bytes()), &[0; 8], 0);
    assert_eq!(full, Err(Errno::E2BIG), "and for no more");
}

#[test]
fn each_cpu_counts_in_its_own_value_of_a_percpu_hash() {
    let machine = machine();
    let hash = create(&machine, &def(MapType::PercpuHash, 4, 8, 4));
    // Looks the key up, inserts it with NOEXIST if it is not there, and looks again.
    let asm = format!(
        "{}lddw map_idx %r1, 0\ncall 1\njne %r0, 0, there\nstdw [%r10-16], 0\n\
         lddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -4\nmov %r3, %r10\nadd %r3, -16\n\
         mov %r4, 1\ncall 2\nlddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -4\ncall 1\n\
         jne %r0, 0, there\nmov %r0, 1\nexit\nthere:\nldxdw %r1, [%r0]\nadd %r1, 1\n\
         stxdw [%r0], %r1\nmov %r0, 0\nexit",
        key(4)
    );
    let program = load(&machine, &asm, &[&hash]);
    let reads = |turns: &Turns| {
        while turns.go_on() {
            let keys = sys::keys(&*hash);
            assert!(keys.len() <= 4, "there are four keys at most");
        }
    };
    stress(&machine, &program, reads, |r0| assert_eq!(r0, 0, "the key is there at last"));
    let mut of_cpu = [0; RUNNERS as usize];
    for key in 0..4 {
        for (sum, value) in of_cpu.iter_mut().zip(word(&*hash, key).expect("it is there")) {
            *sum += value;
        }
    }
    assert_eq!(of_cpu, [RUNS; RUNNERS as usize]);
}

#[test]
fn no_slot_of_a_percpu_hash_is_lost() {
    let machine = machine();
    // Fewer places than keys, so that it is full at times.
    let hash = create(&machine, &def(MapType::PercpuHash, 4, 8, 6));
    // Inserts the key; deletes it if it is there already.
    let asm = format!(
        "{}stdw [%r10-16], 1\nlddw map_idx %r1, 0\nmov %r3, %r10\nadd %r3, -16\nmov %r4, 1\n\
         call 2\njsgt %r0, -17, out\njslt %r0, -17, out\nlddw map_idx %r1, 0\nmov %r2, %r10\n\
         add %r2, -4\ncall 3\nout:\nmov %r0, 0\nexit",
        key(8)
    );
    let program = load(&machine, &asm, &[&hash]);
    let user = |turns: &Turns| {
        let mut value = [0; 8 * RUNNERS as usize];
        while turns.go_on() {
            for key in 0..8_u32 {
                let _taken_or_absent =
                    sys::lookup_and_delete(&*hash, Some(&key.to_le_bytes()), 0, &mut value);
                let keys = sys::keys(&*hash);
                let distinct: BTreeSet<&Vec<u8>> = keys.iter().collect();
                assert_eq!(distinct.len(), keys.len(), "no key is there twice");
            }
        }
    };
    stress(&machine, &program, user, |_| ());
    for key in 0..8_u32 {
        let _deleted_or_absent = sys::delete(&*hash, Some(&key.to_le_bytes()));
    }
    let value = [0; 8 * RUNNERS as usize];
    for key in 100..106_u32 {
        sys::update(&*hash, Some(&key.to_le_bytes()), &value, 0).expect("there is room for six");
    }
    let full = sys::update(&*hash, Some(&200_u32.to_le_bytes()), &value, 0);
    assert_eq!(full, Err(Errno::E2BIG), "and for no more");
}

#[test]
fn each_cpu_counts_in_its_own_value_of_a_percpu_array() {
    let machine = machine();
    let array = create(&machine, &def(MapType::PercpuArray, 4, 8, 4));
    let asm = format!(
        "{}lddw map_idx %r1, 0\ncall 1\njne %r0, 0, there\nmov %r0, 1\nexit\nthere:\n\
         ldxdw %r1, [%r0]\nadd %r1, 1\nstxdw [%r0], %r1\nmov %r0, 0\nexit",
        key(4)
    );
    let program = load(&machine, &asm, &[&array]);
    let reads = |turns: &Turns| {
        let mut last = vec![0; RUNNERS as usize];
        while turns.go_on() {
            let now = word(&*array, 0).expect("it is always there");
            assert!(now.iter().zip(&last).all(|(now, last)| now >= last), "{now:?} after {last:?}");
            last = now;
        }
    };
    stress(&machine, &program, reads, |r0| assert_eq!(r0, 0, "it is always there"));
    let mut of_cpu = [0; RUNNERS as usize];
    for key in 0..4 {
        for (sum, value) in of_cpu.iter_mut().zip(word(&*array, key).expect("it is there")) {
            *sum += value;
        }
    }
    assert_eq!(of_cpu, [RUNS; RUNNERS as usize]);
}
