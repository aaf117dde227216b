//! Where a map's values stand in guest memory, and how they are copied.

use std::sync::{Arc, OnceLock};

use skep_memory::{Access, Backing, Grid, GuestPtr, GuestSlice, Label, Span, SpanRequest, Window};

use crate::def::SpecialKind;
use crate::flags::{BPF_F_MMAPABLE, BPF_F_RDONLY_PROG};
use crate::map::Source;
use crate::{Errno, MapDef, World};

/// Values of maps up to this many bytes lie [`GAP`] apart, so that one byte too far
/// is a fault; larger maps are precise at their ends only.
const GAPPED: u64 = 16 << 20;
/// Inaccessible bytes between two values.
const GAP: u32 = 8;
/// Values of maps with so many bytes start at a page.
const PAGED: u64 = 1 << 20;
/// Growing maps take room for so many bytes of values at a time.
const CHUNK_BYTES: u32 = 256 << 10;

/// The values of a map: `count` elements of one size, for one CPU or for each.
///
/// Elements have stable ids from 0. Room is taken in chunks; each element becomes
/// accessible to programs when it is first [opened](Values::open).
#[derive(Debug)]
pub(crate) struct Values {
    world: Arc<World>,
    window: Arc<Window>,
    chunks: Box<[OnceLock<Span>]>,
    /// Elements per chunk, as a power of two.
    chunk_shift: u32,
    planes: u32,
    /// Distance from an element on one CPU to the same on the next, in bytes.
    plane_len: u32,
    stride: u32,
    layout: Layout,
    access: Access,
    label: Label,
}

/// How much room is taken at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// All of it, in one piece.
    Whole,
    /// Nothing; chunks as elements are opened.
    Chunks,
}

impl Values {
    /// Room for `count` values of `def.value_size` bytes on each of `planes` CPUs.
    pub(crate) fn new(
        world: &Arc<World>,
        def: &MapDef,
        count: u32,
        planes: u32,
        growth: Growth,
    ) -> Result<Self, Errno> {
        let size = def.value_size;
        let rounded = size.checked_next_multiple_of(8).ok_or(Errno::E2BIG)?;
        let bytes = u64::from(rounded) * u64::from(count) * u64::from(planes);
        let gapped = bytes <= GAPPED && def.flags & BPF_F_MMAPABLE == 0;
        let stride = if gapped { rounded + GAP } else { rounded };
        let (chunk_shift, chunk_count) = match growth {
            Growth::Whole => (31, 1),
            Growth::Chunks => {
                let shift = (CHUNK_BYTES / stride).max(1).ilog2();
                (shift, count.div_ceil(1 << shift))
            }
        };
        let per_chunk = if growth == Growth::Whole { count } else { 1 << chunk_shift };
        let plane_len = stride.checked_mul(per_chunk).ok_or(Errno::ENOMEM)?;
        let what = format!("value of map `{}`", def.name);
        let access =
            if def.flags & BPF_F_RDONLY_PROG == 0 { Access::ReadWrite } else { Access::Read };
        let values = Self {
            world: Arc::clone(world),
            window: Arc::clone(world.window()),
            chunks: (0..chunk_count).map(|_| OnceLock::new()).collect(),
            chunk_shift,
            planes,
            plane_len,
            stride,
            layout: Layout::new(def),
            access,
            label: Label::many(what, Grid { size, stride }),
        };
        if growth == Growth::Whole {
            values.place(0, values.take()?);
        }
        Ok(values)
    }

    fn take(&self) -> Result<Span, Errno> {
        let len = u64::from(self.plane_len) * u64::from(self.planes);
        let request = SpanRequest {
            len,
            // Patterns of rights are shared by whole pages.
            align: if len < PAGED { 8 } else { 4096 },
            access: Access::None,
            label: self.label.clone(),
            backing: Backing::Anonymous,
        };
        Span::new(&self.window, request).map_err(|_| Errno::ENOMEM)
    }

    fn place(&self, chunk: usize, span: Span) {
        let first = span.ptr();
        // Another thread may have been first; its span serves as well.
        let placed = self.chunks[chunk].set(span).is_ok();
        if let (true, Some(lock)) = (placed, self.layout.lock) {
            self.world.locks().add(first.add(lock), self.stride, self.plane_len / self.stride);
        }
    }

    /// Makes element `id` accessible, on all planes, taking room when it needs a new
    /// chunk. Opening twice does nothing more.
    pub(crate) fn open(&self, id: u32) -> Result<(), Errno> {
        let chunk = &self.chunks[(id >> self.chunk_shift) as usize];
        if chunk.get().is_none() {
            self.place((id >> self.chunk_shift) as usize, self.take()?);
        }
        let span = chunk.get().expect("set above");
        for plane in 0..self.planes {
            let offset = self.offset(id, plane);
            for piece in self.layout.pieces() {
                span.set_access(offset + piece.offset..offset + piece.end(), self.access);
            }
        }
        Ok(())
    }

    /// Makes elements `0..count` accessible.
    pub(crate) fn open_all(&self, count: u32) -> Result<(), Errno> {
        let contiguous = self.stride == self.layout.size && self.layout.special.is_empty();
        if let (true, Some(span)) = (contiguous, self.chunks[0].get()) {
            span.set_access(0..span.len(), self.access);
            return Ok(());
        }
        match self.chunks[0].get() {
            Some(span) => {
                let pieces = self.layout.pieces().map(|piece| piece.offset..piece.end());
                span.set_pattern(self.stride, &pieces.collect::<Vec<_>>(), self.access);
                Ok(())
            }
            None => (0..count).try_for_each(|id| self.open(id)),
        }
    }

    #[inline]
    fn offset(&self, id: u32, plane: u32) -> u32 {
        let within = id & ((1 << self.chunk_shift) - 1);
        self.plane_len * plane + within * self.stride
    }

    /// The guest pointer to element `id` on `plane`.
    #[inline]
    pub(crate) fn ptr(&self, id: u32, plane: u32) -> GuestPtr {
        let span = self.chunks[(id >> self.chunk_shift) as usize].get();
        let span = span.expect("an element is opened before it is used");
        span.ptr().add(self.offset(id, plane))
    }

    /// Element `id` on `plane`, for the host.
    #[inline]
    pub(crate) fn slice(&self, id: u32, plane: u32) -> GuestSlice<'_> {
        let slice = self.ptr(id, plane).slice(&self.window, self.layout.size);
        slice.expect("elements lie in the window")
    }

    /// The number of planes.
    pub(crate) fn planes(&self) -> u32 {
        self.planes
    }

    /// Where the kernel's own fields stand in a value.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Copies a value in, leaving the kernel's fields as they are.
    #[inline]
    pub(crate) fn write(&self, id: u32, plane: u32, value: Source<'_>) {
        self.layout.write(self.slice(id, plane), value);
    }

    /// Copies a value out; the kernel's fields read as zeros.
    pub(crate) fn read(&self, id: u32, plane: u32, out: &mut [u8]) {
        self.layout.read(self.slice(id, plane), out);
    }

    /// Zeroes a value, but for the kernel's fields.
    pub(crate) fn zero(&self, id: u32, plane: u32) {
        for piece in self.layout.pieces() {
            self.slice(id, plane).part(piece.offset, piece.size).fill(0);
        }
    }

    /// The address of the value's spin lock, if its type has one.
    pub(crate) fn lock_ptr(&self, id: u32) -> Option<GuestPtr> {
        Some(self.ptr(id, 0).add(self.layout.lock?))
    }

    /// Writes a value in place under its spin lock (`BPF_F_LOCK`), which must exist.
    pub(crate) fn write_locked(&self, world: &World, id: u32, value: Source<'_>) {
        let lock = self.lock_ptr(id).expect("the caller has checked for a lock");
        let _never_gives_up = world.locks().acquire(lock, || false);
        self.write(id, 0, value);
        world.locks().release(lock);
    }

    /// Reads a value under its spin lock, which must exist.
    pub(crate) fn read_locked(&self, world: &World, id: u32, out: &mut [u8]) {
        let lock = self.lock_ptr(id).expect("the caller has checked for a lock");
        let _never_gives_up = world.locks().acquire(lock, || false);
        self.read(id, 0, out);
        world.locks().release(lock);
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        let Some(lock) = self.layout.lock else { return };
        for span in self.chunks.iter().filter_map(OnceLock::get) {
            self.world.locks().remove(span.ptr().add(lock));
        }
    }
}

/// A value's bytes, split into the program's and the kernel's.
#[derive(Debug)]
pub(crate) struct Layout {
    size: u32,
    special: Vec<Piece>,
    lock: Option<u32>,
}

/// A run of bytes in a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) offset: u32,
    pub(crate) size: u32,
}

impl Piece {
    fn end(self) -> u32 {
        self.offset + self.size
    }
}

impl Layout {
    fn new(def: &MapDef) -> Self {
        let mut special: Vec<Piece> = def
            .special
            .iter()
            .map(|field| Piece { offset: field.offset, size: field.size })
            .collect();
        special.sort_by_key(|piece| piece.offset);
        let lock = def.special.iter().find(|field| field.kind == SpecialKind::SpinLock);
        Self { size: def.value_size, special, lock: lock.map(|field| field.offset) }
    }

    /// Whether values have a `bpf_spin_lock`.
    pub(crate) fn has_lock(&self) -> bool {
        self.lock.is_some()
    }

    /// The runs of bytes between the kernel's fields.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> {
        let starts = [0].into_iter().chain(self.special.iter().map(|piece| piece.end()));
        let ends = self.special.iter().map(|piece| piece.offset).chain([self.size]);
        starts
            .zip(ends)
            .filter(|(start, end)| start < end)
            .map(|(start, end)| Piece { offset: start, size: end - start })
    }

    fn write(&self, to: GuestSlice<'_>, value: Source<'_>) {
        if self.special.is_empty() {
            value.copy_to(0, to);
            return;
        }
        for piece in self.pieces() {
            value.copy_to(piece.offset, to.part(piece.offset, piece.size));
        }
    }

    fn read(&self, from: GuestSlice<'_>, out: &mut [u8]) {
        from.read(out);
        for piece in &self.special {
            out[piece.offset as usize..piece.end() as usize].fill(0);
        }
    }
}
