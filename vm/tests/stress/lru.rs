//! LRU maps: never more keys than there may be, no key twice, and no element lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use skep_maps::flags::BPF_F_NO_COMMON_LRU;
use skep_maps::{Map, MapDef, MapType, Source, sys};

use crate::{RUNNERS, Turns, create, def, load, machine, stress, word};

/// Entries; a multiple of the number of CPUs, or lists for each CPU would round it up.
const ENTRIES: u32 = 66;
const KEYS: u32 = 256;

#[test]
fn an_lru_map_with_common_lists_is_whole() {
    insert_lookup_and_delete(&def(MapType::LruHash, 4, 8, ENTRIES));
}

#[test]
fn an_lru_map_with_lists_for_each_cpu_is_whole() {
    let def = def(MapType::LruHash, 4, 8, ENTRIES);
    insert_lookup_and_delete(&MapDef { flags: BPF_F_NO_COMMON_LRU, ..def });
}

#[test]
fn an_lru_map_with_values_for_each_cpu_is_whole() {
    insert_lookup_and_delete(&def(MapType::LruPercpuHash, 4, 8, ENTRIES));
}

/// Programs put in far more keys than there is room for, look up others, and delete some.
fn insert_lookup_and_delete(def: &MapDef) {
    let machine = machine();
    let lru = create(&machine, def);
    // The key is a hash of the run's number and the runner's. The value is the key.
    let asm = format!(
        "ldxdw %r7, [%r1+8]\nldxdw %r8, [%r1]\nmul %r7, 3\nadd %r7, %r8\nmov %r9, %r7\n\
         mul32 %r7, 0x9e3779b1\nrsh32 %r7, 16\nand %r7, {mask}\nstxw [%r10-4], %r7\n\
         stxdw [%r10-16], %r7\nmov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\n\
         mov %r3, %r9\nand %r3, 15\njeq %r3, 0, delete\nand %r3, 1\njeq %r3, 0, lookup\n\
         mov %r3, %r10\nadd %r3, -16\nmov %r4, 0\ncall 2\nja out\n\
         delete:\ncall 3\nmov %r0, 0\nja out\n\
         lookup:\ncall 1\njeq %r0, 0, out\nldxdw %r1, [%r0]\nmov %r0, 0\n\
         out:\nexit",
        mask = KEYS - 1
    );
    let program = load(&machine, &asm, &[&lru]);
    let walks = AtomicU64::new(0);
    let reads = |turns: &Turns| {
        while turns.go_on() {
            let keys = sys::keys(&*lru);
            assert!(keys.len() <= KEYS as usize);
            for key in 0..KEYS {
                let Ok(words) = word(&*lru, key) else { continue };
                // The CPU that put it in wrote its own value.
                let own = |word: &u64| *word == u64::from(key);
                let fits = words.iter().all(|word| own(word) || *word == 0);
                assert!(fits && words.iter().any(own), "the value of {key} is {words:?}");
            }
            walks.fetch_add(1, Ordering::Relaxed);
        }
    };
    stress(&machine, &program, reads, |r0| assert_eq!(r0, 0, "an update always finds an element"));
    assert!(walks.into_inner() > 0);
    check(&lru);
}

/// Nothing is there twice, and as many elements as ever can be had at once.
fn check(lru: &Arc<dyn Map>) {
    let keys = sys::keys(&**lru);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "no key is there twice");
    assert!(keys.len() <= ENTRIES as usize, "{} of {ENTRIES}", keys.len());
    keys.iter().for_each(|key| lru.delete(key).expect("it is there"));
    assert_eq!(sys::keys(&**lru), [] as [Vec<u8>; 0]);
    let counts = (0..4 * ENTRIES).map(|key| {
        let (key, value) = ((1000 + key).to_le_bytes(), [0; 8]);
        // Each CPU puts aside some of what is free.
        let cpu = u32::from(key[0]) % RUNNERS;
        lru.update(&key, Source::Host(&value), 0, cpu).expect("one goes when there is none");
        sys::keys(&**lru).len()
    });
    assert_eq!(counts.max(), Some(ENTRIES as usize), "no element was lost");
}
