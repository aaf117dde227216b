//! DEVMAP: network devices by index (kernel `devmap.c`), and the devices of DEVMAP_HASH.
//!
//! skep has no devices: what the kernel asks of them, that they exist, holds for every
//! number but 0.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use skep_memory::GuestPtr;

use super::{Keys, Refusal, Rules, check_flags, index_of, next_index, rule};
use crate::budget::Meter;
use crate::flags::{
    BPF_EXIST, BPF_F_NUMA_NODE, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY, BPF_NOEXIST,
};
use crate::index::{Key, Table};
use crate::map::{Destination, ProgramOp as Op, Source};
use crate::mutex::lock;
use crate::owner::Owner;
use crate::values::{Growth, Values};
use crate::world::ProgramRef;
use crate::{Core, Errno, Map, MapDef, World};

/// `BPF_PROG_TYPE_XDP`, the type of the programs that packets meet behind a redirection.
pub(super) const XDP: u32 = 6;

/// `struct bpf_dtab` and `struct bpf_dtab_netdev` of Linux 6.18 on x86-64, in bytes.
pub(super) const MAP_BYTES: u64 = 344;
pub(super) const DEVICE_BYTES: u64 = 64;

pub(super) static RULES: Rules = Rules {
    keys: Keys::Index,
    ops: &[Op::Lookup, Op::Redirect],
    adds: BPF_F_RDONLY_PROG,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_devices(def)
}

/// Rules of both types (kernel `dev_map_alloc_check`).
pub(super) fn check_devices(def: &MapDef) -> Result<(), Refusal> {
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    rule(def.key_size == 4, Errno::EINVAL, || {
        format!("the key of this type is 4 bytes, not {}", def.key_size)
    })?;
    check_number_and_program(def)?;
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)
}

/// Values are a number, or a number and a program.
pub(super) fn check_number_and_program(def: &MapDef) -> Result<(), Refusal> {
    rule(matches!(def.value_size, 4 | 8), Errno::EINVAL, || {
        format!("the value of this type is 4 bytes, or 8 with a program, not {}", def.value_size)
    })
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let devices = Devices::new(world, &core)?;
    Ok(Arc::new(Devmap { core, devices, items: AtomicU32::new(0), owner: Owner::default() }))
}

#[derive(Debug)]
struct Devmap {
    core: Core,
    devices: Devices,
    /// The kernel's count of devices, which is too high once an element was emptied by an
    /// update.
    items: AtomicU32,
    owner: Owner,
}

/// The number and the program in a value from user space: a program's id, or 0 or less
/// for none (kernel `val.bpf_prog.fd`).
pub(super) fn number_and_program(value: &[u8]) -> (u32, Option<u32>) {
    let (number, program) = value.split_at(4);
    let program = program.try_into().map_or(0, i32::from_le_bytes);
    (index_of(number), u32::try_from(program).ok().filter(|&id| id > 0))
}

/// An XDP program by its id, for a map that must not belong to others.
pub(super) fn xdp_program(
    world: &World,
    owner: &Owner,
    id: Option<u32>,
) -> Result<Option<ProgramRef>, Errno> {
    let Some(id) = id else { return Ok(None) };
    let program = world.program(id)?;
    if program.kind != XDP {
        return Err(Errno::EINVAL);
    }
    owner.claim(XDP)?;
    Ok(Some(program))
}

/// A device, as an element has it.
#[derive(Debug)]
pub(super) struct Device {
    ifindex: u32,
    program: Option<ProgramRef>,
}

impl Device {
    /// The device in a value; 0 is none.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a program that there is not, or of another type than the map's (kernel
    /// `__dev_map_alloc_node`), or without a device.
    pub(super) fn new(world: &World, owner: &Owner, value: &[u8]) -> Result<Option<Self>, Errno> {
        match number_and_program(value) {
            (0, None) => Ok(None),
            (0, Some(_)) => Err(Errno::EINVAL),
            (ifindex, program) => {
                let program = xdp_program(world, owner, program).map_err(|_| Errno::EINVAL)?;
                Ok(Some(Self { ifindex, program }))
            }
        }
    }
}

/// A device that has left its map. It is dropped, and its program with it, where no lock is
/// held.
#[derive(Debug)]
pub(super) struct Gone {
    _program: Option<ProgramRef>,
}

/// Devices by keys of 4 bytes. Readers take no lock; the values are programs' to read.
#[derive(Debug)]
pub(super) struct Devices {
    table: Table,
    values: Values,
    value_size: usize,
    /// Keeps the programs alive, by element.
    programs: Mutex<HashMap<u32, ProgramRef>>,
}

impl Devices {
    pub(super) fn new(world: &Arc<World>, core: &Core) -> Result<Self, Errno> {
        let def = core.def();
        let most = Values::most(world, def, 1);
        let table = Table::new(def, core.home(), world.cpus(), most)?;
        let table = table.metered(Meter::new(core, DEVICE_BYTES));
        let values = Values::new(world, def, core.home(), (table.ids(), 1), Growth::Chunks)?;
        let value_size = def.value_size as usize;
        Ok(Self { table, values, value_size, programs: Mutex::default() })
    }

    /// The guest pointer to the value of a key.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<GuestPtr> {
        Some(self.values.ptr(self.table.index.find(key)?.id, 0))
    }

    /// The value of a key: the device's number, and the id of its program or 0.
    pub(super) fn get(&self, key: &[u8]) -> Option<(u32, u32)> {
        loop {
            let found = self.table.index.find(key)?;
            let value = self.values.slice(found.id, 0);
            let program = if self.value_size > 4 { value.get(4) } else { 0 };
            let device = (value.get(0), program);
            if self.table.index.still(found) {
                return Some(device);
            }
        }
    }

    /// Copies the value of a key out.
    ///
    /// # Errors
    ///
    /// `ENOENT` when there is none.
    pub(super) fn read(&self, key: &[u8], out: &mut [u8]) -> Result<(), Errno> {
        let (ifindex, program) = self.get(key).ok_or(Errno::ENOENT)?;
        let value = [ifindex.to_le_bytes(), program.to_le_bytes()];
        out.copy_from_slice(&value.as_flattened()[..out.len()]);
        Ok(())
    }

    /// Puts a device under a key; gives what was there.
    ///
    /// # Errors
    ///
    /// `E2BIG` when all elements are taken, `ENOMEM` when the window is full.
    pub(super) fn put(&self, key: &[u8], device: Device) -> Result<Option<Gone>, Errno> {
        let key = Key::new(key);
        let bucket = self.table.index.lock(&key).ok_or(Errno::EBUSY)?;
        let Some(old) = bucket.find(&key) else {
            let id = self.table.take()?;
            if let Err(errno) = self.values.ready(id) {
                self.table.give(id);
                return Err(errno);
            }
            self.fill(id, device);
            bucket.insert(id, &key);
            return Ok(None);
        };
        let spare = self.table.take_spare()?;
        if let Err(errno) = self.values.ready(spare.id) {
            let id = spare.id;
            self.table.put_spare(spare, id);
            return Err(errno);
        }
        self.fill(spare.id, device);
        bucket.replace(old, spare.id, &key);
        let gone = Gone { _program: lock(&self.programs).remove(&old.id) };
        self.table.put_spare(spare, old.id);
        Ok(Some(gone))
    }

    /// Writes an element that no one can find yet.
    fn fill(&self, id: u32, device: Device) {
        let program = device.program.as_ref().map_or(0, |program| program.id);
        let value = [device.ifindex.to_le_bytes(), program.to_le_bytes()];
        self.values.write(id, 0, Source::Host(&value.as_flattened()[..self.value_size]));
        if let Some(program) = device.program {
            let _none = lock(&self.programs).insert(id, program);
        }
    }

    /// Takes the device of a key away, and gives it.
    pub(super) fn take(&self, key: &[u8]) -> Option<Gone> {
        let mut program = None;
        self.table.remove(key, |id| program = lock(&self.programs).remove(&id)).ok()?;
        Some(Gone { _program: program })
    }

    /// All keys, in no order.
    fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        let buckets = 0..self.table.index.buckets();
        buckets.filter_map(|bucket| self.table.index.bucket_keys(bucket)).flatten()
    }
}

impl Map for Devmap {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        self.devices.find(key)
    }

    fn claim(&self, kind: u32) -> Result<(), Errno> {
        self.owner.claim(kind)
    }

    fn destination(&self, key: u32) -> Option<Destination> {
        let (ifindex, program) = self.devices.get(&key.to_le_bytes())?;
        Some(Destination::Device { ifindex, program })
    }

    fn devices(&self) -> Vec<u32> {
        let mut keys: Vec<u32> = self.devices.keys().map(|key| index_of(&key)).collect();
        keys.sort_unstable();
        let device = |key: u32| Some(self.devices.get(&key.to_le_bytes())?.0);
        keys.into_iter().filter_map(device).collect()
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.devices.read(key, out)
    }

    /// Kernel `__dev_map_update_elem`.
    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        if index_of(key) >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        if flags == BPF_NOEXIST {
            return Err(Errno::EEXIST);
        }
        let gone = match Device::new(self.core.world(), &self.owner, value)? {
            Some(device) => self.devices.put(key, device)?,
            None => self.devices.take(key),
        };
        if gone.is_none() {
            self.items.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        if index_of(key) >= self.core.def().max_entries {
            return Err(Errno::EINVAL);
        }
        if self.devices.take(key).is_some() {
            self.items.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn memory_usage(&self) -> u64 {
        let items = u64::from(self.items.load(Ordering::Relaxed));
        MAP_BYTES + u64::from(self.core.def().max_entries) * 8 + items * DEVICE_BYTES
    }
}
