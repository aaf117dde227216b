//! Producers and the consumer of a ring buffer.

use std::sync::Arc;

use loom::thread;

use super::check;
use crate::positions::{BUSY, Headers, Next, Positions};
use crate::segment::Parts;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// A ring of 64 bytes whose records have one word of data.
struct Ring {
    positions: Positions,
    headers: Vec<AtomicU32>,
    data: Vec<AtomicU64>,
}

const BYTES: u64 = 64;

fn slot(pos: u64) -> usize {
    usize::try_from(pos % BYTES / 8).expect("below 8")
}

impl Headers for Ring {
    fn header(&self, pos: u64) -> &AtomicU32 {
        &self.headers[slot(pos)]
    }
}

impl Ring {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            positions: Positions::new(&mut Parts::default(), BYTES),
            headers: (0..8).map(|_| AtomicU32::new(0)).collect(),
            data: (0..8).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Puts a record in; whether the consumer is to be woken, `None` when there is no room.
    fn produce(&self, value: u64) -> Option<bool> {
        let prepare = |pos| self.header(pos).store(8 | BUSY, Ordering::Relaxed);
        let pos = self.positions.reserve(8, prepare)?;
        self.data[slot(pos + 8)].store(value, Ordering::Relaxed);
        Some(self.positions.commit(self, pos, 8, true))
    }

    /// Takes all records that are there.
    fn consume(&self) -> Vec<u64> {
        let mut values = Vec::new();
        while let Next::Record(pos, header) = self.positions.next(self) {
            assert_eq!(header, 8, "a committed record of eight bytes");
            values.push(self.data[slot(pos + 8)].load(Ordering::Relaxed));
            self.positions.free(pos, header);
        }
        values
    }
}

#[test]
fn records_of_two_producers_arrive_whole_and_each_once() {
    check(2, || {
        let ring = Ring::new();
        let producers: Vec<_> = (1..=2)
            .map(|value| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || assert!(ring.produce(value).is_some(), "there is room"))
            })
            .collect();
        let mut values = ring.consume();
        producers.into_iter().for_each(|producer| producer.join().expect("it ends"));
        values.extend(ring.consume());
        values.sort_unstable();
        assert_eq!(values, [1, 2]);
    });
}

#[test]
fn a_consumer_that_found_nothing_is_woken_by_what_comes_later() {
    check(3, || {
        let ring = Ring::new();
        let producer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || [1, 2].map(|value| ring.produce(value).expect("there is room")))
        };
        let before = ring.consume().len();
        // The consumer waits now.
        let woken = producer.join().expect("it ends");
        let left = ring.consume().len();
        assert_eq!(before + left, 2);
        assert!(left == 0 || woken[before], "{before} read, {left} left, woken by {woken:?}");
    });
}

#[test]
fn a_record_is_written_over_only_when_it_was_consumed() {
    check(2, || {
        let ring = Ring::new();
        // Three records fit into the ring; the fourth needs the room of the first.
        (1..=3).for_each(|value| assert!(ring.produce(value).is_some()));
        let producer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.produce(4).is_some())
        };
        let mut values = ring.consume();
        let fits = producer.join().expect("it ends");
        values.extend(ring.consume());
        assert_eq!(values, if fits { vec![1, 2, 3, 4] } else { vec![1, 2, 3] });
    });
}
