//! ARRAY_OF_MAPS: maps by index (kernel `arraymap.c`, `map_in_map.c`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use skep_memory::GuestPtr;

use super::array::ARRAY_BYTES;
use super::{Batches, Holds, Keys, Refusal, Rules, check_handle_array, index_of, next_index};
use crate::inner::{check_template, resolve};
use crate::map::ProgramOp;
use crate::world::lock;
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    keys: Keys::Index,
    holds: Holds::Handle,
    ops: &[ProgramOp::Lookup],
    batches: Batches::Keys,
    inner: false,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_handle_array(def)?;
    check_template(def)
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let max = core.def().max_entries;
    let slots = (0..max).map(|_| AtomicU32::new(0)).collect();
    let kept = Mutex::new((0..max).map(|_| None).collect());
    Ok(Arc::new(ArrayOfMaps { core, slots, kept }))
}

#[derive(Debug)]
struct ArrayOfMaps {
    core: Core,
    /// The handle of each slot's map, 0 when it is empty.
    slots: Box<[AtomicU32]>,
    /// Keeps the maps alive.
    kept: Mutex<Vec<Option<Arc<dyn Map>>>>,
}

impl ArrayOfMaps {
    fn set(&self, index: u32, map: Option<Arc<dyn Map>>) -> Option<Arc<dyn Map>> {
        let mut kept = lock(&self.kept);
        let handle = map.as_ref().map_or(0, |map| map.core().handle().offset());
        self.slots[index as usize].store(handle, Ordering::Release);
        std::mem::replace(&mut kept[index as usize], map)
    }
}

impl Map for ArrayOfMaps {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        let handle = self.slots.get(index_of(key) as usize)?.load(Ordering::Acquire);
        (handle != 0).then(|| GuestPtr::new(handle))
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        self.set(index, None).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let kept = lock(&self.kept);
        let inner = kept.get(index_of(key) as usize).and_then(Option::as_ref);
        let id = inner.ok_or(Errno::ENOENT)?.core().id();
        out.copy_from_slice(&id.to_le_bytes());
        Ok(())
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        let template = self.core.def().inner.as_ref().expect("checked at creation");
        let map = resolve(self.core.world(), template, value)?;
        drop(self.set(index, Some(map)));
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn memory_usage(&self) -> u64 {
        ARRAY_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
