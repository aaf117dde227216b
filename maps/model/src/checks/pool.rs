//! Who owns which element.

use std::sync::Arc;

use loom::thread;

use super::check;
use crate::pool::Pool;
use crate::segment::Parts;
use crate::sync::{AtomicU64, Ordering, fence};

/// Marks an id as owned for a moment, in which nobody else may own it.
fn own(owners: &[AtomicU64], id: u32, thread: u64) {
    assert_eq!(owners[id as usize].swap(thread, Ordering::Relaxed), 0, "id {id} has one owner");
    fence(Ordering::SeqCst);
    owners[id as usize].store(0, Ordering::Relaxed);
}

fn run(capacity: u32, work: fn(&Pool, &[AtomicU64], u64)) {
    check(2, move || {
        let pool = Pool::new(&mut Parts::default(), capacity, 2, 1, true);
        pool.fill();
        let owners: Vec<_> = (0..capacity + 2).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new((pool, owners));
        let threads: Vec<_> = (1..=2_u64)
            .map(|thread| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || work(&shared.0, &shared.1, thread))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("the thread ends"));
        let free = std::iter::from_fn(|| shared.0.take()).count();
        assert_eq!(free, capacity as usize, "no id was lost");
    });
}

#[test]
fn an_id_that_is_taken_and_given_back_has_one_owner_at_a_time() {
    run(2, |pool, owners, thread| {
        for _ in 0..2 {
            if let Some(id) = pool.take() {
                own(owners, id, thread);
                pool.give(id);
            }
        }
    });
}

#[test]
fn a_spare_has_one_owner_at_a_time_and_may_change_places_with_an_element() {
    run(2, |pool, owners, thread| {
        let element = pool.take().expect("one for each thread");
        let spare = pool.take_spare().expect("one comes back");
        own(owners, spare.id, thread);
        let now = spare.id;
        pool.put_spare(spare, element);
        own(owners, now, thread);
        pool.give(now);
    });
}

#[test]
fn a_top_that_went_and_came_back_is_not_taken_for_the_old_one() {
    check(2, || {
        let pool = Pool::new(&mut Parts::default(), 2, 1, 1, true);
        pool.fill();
        // Both ids are on the stack, one above the other.
        let ids = [pool.take(), pool.take()].map(|id| id.expect("there are two"));
        ids.into_iter().for_each(|id| pool.give(id));
        let pool = Arc::new(pool);
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let (first, second) = (pool.take(), pool.take());
                // The first goes back where it was; the second stays taken.
                first.into_iter().for_each(|id| pool.give(id));
                second
            })
        };
        let mine = pool.take();
        let theirs = other.join().expect("the thread ends");
        let rest = std::iter::from_fn(|| pool.take());
        let mut all: Vec<u32> = mine.into_iter().chain(theirs).chain(rest).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1], "each id has one owner");
    });
}
