//! CGROUP_ARRAY: cgroups to compare with, by index (kernel `arraymap.c`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::array::ARRAY_BYTES;
use super::{Holds, Keys, Refusal, Rules, check_handle_array, index_of, next_index};
use crate::cgroup::Cgroup;
use crate::map::ProgramOp;
use crate::slots::Slots;
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    keys: Keys::Index,
    holds: Holds::Handle,
    ops: &[ProgramOp::UnderCgroup],
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_handle_array(def)
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let slots = Slots::new(&core)?;
    Ok(Arc::new(CgroupArray { core, slots }))
}

/// A map of cgroups.
#[derive(Debug)]
pub struct CgroupArray {
    core: Core,
    /// The cgroups, closed or not; a slot's word is its cgroup's id.
    slots: Slots<Arc<Cgroup>>,
}

impl CgroupArray {
    /// The id of the cgroup in a slot.
    ///
    /// # Errors
    ///
    /// `E2BIG` when there is no such slot, `EAGAIN` when it is empty (kernel
    /// `bpf_current_task_under_cgroup`).
    pub fn cgroup(&self, index: u32) -> Result<u64, Errno> {
        let slot = self.slots.word(index).ok_or(Errno::E2BIG)?;
        let id = slot.load(Ordering::Acquire);
        if id == 0 { Err(Errno::EAGAIN) } else { Ok(id) }
    }
}

impl Map for CgroupArray {
    fn core(&self) -> &Core {
        &self.core
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        let cgroup: Arc<Cgroup> =
            self.core.world().resources().get(index_of(value), Errno::EBADF)?;
        drop(self.slots.put(index, cgroup.id(), cgroup));
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        self.slots.take(index).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn memory_usage(&self) -> u64 {
        ARRAY_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
