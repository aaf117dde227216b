//! Where a map's values stand in guest memory, and how they are copied.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use skep_memory::{Access, Backing, Grid, GuestPtr, GuestSlice, Label, Span, SpanRequest, Window};

use crate::def::{SpecialField, SpecialKind};
use crate::flags::BPF_F_MMAPABLE;
use crate::home::Home;
use crate::map::{Rows, Source};
use crate::{Errno, MapDef, World};

/// Values of maps up to this many bytes lie [`GAP`] apart, so that one byte too far
/// is a fault; larger maps are precise at their ends only.
const GAPPED: u64 = 16 << 20;
/// Inaccessible bytes between two values.
const GAP: u32 = 8;
/// Values of maps with so many bytes start at a page, and get their rights at once, by
/// pages of a pattern that they share.
const PAGED: u64 = 4 << 20;
/// Growing maps take room for so many bytes of values at a time, on each CPU.
const CHUNK_BYTES: u32 = 256 << 10;
/// Those without gaps take more, on all CPUs together, and all of it is accessible at once:
/// by pages of rights that all of them share, where they are aligned so.
const OPEN_CHUNK_BYTES: u32 = 16 << 20;
const OPEN_CHUNK_ALIGN: u32 = 2 << 20;
/// The values of so many bytes get their rights together.
const GROUP_BYTES: u32 = 4 << 10;

/// The values of a map: `count` elements of one size, for one CPU or for each.
///
/// Elements have stable ids from 0. An element must be made [ready](Values::ready)
/// before it is first used: only then does it take room and become accessible.
#[derive(Debug)]
pub(crate) struct Values {
    world: Arc<World>,
    window: Arc<Window>,
    room: Room,
    /// Elements of a group, as a power of two.
    group_shift: u32,
    /// Which groups are accessible.
    groups: Box<[AtomicBool]>,
    planes: u32,
    /// Distance from an element on one CPU to the same on the next, in bytes.
    plane_len: u32,
    stride: u32,
    layout: Layout,
    /// What programs may do with the bytes of a value.
    rights: Box<[(Range<u32>, Access)]>,
    label: Label,
}

/// Where the values are.
#[derive(Debug)]
enum Room {
    /// In one piece.
    Whole(Span),
    /// In pieces that are taken as elements come into use: `1 << shift` elements each. When
    /// there are no gaps, each has the same rights everywhere.
    Chunks { spans: Box<[OnceLock<Span>]>, shift: u32, everywhere: Option<Access> },
}

/// How much room is taken at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// All of it, in one piece.
    Whole,
    /// Nothing; chunks as elements are made ready.
    Chunks,
}

impl Values {
    /// How many elements of `planes` values each the window has room for at most, were it
    /// empty: a map that grows needs no ids for more, whatever its `max_entries`.
    pub(crate) fn most(world: &World, def: &MapDef, planes: u32) -> u32 {
        let element = u64::from(def.value_size).next_multiple_of(8).max(8) * u64::from(planes);
        u32::try_from(world.window().len() / element).expect("2^32 bytes of 8 or more each")
    }

    /// Room for `count` values of `def.value_size` bytes on each of `planes` CPUs.
    ///
    /// In a file they are always in one piece, and accessible from the start: other
    /// processes bring elements into use too.
    pub(crate) fn new(
        world: &Arc<World>,
        def: &MapDef,
        home: &Home,
        (count, planes): (u32, u32),
        growth: Growth,
    ) -> Result<Self, Errno> {
        let size = def.value_size;
        let rounded = size.checked_next_multiple_of(8).ok_or(Errno::E2BIG)?;
        let bytes = u64::from(rounded) * u64::from(count) * u64::from(planes);
        let gapped = bytes <= GAPPED && def.flags & BPF_F_MMAPABLE == 0;
        let stride = if gapped { rounded + GAP } else { rounded };
        let shared = home.is_shared();
        let whole = growth == Growth::Whole || shared;
        let layout = Layout::new(def);
        let rights = layout.rights(def.program_access());
        let everywhere = match &*rights {
            [(range, access)] if *range == (0..stride) => Some(*access),
            _ => None,
        };
        let chunk_bytes = match everywhere {
            Some(_) => OPEN_CHUNK_BYTES / planes,
            None => CHUNK_BYTES,
        };
        let chunk_shift = (chunk_bytes / stride).max(1).ilog2();
        let per_piece = if whole { count } else { 1 << chunk_shift };
        let plane_len = stride.checked_mul(per_piece).ok_or(Errno::ENOMEM)?;
        let what = format!("value of map `{}`", def.name);
        let label = Label::many(what, Grid { size, stride });
        let len = u64::from(plane_len) * u64::from(planes);
        let room = if whole {
            let backing = home.guest_backing(len)?;
            // Patterns of rights are shared by whole pages.
            let align = if len < PAGED { 8 } else { 4096 };
            Room::Whole(take(world.window(), (len, align), label.clone(), backing)?)
        } else {
            let spans = (0..count.div_ceil(1 << chunk_shift)).map(|_| OnceLock::new()).collect();
            Room::Chunks { spans, shift: chunk_shift, everywhere }
        };
        let group_shift = (GROUP_BYTES / stride).max(1).ilog2();
        let group_count = count.div_ceil(1 << group_shift);
        let mut values = Self {
            world: Arc::clone(world),
            window: Arc::clone(world.window()),
            room,
            group_shift,
            groups: (0..group_count).map(|_| AtomicBool::new(false)).collect(),
            planes,
            plane_len,
            stride,
            rights,
            layout,
            label,
        };
        values.announce_locks();
        if shared || (whole && len >= PAGED) {
            values.open_all();
        }
        Ok(values)
    }

    /// Tells where the spin locks of a new piece stand.
    fn announce_locks(&self) {
        if let (Room::Whole(span), Some(lock)) = (&self.room, self.layout.lock) {
            self.world.locks().add(span.ptr().add(lock), self.stride, span.len() / self.stride);
        }
    }

    /// The piece that element `id` is in, taking it when need be.
    fn piece(&self, id: u32) -> Result<&Span, Errno> {
        let (spans, shift, everywhere) = match &self.room {
            Room::Whole(span) => return Ok(span),
            Room::Chunks { spans, shift, everywhere } => (spans, shift, *everywhere),
        };
        let place = &spans[(id >> shift) as usize];
        if let Some(span) = place.get() {
            return Ok(span);
        }
        let len = u64::from(self.plane_len) * u64::from(self.planes);
        let align = if everywhere.is_some() { OPEN_CHUNK_ALIGN } else { 8 };
        let span = take(&self.window, (len, align), self.label.clone(), Backing::Anonymous)?;
        if let Some(access) = everywhere {
            span.set_access(0..span.len(), access);
        }
        let first = span.ptr();
        // Another thread may have been first; its span serves as well.
        if let (Ok(()), Some(lock)) = (place.set(span), self.layout.lock) {
            self.world.locks().add(first.add(lock), self.stride, self.plane_len / self.stride);
        }
        Ok(place.get().expect("set above"))
    }

    /// Sees to it that element `id` has room and is accessible on all planes.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the window is full.
    #[inline]
    pub(crate) fn ready(&self, id: u32) -> Result<(), Errno> {
        let group = id >> self.group_shift;
        if self.groups[group as usize].load(Ordering::Acquire) {
            return Ok(());
        }
        self.open(group)
    }

    /// Makes a group of elements accessible. Twice does nothing more.
    #[cold]
    fn open(&self, group: u32) -> Result<(), Errno> {
        let first = group << self.group_shift;
        let span = self.piece(first)?;
        let is_open = matches!(self.room, Room::Chunks { everywhere: Some(_), .. });
        let planes = if is_open { 0 } else { self.planes };
        // The last group may reach beyond the last element; a piece never ends in between.
        let count = (1 << self.group_shift).min(self.piece_elements() - self.within(first));
        for plane in 0..planes {
            for id in first..first + count {
                let offset = self.offset(id, plane);
                for (range, access) in &self.rights {
                    span.set_access(offset + range.start..offset + range.end, *access);
                }
            }
        }
        self.groups[group as usize].store(true, Ordering::Release);
        Ok(())
    }

    /// Makes all elements of a map in one piece accessible.
    pub(crate) fn open_all(&mut self) {
        let Room::Whole(span) = &self.room else { return };
        match &*self.rights {
            [(range, access)] if *range == (0..self.stride) => {
                span.set_access(0..span.len(), *access);
            }
            rights => span.set_pattern(self.stride, rights),
        }
        self.groups.iter().for_each(|group| group.store(true, Ordering::Release));
    }

    /// Elements of one piece.
    fn piece_elements(&self) -> u32 {
        self.plane_len / self.stride
    }

    /// Where an element stands in its piece, in elements.
    #[inline]
    fn within(&self, id: u32) -> u32 {
        match self.room {
            Room::Whole(_) => id,
            Room::Chunks { shift, .. } => id & ((1 << shift) - 1),
        }
    }

    #[inline]
    fn offset(&self, id: u32, plane: u32) -> u32 {
        self.plane_len * plane + self.within(id) * self.stride
    }

    /// The guest pointer to element `id` on `plane`.
    #[inline]
    pub(crate) fn ptr(&self, id: u32, plane: u32) -> GuestPtr {
        let first = match &self.room {
            Room::Whole(span) => span.ptr(),
            Room::Chunks { spans, shift, .. } => {
                let span = spans[(id >> shift) as usize].get();
                span.expect("an element is made ready before it is used").ptr()
            }
        };
        first.add(self.offset(id, plane))
    }

    /// Where they lie, when all are accessible from the start.
    pub(crate) fn rows(&self, count: u32) -> Option<Rows> {
        let Room::Whole(span) = &self.room else { return None };
        let row = if self.planes == 1 { 0 } else { self.plane_len };
        Some(Rows { first: span.ptr(), stride: self.stride, row, count })
    }

    /// Element `id` on `plane`, for the host.
    #[inline]
    pub(crate) fn slice(&self, id: u32, plane: u32) -> GuestSlice<'_> {
        let slice = self.ptr(id, plane).slice(&self.window, self.layout.size);
        slice.expect("elements lie in the window")
    }

    /// The bytes behind element `id` on `plane`, up to a multiple of eight, for the host.
    pub(crate) fn padding(&self, id: u32, plane: u32) -> GuestSlice<'_> {
        let size = self.layout.size;
        let ptr = self.ptr(id, plane).add(size);
        let slice = ptr.slice(&self.window, size.next_multiple_of(8) - size);
        slice.expect("elements lie eight bytes apart in the window")
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

    /// Copies a value out; the kernel's fields read as zeros, reference counts as 1.
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
        let spans: Vec<&Span> = match &self.room {
            Room::Whole(span) => vec![span],
            Room::Chunks { spans, .. } => spans.iter().filter_map(OnceLock::get).collect(),
        };
        for span in spans {
            self.world.locks().remove(span.ptr().add(lock));
        }
    }
}

/// Takes a piece of the window; nothing in it is accessible yet.
fn take(
    window: &Arc<Window>,
    (len, align): (u64, u32),
    label: Label,
    backing: Backing<'_>,
) -> Result<Span, Errno> {
    let request = SpanRequest { len, align, access: Access::None, label, backing };
    Span::new(window, request).map_err(|_| Errno::ENOMEM)
}

/// A value's bytes, split into the program's and the kernel's.
#[derive(Debug)]
pub(crate) struct Layout {
    size: u32,
    /// The kernel's, by offset.
    special: Box<[SpecialField]>,
    lock: Option<u32>,
}

/// A run of bytes in a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) offset: u32,
    pub(crate) size: u32,
}

impl SpecialField {
    fn range(&self) -> Range<u32> {
        self.offset..self.offset + self.size
    }
}

impl Layout {
    fn new(def: &MapDef) -> Self {
        let mut special = def.special.clone();
        special.sort_by_key(|field| field.offset);
        let lock = special.iter().find(|field| field.kind == SpecialKind::SpinLock);
        let lock = lock.map(|field| field.offset);
        Self { size: def.value_size, special: special.into(), lock }
    }

    /// Whether values have a `bpf_spin_lock`.
    pub(crate) fn has_lock(&self) -> bool {
        self.lock.is_some()
    }

    /// The runs of bytes between the kernel's fields.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> {
        let starts = [0].into_iter().chain(self.special.iter().map(|field| field.range().end));
        let ends = self.special.iter().map(|field| field.offset).chain([self.size]);
        starts
            .zip(ends)
            .filter(|(start, end)| start < end)
            .map(|(start, end)| Piece { offset: start, size: end - start })
    }

    /// What programs may do with which bytes, when they may do `access` with their own: of
    /// the kernel's they may read pointers.
    fn rights(&self, access: Access) -> Box<[(Range<u32>, Access)]> {
        let own = self.pieces().map(|Piece { offset, size }| (offset..offset + size, access));
        let pointers = self.special.iter().filter(|field| field.kind == SpecialKind::Kptr);
        own.chain(pointers.map(|field| (field.range(), Access::Read))).collect()
    }

    #[inline(always)]
    fn write(&self, to: GuestSlice<'_>, value: Source<'_>) {
        if self.special.is_empty() {
            match value {
                Source::Host(bytes) => to.write(bytes),
                Source::Guest(slice) => to.copy_from(slice),
            }
            return;
        }
        for piece in self.pieces() {
            value.copy_to(piece.offset, to.part(piece.offset, piece.size));
        }
    }

    fn read(&self, from: GuestSlice<'_>, out: &mut [u8]) {
        from.read(out);
        for field in &self.special {
            let Range { start, end } = field.range();
            let bytes = &mut out[start as usize..end as usize];
            bytes.fill(0);
            // The kernel initialises the fields of its copy, and a count starts at 1
            // (`bpf_obj_init_field`).
            if let (SpecialKind::Refcount, Some(low)) = (field.kind, bytes.first_mut()) {
                *low = 1;
            }
        }
    }
}
