//! Keys and values as Rust structs, by their BTF types.

use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_loader::btf::View;

use super::Map;
use super::error::found;
use crate::{Error, value};

/// The operations for everything that serde knows. The BTF of the map's object says where
/// the members of keys and values stand; structs match by the names of their fields,
/// whatever their order, padding and the widths of their integers.
///
/// | C | Rust |
/// |---|---|
/// | integers, `bool`, `enum`, `float` | integers and floats into which the value fits |
/// | `bool`, integers that are 0 or 1 | `bool` |
/// | `enum` | an `enum` of variants without fields, named as the enumerators; `String` |
/// | `char[N]` | `String`; `[u8; N]` |
/// | `T[N]` | `[T; N]`, `Vec<T>`, tuples |
/// | `struct`, with the members of anonymous structs and unions | a struct with all its fields; a map |
/// | `union` | a struct with one or more of its fields |
///
/// Members that belong to the kernel (`struct bpf_spin_lock`, `struct bpf_timer`, …) may
/// be left out.
impl Map {
    /// The value of a key; `None` when there is none.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use skep::{Object, Vm, flags};
    ///
    /// #[derive(Serialize)]
    /// struct FlowKey {
    ///     source: [u8; 4],
    ///     dest: [u8; 4],
    ///     protocol: u8,
    /// }
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// enum State {
    ///     #[serde(rename = "FLOW_NEW")]
    ///     New,
    ///     #[serde(rename = "FLOW_OPEN")]
    ///     Open,
    /// }
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct Traffic {
    ///     packets: u64,
    ///     bytes: u64,
    /// }
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct NextHop {
    ///     v4: u32,
    /// }
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct Flow {
    ///     state: State,
    ///     rx: Traffic,
    ///     tx: Traffic,
    ///     port: u16, // of an anonymous struct
    ///     marked: bool,
    ///     next_hop: NextHop, // one of a union's members
    ///     balance: i32,
    ///     urgent: bool, // a bitfield
    ///     priority: u8,
    ///     shift: i8,
    ///     name: String, // char[8]
    ///     sizes: [u16; 3],
    /// }
    ///
    /// # fn main() -> Result<(), skep::Error> {
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects/flows.bpf.o");
    /// let vm = Vm::builder().build()?;
    /// let flows = vm.load(Object::open(path)?)?.map("flows")?;
    /// let key = FlowKey { source: [192, 0, 2, 1], dest: [192, 0, 2, 2], protocol: 17 };
    /// let flow = Flow {
    ///     state: State::Open,
    ///     rx: Traffic { packets: 1, bytes: 60 },
    ///     tx: Traffic { packets: 0, bytes: 0 },
    ///     port: 53,
    ///     marked: true,
    ///     next_hop: NextHop { v4: 7 },
    ///     balance: -5,
    ///     urgent: true,
    ///     priority: 5,
    ///     shift: -3,
    ///     name: "dns".to_owned(),
    ///     sizes: [60, 0, 0],
    /// };
    /// flows.update_as(&key, &flow, flags::BPF_ANY)?;
    /// assert_eq!(flows.lookup_as(&key)?, Some(flow));
    ///
    /// // The names must be right.
    /// #[derive(Debug, Serialize)]
    /// struct Other {
    ///     source: [u8; 4],
    ///     target: [u8; 4],
    ///     protocol: u8,
    /// }
    /// let other = Other { source: [0; 4], target: [0; 4], protocol: 0 };
    /// assert_eq!(
    ///     flows.delete_as(&other).unwrap_err().to_string(),
    ///     "key of map `flows`: `struct flow_key` has a member `dest`, \
    ///      the Rust value has no such field"
    /// );
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::Value`] with a sentence that
    /// names the field when key or value do not fit their types, or there are none.
    pub fn lookup_as<K: Serialize + ?Sized, V: DeserializeOwned>(
        &self,
        key: &K,
    ) -> Result<Option<V>, Error> {
        self.check_shared()?;
        let bytes = found(self.lookup_bytes(&self.key_from(key)?))?;
        bytes.map(|bytes| self.value_into(&bytes)).transpose()
    }

    /// The values of a key on all virtual CPUs; `None` when there are none.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_as`]; [`Error::WrongType`] when the map has one value for all.
    pub fn lookup_percpu_as<K: Serialize + ?Sized, V: DeserializeOwned>(
        &self,
        key: &K,
    ) -> Result<Option<Vec<V>>, Error> {
        self.check_percpu()?;
        let bytes = found(self.lookup_bytes(&self.key_from(key)?))?;
        let all = |bytes: Vec<u8>| self.cpu_values(&bytes).map(|p| self.value_into(p)).collect();
        bytes.map(all).transpose()
    }

    /// Inserts or replaces; `flags` as in [`Map::update`].
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_as`].
    pub fn update_as<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &self,
        key: &K,
        value: &V,
        flags: u64,
    ) -> Result<(), Error> {
        self.check_shared()?;
        self.update_bytes(&self.key_from(key)?, &self.value_from(value)?, flags)
    }

    /// Inserts or replaces the values of a key on all virtual CPUs: `values` has one for
    /// each.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_percpu_as`]; `EINVAL` for another number of values.
    pub fn update_percpu_as<K: Serialize + ?Sized, V: Serialize>(
        &self,
        key: &K,
        values: &[V],
        flags: u64,
    ) -> Result<(), Error> {
        self.check_percpu()?;
        let values = values.iter().map(|value| self.value_from(value));
        let bytes = self.join_percpu(&values.collect::<Result<Vec<_>, _>>()?)?;
        self.update_bytes(&self.key_from(key)?, &bytes, flags)
    }

    /// Removes the entry of a key.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_as`].
    pub fn delete_as<K: Serialize + ?Sized>(&self, key: &K) -> Result<(), Error> {
        self.delete_bytes(&self.key_from(key)?)
    }

    /// Removes the entry of a key and gives its value; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_as`]; with a value that does not fit, the entry is gone.
    pub fn lookup_and_delete_as<K: Serialize + ?Sized, V: DeserializeOwned>(
        &self,
        key: &K,
    ) -> Result<Option<V>, Error> {
        self.check_shared()?;
        let bytes = found(self.lookup_and_delete_bytes(&self.key_from(key)?))?;
        bytes.map(|bytes| self.value_into(&bytes)).transpose()
    }

    /// All entries, by ascending key bytes.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_as`], for the first entry that does not fit.
    pub fn entries_as<K: DeserializeOwned, V: DeserializeOwned>(
        &self,
    ) -> Result<Vec<(K, V)>, Error> {
        self.check_shared()?;
        let entries = self.entries();
        let typed =
            |(key, value): &(Vec<u8>, Vec<u8>)| Ok((self.key_into(key)?, self.value_into(value)?));
        entries.iter().map(typed).collect()
    }

    /// Puts a value into a queue, a stack or a bloom filter: see [`Map::push`].
    ///
    /// # Errors
    ///
    /// As [`Map::push`]; [`Error::Value`] as [`Map::lookup_as`].
    pub fn push_as<V: Serialize + ?Sized>(&self, value: &V, flags: u64) -> Result<(), Error> {
        self.check_push()?;
        self.update_bytes(&[], &self.value_from(value)?, flags)
    }

    /// Takes the next value out of a queue or a stack: see [`Map::pop`].
    ///
    /// # Errors
    ///
    /// As [`Map::pop`]; [`Error::Value`] as [`Map::lookup_as`], and the value is gone.
    pub fn pop_as<V: DeserializeOwned>(&self) -> Result<Option<V>, Error> {
        self.pop_bytes()?.map(|bytes| self.value_into(&bytes)).transpose()
    }

    /// The next value of a queue or a stack, which stays: see [`Map::peek`].
    ///
    /// # Errors
    ///
    /// As [`Map::peek`]; [`Error::Value`] as [`Map::lookup_as`].
    pub fn peek_as<V: DeserializeOwned>(&self) -> Result<Option<V>, Error> {
        self.peek_bytes()?.map(|bytes| self.value_into(&bytes)).transpose()
    }

    fn check_shared(&self) -> Result<(), Error> {
        let shared = !self.map_type().is_percpu();
        if shared { Ok(()) } else { Err(self.wrong_type("value that all CPUs share")) }
    }

    fn key_from<K: Serialize + ?Sized>(&self, key: &K) -> Result<Vec<u8>, Error> {
        let view = self.key_view()?;
        value::to_bytes(view, self.def().key_size as usize, key)
            .map_err(|problem| self.misfit("key", problem))
    }

    fn key_into<K: DeserializeOwned>(&self, bytes: &[u8]) -> Result<K, Error> {
        let view = self.key_view()?;
        value::from_bytes(view, bytes).map_err(|problem| self.misfit("key", problem))
    }

    fn value_from<V: Serialize + ?Sized>(&self, value: &V) -> Result<Vec<u8>, Error> {
        let view = self.value_view()?;
        value::to_bytes(view, self.def().value_size as usize, value)
            .map_err(|problem| self.misfit("value", problem))
    }

    fn value_into<V: DeserializeOwned>(&self, bytes: &[u8]) -> Result<V, Error> {
        let view = self.value_view()?;
        value::from_bytes(view, bytes).map_err(|problem| self.misfit("value", problem))
    }

    fn key_view(&self) -> Result<View<'_>, Error> {
        self.view(self.types.key).ok_or_else(|| self.untyped("key"))
    }

    fn value_view(&self) -> Result<View<'_>, Error> {
        self.view(self.types.value).ok_or_else(|| self.untyped("value"))
    }
}
