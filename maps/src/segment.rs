//! A map's host segment: its index, links, locks and counters as cells of atomics in one
//! piece of memory, which can lie in a file that several processes map.
//!
//! What is built on cells asks a [`Parts`] for them in its constructor. The constructor is
//! called twice: once to measure how much is asked for, then to hand it out.

use std::sync::atomic::{AtomicU32, AtomicU64};

use skep_memory::{Cells, HostSegment};

use crate::Errno;
use crate::home::Home;
use crate::patience::Patience;

/// Cells of 32 bits.
pub(crate) type Cells32 = Cells<AtomicU32>;
/// Cells of 64 bits.
pub(crate) type Cells64 = Cells<AtomicU64>;

/// Parts begin at a cache line of their own.
const LINE: u64 = 64;

/// Hands out the parts of a segment.
#[derive(Debug)]
pub(crate) struct Parts<'s> {
    segment: &'s HostSegment,
    /// Whether parts are only measured; their cells are then none.
    measures: bool,
    /// Whether other processes may have the segment too.
    is_shared: bool,
    end: u64,
}

impl Parts<'_> {
    /// `count` cells of 32 bits, zero in a new segment.
    pub(crate) fn cells32(&mut self, count: u64) -> Cells32 {
        let (at, count) = self.part(count, 4);
        self.segment.cells32(at, count)
    }

    /// `count` cells of 64 bits, zero in a new segment.
    pub(crate) fn cells64(&mut self, count: u64) -> Cells64 {
        let (at, count) = self.part(count, 8);
        self.segment.cells64(at, count)
    }

    /// How long those who use the segment wait for each other.
    pub(crate) fn patience(&self) -> Patience {
        if self.is_shared { Patience::limited() } else { Patience::endless() }
    }

    fn part(&mut self, count: u64, size: u64) -> (usize, usize) {
        let start = self.end.checked_next_multiple_of(LINE).unwrap_or(u64::MAX);
        self.end = start.saturating_add(count.saturating_mul(size));
        if self.measures {
            return (0, 0);
        }
        let fits = "what was measured fits the host";
        (usize::try_from(start).expect(fits), usize::try_from(count).expect(fits))
    }
}

/// Builds something in a segment of its own; `name` is the map's. `make` must ask for
/// the same parts each time and leave the cells as they are.
///
/// # Errors
///
/// `ENOMEM` when the host gives no room.
pub(crate) fn build<T>(
    home: &Home,
    name: &str,
    make: impl Fn(&mut Parts<'_>) -> T,
) -> Result<T, Errno> {
    let what = format!("the index of map `{name}`");
    let none = HostSegment::anonymous(0, &what).map_err(|_| Errno::ENOMEM)?;
    let mut measuring = Parts { segment: &none, measures: true, is_shared: false, end: 0 };
    drop(make(&mut measuring));
    let segment = home.segment(measuring.end, &what)?;
    let is_shared = home.is_shared();
    Ok(make(&mut Parts { segment: &segment, measures: false, is_shared, end: 0 }))
}
