//! What all maps have in common.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use skep_memory::{GuestPtr, GuestSlice};

use crate::budget::Charge;
use crate::flags::{BPF_F_RDONLY, BPF_F_WRONLY};
use crate::home::Home;
use crate::sys::RefId;
use crate::types::{Holds, MapType, Rules};
use crate::world::Handle;
use crate::{Errno, MapDef, World};

/// Values of an array in guest memory.
///
/// The four fields stand, as words of 32 bits in this order, at the map's handle, where
/// programs cannot read them, and native code finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// The first value of the first row.
    pub first: GuestPtr,
    /// Bytes from one value to the next.
    pub stride: u32,
    /// Bytes from one CPU's row to the next; 0 when there is one row for all.
    pub row: u32,
    /// How many values each row has.
    pub count: u32,
}

/// A map of any type.
///
/// The methods come in two families: what programs call (through helpers), and what
/// the bpf(2) system call does, here reached through [`sys`](crate::sys), which
/// applies the checks that all types share. Each default is the kernel's answer for a
/// type that lacks the operation.
///
/// Keys have the map's key size; callers see to it. Any number of threads may call
/// any method at the same time.
pub trait Map: Any + Send + Sync + fmt::Debug {
    /// The part that all maps have.
    fn core(&self) -> &Core;

    /// The guest pointer to the value of `key` as virtual CPU `cpu` sees it, or for
    /// maps of maps to the inner map.
    fn lookup(&self, _key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        None
    }

    /// Where the values lie, when they lie in rows, by index, and all are there from the
    /// start: then a look-up is a bounds check and a multiplication.
    fn rows(&self) -> Option<Rows> {
        None
    }

    /// Inserts or replaces; `value` has the map's value size.
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type.
    fn update(&self, _key: &[u8], _value: Source<'_>, _flags: u64, _cpu: u32) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// Removes the entry of `key`.
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type.
    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// Puts a value in (`map_push_elem`).
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type.
    fn push(&self, _value: Source<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// Takes the next value out (`map_pop_elem`).
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type; what `to` then holds depends on it too.
    fn pop(&self, _to: &mut Target<'_>) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// Copies the next value out, or looks for the value in `to` (`map_peek_elem`).
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type; what `to` then holds depends on it too.
    fn peek(&self, _to: &mut Target<'_>) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// The values that [`pop`](Map::pop) would take, in that order; none of them is taken.
    /// A type that has no `pop` gives none.
    fn queued(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// The next element that a program's `for_each_map_elem` visits: its key is put in
    /// `key`, its value's pointer returned.
    fn visit(&self, _cursor: &mut Cursor, _key: &mut Vec<u8>, _cpu: u32) -> Option<GuestPtr> {
        None
    }

    /// A program of the type with this number names the map. Maps that hold programs belong
    /// to the programs of one type (kernel `map_type_contains_progs`).
    ///
    /// # Errors
    ///
    /// `EINVAL` when the map belongs to programs of another type.
    fn claim(&self, _kind: u32) -> Result<(), Errno> {
        Ok(())
    }

    /// Where `redirect_map` sends a packet for `key` (kernel `ops->map_redirect`).
    fn destination(&self, _key: u32) -> Option<Destination> {
        None
    }

    /// The devices that a packet goes to that is redirected to all of them, in the map's
    /// order.
    fn devices(&self) -> Vec<u32> {
        Vec::new()
    }

    /// The socket that programs see at `socket` was closed: it leaves the map.
    fn forget(&self, _socket: GuestPtr) {}

    /// System call: copies the value out; `out` has [`Core::user_value_size`] bytes. What
    /// `out` held before is what a bloom filter looks for.
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type.
    fn user_lookup(&self, _key: &[u8], _flags: u64, _out: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// System call: inserts or replaces; `value` has [`Core::user_value_size`] bytes.
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type.
    fn user_update(&self, _key: &[u8], _value: &[u8], _flags: u64) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// System call: the same through a certain reference to the map, for types whose
    /// elements go when that is closed.
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type.
    fn user_update_by(
        &self,
        _by: RefId,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> Result<(), Errno> {
        self.user_update(key, value, flags)
    }

    /// System call: removes the entry of `key`.
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type.
    fn user_delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.delete(key)
    }

    /// System call: removes the entry of `key` and copies its value out.
    ///
    /// # Errors
    ///
    /// The kernel's error number for this type.
    fn user_lookup_and_delete(
        &self,
        _key: &[u8],
        _flags: u64,
        _out: &mut [u8],
    ) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// System call: the key after `key`, or the first one.
    ///
    /// # Errors
    ///
    /// `ENOENT` behind the last key; otherwise the kernel's number for this type.
    fn user_next_key(&self, _key: Option<&[u8]>, _next: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// The keys in one bucket of a hash; `None` behind the last bucket, and for types
    /// that have no buckets.
    fn bucket_keys(&self, _bucket: u32) -> Option<Vec<Vec<u8>>> {
        None
    }

    /// A reference of user space was closed (kernel `map_release`).
    fn closed(&self, _by: RefId) {}

    /// The last reference of user space is gone (kernel `map_release_uref`).
    fn released(&self) {}

    /// Bytes that Linux 6.18 would charge for this map on x86-64 (`map_mem_usage`), not what
    /// it takes in skep.
    fn memory_usage(&self) -> u64;
}

impl dyn Map {
    /// This map as one of a type that has more to it than elements, such as
    /// [`RingBuf`](crate::RingBuf).
    #[inline]
    #[must_use]
    pub fn downcast<T: Map>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Flags without those that belong to a descriptor.
pub(crate) fn permanent(flags: u32) -> u32 {
    flags & !(BPF_F_RDONLY | BPF_F_WRONLY)
}

/// The virtual CPU that system calls run on, where it matters: user space has none of its
/// own.
pub(crate) const USER_CPU: u32 = 0;

/// What programs may want to do with a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramOp {
    /// `map_lookup_elem`.
    Lookup,
    /// `map_lookup_percpu_elem`.
    LookupPercpu,
    /// `map_update_elem`.
    Update,
    /// `map_delete_elem`.
    Delete,
    /// `for_each_map_elem`.
    ForEach,
    /// `tail_call`.
    TailCall,
    /// `ringbuf_output`, `ringbuf_reserve` and `ringbuf_query`.
    RingBuf,
    /// `user_ringbuf_drain`.
    UserRingBuf,
    /// `get_stackid`.
    StackTrace,
    /// `perf_event_output`, `perf_event_read` and `perf_event_read_value`.
    PerfEvent,
    /// `map_push_elem`.
    Push,
    /// `map_pop_elem`.
    Pop,
    /// `map_peek_elem`.
    Peek,
    /// `redirect_map`.
    Redirect,
    /// `current_task_under_cgroup` and `skb_under_cgroup`.
    UnderCgroup,
}

/// Where a packet is redirected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A network device.
    Device {
        /// Its number.
        ifindex: u32,
        /// The id of the program that the packet meets before it leaves; 0 for none.
        program: u32,
    },
    /// The queue of a CPU.
    Cpu {
        /// Its number.
        cpu: u32,
        /// How many packets the queue holds.
        queue_size: u32,
        /// The id of the program that the packet meets there; 0 for none.
        program: u32,
    },
    /// An AF_XDP socket.
    Socket {
        /// The receive queue that it is bound to.
        queue: u32,
    },
}

/// Where a walk over a map's elements stands; starts as [`Cursor::default`].
#[derive(Debug, Default)]
pub struct Cursor {
    /// The index or bucket that comes next.
    pub(crate) next: u32,
    /// Elements of the current bucket that are still to be visited: id and generation.
    pub(crate) pending: Vec<(u32, u32)>,
}

/// A value that comes from the host or from guest memory.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Bytes of the host.
    Host(&'a [u8]),
    /// Bytes of the guest, read once.
    Guest(GuestSlice<'a>),
}

impl Source<'_> {
    /// Copies `len` bytes from `offset` on into guest memory of that length.
    pub(crate) fn copy_to(&self, offset: u32, to: GuestSlice<'_>) {
        let len = u32::try_from(to.len()).expect("a guest slice is shorter than the window");
        match self {
            Self::Host(bytes) => to.write(&bytes[offset as usize..(offset + len) as usize]),
            Self::Guest(slice) => to.copy_from(slice.part(offset, len)),
        }
    }

    /// Copies all of it into host memory of its length.
    pub fn read(&self, out: &mut [u8]) {
        match self {
            Self::Host(bytes) => out.copy_from_slice(bytes),
            Self::Guest(slice) => slice.read(out),
        }
    }
}

/// Where a value goes, in the host or in guest memory; some maps read it first.
#[derive(Debug)]
pub enum Target<'a> {
    /// Bytes of the host.
    Host(&'a mut [u8]),
    /// Bytes of the guest.
    Guest(GuestSlice<'a>),
}

impl Target<'_> {
    /// Sets all bytes to zero.
    pub(crate) fn zero(&mut self) {
        match self {
            Self::Host(bytes) => bytes.fill(0),
            Self::Guest(slice) => slice.fill(0),
        }
    }

    /// Copies what is there into host memory of its length.
    pub(crate) fn read(&self, out: &mut [u8]) {
        match self {
            Self::Host(bytes) => out.copy_from_slice(bytes),
            Self::Guest(slice) => slice.read(out),
        }
    }
}

/// The part of a map that does not depend on its type.
#[derive(Debug)]
pub struct Core {
    def: MapDef,
    map_type: MapType,
    rules: &'static Rules,
    /// 0 until the map is registered: one that cannot be made takes no id.
    id: AtomicU32,
    handle: Handle,
    home: Home,
    frozen: AtomicBool,
    /// References of user space that are open.
    user_refs: AtomicU32,
    note: OnceLock<Note>,
    /// What the map takes of the memory that maps may have, when that is limited.
    charge: OnceLock<Charge>,
}

/// What the level above keeps with a map.
pub type Note = Arc<dyn Any + Send + Sync>;

impl Core {
    pub(crate) fn new(
        world: &Arc<World>,
        map_type: MapType,
        rules: &'static Rules,
        def: MapDef,
        home: Home,
    ) -> Result<Self, Errno> {
        let handle = world.new_handle()?;
        Ok(Self {
            def,
            map_type,
            rules,
            id: AtomicU32::new(0),
            handle,
            home,
            frozen: AtomicBool::new(false),
            user_refs: AtomicU32::new(0),
            note: OnceLock::new(),
            charge: OnceLock::new(),
        })
    }

    /// The map that this is the core of, for those who may hold it no longer than others do;
    /// `None` while it is made.
    pub(crate) fn weak(&self) -> Option<Weak<dyn Map>> {
        self.world().weak(self.handle())
    }

    /// Where its memory lies.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// What is the same for all maps of its type.
    pub(crate) fn rules(&self) -> &'static Rules {
        self.rules
    }

    /// Whether programs may use `op` on this map (kernel
    /// `check_map_func_compatibility` and the map's operation table).
    #[inline]
    #[must_use]
    pub fn allows(&self, op: ProgramOp) -> bool {
        self.rules.ops.contains(&op)
    }

    /// The definition it was made from.
    #[must_use]
    pub fn def(&self) -> &MapDef {
        &self.def
    }

    /// Sets what `max_entries` was rounded to.
    pub(crate) fn set_max_entries(&mut self, max_entries: u32) {
        self.def.max_entries = max_entries;
    }

    /// The creation flags that belong to the map: what user space may do with it belongs
    /// to its descriptor (kernel `bpf_map_flags_retain_permanent`).
    #[must_use]
    pub fn flags(&self) -> u32 {
        permanent(self.def.flags)
    }

    /// The map's type.
    #[must_use]
    pub fn map_type(&self) -> MapType {
        self.map_type
    }

    /// The map's id: unique in its world, from 1.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    pub(crate) fn set_id(&self, id: u32) {
        self.id.store(id, Ordering::Relaxed);
    }

    /// What a `lddw` of this map yields: an address of its own that cannot be
    /// accessed.
    #[must_use]
    pub fn handle(&self) -> GuestPtr {
        self.handle.ptr()
    }

    /// The world it belongs to.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        self.handle.world()
    }

    /// Whether user space has frozen it.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// Counts a reference of user space.
    pub(crate) fn open_user_ref(&self) {
        self.user_refs.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less; whether it was the last.
    pub(crate) fn close_user_ref(&self) -> bool {
        self.user_refs.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Keeps something with the map for the level above, such as the types of its values.
    /// The first caller wins.
    pub fn set_note(&self, note: Note) {
        // A second call is a mistake of the embedder that changes nothing.
        let _already_set = self.note.set(note);
    }

    /// What [`Core::set_note`] has kept.
    #[must_use]
    pub fn note(&self) -> Option<&Note> {
        self.note.get()
    }

    /// Holds what the map was charged with for as long as the map lives.
    pub(crate) fn hold(&self, charge: Charge) {
        // A map is charged once, when it is made.
        let _never_twice = self.charge.set(charge);
    }

    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
    }

    /// Bytes of a value in system calls (kernel `bpf_map_value_size`): per-CPU types
    /// have all CPUs' values, each rounded up to eight bytes.
    #[must_use]
    pub fn user_value_size(&self) -> usize {
        let size = self.def.value_size as usize;
        match self.rules.holds {
            Holds::PercpuValues => size.next_multiple_of(8) * self.world().cpus() as usize,
            Holds::Value => size,
            Holds::Handle => 4,
        }
    }
}
