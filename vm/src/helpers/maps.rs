//! Helpers on maps.

use std::sync::Arc;

use skep_maps::{Map, MapType, Source, Target};
use skep_memory::{GuestPtr, GuestSlice};

use super::args::Key;
use super::{Call, Return};
use crate::run::{Held, Run};

fn errno(result: Result<(), skep_maps::Errno>) -> u64 {
    result.map_or_else(skep_maps::Errno::to_r0, |()| 0)
}

pub(super) fn lookup(run: &mut Run<'_>, _call: &Call<'_>, map: &Arc<dyn Map>, key: Key) -> Return {
    use MapType::{ArrayOfMaps, HashOfMaps, Sockhash, Sockmap, Xskmap};
    match map.core().map_type() {
        ArrayOfMaps | HashOfMaps | Xskmap => Ok(lookup_object(run, map, key.bytes())),
        Sockmap | Sockhash => {
            let socket = lookup_object(run, map, key.bytes());
            if let Ok(held @ 1..) = u32::try_from(socket) {
                run.held.push(Held::Socket(GuestPtr::new(held)));
            }
            Ok(socket)
        }
        _ => Ok(map.lookup(key.bytes(), run.cpu.number).map_or(0, GuestPtr::addr)),
    }
}

/// Looks up what lives apart from the map: an inner map or a socket. It stays alive for the
/// run from here on; if it has just been replaced, there is another one to be found.
pub(crate) fn lookup_object(run: &mut Run<'_>, map: &Arc<dyn Map>, key: &[u8]) -> u64 {
    loop {
        let Some(ptr) = map.lookup(key, run.cpu.number) else {
            return 0;
        };
        let world = run.world();
        let slot = world.slot_of(ptr.addr());
        if slot.is_some_and(|slot| run.cpu.maps.has(slot)) {
            return ptr.addr();
        }
        let kept = match slot {
            Some(slot) => run.cpu.maps.get(world, slot).is_some(),
            None => run.keep(ptr),
        };
        // Before it was kept, its memory or its handle may have become another's.
        if kept && map.lookup(key, run.cpu.number) == Some(ptr) {
            return ptr.addr();
        }
    }
}

pub(super) fn lookup_percpu(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    map: &Arc<dyn Map>,
    key: Key,
    cpu: u64,
) -> Return {
    let cpu = u32::try_from(cpu & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    if cpu >= run.world().cpus() {
        return Ok(0);
    }
    Ok(map.lookup(key.bytes(), cpu).map_or(0, GuestPtr::addr))
}

pub(super) fn update(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    map: &Arc<dyn Map>,
    key: Key,
    value: GuestSlice<'_>,
    flags: u64,
) -> Return {
    Ok(errno(map.update(key.bytes(), Source::Guest(value), flags, run.cpu.number)))
}

pub(super) fn delete(_run: &mut Run<'_>, _call: &Call<'_>, map: &Arc<dyn Map>, key: Key) -> Return {
    Ok(errno(map.delete(key.bytes())))
}

pub(super) fn push(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    map: &Arc<dyn Map>,
    value: GuestSlice<'_>,
    flags: u64,
) -> Return {
    Ok(errno(map.push(Source::Guest(value), flags)))
}

pub(super) fn pop(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    map: &Arc<dyn Map>,
    room: GuestSlice<'_>,
) -> Return {
    Ok(errno(map.pop(&mut Target::Guest(room))))
}

pub(super) fn peek(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    map: &Arc<dyn Map>,
    room: GuestSlice<'_>,
) -> Return {
    Ok(errno(map.peek(&mut Target::Guest(room))))
}
