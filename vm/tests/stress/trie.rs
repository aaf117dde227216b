//! Tries: a lookup gives a prefix that the key begins with, whatever changes meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

use skep_maps::flags::BPF_F_NO_PREALLOC;
use skep_maps::{Errno, MapDef, MapType, sys};

use crate::{Turns, create, def, load, machine, stress};

/// A key: the length in the machine's order, the data in the network's.
fn key(len: u32, data: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&len.to_le_bytes());
    key[4..].copy_from_slice(&data.to_be_bytes());
    key
}

#[test]
fn a_lookup_gives_a_prefix_of_its_key_while_prefixes_come_and_go() {
    let machine = machine();
    let base = def(MapType::LpmTrie, 8, 8, 400);
    let trie = create(&machine, &MapDef { flags: BPF_F_NO_PREALLOC, ..base });
    // Values are their keys. The empty prefix stays.
    sys::update(&*trie, Some(&key(0, 0)), &key(0, 0), 0).expect("there is room");
    // The data are a few bits of a hash of the run, the length too. Runs 0 and 1 of four
    // insert, 2 deletes, 3 looks up: there always is something. The empty prefix is never
    // deleted, for lengths begin at 1.
    let asm = "ldxdw %r7, [%r1+8]\nldxdw %r8, [%r1]\nmul %r7, 3\nadd %r7, %r8\n\
               mov %r9, %r7\nmul32 %r7, 0x9e3779b1\nmov32 %r6, %r7\nrsh32 %r6, 27\nadd %r6, 1\n\
               stxw [%r10-16], %r6\nand32 %r7, 0xf0f00f0f\nstxw [%r10-12], %r7\n\
               stxw [%r10-8], %r6\nstxw [%r10-4], %r7\n\
               lddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -16\nand %r9, 3\n\
               jeq %r9, 3, lookup\njeq %r9, 2, delete\nmov %r3, %r10\nadd %r3, -8\nmov %r4, 0\n\
               call 2\nmov %r0, 0\nexit\ndelete:\ncall 3\nmov %r0, 0\nexit\n\
               lookup:\ncall 1\njne %r0, 0, found\nmov %r0, 2\nexit\n\
               found:\nldxdw %r1, [%r0]\nmov %r0, 1\nexit";
    let program = load(&machine, asm, &[&trie]);
    let (found, looked) = (AtomicU64::new(0), AtomicU64::new(0));
    let user = |turns: &Turns| {
        let mut number = 0_u32;
        while turns.go_on() {
            number = number.wrapping_add(1);
            let data = (number.wrapping_mul(0x9e37_79b1) & 0xf0f0_0f0f).swap_bytes();
            let mut value = [0; 8];
            sys::lookup(&*trie, Some(&key(32, data)), 0, &mut value).expect("one always fits");
            let (len, prefix) = value.split_at(4);
            let len = u32::from_le_bytes(len.try_into().expect("four bytes"));
            let prefix = u32::from_be_bytes(prefix.try_into().expect("four bytes"));
            assert!(len <= 32, "{len} is no length");
            let differ = u64::from(data ^ prefix) >> (32 - len);
            assert_eq!(differ, 0, "{prefix:#x}/{len} is no prefix of {data:#x}");
            looked.fetch_add(1, Ordering::Relaxed);
            if number.is_multiple_of(1000) {
                assert!(sys::keys(&*trie).len() <= 2 * 400);
            }
        }
    };
    stress(&machine, &program, user, |r0| {
        assert_ne!(r0, 2, "the empty prefix fits");
        found.fetch_add(r0, Ordering::Relaxed);
    });
    assert!(found.into_inner() > 0 && looked.into_inner() > 0);
    // The count is right and no node was lost: it can be emptied, and filled again.
    let keys = sys::keys(&*trie);
    assert!(keys.len() <= 400, "{}", keys.len());
    keys.iter().for_each(|key| sys::delete(&*trie, Some(key)).expect("it is there"));
    assert_eq!(sys::keys(&*trie).len(), 0);
    for data in 0..400 {
        sys::update(&*trie, Some(&key(32, data << 8)), &[0; 8], 0).expect("there is room");
    }
    let full = sys::update(&*trie, Some(&key(32, 1 << 30)), &[0; 8], 0);
    assert_eq!(full, Err(Errno::ENOSPC), "and for no more");
}
