//! DEVMAP_HASH: network devices by number (kernel `devmap.c`).

use std::sync::{Arc, Mutex};

use skep_memory::GuestPtr;

use super::devmap::{DEVICE_BYTES, Device, Devices, MAP_BYTES, check_devices};
use super::{Refusal, Rules, index_of, rule};
use crate::flags::{BPF_EXIST, BPF_F_RDONLY_PROG, BPF_NOEXIST};
use crate::map::{Destination, ProgramOp as Op};
use crate::mutex::lock;
use crate::order::Order;
use crate::owner::Owner;
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules =
    Rules { ops: &[Op::Lookup, Op::Redirect], adds: BPF_F_RDONLY_PROG, ..Rules::new(check, make) };

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_devices(def)?;
    rule(def.max_entries <= 1 << 31, Errno::EINVAL, || {
        format!("max_entries may be {}, not {}", 1u32 << 31, def.max_entries)
    })
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let devices = Devices::new(world, &core)?;
    let order = Mutex::new(Order::new());
    Ok(Arc::new(DevmapHash { core, devices, order }))
}

#[derive(Debug)]
struct DevmapHash {
    core: Core,
    devices: Devices,
    /// Writers hold it, as the kernel's hold `index_lock`.
    order: Mutex<Order<u32>>,
}

impl Map for DevmapHash {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        self.devices.find(key)
    }

    fn destination(&self, key: u32) -> Option<Destination> {
        let (ifindex, program) = self.devices.get(&key.to_le_bytes())?;
        Some(Destination::Device { ifindex, program })
    }

    fn devices(&self) -> Vec<u32> {
        let keys: Vec<u32> = lock(&self.order).keys().copied().collect();
        let device = |key: u32| Some(self.devices.get(&key.to_le_bytes())?.0);
        keys.into_iter().filter_map(device).collect()
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.devices.read(key, out)
    }

    /// Kernel `__dev_map_hash_update_elem`; `BPF_EXIST` asks for nothing.
    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > BPF_EXIST || index_of(&value[..4]) == 0 {
            return Err(Errno::EINVAL);
        }
        let mut order = lock(&self.order);
        if flags == BPF_NOEXIST && self.devices.find(key).is_some() {
            return Err(Errno::EEXIST);
        }
        let device =
            Device::new(self.core.world(), &Owner::default(), value)?.ok_or(Errno::EINVAL)?;
        let gone = self.devices.put(key, device)?;
        let buckets = self.core.def().max_entries.next_power_of_two();
        order.insert(index_of(key), index_of(key) & (buckets - 1));
        drop(order);
        drop(gone);
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let mut order = lock(&self.order);
        let gone = self.devices.take(key).ok_or(Errno::ENOENT)?;
        order.remove(&index_of(key));
        drop(order);
        drop(gone);
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let order = lock(&self.order);
        let found = order.next(key.map(index_of).as_ref()).ok_or(Errno::ENOENT)?;
        next.copy_from_slice(&found.to_le_bytes());
        Ok(())
    }

    fn memory_usage(&self) -> u64 {
        let buckets = u64::from(self.core.def().max_entries).next_power_of_two();
        let items = lock(&self.order).keys().len() as u64;
        MAP_BYTES + buckets * 8 + items * DEVICE_BYTES
    }
}
