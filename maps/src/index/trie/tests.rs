//! The parts of a trie.

mod bits {
    use proptest::prelude::*;

    use crate::index::trie::prefix::{FIRST_BITS, KEY_HEADER, LEN_BITS, MOST_WORDS, Prefix, words};

    /// A key of `size` bytes of data.
    fn key(len: u32, data: &[u8]) -> Vec<u8> {
        [&len.to_le_bytes(), data].concat()
    }

    fn bit(data: &[u8], index: usize) -> usize {
        data.get(index / 8).map_or(0, |byte| usize::from(byte >> (7 - index % 8) & 1))
    }

    fn check<const W: usize>(a: &[u8], b: &[u8], lens: (u32, u32)) {
        let [a_key, b_key] = [key(lens.0, a), key(lens.1, b)];
        let [first, second] = [&a_key, &b_key].map(|k| Prefix::<W>::new(k).expect("not too long"));
        assert_eq!((first.len(), second.len()), lens);
        (0..=8 * a.len()).for_each(|n| {
            assert_eq!(first.bit(u32::try_from(n).expect("few")), bit(a, n), "bit {n}");
        });
        let same = (0..8 * a.len()).take_while(|&n| bit(a, n) == bit(b, n)).count();
        let same = u32::try_from(same).expect("few");
        assert_eq!(first.common(second.words().iter().copied()), same.min(lens.0).min(lens.1));
        for len in 0..=lens.0 {
            let begins = first.begins(second.words()[0], len);
            assert_eq!(begins, len.min(FIRST_BITS) <= same, "{len} bits");
            if !begins || len <= FIRST_BITS {
                continue;
            }
            for known in 1..=(LEN_BITS + same.min(len)) / 64 {
                let mut done = known as usize;
                let goes_on = first.goes_on(|n| second.words()[n], len, &mut done);
                assert_eq!(goes_on, len <= same, "{len} bits, {known} words known");
                assert_eq!(done, (LEN_BITS + same.min(len)) as usize / 64);
            }
        }
        let mut out = vec![0xee; a_key.len()];
        first.write(&mut out);
        assert_eq!(out, a_key);
    }

    proptest! {
        #[test]
        fn bits_are_those_of_the_data(
            (a, b, lens) in (1..40usize).prop_flat_map(|size| {
                let bytes = || proptest::collection::vec(prop_oneof![Just(0), Just(0x80), any::<u8>()], size);
                let len = || 0..=8 * u32::try_from(size).expect("small");
                (bytes(), bytes(), (len(), len()))
            }),
        ) {
            check::<MOST_WORDS>(&a, &b, lens);
            match words(KEY_HEADER + a.len()) {
                1 => check::<1>(&a, &b, lens),
                2 => check::<2>(&a, &b, lens),
                3 => check::<3>(&a, &b, lens),
                _ => {}
            }
        }
    }

    #[test]
    fn a_length_beyond_the_data_is_none() {
        assert!(Prefix::<1>::new(&key(33, &[0; 4])).is_none());
        assert!(Prefix::<1>::new(&key(32, &[0; 4])).is_some());
        assert!(Prefix::<MOST_WORDS>::new(&key(2048, &[0; 256])).is_some());
        assert!(Prefix::<MOST_WORDS>::new(&key(2049, &[0; 256])).is_none());
        assert!(Prefix::<MOST_WORDS>::new(&key(u32::MAX, &[0; 256])).is_none());
    }
}

mod nodes {
    use crate::MapDef;
    use crate::home::Home;
    use crate::index::trie::{AnyPrefix, GRACE, Trie};

    fn trie(elements: u32) -> Trie {
        let def = MapDef { key_size: 8, ..MapDef::default() };
        Trie::new(&def, &Home::private(), elements + Trie::SPARES).expect("small")
    }

    fn key(len: u32, data: u32) -> [u8; 8] {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&len.to_le_bytes());
        key[4..].copy_from_slice(&data.to_be_bytes());
        key
    }

    fn put(trie: &Trie, key: &[u8]) -> u32 {
        let prefix = AnyPrefix::new(key).expect("not too long");
        let edit = trie.edit().expect("nobody holds it for long");
        let place = edit.place(&prefix).expect("it is a trie");
        let id = edit.take().expect("there is room");
        assert!(edit.put(&place, id, &prefix), "it is a trie");
        id
    }

    fn remove(trie: &Trie, key: &[u8]) {
        let prefix = AnyPrefix::new(key).expect("not too long");
        trie.edit().and_then(|edit| edit.remove(&prefix)).expect("it is there");
    }

    #[test]
    fn a_reader_that_is_too_slow_reads_again() {
        let trie = trie(4);
        let first = put(&trie, &key(32, 1));
        for replaced in [GRACE, GRACE + 1, 10 * GRACE] {
            let mut seen = Vec::new();
            let last = trie.read(&key(32, 1), |id| {
                if seen.is_empty() {
                    for _ in 0..replaced {
                        put(&trie, &key(32, 1));
                    }
                }
                seen.push(id);
                id
            });
            // No more than `GRACE` were freed: what it met was still waiting.
            assert_eq!(seen.len(), if replaced <= GRACE { 1 } else { 2 }, "{replaced}");
            assert_eq!(last, seen.last().copied());
            assert_eq!(trie.count(), 1);
        }
        assert_ne!(trie.find(&key(32, 1)), Some(first));
    }

    #[test]
    fn a_freed_node_is_not_used_again_before_its_time() {
        let trie = trie(4);
        let mut ids: Vec<u32> = (0..1_000).map(|_| put(&trie, &key(8, 1 << 24))).collect();
        for pair in ids.windows(GRACE as usize + 1) {
            assert!(!pair[1..].contains(&pair[0]), "{pair:?}");
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), GRACE as usize + 2, "the same ones, over and over");
    }

    #[test]
    fn forks_come_and_go_with_the_elements_that_need_them() {
        let trie = trie(16);
        for round in 0..100 {
            // Two paths part at 14 bits; the place where they do is an element for a while.
            put(&trie, &key(16, 0x0a01_0000));
            put(&trie, &key(16, 0x0a02_0000));
            assert_eq!(trie.find(&key(14, 0x0a00_0000)), None, "round {round}");
            put(&trie, &key(14, 0x0a00_0000));
            assert!(trie.find(&key(32, 0x0a03_0000)).is_some());
            remove(&trie, &key(14, 0x0a00_0000));
            assert_eq!(trie.find(&key(32, 0x0a03_0000)), None);
            remove(&trie, &key(16, 0x0a01_0000));
            assert!(trie.find(&key(32, 0x0a02_0001)).is_some());
            remove(&trie, &key(16, 0x0a02_0000));
            assert_eq!(trie.count(), 0);
            assert!(!trie.next(None, &mut [0; 8]));
        }
    }
}
