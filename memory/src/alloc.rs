//! Which ranges of the window are free.
//!
//! First fit by address: the same requests in the same order get the same
//! addresses, so that guest pointers are repeatable.

use std::collections::BTreeMap;

/// The free ranges of a window, keyed by start.
#[derive(Debug)]
pub(crate) struct FreeRanges {
    free: BTreeMap<u64, u64>,
}

impl FreeRanges {
    /// Everything in `start..end` is free.
    pub(crate) fn new(start: u64, end: u64) -> Self {
        Self { free: BTreeMap::from([(start, end - start)]) }
    }

    /// Takes the lowest free range of `len` bytes whose start is a multiple of
    /// `align` (a power of two).
    pub(crate) fn take(&mut self, len: u64, align: u64) -> Option<u64> {
        let (start, size, at) = self.free.iter().find_map(|(&start, &size)| {
            let at = start.checked_next_multiple_of(align)?;
            let fits = at.checked_add(len)? <= start + size;
            fits.then_some((start, size, at))
        })?;
        self.free.remove(&start);
        if at > start {
            self.free.insert(start, at - start);
        }
        let (end, taken_end) = (start + size, at + len);
        if end > taken_end {
            self.free.insert(taken_end, end - taken_end);
        }
        Some(at)
    }

    /// Gives back a range that `take` handed out.
    pub(crate) fn give(&mut self, mut start: u64, mut len: u64) {
        if let Some((&before, &size)) = self.free.range(..start).next_back()
            && before + size == start
        {
            self.free.remove(&before);
            start = before;
            len += size;
        }
        if let Some(after) = self.free.remove(&(start + len)) {
            len += after;
        }
        self.free.insert(start, len);
    }

    /// The number of free bytes.
    pub(crate) fn total(&self) -> u64 {
        self.free.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lowest_fit_is_taken() {
        let mut ranges = FreeRanges::new(16, 1024);
        assert_eq!(ranges.take(8, 64), Some(64));
        assert_eq!(ranges.take(8, 8), Some(16));
        assert_eq!(ranges.take(2000, 8), None);
    }

    proptest! {
        #[test]
        fn ranges_never_overlap_and_all_come_back(
            wants in prop::collection::vec((1u64..500, 0u32..8, any::<bool>()), 1..60)
        ) {
            let mut ranges = FreeRanges::new(64, 8192);
            let mut live: Vec<(u64, u64)> = Vec::new();
            for (len, align, free_one) in wants {
                if free_one && !live.is_empty() {
                    let (at, len) = live.swap_remove(live.len() / 2);
                    ranges.give(at, len);
                }
                if let Some(at) = ranges.take(len, 1 << align) {
                    prop_assert_eq!(at % (1 << align), 0);
                    prop_assert!(at >= 64 && at + len <= 8192);
                    prop_assert!(live.iter().all(|&(a, l)| at + len <= a || a + l <= at));
                    live.push((at, len));
                }
            }
            for (at, len) in live {
                ranges.give(at, len);
            }
            prop_assert_eq!(ranges.total(), 8192 - 64);
            prop_assert_eq!(ranges.take(8192 - 64, 1), Some(64));
        }
    }
}
