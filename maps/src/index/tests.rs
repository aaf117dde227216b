//! Tests of the index's parts on their own; how threads meet is checked in `maps/model`.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::hash::{Key, hash_of_words};
use super::list::Lists;
use super::pool::Pool;
use super::table::Table;
use crate::MapDef;
use crate::home::Home;
use crate::segment::build;

#[test]
fn words_give_the_hash_that_bytes_give() {
    let bytes: Vec<u8> = (1..=40).collect();
    for len in 1..=40 {
        let key = Key::new(&bytes[..len]);
        assert_eq!(key.hash(), hash_of_words(len, key.words()), "{len} bytes");
        let record: Vec<AtomicU64> = (0..=len.div_ceil(8)).map(|_| AtomicU64::new(9)).collect();
        assert!(!key.stands_in(&record), "{len} bytes");
        key.write_to(&record);
        assert!(key.stands_in(&record), "{len} bytes");
        let stored: Vec<u64> = record.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        assert_eq!(stored[1..], key.words().collect::<Vec<_>>(), "{len} bytes");
    }
}

#[test]
fn neighbouring_keys_spread_over_the_buckets() {
    let buckets = 1 << 14;
    let mut counts = vec![0; buckets];
    for n in 0..10_000_u32 {
        counts[Key::new(&n.to_le_bytes()).hash() as usize % buckets] += 1;
    }
    assert!(counts.iter().max() < Some(&10), "{:?} keys in one bucket", counts.iter().max());
}

#[test]
fn a_ring_keeps_its_order_in_both_directions() {
    let lists = build(&Home::private(), "t", |parts| Lists::new(parts, 4, 7));
    let lists = lists.expect("small");
    let (head, other) = (4, 5);
    lists.clear(head);
    lists.clear(other);
    assert_eq!((lists.first(head), lists.last(head)), (None, None));
    (0..4).for_each(|id| lists.push(head, id));
    let forth = |head: u32| {
        let next = |&id: &u32| Some(lists.next(id)).filter(|&id| id != head);
        std::iter::successors(lists.first(head), next).collect::<Vec<_>>()
    };
    let back = |head: u32| {
        let prev = |&id: &u32| Some(lists.prev(id)).filter(|&id| id != head);
        let mut ids = std::iter::successors(lists.last(head), prev).collect::<Vec<_>>();
        ids.reverse();
        ids
    };
    assert_eq!((forth(head), back(head)), (vec![3, 2, 1, 0], vec![3, 2, 1, 0]));
    for id in [1, 3, 0] {
        lists.remove(id);
        lists.push(other, id);
    }
    assert_eq!((forth(head), back(head)), (vec![2], vec![2]));
    assert_eq!((forth(other), back(other)), (vec![0, 3, 1], vec![0, 3, 1]));
    lists.splice(head, other);
    assert_eq!((forth(head), back(head)), (vec![], vec![]));
    assert_eq!((forth(other), back(other)), (vec![2, 0, 3, 1], vec![2, 0, 3, 1]));
    lists.splice(head, other);
    assert_eq!(forth(other), [2, 0, 3, 1]);
    lists.splice(other, head);
    assert_eq!((forth(other), back(head)), (vec![], vec![2, 0, 3, 1]));
}

fn pool(capacity: u32, spares: u32) -> Pool {
    let pool = build(&Home::private(), "t", |parts| Pool::new(parts, capacity, spares, 4, true));
    let pool = pool.expect("small");
    pool.fill();
    pool
}

#[test]
fn every_id_is_taken_once_and_freed_ids_come_first() {
    for capacity in [1, 2, 17, 4096, 5000] {
        let pool = pool(capacity, 1);
        let mut all: Vec<u32> = (0..capacity).filter_map(|_| pool.take()).collect();
        // Which come first depends on the thread's number.
        all.sort_unstable();
        assert_eq!(all, (0..capacity).collect::<Vec<_>>());
        assert_eq!(pool.take(), None);
    }
    let pool = pool(3, 1);
    (0..3).for_each(|_| assert!(pool.take().is_some()));
    pool.give(2);
    pool.give(1);
    assert_eq!(pool.take(), Some(1));
    assert_eq!(pool.take(), Some(2));
    assert_eq!(pool.take(), None);
}

#[test]
fn a_replaced_id_is_the_next_spare() {
    let pool = pool(3, 1);
    let spare = pool.take_spare().expect("one comes back");
    assert_eq!(spare.id, 3);
    pool.put_spare(spare, 0);
    assert_eq!(pool.take_spare().map(|spare| spare.id), Some(0));
}

#[test]
fn threads_never_share_an_id_and_none_is_lost() {
    let pool = pool(8, 2);
    let owners: Vec<AtomicU32> = (0..10).map(|_| AtomicU32::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let (owners, pool) = (&owners, &pool);
            let own = move |id: u32| {
                let before = owners[id as usize].swap(thread, Ordering::Relaxed);
                assert_eq!(before, 0, "id {id} has two owners");
                owners[id as usize].store(0, Ordering::Relaxed);
            };
            scope.spawn(move || {
                for _ in 0..20_000 {
                    let spare = pool.take_spare().expect("one comes back");
                    own(spare.id);
                    let id = spare.id;
                    pool.put_spare(spare, id);
                    if let Some(id) = pool.take() {
                        own(id);
                        pool.give(id);
                    }
                }
            });
        }
    });
    let rest = std::iter::from_fn(|| pool.take()).count();
    assert_eq!(rest, 8, "no id was lost");
}

fn table(capacity: u32, key_size: u32) -> Table {
    let def = MapDef { max_entries: capacity, key_size, ..MapDef::default() };
    Table::new(&def, &Home::private(), 2, u32::MAX).expect("small")
}

fn insert(table: &Table, bytes: &[u8]) -> Option<u32> {
    let key = Key::new(bytes);
    let bucket = table.index.lock(&key).expect("nobody holds it for long");
    let id = table.take().ok()?;
    bucket.insert(id, &key);
    Some(id)
}

fn remove(table: &Table, bytes: &[u8]) {
    table.remove(bytes, |_| ()).expect("there");
}

#[test]
fn what_is_inserted_is_found_and_what_is_removed_is_not() {
    for size in [4, 8, 12, 16, 17, 64] {
        let table = table(100, size);
        let key = |n: u32| {
            let mut key = vec![0; size as usize];
            key[..4].copy_from_slice(&n.to_le_bytes());
            *key.last_mut().expect("not empty") = 7;
            key
        };
        for n in 0..100 {
            assert!(insert(&table, &key(n)).is_some());
        }
        assert_eq!(insert(&table, &key(100)), None, "full");
        (0..100).step_by(2).for_each(|n| remove(&table, &key(n)));
        for n in 0..100 {
            assert_eq!(table.index.find(&key(n)).is_some(), n % 2 == 1, "{n}");
        }
    }
}

#[test]
fn iteration_sees_each_key_once() {
    let table = table(50, 4);
    for n in 0..50u32 {
        insert(&table, &(n * 7).to_le_bytes());
    }
    let (mut seen, mut key) = (Vec::new(), None::<[u8; 4]>);
    let mut next = [0; 4];
    while table.index.next(key.as_ref().map(|k| &k[..]), &mut next) {
        seen.push(u32::from_le_bytes(next));
        key = Some(next);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..50).map(|k| k * 7).collect::<Vec<_>>());
}

/// Keys that stay, some of them replaced over and over, are never missed while others
/// come and go in the same few buckets.
#[test]
fn readers_never_miss_a_key_that_stays() {
    let table = table(40, 8);
    let key = |n: u64| n.to_le_bytes();
    (0..16).for_each(|n| assert!(insert(&table, &key(n)).is_some()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (table, done) = (&table, &done);
        for thread in 0..2u64 {
            scope.spawn(move || {
                for round in 0..30_000u64 {
                    let stays = key(round % 16);
                    let stays = Key::new(&stays);
                    let bucket = table.index.lock(&stays).expect("nobody holds it for long");
                    let old = bucket.find(&stays).expect("it was never removed");
                    let spare = table.take_spare().expect("one comes back");
                    bucket.replace(old, spare.id, &stays);
                    table.put_spare(spare, old.id);
                    let churning = key(1000 + thread * 64 + round % 20);
                    if table.remove(&churning, |_| ()).is_err() {
                        insert(table, &churning);
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
        }
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                for n in 0..16 {
                    assert!(table.index.find(&key(n)).is_some(), "{n} was missed");
                }
            }
        });
    });
    (0..16).for_each(|n| remove(&table, &key(n)));
}
