//! A map's host segment: its index, links, locks and counters as cells of atomics,
//! addressed by offsets, so that they can lie in a file that several processes map.

#[cfg(not(loom))]
pub(crate) use real::Segment;

#[cfg(loom)]
pub(crate) use model::Segment;

/// Cells begin at a cache line of their own.
const LINE: u64 = 64;

/// Plans a segment, part by part.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    bytes: u64,
    #[cfg(loom)]
    parts: Vec<(u64, u64)>,
}

/// Where a part of 32-bit cells lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells32(Part);

/// Where a part of 64-bit cells lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells64(Part);

#[derive(Debug, Clone, Copy)]
struct Part {
    /// In bytes; in a model, which part it is.
    at: usize,
    count: usize,
}

impl Layout {
    /// Adds `count` cells of 32 bits.
    pub(crate) fn cells32(&mut self, count: u64) -> Cells32 {
        Cells32(self.part(count, 4))
    }

    /// Adds `count` cells of 64 bits.
    pub(crate) fn cells64(&mut self, count: u64) -> Cells64 {
        Cells64(self.part(count, 8))
    }

    /// How long the segment is, in bytes; `u64::MAX` when that is more.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn part(&mut self, count: u64, size: u64) -> Part {
        let at = self.bytes.checked_next_multiple_of(LINE).unwrap_or(u64::MAX);
        self.bytes = at.saturating_add(count.saturating_mul(size));
        #[cfg(loom)]
        let at = {
            self.parts.push((count, size));
            self.parts.len() as u64 - 1
        };
        let clamp = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Part { at: clamp(at), count: clamp(count) }
    }
}

#[cfg(not(loom))]
mod real {
    use std::fs::File;

    use skep_memory::HostSegment;

    use super::{Cells32, Cells64, Layout};
    use crate::Errno;
    use crate::sync::{AtomicU32, AtomicU64};

    /// Zeroed cells in mapped memory.
    #[derive(Debug)]
    pub(crate) struct Segment {
        memory: HostSegment,
    }

    impl Segment {
        /// A segment of this process, or in a file from byte `offset` on.
        ///
        /// # Errors
        ///
        /// `ENOMEM` when the host gives no room; `name` is the map's.
        pub(crate) fn new(
            layout: &Layout,
            name: &str,
            file: Option<(&File, u64)>,
        ) -> Result<Self, Errno> {
            let what = format!("the index of map `{name}`");
            let memory = match file {
                None => HostSegment::anonymous(layout.bytes(), &what),
                Some((file, offset)) => HostSegment::file(file, offset, layout.bytes(), &what),
            };
            Ok(Self { memory: memory.map_err(|_| Errno::ENOMEM)? })
        }

        /// A part's cells. A part of another segment gives other cells, or panics.
        #[inline]
        pub(crate) fn cells32(&self, cells: Cells32) -> &[AtomicU32] {
            self.memory.cells32(cells.0.at, cells.0.count)
        }

        /// A part's cells. A part of another segment gives other cells, or panics.
        #[inline]
        pub(crate) fn cells64(&self, cells: Cells64) -> &[AtomicU64] {
            self.memory.cells64(cells.0.at, cells.0.count)
        }
    }
}

#[cfg(loom)]
mod model {
    use super::{Cells32, Cells64, Layout};
    use crate::sync::{AtomicU32, AtomicU64};

    /// Zeroed cells that loom watches.
    #[derive(Debug)]
    pub(crate) struct Segment {
        parts: Vec<Cells>,
    }

    #[derive(Debug)]
    enum Cells {
        Short(Vec<AtomicU32>),
        Long(Vec<AtomicU64>),
    }

    impl Segment {
        pub(crate) fn new(layout: &Layout) -> Self {
            let cells = |&(count, size): &(u64, u64)| match size {
                4 => Cells::Short((0..count).map(|_| AtomicU32::new(0)).collect()),
                _ => Cells::Long((0..count).map(|_| AtomicU64::new(0)).collect()),
            };
            Self { parts: layout.parts.iter().map(cells).collect() }
        }

        pub(crate) fn cells32(&self, cells: Cells32) -> &[AtomicU32] {
            match &self.parts[cells.0.at] {
                Cells::Short(cells) => cells,
                Cells::Long(_) => panic!("the part has long cells"),
            }
        }

        pub(crate) fn cells64(&self, cells: Cells64) -> &[AtomicU64] {
            match &self.parts[cells.0.at] {
                Cells::Long(cells) => cells,
                Cells::Short(_) => panic!("the part has short cells"),
            }
        }
    }
}
