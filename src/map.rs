//! A map, as user space has it.

use std::sync::Arc;

use serde_json::Value;
use skep_loader::btf::{Btf, TypeId, View};
use skep_loader::{InnerTypes, Variable};
use skep_maps::{Errno, Keys, MapDef, MapError, MapType, ProgramOp, sys};

use crate::loaded::Program;
use crate::{Bytes, Error, PerfBuffer, RingBuffer, UserRingBuffer, Vm, value};

/// A map. A cheap handle; clones are the same map.
///
/// The operations are those of the bpf(2) system call, with the kernel's error numbers.
#[derive(Debug, Clone)]
pub struct Map {
    user: Arc<sys::UserRef>,
    types: Types,
}

/// The types of keys and values, where BTF tells them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Types {
    pub(crate) btf: Option<Arc<Btf>>,
    pub(crate) key: Option<TypeId>,
    pub(crate) value: Option<TypeId>,
    /// For a map of maps: those of its inner maps.
    pub(crate) inner: InnerTypes,
    /// For the map of a data section: its variables.
    pub(crate) variables: Arc<[Variable]>,
}

impl Map {
    pub(crate) fn new(map: Arc<dyn skep_maps::Map>, types: Types) -> Self {
        Self { user: sys::UserRef::new(map), types }
    }

    /// Makes a map without an object.
    ///
    /// # Errors
    ///
    /// [`Error::Create`] with the kernel's error number.
    pub fn create(vm: &Vm, def: &MapDef) -> Result<Self, Error> {
        let made = skep_maps::create(vm.inner.machine.world(), def);
        let map = made.map_err(|source| Error::Create { object: "map".to_owned(), source })?;
        Ok(Self::new(map, Types::default()))
    }

    pub(crate) fn map(&self) -> &Arc<dyn skep_maps::Map> {
        self.user.map()
    }

    pub(crate) fn types(&self) -> &Types {
        &self.types
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

    /// Bytes that the kernel would charge for the map.
    #[must_use]
    pub fn bytes_memlock(&self) -> u64 {
        self.map().memory_usage()
    }

    /// The number of virtual CPUs: how many values a per-CPU map has for each key.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.map().core().world().cpus()
    }

    // Typed.

    /// The value of a key; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number, [`Error::Value`] when a size does
    /// not fit.
    pub fn lookup<K: Bytes, V: Bytes>(&self, key: &K) -> Result<Option<V>, Error> {
        match self.lookup_bytes(&key.to_bytes()) {
            Ok(bytes) => self.typed(&bytes).map(Some),
            Err(Error::Map(MapError { errno: Errno::ENOENT, .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The values of a key on all virtual CPUs.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`]; [`Error::WrongType`] when the map has one value for all.
    pub fn lookup_percpu<K: Bytes, V: Bytes>(&self, key: &K) -> Result<Option<Vec<V>>, Error> {
        if !self.map_type().is_percpu() {
            return Err(self.wrong_type("values per CPU"));
        }
        match self.lookup_bytes(&key.to_bytes()) {
            Ok(bytes) => self
                .cpu_values(&bytes)
                .map(|part| self.typed(part))
                .collect::<Result<_, _>>()
                .map(Some),
            Err(Error::Map(MapError { errno: Errno::ENOENT, .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Inserts or replaces; `flags` are `BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST` and
    /// `BPF_F_LOCK` (see [`flags`](crate::flags)).
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn update<K: Bytes, V: Bytes>(&self, key: &K, value: &V, flags: u64) -> Result<(), Error> {
        self.update_bytes(&key.to_bytes(), &value.to_bytes(), flags)
    }

    /// Removes the entry of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn delete<K: Bytes>(&self, key: &K) -> Result<(), Error> {
        let bytes = key.to_bytes();
        sys::delete(&**self.map(), self.some_key(&bytes)).map_err(|e| self.error("delete", e))
    }

    /// All entries, by ascending key bytes. Entries whose bytes are no `K` and `V` are
    /// left out; those that go away meanwhile may be.
    pub fn iter<K: Bytes, V: Bytes>(&self) -> impl Iterator<Item = (K, V)> {
        self.entries()
            .into_iter()
            .filter_map(|(key, value)| Some((K::from_bytes(&key)?, V::from_bytes(&value)?)))
    }

    // Without keys.

    /// Puts a value into a queue, a stack or a bloom filter. With `BPF_EXIST` a full queue or
    /// stack drops its oldest value.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `E2BIG` when it is full;
    /// [`Error::WrongType`].
    pub fn push<V: Bytes>(&self, value: &V, flags: u64) -> Result<(), Error> {
        if !self.allows(ProgramOp::Push) {
            return Err(self.wrong_type("values without keys"));
        }
        self.update_bytes(&[], &value.to_bytes(), flags)
    }

    /// Takes the next value out of a queue or a stack; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number, [`Error::Value`] when the size does
    /// not fit, [`Error::WrongType`].
    pub fn pop<V: Bytes>(&self) -> Result<Option<V>, Error> {
        self.taken(|| self.lookup_and_delete_bytes(&[]))
    }

    /// The next value of a queue or a stack, which stays; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Map::pop`].
    pub fn peek<V: Bytes>(&self) -> Result<Option<V>, Error> {
        self.taken(|| self.lookup_bytes(&[]))
    }

    fn taken<V: Bytes>(
        &self,
        take: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Option<V>, Error> {
        if !self.allows(ProgramOp::Pop) {
            return Err(self.wrong_type("values in an order"));
        }
        match take() {
            Ok(bytes) => self.typed(&bytes).map(Some),
            Err(Error::Map(MapError { errno: Errno::ENOENT, .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a bloom filter may have been given a value: `false` is certain.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::WrongType`].
    pub fn may_contain<V: Bytes>(&self, value: &V) -> Result<bool, Error> {
        if self.map_type() != MapType::BloomFilter {
            return Err(self.wrong_type("values to look for"));
        }
        match sys::lookup(&**self.map(), None, 0, &mut value.to_bytes()) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.error("lookup", errno)),
        }
    }

    fn allows(&self, op: ProgramOp) -> bool {
        self.map_type().program_ops().contains(&op)
    }

    // By bytes.

    /// The bytes of the value of a key: of all CPUs' values, each padded to eight bytes,
    /// for per-CPU maps.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn lookup_bytes(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; self.map().core().user_value_size()];
        sys::lookup(&**self.map(), self.some_key(key), 0, &mut out)
            .map_err(|e| self.error("lookup", e))?;
        Ok(out)
    }

    /// Inserts or replaces bytes, in the form of [`Map::lookup_bytes`].
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn update_bytes(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Error> {
        self.user.update(self.some_key(key), value, flags).map_err(|e| self.error("update", e))
    }

    /// Removes the entry of a key and gives its bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn lookup_and_delete_bytes(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; self.map().core().user_value_size()];
        sys::lookup_and_delete(&**self.map(), self.some_key(key), 0, &mut out)
            .map_err(|e| self.error("lookup and delete", e))?;
        Ok(out)
    }

    /// The key that follows `key` in the map's own order; the first for `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `ENOENT` behind the last key.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let mut next = vec![0; self.def().key_size as usize];
        sys::next_key(&**self.map(), key, &mut next).map_err(|e| self.error("next key", e))?;
        Ok(next)
    }

    /// Takes the right to write from user space, for good.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn freeze(&self) -> Result<(), Error> {
        sys::freeze(&**self.map()).map_err(|e| self.error("freeze", e))
    }

    /// All entries as bytes, by ascending key bytes. What has no keys is listed in the order
    /// in which it would be taken, and stays; ring buffers and bloom filters have nothing to
    /// list, nor have arrays of perf events anything that could be looked up.
    #[must_use]
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self.map_type() == MapType::PerfEventArray {
            return Vec::new();
        }
        if self.is_keyless() {
            return self.map().queued().into_iter().map(|value| (Vec::new(), value)).collect();
        }
        let keys = sys::keys(&**self.map());
        keys.into_iter()
            .filter_map(|key| Some((self.lookup_bytes(&key).ok()?, key)))
            .map(|(value, key)| (key, value))
            .collect()
    }

    // By JSON.

    /// The key that bytes hold, by its BTF type.
    #[must_use]
    pub fn key_value(&self, key: &[u8]) -> Option<Value> {
        value::decode(self.view(self.types.key)?, key)
    }

    /// The value that the bytes of one value hold, by its BTF type.
    #[must_use]
    pub fn value_value(&self, bytes: &[u8]) -> Option<Value> {
        if self.types.variables.is_empty() {
            return value::decode(self.view(self.types.value)?, bytes);
        }
        let variables = self.types.variables.iter();
        let members =
            variables.filter_map(|var| Some((var.name.clone(), self.variable(var, bytes)?)));
        Some(Value::Object(members.collect()))
    }

    fn variable(&self, var: &Variable, bytes: &[u8]) -> Option<Value> {
        let start = var.offset as usize;
        value::decode(self.view(var.type_id)?, bytes.get(start..start + var.size as usize)?)
    }

    /// The bytes of a key, by its BTF type; without one, of a number.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when it does not fit.
    pub fn encode_key(&self, json: &Value) -> Result<Vec<u8>, Error> {
        let size = self.def().key_size as usize;
        value::encode(self.view(self.types.key), size, json).map_err(|problem| Error::Value {
            what: format!("key of map `{}`", self.name()),
            problem,
        })
    }

    /// The bytes of one value, by its BTF type; without one, of a number.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when it does not fit.
    pub fn encode_value(&self, json: &Value) -> Result<Vec<u8>, Error> {
        let size = self.def().value_size as usize;
        value::encode(self.view(self.types.value), size, json).map_err(|problem| Error::Value {
            what: format!("value of map `{}`", self.name()),
            problem,
        })
    }

    // By type.

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

    /// Puts a program into a program array.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::WrongType`].
    pub fn set_program(&self, index: u32, program: &Program) -> Result<(), Error> {
        if self.map_type() != MapType::ProgArray {
            return Err(self.wrong_type("programs"));
        }
        self.update_bytes(&index.to_le_bytes(), &program.id().to_le_bytes(), 0)
    }

    /// The parts of a per-CPU value, without their padding.
    pub(crate) fn cpu_values<'b>(
        &self,
        bytes: &'b [u8],
    ) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let size = self.def().value_size as usize;
        bytes.chunks(size.next_multiple_of(8).max(1)).map(move |part| &part[..size.min(part.len())])
    }

    fn typed<V: Bytes>(&self, bytes: &[u8]) -> Result<V, Error> {
        V::from_bytes(bytes).ok_or_else(|| Error::Value {
            what: format!("value of map `{}`", self.name()),
            problem: format!("it has {} bytes, the type asked for has not", bytes.len()),
        })
    }

    /// Whether its type has no keys: such a map takes the null pointer for one.
    #[must_use]
    pub fn is_keyless(&self) -> bool {
        self.map_type().keys() == Some(Keys::None)
    }

    fn some_key<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        (!self.is_keyless()).then_some(key)
    }

    fn view(&self, id: Option<TypeId>) -> Option<View<'_>> {
        Some(self.types.btf.as_ref()?.view(id?))
    }

    pub(crate) fn error(&self, op: &'static str, errno: Errno) -> Error {
        Error::Map(MapError { map: self.name().to_owned(), op, errno })
    }

    pub(crate) fn wrong_type(&self, what: &'static str) -> Error {
        let map = self.name().to_owned();
        Error::WrongType { map, map_type: self.map_type().name(), what }
    }
}
