//! CGROUP_ARRAY: cgroups to compare with, by index (kernel `arraymap.c`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::array::ARRAY_BYTES;
use super::{Holds, Keys, Refusal, Rules, check_handle_array, index_of, next_index};
use crate::cgroup::Cgroup;
use crate::map::ProgramOp;
use crate::world::lock;
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
    let max = core.def().max_entries;
    let slots = (0..max).map(|_| AtomicU64::new(0)).collect();
    let kept = Mutex::new((0..max).map(|_| None).collect());
    Ok(Arc::new(CgroupArray { core, slots, kept }))
}

/// A map of cgroups.
#[derive(Debug)]
pub struct CgroupArray {
    core: Core,
    /// The id of each slot's cgroup, 0 when it is empty.
    slots: Box<[AtomicU64]>,
    /// Keeps the cgroups, closed or not.
    kept: Mutex<Vec<Option<Arc<Cgroup>>>>,
}

impl CgroupArray {
    /// The id of the cgroup in a slot.
    ///
    /// # Errors
    ///
    /// `E2BIG` when there is no such slot, `EAGAIN` when it is empty (kernel
    /// `bpf_current_task_under_cgroup`).
    pub fn cgroup(&self, index: u32) -> Result<u64, Errno> {
        let slot = self.slots.get(index as usize).ok_or(Errno::E2BIG)?;
        let id = slot.load(Ordering::Acquire);
        if id == 0 { Err(Errno::EAGAIN) } else { Ok(id) }
    }

    fn set(&self, index: u32, cgroup: Option<Arc<Cgroup>>) -> Option<Arc<Cgroup>> {
        let mut kept = lock(&self.kept);
        let id = cgroup.as_ref().map_or(0, |cgroup| cgroup.id());
        self.slots[index as usize].store(id, Ordering::Release);
        std::mem::replace(&mut kept[index as usize], cgroup)
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
        let cgroup = self.core.world().resources().get(index_of(value), Errno::EBADF)?;
        drop(self.set(index, Some(cgroup)));
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        self.set(index, None).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn memory_usage(&self) -> u64 {
        ARRAY_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
