//! PROG_ARRAY: programs to tail-call, by index (kernel `arraymap.c`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::array::ARRAY_BYTES;
use super::{Holds, Keys, Refusal, Rules, check_handle_array, index_of, next_index};
use crate::map::ProgramOp;
use crate::world::{ProgramRef, lock};
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    keys: Keys::Index,
    holds: Holds::Handle,
    ops: &[ProgramOp::TailCall],
    inner: false,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_handle_array(def)
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let max = core.def().max_entries;
    let slots = (0..max).map(|_| AtomicU32::new(0)).collect();
    let kept = Mutex::new((0..max).map(|_| None).collect());
    Ok(Arc::new(ProgArray { core, slots, kept, kind: OnceLock::new() }))
}

/// A map of programs.
#[derive(Debug)]
pub struct ProgArray {
    core: Core,
    /// The id of each slot's program, 0 when it is empty.
    slots: Box<[AtomicU32]>,
    /// Keeps the programs alive.
    kept: Mutex<Vec<Option<ProgramRef>>>,
    /// What all programs of this array and all that call through it have in common.
    kind: OnceLock<u32>,
}

impl ProgArray {
    /// The id of the program in a slot.
    #[inline]
    #[must_use]
    pub fn program(&self, index: u32) -> Option<u32> {
        let id = self.slots.get(index as usize)?.load(Ordering::Acquire);
        (id != 0).then_some(id)
    }

    /// Says that programs of this kind call through the array or stand in it; the first
    /// one decides (kernel `bpf_prog_map_compatible`).
    ///
    /// # Errors
    ///
    /// `EINVAL` when the array belongs to another kind.
    pub fn claim(&self, kind: u32) -> Result<(), Errno> {
        if *self.kind.get_or_init(|| kind) == kind { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn set(&self, index: u32, program: Option<ProgramRef>) -> Option<ProgramRef> {
        let mut kept = lock(&self.kept);
        let id = program.as_ref().map_or(0, |program| program.id);
        self.slots[index as usize].store(id, Ordering::Release);
        std::mem::replace(&mut kept[index as usize], program)
    }
}

impl Map for ProgArray {
    fn core(&self) -> &Core {
        &self.core
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        self.set(index, None).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let id = self.program(index_of(key)).ok_or(Errno::ENOENT)?;
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
        let program = self.core.world().program(index_of(value))?;
        self.claim(program.kind)?;
        drop(self.set(index, Some(program)));
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn released(&self) {
        for index in 0..self.core.def().max_entries {
            drop(self.set(index, None));
        }
    }

    fn memory_usage(&self) -> u64 {
        ARRAY_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
