//! HASH_OF_MAPS: maps by key (kernel `hashtab.c`, `map_in_map.c`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use skep_memory::{GuestPtr, HostSegment};

use super::hash::{check_hash, check_presence, count, memory_usage};
use super::{Batches, Holds, Refusal, Rules, rule};
use crate::flags::BPF_EXIST;
use crate::index::Chains;
use crate::inner::{check_template, resolve};
use crate::map::ProgramOp;
use crate::world::lock;
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

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let def = core.def();
    let chains = Chains::new(def.max_entries, def.key_size, &def.name)?;
    let what = format!("the handles of map `{}`", def.name);
    let handles = HostSegment::anonymous(u64::from(chains.ids()) * 4, &what);
    let handles = handles.map_err(|_| Errno::ENOMEM)?;
    Ok(Arc::new(HashOfMaps { core, chains, handles, kept: Mutex::default() }))
}

#[derive(Debug)]
struct HashOfMaps {
    core: Core,
    chains: Chains,
    /// The handle of each element's map.
    handles: HostSegment,
    /// Keeps the maps alive, by element.
    kept: Mutex<HashMap<u32, Arc<dyn Map>>>,
}

impl HashOfMaps {
    fn handle(&self, id: u32) -> &AtomicU32 {
        &self.handles.cells32(0, self.chains.ids() as usize)[id as usize]
    }
}

impl Map for HashOfMaps {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        loop {
            let found = self.chains.find(key)?;
            let handle = self.handle(found.id).load(Ordering::Relaxed);
            if self.chains.still(found) {
                return Some(GuestPtr::new(handle));
            }
        }
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let bucket = self.chains.lock(key);
        let id = bucket.find(key).ok_or(Errno::ENOENT)?;
        let gone = lock(&self.kept).remove(&id);
        bucket.unlink(id);
        drop((bucket, gone));
        Ok(())
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let bucket = self.chains.lock(key);
        let id = bucket.find(key).ok_or(Errno::ENOENT)?;
        let inner = lock(&self.kept).get(&id).map(|map| map.core().id()).ok_or(Errno::ENOENT)?;
        out.copy_from_slice(&inner.to_le_bytes());
        Ok(())
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let template = self.core.def().inner.as_ref().expect("checked at creation");
        let map = resolve(self.core.world(), template, value)?;
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        let bucket = self.chains.lock(key);
        let old = bucket.find(key);
        check_presence(old.is_some(), flags)?;
        let id = match old {
            Some(_) => bucket.take_spare().id,
            None => bucket.take().ok_or(Errno::E2BIG)?.id,
        };
        self.handle(id).store(map.core().handle().offset(), Ordering::Relaxed);
        let mut kept = lock(&self.kept);
        let _none = kept.insert(id, map);
        bucket.link(id, key);
        let gone = old.and_then(|old| {
            bucket.replace(old);
            kept.remove(&old)
        });
        // An inner map may go here; not while the locks are held.
        drop((kept, bucket));
        drop(gone);
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        self.chains.next(key, next)
    }

    fn bucket_keys(&self, bucket: u32) -> Option<Vec<Vec<u8>>> {
        self.chains.bucket_keys(bucket)
    }

    fn memory_usage(&self) -> u64 {
        memory_usage(&self.core, size_of::<Self>() as u64, count(&self.chains))
    }
}
