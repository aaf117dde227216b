//! `PERF_EVENT_ARRAY`: perf events by index, mostly one for each CPU (kernel
//! `arraymap.c`).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::array::ARRAY_BYTES;
use super::{Holds, Keys, Refusal, Rules, check_array, check_flags, check_handle_size, index_of};
use crate::flags::{BPF_F_ACCESS_MASK, BPF_F_NUMA_NODE, BPF_F_PRESERVE_ELEMS};
use crate::map::ProgramOp;
use crate::perf::PerfEvent;
use crate::sys::RefId;
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    keys: Keys::Index,
    holds: Holds::Handle,
    ops: &[ProgramOp::PerfEvent],
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_handle_size(def)?;
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_ACCESS_MASK | BPF_F_PRESERVE_ELEMS)?;
    check_array(def)
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    Ok(Arc::new(PerfEventArray { core, elements: RwLock::default() }))
}

/// An array of perf events.
#[derive(Debug)]
pub struct PerfEventArray {
    core: Core,
    /// The elements that are set: there are few, whatever the array's length.
    elements: RwLock<BTreeMap<u32, Element>>,
}

#[derive(Debug)]
struct Element {
    event: Arc<PerfEvent>,
    /// The reference of user space that has set it.
    by: RefId,
}

impl PerfEventArray {
    /// The event at an index (kernel `__bpf_perf_event_output`).
    ///
    /// # Errors
    ///
    /// `E2BIG` behind the end, `ENOENT` where there is none.
    pub fn event(&self, index: u64) -> Result<Arc<PerfEvent>, Errno> {
        let index = u32::try_from(index).map_err(|_| Errno::E2BIG)?;
        self.check_index(index)?;
        let elements = self.read();
        elements.get(&index).map(|element| Arc::clone(&element.event)).ok_or(Errno::ENOENT)
    }

    /// The events that are there, by index.
    #[must_use]
    pub fn events(&self) -> Vec<(u32, Arc<PerfEvent>)> {
        let elements = self.read();
        elements.iter().map(|(index, element)| (*index, Arc::clone(&element.event))).collect()
    }

    fn check_index(&self, index: u32) -> Result<(), Errno> {
        if index < self.core.def().max_entries { Ok(()) } else { Err(Errno::E2BIG) }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u32, Element>> {
        self.elements.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u32, Element>> {
        self.elements.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map for PerfEventArray {
    fn core(&self) -> &Core {
        &self.core
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        self.check_index(index)?;
        self.write().remove(&index).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.user_update_by(RefId::NOBODY, key, value, flags)
    }

    fn user_update_by(&self, by: RefId, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        self.check_index(index)?;
        let resources = self.core.world().resources();
        let event: Arc<PerfEvent> = resources.get(index_of(value), Errno::EBADF)?;
        event.check()?;
        drop(self.write().insert(index, Element { event, by }));
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        super::next_index(key, self.core.def().max_entries, next)
    }

    /// The elements that a reference has set go with it, unless they are to be preserved
    /// (kernel `perf_event_fd_array_release`).
    fn closed(&self, by: RefId) {
        if self.core.def().flags & BPF_F_PRESERVE_ELEMS == 0 {
            self.write().retain(|_, element| element.by != by);
        }
    }

    fn memory_usage(&self) -> u64 {
        ARRAY_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
