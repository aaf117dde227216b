//! The window: where it lies, what is free in it and what its spans are for.
#![expect(unsafe_code, reason = "promises to `View` that the mappings are long enough")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::alloc::FreeRanges;
use crate::mapping::{Mapping, Pages, Sharing, page_size};
use crate::region::{Label, Place};
use crate::view::View;
use crate::{Access, GuestPtr, MemoryError, index};

/// Readable and writable bytes before and behind window and shadow. An access may
/// start at the window's last byte and be 64 KiB wide.
const SLOP: u64 = 64 << 10;
/// The largest window: what 32-bit guest pointers can address.
const LARGEST: u64 = 1 << 32;
/// The smallest window worth having, when the host refuses larger ones.
const SMALLEST: u64 = 64 << 20;
/// Nothing is handed out below this offset, so that null pointers with an offset fault.
const FIRST: u64 = 64 << 10;
/// Nothing is handed out in the last so many bytes either, so that a pointer beyond the
/// window, which native code truncates to 32 bits, is not accessible after adding any
/// 16-bit displacement: checking the pointer's upper half once serves all of them.
const LAST: u64 = 64 << 10;
/// Spans lie at least so many bytes apart.
pub(crate) const GAP: u64 = 64;
/// Uniform shadow of this size, aligned, is one shared piece of page cache.
const CHUNK: u64 = 2 << 20;
/// Freed memory of this size or more goes back to the host rather than being zeroed.
const DISCARD: u64 = 64 << 10;
/// How far from an object an address may lie to be told as a miss of that object.
const NEAR: u64 = 64 << 10;

/// The sandbox: up to 4 GiB of address space that holds all memory a program can
/// reach, and a shadow with the rights of each byte.
///
/// Memory is committed when it is first written; an unused window costs nothing.
/// All methods may be called from any thread.
#[derive(Debug)]
pub struct Window {
    memory: Mapping,
    shadow: Mapping,
    len: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: FreeRanges,
    spans: BTreeMap<u32, SpanInfo>,
}

#[derive(Debug)]
struct SpanInfo {
    len: u32,
    label: Label,
}

impl Window {
    /// Reserves a window of 4 GiB, or of the largest power of two down to 64 MiB
    /// that the host grants.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Reserve`] when the host grants none of them.
    pub fn reserve() -> Result<Arc<Self>, MemoryError> {
        let mut len = LARGEST;
        loop {
            match Self::with_len(len) {
                Ok(window) => return Ok(window),
                Err(_) if len > SMALLEST => len /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Reserves a window of `len` bytes: a power of two from 64 MiB to 4 GiB.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Reserve`] when the host refuses, or for another `len`.
    pub fn with_len(len: u64) -> Result<Arc<Self>, MemoryError> {
        let bytes = 2 * (len.saturating_add(2 * SLOP));
        let refuse = |source| MemoryError::Reserve { bytes, source };
        if !len.is_power_of_two() || !(SMALLEST..=LARGEST).contains(&len) {
            return Err(refuse(std::io::ErrorKind::InvalidInput.into()));
        }
        let map = || Mapping::reserve(index(len + 2 * SLOP)).map_err(refuse);
        let (memory, shadow) = (map()?, map()?);
        let state =
            Mutex::new(State { free: FreeRanges::new(FIRST, len - LAST), spans: BTreeMap::new() });
        Ok(Arc::new(Self { memory, shadow, len, state }))
    }

    /// The window's size in bytes; guest pointers beyond it are never accessible.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the window has no bytes; it never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes belong to no span; they need not be in one piece.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.lock().free.total()
    }

    /// The window's memory, ready for access.
    #[inline]
    #[must_use]
    pub fn view(&self) -> View<'_> {
        // SAFETY: the slop before the window lies inside the mapping.
        let base = unsafe { self.memory.base().add(index(SLOP)) };
        // SAFETY: as above, in the shadow's mapping.
        let shadow = unsafe { self.shadow.base().add(index(SLOP)) };
        // SAFETY: both mappings hold `SLOP + len + SLOP` bytes, readable and
        // writable, and live as long as `self` (M1).
        unsafe { View::new(base, shadow, self.len) }
    }

    /// What is nearest to an access of `size` bytes at `addr`, if anything is near.
    #[must_use]
    pub fn describe(&self, addr: u64, size: u64) -> Option<Place> {
        let state = self.lock();
        let start = u32::try_from(addr.min(self.len - 1)).ok()?;
        let before = state.spans.range(..=start).next_back();
        let after = state.spans.range((Bound::Excluded(start), Bound::Unbounded)).next();
        before
            .into_iter()
            .chain(after)
            .filter_map(|(&span, info)| self.nearest_in(span, info, addr, size))
            .filter(|place| place.distance() <= NEAR)
            .min_by_key(Place::distance)
    }

    fn nearest_in(&self, span: u32, info: &SpanInfo, addr: u64, size: u64) -> Option<Place> {
        let what = &info.label.what;
        let Some(grid) = info.label.grid else {
            let (start, len) =
                self.accessible_near(span, info.len, addr).unwrap_or((span, info.len));
            return Some(Place::relate(what, start, len, addr, size));
        };
        let count = (info.len + (grid.stride - grid.size)) / grid.stride;
        let offset = addr.saturating_sub(u64::from(span));
        let index = (offset / u64::from(grid.stride)).min(u64::from(count.saturating_sub(1)));
        (index..=index + 1)
            .filter(|&index| index < u64::from(count))
            .filter_map(|index| {
                u32::try_from(u64::from(span) + index * u64::from(grid.stride)).ok()
            })
            .filter(|&start| self.is_open(start, grid.size))
            .map(|start| Place::relate(what, start, grid.size, addr, size))
            .min_by_key(Place::distance)
    }

    /// Whether an object is accessible at all: some of its first bytes, or its last.
    fn is_open(&self, start: u32, size: u32) -> bool {
        let view = self.view();
        let (start, end) = (u64::from(start), u64::from(start) + u64::from(size));
        let mut first = start..end.min(start + 64);
        first.any(|at| view.access(at) != Access::None) || view.access(end - 1) != Access::None
    }

    /// The accessible run of bytes nearest to `addr` within a span.
    fn accessible_near(&self, span: u32, len: u32, addr: u64) -> Option<(u32, u32)> {
        let view = self.view();
        let open = |&at: &u64| view.access(at) != Access::None;
        let (first, end) = (u64::from(span), u64::from(span) + u64::from(len));
        let from = addr.clamp(first, end - 1);
        let below = (first.max(from.saturating_sub(NEAR))..=from).rev().find(open);
        let above = (from..end.min(from + NEAR)).find(open);
        let hit = match (below, above) {
            (Some(below), Some(above)) if above - from < from - below => above,
            (Some(below), _) => below,
            (None, above) => above?,
        };
        let start = (first..hit).rev().take_while(open).last().unwrap_or(hit);
        let stop = (hit..end).take_while(open).last().unwrap_or(hit);
        Some((u32::try_from(start).ok()?, u32::try_from(stop + 1 - start).ok()?))
    }

    pub(crate) fn take(&self, len: u64, align: u64, label: Label) -> Result<u32, MemoryError> {
        let full = |label: &Label| MemoryError::Full { bytes: len, what: label.what.to_string() };
        let Ok(len32) = u32::try_from(len) else {
            return Err(full(&label));
        };
        let mut state = self.lock();
        let Some(start) = state.free.take(len + GAP, align) else {
            return Err(full(&label));
        };
        let start = u32::try_from(start).expect("a window has at most 2^32 bytes");
        state.spans.insert(start, SpanInfo { len: len32, label });
        Ok(start)
    }

    /// Frees a span whose memory is zero and inaccessible again (M3).
    pub(crate) fn give(&self, start: u32) {
        let mut state = self.lock();
        let info = state.spans.remove(&start).expect("a span is given back once");
        state.free.give(u64::from(start), u64::from(info.len) + GAP);
    }

    pub(crate) fn relabel(&self, start: u32, label: Label) {
        if let Some(info) = self.lock().spans.get_mut(&start) {
            info.label = label;
        }
    }

    /// Sets the rights of `range`. Whole aligned chunks share pages.
    #[inline]
    pub(crate) fn set_access(&self, range: Range<u64>, access: Access) {
        if range.end - range.start < CHUNK {
            self.fill_shadow(range.start..range.end, access);
        } else {
            self.set_access_by_chunks(range, access);
        }
    }

    fn set_access_by_chunks(&self, range: Range<u64>, access: Access) {
        let first = range.start.next_multiple_of(CHUNK).min(range.end);
        let last = (range.end / CHUNK * CHUNK).max(first);
        self.fill_shadow(range.start..first, access);
        for chunk in (first..last).step_by(index(CHUNK)) {
            let whole = chunk..chunk + CHUNK;
            if self.place_chunk(whole.clone(), access).is_err() {
                self.fill_shadow(whole, access);
            }
        }
        self.fill_shadow(last..range.end, access);
    }

    /// Maps a repeating pattern of rights over the start of a span, as far as it pays;
    /// returns how many bytes, a multiple of `period`, it covers.
    pub(crate) fn set_pattern(
        &self,
        start: u32,
        len: u32,
        period: u32,
        open: &[(Range<u32>, Access)],
    ) -> u32 {
        let page = page_size() as u64;
        // The shortest piece of whole periods and whole pages, as often as makes a chunk.
        let piece = u64::from(period) * (page / gcd(u64::from(period), page));
        let piece = piece * (CHUNK / 2 / piece).max(1);
        let pieces = u64::from(len) / piece;
        if pieces < 2 || !u64::from(start).is_multiple_of(page) {
            return 0;
        }
        let Ok(file) = pattern_file(piece, period, open) else { return 0 };
        let mut covered = 0;
        for number in 0..pieces {
            let from = u64::from(start) + number * piece;
            let range = pages(&(from..from + piece));
            if self.shadow.place_file(range, &file, 0, Sharing::Private).is_err() {
                break;
            }
            covered += piece;
        }
        u32::try_from(covered).expect("no more than the span's length")
    }

    fn place_chunk(&self, range: Range<u64>, access: Access) -> std::io::Result<()> {
        let range = pages(&range);
        match chunk_file(access)? {
            None => self.shadow.place_zeros(range),
            Some(file) => self.shadow.place_file(range, file, 0, Sharing::Private),
        }
    }

    fn fill_shadow(&self, range: Range<u64>, access: Access) {
        self.view().fill_shadow(range.start, range.end - range.start, access.shadow());
    }

    /// Maps what `file` has from `offset` on over whole pages of the window.
    pub(crate) fn place_file(
        &self,
        range: Range<u64>,
        file: &File,
        offset: u64,
    ) -> std::io::Result<()> {
        let range = pages(&range);
        self.memory.place_file(range, file, offset, Sharing::Shared)
    }

    /// Says what pages a range of the window should have.
    pub(crate) fn advise(&self, range: Range<u64>, size: Pages) {
        let page = page_size() as u64;
        let first = range.start.next_multiple_of(page).min(range.end);
        let last = (range.end / page * page).max(first);
        self.memory.advise(pages(&(first..last)), size);
    }

    /// Makes whole pages of the window private zero pages again.
    pub(crate) fn place_zeros(&self, range: Range<u64>) -> std::io::Result<()> {
        self.memory.place_zeros(pages(&range))
    }

    /// Zeroes private memory, giving back whole pages of large ranges.
    pub(crate) fn zero(&self, range: Range<u64>) {
        let page = page_size() as u64;
        let first = range.start.next_multiple_of(page).min(range.end);
        let last = (range.end / page * page).max(first);
        let pages = pages(&(first..last));
        let discarded = last - first >= DISCARD && self.memory.discard(pages).is_ok();
        let parts = if discarded { [range.start..first, last..range.end] } else { [range, 0..0] };
        for part in parts {
            self.view().fill_memory(part.start, part.end - part.start, 0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between statements, so a panic elsewhere in a
        // holder's thread does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a range of the window lies in its mapping, or in its shadow's.
fn pages(range: &Range<u64>) -> Range<usize> {
    index(SLOP + range.start)..index(SLOP + range.end)
}

/// The greatest number that divides both.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A file of `len` bytes of shadow with a pattern.
fn pattern_file(len: u64, period: u32, open: &[(Range<u32>, Access)]) -> std::io::Result<File> {
    let mut one = vec![Access::None.shadow(); period as usize];
    for (range, access) in open {
        one[range.start as usize..range.end as usize].fill(access.shadow());
    }
    let mut file = memfd("skep-pattern")?;
    file.write_all(&one.repeat(index(len / u64::from(period))))?;
    Ok(file)
}

/// A file of [`CHUNK`] bytes that all grant `access`; none is needed for bytes that grant
/// nothing.
fn chunk_file(access: Access) -> std::io::Result<Option<&'static File>> {
    static READ: OnceLock<Option<File>> = OnceLock::new();
    static WRITE: OnceLock<Option<File>> = OnceLock::new();
    static READ_WRITE: OnceLock<Option<File>> = OnceLock::new();
    let cell = match access {
        Access::None => return Ok(None),
        Access::Read => &READ,
        Access::Write => &WRITE,
        Access::ReadWrite => &READ_WRITE,
    };
    let make = || {
        let mut file = memfd("skep-shadow").ok()?;
        file.write_all(&vec![access.shadow(); index(CHUNK)]).ok()?;
        Some(file)
    };
    let file = cell.get_or_init(make).as_ref();
    file.map(Some).ok_or_else(|| std::io::ErrorKind::OutOfMemory.into())
}

/// An anonymous file.
pub(crate) fn memfd(name: &str) -> std::io::Result<File> {
    let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(File::from(fd))
}

impl GuestPtr {
    /// The slice of `len` bytes from here on, when all are inside the window.
    #[must_use]
    pub fn slice(self, window: &Window, len: u32) -> Option<crate::GuestSlice<'_>> {
        crate::GuestSlice::new(window.view(), self, len)
    }
}
