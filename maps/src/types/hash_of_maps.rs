//! HASH_OF_MAPS: maps by key (kernel `hashtab.c`, `map_in_map.c`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use skep_memory::GuestPtr;

use super::hash::{check_hash, check_presence, memory_usage, meter};
use super::{Batches, Holds, Refusal, Rules, rule};
use crate::flags::BPF_EXIST;
use crate::index::{Key, Table};
use crate::inner::{check_template, resolve};
use crate::map::ProgramOp;
use crate::mutex::lock;
use crate::segment::{Cells32, build};
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    holds: Holds::Handle,
    ops: &[ProgramOp::Lookup],
    batches: Batches::Buckets,
    inner: false,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    rule(def.value_size == 4, Errno::EINVAL, || {
        format!("the value of this type is 4 bytes, not {}", def.value_size)
    })?;
    check_hash(def)?;
    check_template(def)
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let table = Table::new(core.def(), core.home(), world.cpus(), u32::MAX)?;
    let table = table.metered(meter(&core));
    let count = u64::from(table.ids());
    let handles = build(core.home(), &core.def().name, |parts| parts.cells32(count))?;
    Ok(Arc::new(HashOfMaps { core, table, handles, kept: Mutex::default() }))
}

#[derive(Debug)]
struct HashOfMaps {
    core: Core,
    table: Table,
    /// The handle of each element's map.
    handles: Cells32,
    /// Keeps the maps alive, by element.
    kept: Mutex<HashMap<u32, Arc<dyn Map>>>,
}

impl HashOfMaps {
    fn handle(&self, id: u32) -> &AtomicU32 {
        &self.handles[id as usize]
    }

    /// Puts a map into an element that no one can find yet.
    fn keep(&self, id: u32, map: Arc<dyn Map>) {
        self.handle(id).store(map.core().handle().offset(), Ordering::Relaxed);
        let _none = lock(&self.kept).insert(id, map);
    }
}

impl Map for HashOfMaps {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        loop {
            let found = self.table.index.find(key)?;
            let handle = self.handle(found.id).load(Ordering::Relaxed);
            if self.table.index.still(found) {
                return Some(GuestPtr::new(handle));
            }
        }
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let mut gone = None;
        self.table.remove(key, |id| gone = lock(&self.kept).remove(&id))?;
        // The inner map may go here, where no lock is held.
        drop(gone);
        Ok(())
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        loop {
            let found = self.table.index.find(key).ok_or(Errno::ENOENT)?;
            let inner = lock(&self.kept).get(&found.id).map(|map| map.core().id());
            if let (Some(inner), true) = (inner, self.table.index.still(found)) {
                out.copy_from_slice(&inner.to_le_bytes());
                return Ok(());
            }
        }
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let template = self.core.def().inner.as_ref().expect("checked at creation");
        let map = resolve(self.core.world(), template, value)?;
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        let key = Key::new(key);
        let bucket = self.table.index.lock(&key).ok_or(Errno::EBUSY)?;
        let old = bucket.find(&key);
        check_presence(old.is_some(), flags)?;
        let Some(old) = old else {
            let id = self.table.take()?;
            self.keep(id, map);
            bucket.insert(id, &key);
            return Ok(());
        };
        let spare = self.table.take_spare()?;
        self.keep(spare.id, map);
        bucket.replace(old, spare.id, &key);
        let gone = lock(&self.kept).remove(&old.id);
        self.table.put_spare(spare, old.id);
        // The inner map may go here, where no lock is held.
        drop(gone);
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        if self.table.index.next(key, next) { Ok(()) } else { Err(Errno::ENOENT) }
    }

    fn bucket_keys(&self, bucket: u32) -> Option<Vec<Vec<u8>>> {
        self.table.index.bucket_keys(bucket)
    }

    fn memory_usage(&self) -> u64 {
        memory_usage(&self.core, || self.table.index.count())
    }
}
