//! ARRAY_OF_MAPS: maps by index (kernel `arraymap.c`, `map_in_map.c`).

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::array::ARRAY_BYTES;
use super::{Batches, Holds, Keys, Refusal, Rules, check_handle_array, index_of, next_index};
use crate::inner::{check_template, resolve};
use crate::map::ProgramOp;
use crate::slots::Slots;
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
    let slots = Slots::new(&core)?;
    Ok(Arc::new(ArrayOfMaps { core, slots }))
}

#[derive(Debug)]
struct ArrayOfMaps {
    core: Core,
    /// The maps; a slot's word is its map's handle.
    slots: Slots<Arc<dyn Map>>,
}

impl Map for ArrayOfMaps {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        let handle = self.slots.get(index_of(key))?;
        Some(GuestPtr::new(u32::try_from(handle).expect("it is an offset")))
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        self.slots.take(index).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let id = self.slots.with(index_of(key), |inner| inner.core().id());
        let id = id.ok_or(Errno::ENOENT)?;
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
        let handle = map.core().handle().addr();
        drop(self.slots.put(index, handle, map));
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn memory_usage(&self) -> u64 {
        ARRAY_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
