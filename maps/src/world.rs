//! What the maps of one virtual machine share: the window, the virtual CPUs, the
//! table of maps, the spin locks in values, and the way up to the programs.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use skep_memory::{Access, Backing, GuestPtr, Label, MemoryError, Span, SpanRequest, Window};

use crate::budget::{Budget, MapMemory};
use crate::locks::LockTable;
use crate::resource::Resources;
use crate::{Errno, Map, Resource, Rows, Socket};

/// Distance between the handles of two maps in bytes.
const HANDLE_STRIDE: u32 = 16;

/// Everything that maps of one virtual machine share.
#[derive(Debug)]
pub struct World {
    window: Arc<Window>,
    cpus: u32,
    handles: Span,
    table: RwLock<Table>,
    /// Bumped whenever a map goes, so that holders of references can let go too.
    generation: AtomicU64,
    ids: AtomicU32,
    /// References of user space, perf events and sockets are counted together.
    serials: AtomicU64,
    budget: Budget,
    locks: LockTable,
    resources: Resources,
    upcall: OnceLock<Weak<dyn Upcall>>,
}

#[derive(Debug, Default)]
struct Table {
    /// By place: the map's id, and the map.
    maps: Vec<Option<(u32, Weak<dyn Map>)>>,
    free: Vec<u32>,
}

/// What maps need from the level above.
pub trait Upcall: Send + Sync + fmt::Debug {
    /// The program with this id, to be put into a program array.
    ///
    /// # Errors
    ///
    /// `EBADF` when there is none.
    fn program(&self, id: u32) -> Result<ProgramRef, Errno>;
}

/// A reference to a program, as maps hold it.
#[derive(Clone)]
pub struct ProgramRef {
    /// The program's id.
    pub id: u32,
    /// What must agree among the programs of an array: the program type's number.
    pub kind: u32,
    /// Keeps the program alive.
    pub keep: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for ProgramRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramRef").field("id", &self.id).field("kind", &self.kind).finish()
    }
}

impl World {
    /// How many maps a world can hold at a time.
    pub const MAX_MAPS: u32 = 1 << 18;

    /// A world in `window` with `cpus` virtual CPUs, 1 to 1024.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] when the window has no room for the map handles.
    pub fn new(window: Arc<Window>, cpus: u32) -> Result<Arc<Self>, MemoryError> {
        let handles = Span::new(
            &window,
            SpanRequest {
                len: u64::from(Self::MAX_MAPS * HANDLE_STRIDE),
                align: HANDLE_STRIDE,
                access: Access::None,
                label: Label::one("table of map handles"),
                backing: Backing::Anonymous,
            },
        )?;
        handles.use_small_pages();
        Ok(Arc::new(Self {
            window,
            cpus: cpus.clamp(1, 1024),
            handles,
            table: RwLock::default(),
            generation: AtomicU64::new(0),
            ids: AtomicU32::new(0),
            serials: AtomicU64::new(0),
            budget: Budget::default(),
            locks: LockTable::new(),
            resources: Resources::default(),
            upcall: OnceLock::new(),
        }))
    }

    /// The guest memory that values live in.
    #[inline]
    #[must_use]
    pub fn window(&self) -> &Arc<Window> {
        &self.window
    }

    /// The number of virtual CPUs; all of them are possible and online.
    #[inline]
    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// The spin locks that stand in map values.
    #[inline]
    #[must_use]
    pub fn locks(&self) -> &LockTable {
        &self.locks
    }

    /// Limits what all maps together may take, in bytes by the kernel's formula
    /// ([`Map::memory_usage`]). To be called before the first map is made; the first caller
    /// wins.
    pub fn limit_map_memory(&self, bytes: u64) {
        self.budget.limit(bytes);
    }

    /// What the maps take, and may take.
    #[must_use]
    pub fn map_memory(&self) -> MapMemory {
        let used = || self.maps().iter().map(|map| map.memory_usage()).sum();
        self.budget.memory().unwrap_or_else(|| MapMemory { used: used(), limit: None })
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// All maps there are, by ascending id.
    #[must_use]
    pub fn maps(&self) -> Vec<Arc<dyn Map>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let maps = table.maps.iter().flatten();
        let mut maps: Vec<_> = maps.filter_map(|(_, map)| map.upgrade()).collect();
        drop(table);
        maps.sort_unstable_by_key(|map| map.core().id());
        maps
    }

    /// The open objects of user space.
    pub(crate) fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Says who answers the maps' questions about programs. The first caller wins.
    pub fn set_upcall(&self, upcall: Weak<dyn Upcall>) {
        // A second call is a mistake of the embedder that changes nothing.
        let _already_set = self.upcall.set(upcall);
    }

    pub(crate) fn program(&self, id: u32) -> Result<ProgramRef, Errno> {
        let upcall = self.upcall.get().and_then(Weak::upgrade).ok_or(Errno::EBADF)?;
        upcall.program(id)
    }

    pub(crate) fn next_ref_id(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn next_event_id(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A cookie that no socket has had.
    pub(crate) fn next_cookie(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn new_handle(self: &Arc<Self>) -> Result<Handle, Errno> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let slot = match table.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(table.maps.len()).unwrap_or(Self::MAX_MAPS);
                if slot == Self::MAX_MAPS {
                    return Err(Errno::ENOMEM);
                }
                table.maps.push(None);
                slot
            }
        };
        Ok(Handle { world: Arc::clone(self), slot })
    }

    /// Gives a map that is made its id, and lets others find it.
    pub(crate) fn register(&self, map: &Arc<dyn Map>) {
        let slot = map.core().handle().offset().wrapping_sub(self.handles.ptr().offset());
        let id = self.ids.fetch_add(1, Ordering::Relaxed) + 1;
        map.core().set_id(id);
        if let Some(Rows { first, stride, row, count }) = map.rows() {
            let words = [first.offset(), stride, row, count];
            let at = self.handles.part(slot, HANDLE_STRIDE);
            (0..).step_by(4).zip(words).for_each(|(offset, word)| at.set(offset, word));
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.maps[(slot / HANDLE_STRIDE) as usize] = Some((id, Arc::downgrade(map)));
    }

    /// Changes whenever a map has gone: what was found by [`World::map_at`] before may
    /// then be let go.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Changes the generation, for something that whoever remembers maps also remembers.
    pub fn renew(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The place in the table of maps that a program's map pointer names.
    #[inline]
    #[must_use]
    pub fn slot_of(&self, ptr: u64) -> Option<u32> {
        let offset = ptr.wrapping_sub(self.handles.ptr().addr());
        let end = u64::from(self.handles.len());
        let exact = offset < end && offset.is_multiple_of(u64::from(HANDLE_STRIDE));
        exact.then(|| u32::try_from(offset / u64::from(HANDLE_STRIDE)).expect("below 2^18"))
    }

    /// The map at a place in the table.
    #[must_use]
    pub fn map_at(&self, slot: u32) -> Option<Arc<dyn Map>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.maps.get(slot as usize)?.as_ref()?.1.upgrade()
    }

    /// The map whose handle this is, for those who may hold it no longer than others do.
    pub(crate) fn weak(&self, handle: GuestPtr) -> Option<Weak<dyn Map>> {
        let slot = self.slot_of(handle.addr())?;
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.maps.get(slot as usize)?.as_ref().map(|(_, map)| map.clone())
    }

    /// The open or closed object that programs see at this address.
    #[must_use]
    pub fn resource_at(&self, memory: GuestPtr) -> Option<Arc<dyn Resource>> {
        self.resources.at(memory)
    }

    /// The socket that programs see at this address.
    #[must_use]
    pub fn socket_at(&self, memory: GuestPtr) -> Option<Arc<Socket>> {
        let resource: Arc<dyn Any + Send + Sync> = self.resources.at(memory)?;
        resource.downcast().ok()
    }

    /// The map with this id.
    #[must_use]
    pub fn map_by_id(&self, id: u32) -> Option<Arc<dyn Map>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        // No other map is made a reference to: it might be the last one when it is given up,
        // and the map would then wait for this lock.
        let (_, map) = table.maps.iter().flatten().find(|(of, _)| *of == id)?;
        map.upgrade()
    }
}

/// A map's place in the table and its address; free again when dropped.
#[derive(Debug)]
pub(crate) struct Handle {
    world: Arc<World>,
    slot: u32,
}

impl Handle {
    pub(crate) fn ptr(&self) -> GuestPtr {
        self.world.handles.ptr().add(self.slot * HANDLE_STRIDE)
    }

    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut table = self.world.table.write().unwrap_or_else(PoisonError::into_inner);
        table.maps[self.slot as usize] = None;
        table.free.push(self.slot);
        self.world.renew();
    }
}
