//! What maps do, as simply as it can be said: a backend of map scripts.
//!
//! It is written from what the kernel documents and answers, not from skep, and knows
//! nothing of memory, threads or speed. One file has one type. A new type is a file with
//! a [`Rules`] and its arm in [`make`].

mod array;
mod array_of_maps;
mod batch;
mod bloom_filter;
mod hash;
mod hash_of_maps;
mod lpm_trie;
mod percpu_array;
mod percpu_hash;
mod queue;

use std::collections::BTreeMap;

use skep_oracle::script::program::MOST_CALLS;
use skep_oracle::script::{
    Backend, BatchRequest, Failure, Info, MapDecl, Outcome, ProgDecl, ProgramCall, Reply, types,
};
use skep_oracle::{Batch, Errno};

const NOEXIST: u64 = 1;
const EXIST: u64 = 2;
const LOCK: u64 = 4;

const RDONLY: u32 = 1 << 3;
const WRONLY: u32 = 1 << 4;
const RDONLY_PROG: u32 = 1 << 7;

type Result<T> = std::result::Result<T, Errno>;

/// What a type does, behind what is the same for all of them. Each default is the kernel's
/// answer where a type has no such operation.
///
/// Keys and values have the map's sizes. `key` is empty in maps without keys.
trait Rules {
    /// The system call's lookup; `value` is what the buffer held before.
    fn lookup(&self, _key: &[u8], _value: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::ENOTSUPP)
    }

    /// The system call's update.
    fn update(&mut self, _key: &[u8], _value: &[u8], _flags: u64) -> Result<()> {
        Err(Errno::ENOTSUPP)
    }

    fn delete(&mut self, _key: &[u8]) -> Result<()> {
        Err(Errno::ENOTSUPP)
    }

    fn lookup_and_delete(&mut self, _key: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::ENOTSUPP)
    }

    fn next_key(&self, _key: Option<&[u8]>) -> Result<Vec<u8>> {
        Err(Errno::ENOTSUPP)
    }

    fn batches(&self) -> Batches {
        Batches::None
    }

    /// What a program on `cpu` finds; `None` where no program may look.
    fn program_lookup(&self, _key: &[u8], _cpu: usize) -> Option<Option<Vec<u8>>> {
        None
    }

    fn program_lookup_percpu(&self, _key: &[u8], _cpu: u64) -> Option<Option<Vec<u8>>> {
        None
    }

    fn program_update(
        &mut self,
        _key: &[u8],
        _value: &[u8],
        _flags: u64,
        _cpu: usize,
    ) -> Option<Result<()>> {
        None
    }

    fn program_delete(&mut self, _key: &[u8]) -> Option<Result<()>> {
        None
    }

    fn push(&mut self, _value: &[u8], _flags: u64) -> Option<Result<()>> {
        None
    }

    fn pop(&mut self) -> Option<Result<Vec<u8>>> {
        None
    }

    /// `value` is what the buffer holds before.
    fn peek(&self, _value: &[u8]) -> Option<Result<Vec<u8>>> {
        None
    }

    /// The elements that a callback on `cpu` sees.
    fn elements(&self, _cpu: usize) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        None
    }
}

/// Which batch commands a type has, and what their cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batches {
    None,
    /// From key to key: lookup and update.
    Keys,
    /// Delete, too.
    KeysAndDelete,
    /// From bucket to bucket, all four. The model has one element in each.
    Buckets,
}

fn make(decl: &MapDecl, cpus: usize) -> Option<Box<dyn Rules>> {
    Some(match &*decl.map_type {
        "array" => Box::new(array::Array::new(decl)),
        "array_of_maps" => Box::new(array_of_maps::ArrayOfMaps::new(decl)),
        "bloom_filter" => Box::new(bloom_filter::BloomFilter::default()),
        "hash" => Box::new(hash::Hash::new(decl)),
        "hash_of_maps" => Box::new(hash_of_maps::HashOfMaps::new(decl)),
        "lpm_trie" => Box::new(lpm_trie::LpmTrie::new(decl)),
        "percpu_array" => Box::new(percpu_array::PercpuArray::new(decl, cpus)),
        "percpu_hash" => Box::new(percpu_hash::PercpuHash::new(decl, cpus)),
        "queue" | "stack" => Box::new(queue::Queue::new(decl)),
        _ => return None,
    })
}

/// Maps of one case.
#[derive(Default)]
pub struct Model {
    maps: BTreeMap<String, Map>,
}

struct Map {
    decl: MapDecl,
    frozen: bool,
    rules: Box<dyn Rules>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.maps.keys()).finish()
    }
}

/// CPUs of the machine.
const CPUS: usize = 2;
/// Added to a map's place among the names: no such number is a descriptor by accident.
const FIRST_HANDLE: u32 = 0x4000_0000;

impl Model {
    /// Without maps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn map(&mut self, name: &str) -> Outcome<&mut Map> {
        self.maps.get_mut(name).ok_or_else(|| Failure::Other(format!("there is no map `{name}`")))
    }
}

impl Map {
    fn may_read(&self) -> Result<()> {
        if self.decl.flags & WRONLY == 0 { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn may_write(&self) -> Result<()> {
        let may = self.decl.flags & RDONLY == 0 && !self.frozen;
        if may { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// `BPF_F_LOCK` needs a lock in the value.
    fn has_lock_for(&self, flags: u64) -> Result<()> {
        let wrong = flags & LOCK != 0 && self.decl.lock.is_none();
        if wrong { Err(Errno::EINVAL) } else { Ok(()) }
    }

    fn key<'k>(&self, key: Option<&'k [u8]>) -> Result<&'k [u8]> {
        match (self.decl.key_size, key) {
            (0, None) => Ok(&[]),
            (0, Some(_)) => Err(Errno::EINVAL),
            (_, None) => Err(Errno::EFAULT),
            (_, Some(key)) => Ok(key),
        }
    }
}

impl Backend for Model {
    fn cpus(&self) -> usize {
        CPUS
    }

    fn create(&mut self, decl: &MapDecl) -> Outcome<()> {
        let rules = make(decl, CPUS)
            .ok_or_else(|| Failure::Other(format!("no model of {}", decl.map_type)))?;
        self.maps.insert(decl.name.clone(), Map { decl: decl.clone(), frozen: false, rules });
        Ok(())
    }

    fn load(&mut self, _prog: &ProgDecl) -> Outcome<()> {
        Err(Failure::Other("no model of programs".to_owned()))
    }

    fn handle(&self, _map: &str, object: &str) -> Option<u32> {
        let at = self.maps.keys().position(|name| name == object)?;
        Some(FIRST_HANDLE + u32::try_from(at).ok()?)
    }

    fn object(&self, _map: &str, id: u32) -> Option<String> {
        let at = id.checked_sub(FIRST_HANDLE)?;
        self.maps.keys().nth(at as usize).cloned()
    }

    fn lookup(
        &mut self,
        map: &str,
        key: Option<&[u8]>,
        value: &[u8],
        flags: u64,
    ) -> Outcome<Vec<u8>> {
        let map = self.map(map)?;
        if flags & !LOCK != 0 {
            return Err(Errno::EINVAL.into());
        }
        map.may_read()?;
        map.has_lock_for(flags)?;
        Ok(map.rules.lookup(map.key(key)?, value)?)
    }

    fn update(&mut self, map: &str, key: Option<&[u8]>, value: &[u8], flags: u64) -> Outcome<()> {
        let map = self.map(map)?;
        map.may_write()?;
        map.has_lock_for(flags)?;
        let key = map.key(key)?;
        Ok(map.rules.update(key, value, flags)?)
    }

    fn delete(&mut self, map: &str, key: Option<&[u8]>, _flags: u64) -> Outcome<()> {
        let map = self.map(map)?;
        map.may_write()?;
        let key = map.key(key)?;
        Ok(map.rules.delete(key)?)
    }

    fn lookup_and_delete(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<Vec<u8>> {
        let map = self.map(map)?;
        if flags & !LOCK != 0 {
            return Err(Errno::EINVAL.into());
        }
        map.may_read()?;
        map.may_write()?;
        map.has_lock_for(flags)?;
        let key = map.key(key)?;
        Ok(map.rules.lookup_and_delete(key)?)
    }

    fn next_key(&mut self, map: &str, key: Option<&[u8]>, _flags: u64) -> Outcome<Vec<u8>> {
        let map = self.map(map)?;
        map.may_read()?;
        let key = key.map(|key| map.key(Some(key))).transpose()?;
        Ok(map.rules.next_key(key)?)
    }

    fn freeze(&mut self, map: &str) -> Outcome<()> {
        let map = self.map(map)?;
        if map.decl.lock.is_some() {
            return Err(Errno::ENOTSUPP.into());
        }
        map.may_write()?;
        map.frozen = true;
        Ok(())
    }

    fn batch(&mut self, map: &str, request: &BatchRequest) -> Outcome<Batch> {
        Ok(self.map(map)?.batch(request))
    }

    fn info(&mut self, map: &str) -> Outcome<Info> {
        let decl = &self.map(map)?.decl;
        Ok(Info {
            map_type: types::map_type(&decl.map_type).unwrap_or_default(),
            key_size: decl.key_size,
            value_size: decl.value_size,
            max_entries: decl.max_entries,
            map_flags: decl.flags & !(RDONLY | WRONLY),
            map_extra: decl.map_extra,
        })
    }

    fn memlock(&mut self, _map: &str) -> Outcome<u64> {
        Err(Failure::Other("the model takes no memory".to_owned()))
    }

    fn program(&mut self, call: &ProgramCall<'_>) -> Outcome<Reply> {
        let map = self.map(call.map)?;
        let mut key = call.key.to_vec();
        key.resize(map.decl.key_size as usize, 0);
        let mut value = call.value.to_vec();
        value.resize(map.decl.value_size as usize, 0);
        let (rules, read_only) = (&mut map.rules, map.decl.flags & RDONLY_PROG != 0);
        let number = |result: Result<()>| Reply::Returned(r0(&result));
        // The buffer is zero where nothing came.
        let buffer = |result: Result<Vec<u8>>, before: Vec<u8>| {
            let r0 = r0(&result);
            Reply::Filled(r0, result.unwrap_or(before))
        };
        let zeros = vec![0; value.len()];
        let found = match call.op.name {
            "update" | "delete" | "push" | "pop" if read_only => None,
            "lookup" => rules.program_lookup(&key, call.cpu).map(found),
            "lookup_percpu" => rules.program_lookup_percpu(&key, call.asked_cpu).map(found),
            "update" => rules.program_update(&key, &value, call.flags, call.cpu).map(number),
            "delete" => rules.program_delete(&key).map(number),
            "push" => rules.push(&value, call.flags).map(number),
            "pop" => rules.pop().map(|result| buffer(result, zeros)),
            "peek" => rules.peek(&value).map(|result| buffer(result, zeros)),
            "for_each" => rules.elements(call.cpu).map(|elements| visits(call, elements)),
            _ => None,
        };
        let found = found.ok_or(Failure::Refused)?;
        match (found, call.shape.inner) {
            (Reply::Value(handle), Some(_)) => self.inner(call, &handle),
            (found, _) => Ok(found),
        }
    }
}

impl Model {
    /// What a program finds in the map that it found.
    fn inner(&mut self, call: &ProgramCall<'_>, handle: &[u8]) -> Outcome<Reply> {
        let id = handle.try_into().map(u32::from_ne_bytes).unwrap_or_default();
        let name = self.object(call.map, id);
        let inner = self.map(&name.ok_or_else(|| Failure::Other("no such map".to_owned()))?)?;
        let mut key = call.inner_key.to_vec();
        key.resize(inner.decl.key_size as usize, 0);
        let value = inner.rules.program_lookup(&key, call.cpu).ok_or(Failure::Refused)?;
        Ok(value.map_or(Reply::InnerNull, Reply::Value))
    }
}

fn r0<T>(result: &Result<T>) -> i64 {
    result.as_ref().map_or_else(|errno| -i64::from(errno.0), |_| 0)
}

fn found(value: Option<Vec<u8>>) -> Reply {
    value.map_or(Reply::Null, Reply::Value)
}

/// `for_each_map_elem` with a callback that returns 1 at call `stop`.
fn visits(call: &ProgramCall<'_>, mut elements: Vec<(Vec<u8>, Vec<u8>)>) -> Reply {
    if call.flags != 0 {
        return Reply::Calls(-i64::from(Errno::EINVAL.0), 0, Vec::new());
    }
    if call.stop != 0 {
        elements.truncate(usize::try_from(call.stop).unwrap_or(usize::MAX));
    }
    let count = elements.len() as u64;
    elements.truncate(usize::try_from(MOST_CALLS).unwrap_or(usize::MAX));
    Reply::Calls(count.cast_signed(), count, elements)
}

/// The index in an array's key.
fn index(key: &[u8]) -> u32 {
    key.try_into().map_or(u32::MAX, u32::from_ne_bytes)
}

/// An array's next key.
fn next_index(key: Option<&[u8]>, max: u32) -> Result<Vec<u8>> {
    let next = match key.map(index) {
        Some(at) if at < max => at + 1,
        _ => 0,
    };
    if next < max { Ok(next.to_ne_bytes().to_vec()) } else { Err(Errno::ENOENT) }
}

/// Whether a hash's update may go on, by its flags and whether the key is there.
fn presence(flags: u64, is_there: bool) -> Result<()> {
    match flags {
        NOEXIST if is_there => Err(Errno::EEXIST),
        EXIST if !is_there => Err(Errno::ENOENT),
        _ => Ok(()),
    }
}

/// A hash's next key; a key that is not there counts as none.
fn next_of<V>(map: &BTreeMap<Vec<u8>, V>, key: Option<&[u8]>) -> Result<Vec<u8>> {
    let mut keys = map.keys();
    if let Some(key) = key.filter(|key| map.contains_key(*key)) {
        keys.find(|own| *own == key);
    }
    keys.next().cloned().ok_or(Errno::ENOENT)
}

/// A value whose lock, if it has one, is zero, as it is for everybody who reads it.
fn without_lock(lock: Option<u32>, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if let Some(at) = lock {
        value[at as usize..at as usize + 4].fill(0);
    }
    value
}
