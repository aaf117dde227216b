//! CPUMAP: queues of CPUs by index (kernel `cpumap.c`).

use std::sync::Arc;

use super::devmap::{check_number_and_program, number_and_program, xdp_program};
use super::{Keys, Refusal, Rules, check_flags, index_of, next_index, rule};
use crate::flags::{BPF_EXIST, BPF_F_NUMA_NODE, BPF_NOEXIST};
use crate::map::{Destination, ProgramOp as Op};
use crate::owner::Owner;
use crate::slots::Slots;
use crate::world::ProgramRef;
use crate::{Core, Errno, Map, MapDef, World};

/// How many CPUs a kernel may be built for: `CONFIG_NR_CPUS` as distributions have it.
const NR_CPUS: u32 = 8192;
/// The most packets that a queue may hold.
const MOST_PACKETS: u32 = 16_384;
/// `struct bpf_cpu_map` of Linux 6.18 on x86-64, in bytes.
const MAP_BYTES: u64 = 304;

pub(super) static RULES: Rules =
    Rules { keys: Keys::Index, ops: &[Op::Redirect], ..Rules::new(check, make) };

/// Kernel `cpu_map_alloc`.
fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    rule(def.key_size == 4, Errno::EINVAL, || {
        format!("the key of this type is 4 bytes, not {}", def.key_size)
    })?;
    check_number_and_program(def)?;
    check_flags(def, BPF_F_NUMA_NODE)?;
    rule(def.max_entries <= NR_CPUS, Errno::E2BIG, || {
        format!("max_entries may be {NR_CPUS}, not {}", def.max_entries)
    })
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let slots = Slots::new(&core)?;
    Ok(Arc::new(Cpumap { core, slots, owner: Owner::default() }))
}

#[derive(Debug)]
struct Cpumap {
    core: Core,
    /// The programs; a slot's word is the size of a CPU's queue, and above that the id of
    /// its program.
    slots: Slots<Option<ProgramRef>>,
    owner: Owner,
}

impl Cpumap {
    /// The size of a CPU's queue and the id of its program.
    fn queue(&self, index: u32) -> Option<(u32, u32)> {
        let word = self.slots.get(index)?;
        let [size, program] = [word & u64::from(u32::MAX), word >> 32]
            .map(|half| u32::try_from(half).expect("32 bits are left"));
        Some((size, program))
    }
}

impl Map for Cpumap {
    fn core(&self) -> &Core {
        &self.core
    }

    fn claim(&self, kind: u32) -> Result<(), Errno> {
        self.owner.claim(kind)
    }

    fn destination(&self, key: u32) -> Option<Destination> {
        let (queue_size, program) = self.queue(key)?;
        Some(Destination::Cpu { cpu: key, queue_size, program })
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let (size, program) = self.queue(index_of(key)).ok_or(Errno::ENOENT)?;
        let value = [size.to_le_bytes(), program.to_le_bytes()];
        out.copy_from_slice(&value.as_flattened()[..out.len()]);
        Ok(())
    }

    /// Kernel `cpu_map_update_elem`: a queue of size 0 is none.
    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        let (size, program) = number_and_program(value);
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        if flags == BPF_NOEXIST {
            return Err(Errno::EEXIST);
        }
        if size > MOST_PACKETS {
            return Err(Errno::EOVERFLOW);
        }
        if index >= self.core.world().cpus() {
            return Err(Errno::ENODEV);
        }
        let gone = if size == 0 {
            self.slots.take(index)
        } else {
            // Whatever is wrong with the program, the kernel says that it has no memory.
            let program = xdp_program(self.core.world(), &self.owner, program);
            let program = program.map_err(|_| Errno::ENOMEM)?;
            let id = program.as_ref().map_or(0, |program| program.id);
            self.slots.put(index, u64::from(id) << 32 | u64::from(size), program)
        };
        drop(gone);
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::EINVAL);
        }
        drop(self.slots.take(index));
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn memory_usage(&self) -> u64 {
        MAP_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
