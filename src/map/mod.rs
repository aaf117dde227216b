//! A map, as user space has it.
//!
//! The operations stand by topic: `bytes.rs` has those of the system call as they are,
//! `typed.rs` the same for Rust values, `keyless.rs` queues, stacks and bloom filters,
//! `batch.rs` many elements at once, `walk.rs` the way through a map, `json.rs` and
//! `structs.rs` values by their BTF type, `refs.rs` what maps refer to, `inner.rs` maps made
//! inside others, `info.rs` what is known of a map, `error.rs` what goes wrong.

mod batch;
mod bytes;
mod error;
mod info;
mod inner;
mod json;
mod keyless;
mod refs;
mod structs;
mod typed;
mod walk;

use std::sync::Arc;

use skep_loader::btf::{Btf, TypeId, View};
use skep_loader::{InnerTypes, Variable};
use skep_maps::{Keys, MapDef, MapType, ProgramOp, sys};

use crate::{Error, PerfBuffer, RingBuffer, UserRingBuffer, Vm};

pub use batch::{Batch, BatchCursor, BatchWrite};
pub use info::MapInfo;
pub use walk::Walk;

/// A map. A cheap handle; clones are the same map.
///
/// The operations are those of the bpf(2) system call, with the kernel's error numbers.
/// Most come in three forms: for bytes (`lookup_bytes`), for plain old data ([`Bytes`]:
/// `lookup`), and for whatever serde knows, by the types that the object's BTF gives keys
/// and values (`lookup_as`).
///
/// [`Bytes`]: crate::Bytes
///
/// ```
/// use skep::{Error, Map, MapDef, MapType, Vm, flags};
///
/// # fn main() -> Result<(), Error> {
/// let vm = Vm::builder().build()?;
/// let counts = Map::create(&vm, &MapDef {
///     name: "counts".to_owned(),
///     map_type: MapType::Hash.id(),
///     key_size: 4,
///     value_size: 8,
///     max_entries: 2,
///     ..MapDef::default()
/// })?;
/// counts.update(&7u32, &1u64, flags::BPF_ANY)?;
/// counts.update(&8u32, &2u64, flags::BPF_NOEXIST)?;
/// assert_eq!(counts.lookup(&7u32)?, Some(1u64));
///
/// let full = counts.update(&9u32, &3u64, flags::BPF_ANY).unwrap_err();
/// assert_eq!(
///     full.to_string(),
///     "map `counts`: update failed: all 2 entries are in use: too big, or full (E2BIG, 7)"
/// );
///
/// let all: Vec<(u32, u64)> = counts.iter().collect();
/// assert_eq!(all, [(7, 1), (8, 2)]);
/// assert_eq!(counts.lookup_and_delete(&8u32)?, Some(2u64));
/// assert_eq!(counts.info().max_entries, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Map {
    user: Arc<sys::UserRef>,
    types: Arc<Types>,
}

/// The types of keys and values, where BTF tells them.
#[derive(Debug, Default)]
pub(crate) struct Types {
    pub(crate) btf: Option<Arc<Btf>>,
    pub(crate) key: Option<TypeId>,
    pub(crate) value: Option<TypeId>,
    /// For a map of maps: those of its inner maps.
    pub(crate) inner: InnerTypes,
    /// For the map of a data section: its variables.
    pub(crate) variables: Vec<Variable>,
}

impl Map {
    pub(crate) fn new(map: Arc<dyn skep_maps::Map>, types: Types) -> Self {
        let types = Arc::new(types);
        // Whoever finds the map by its id has the types too.
        map.core().set_note(Arc::<Types>::clone(&types));
        Self { user: sys::UserRef::new(map), types }
    }

    /// Another reference of user space to a map that is there.
    pub(crate) fn reopen(map: Arc<dyn skep_maps::Map>) -> Self {
        let note = map.core().note().cloned().and_then(|note| note.downcast::<Types>().ok());
        Self { user: sys::UserRef::new(map), types: note.unwrap_or_default() }
    }

    /// Makes a map without an object.
    ///
    /// # Errors
    ///
    /// [`Error::Create`] with the kernel's error number and the rule that the definition
    /// breaks.
    pub fn create(vm: &Vm, def: &MapDef) -> Result<Self, Error> {
        let made = skep_maps::create(vm.inner.machine.world(), def);
        let map = made.map_err(|source| Error::Create { object: "map".to_owned(), source })?;
        Ok(Self::new(map, Types::default()))
    }

    pub(crate) fn map(&self) -> &Arc<dyn skep_maps::Map> {
        self.user.map()
    }

    /// The map's definition.
    #[must_use]
    pub fn def(&self) -> &MapDef {
        self.map().core().def()
    }

    /// The map's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.def().name
    }

    /// The map's type.
    #[must_use]
    pub fn map_type(&self) -> MapType {
        self.map().core().map_type()
    }

    /// The map's id in its machine.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.map().core().id()
    }

    /// The number of virtual CPUs: how many values a per-CPU map has for each key.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.map().core().world().cpus()
    }

    /// The consumer of a ring buffer.
    ///
    /// # Errors
    ///
    /// [`Error::WrongType`] for other types.
    pub fn ring_buffer(&self) -> Result<RingBuffer, Error> {
        RingBuffer::new(self)
    }

    /// The producer of a user ring buffer.
    ///
    /// # Errors
    ///
    /// [`Error::WrongType`] for other types.
    pub fn user_ring_buffer(&self) -> Result<UserRingBuffer, Error> {
        UserRingBuffer::new(self)
    }

    /// Opens a perf event with a buffer of `pages` pages of 4096 bytes, a power of two,
    /// for each virtual CPU, puts them into an array of perf events, and gives the
    /// consumer of what programs put out (libbpf `perf_buffer__new`).
    ///
    /// # Errors
    ///
    /// [`Error::WrongType`] for other types; [`Error::Map`] with the kernel's error number:
    /// `EINVAL` when `pages` is no power of two.
    pub fn perf_buffer(&self, pages: u32) -> Result<PerfBuffer, Error> {
        PerfBuffer::new(self, pages)
    }

    /// Whether its type has no keys: such a map takes the null pointer for one.
    #[must_use]
    pub fn is_keyless(&self) -> bool {
        self.map_type().keys() == Some(Keys::None)
    }

    fn some_key<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        (!self.is_keyless()).then_some(key)
    }

    fn allows(&self, op: ProgramOp) -> bool {
        self.map_type().program_ops().contains(&op)
    }

    /// The parts of a per-CPU value, without their padding.
    pub(crate) fn cpu_values<'b>(
        &self,
        bytes: &'b [u8],
    ) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let size = self.def().value_size as usize;
        bytes.chunks(size.next_multiple_of(8).max(1)).map(move |part| &part[..size.min(part.len())])
    }

    fn view(&self, id: Option<TypeId>) -> Option<View<'_>> {
        Some(self.types.btf.as_ref()?.view(id?))
    }
}
