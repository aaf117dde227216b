//! skep's maps, called from native code as a helper would call them.

use std::sync::Arc;

use skep_maps::flags::{BPF_F_NO_PREALLOC, BPF_RB_NO_WAKEUP};
use skep_maps::{Map, MapDef, MapType, RingBuf, Source, World};
use skep_memory::Window;

use crate::work::{
    HashOp, Kind, LRU_ENTRIES, PREFIXES, RING_BYTES, RING_RECORDS, ROOM, Side, Work, key, pick,
    prefix, time,
};

struct Native {
    kind: Kind,
    world: Arc<World>,
    map: Arc<dyn Map>,
    /// The next key that was never used.
    next: u32,
}

pub(crate) fn side(work: &Work) -> Box<dyn Side> {
    let world = World::new(Window::reserve().unwrap(), 2).unwrap();
    let (map_type, key_size, value_size, max_entries, flags) = match work.kind {
        Kind::Hash { key, entries, .. } => (MapType::Hash, key, 8, entries + ROOM, 0),
        Kind::LruEvict => (MapType::LruHash, 4, 8, LRU_ENTRIES, 0),
        Kind::LpmLookup => (MapType::LpmTrie, 8, 8, 16_384, BPF_F_NO_PREALLOC),
        Kind::Ring => (MapType::Ringbuf, 0, 0, RING_BYTES, 0),
    };
    let def = MapDef {
        map_type: map_type.id(),
        key_size: u32::try_from(key_size).unwrap(),
        value_size,
        max_entries,
        flags,
        ..MapDef::default()
    };
    let map = skep_maps::create(&world, &def).unwrap();
    let put = |key: &[u8], n: u32| map.user_update(key, &u64::from(n).to_le_bytes(), 0).unwrap();
    match work.kind {
        Kind::Hash { key: len, entries, .. } => {
            (0..entries).for_each(|n| put(&key(len, n)[..len], n));
        }
        Kind::LpmLookup => (0..PREFIXES).for_each(|n| put(&prefix(n), n)),
        Kind::LruEvict => (0..2 * LRU_ENTRIES).for_each(|n| put(&n.to_le_bytes(), n)),
        Kind::Ring => {}
    }
    Box::new(Native { kind: work.kind, world, map, next: 2 * LRU_ENTRIES })
}

impl Native {
    /// Looks a key up and reads its value, 0 when it is not there.
    #[inline]
    fn get(&self, key: &[u8], cpu: u32) -> u64 {
        let found = self.map.lookup(key, cpu);
        let value = found.and_then(|ptr| ptr.slice(self.world.window(), 8));
        value.map_or(0, |value| value.get(0))
    }

    #[inline]
    fn put(&self, key: &[u8], value: u64, cpu: u32) -> u64 {
        let value = value.to_le_bytes();
        u64::from(self.map.update(key, Source::Host(&value), 0, cpu).is_err())
    }
}

impl Side for Native {
    fn run(&mut self, threads: usize) -> f64 {
        let cpu = |thread: u64| u32::try_from(thread).unwrap();
        let operations = self.kind.operations();
        match self.kind {
            Kind::Hash { key: len, entries, op } => time(threads, operations, |thread, random| {
                let bytes = key(len, pick(op, entries, random, thread));
                let key = &bytes[..len];
                match op {
                    HashOp::Get => self.get(key, cpu(thread)),
                    HashOp::Update => self.put(key, random, cpu(thread)),
                    HashOp::InsertDelete => {
                        self.put(key, random, cpu(thread))
                            + u64::from(self.map.delete(key).is_err())
                    }
                }
            }),
            Kind::LruEvict => {
                let first = self.next;
                self.next += u32::try_from(operations).unwrap() * 2;
                let used = [const { std::sync::atomic::AtomicU32::new(0) }; 2];
                time(threads, operations, |thread, random| {
                    let used = &used[usize::try_from(thread).unwrap()];
                    let n = used.load(std::sync::atomic::Ordering::Relaxed);
                    used.store(n + 1, std::sync::atomic::Ordering::Relaxed);
                    let key = first + 2 * n + cpu(thread);
                    self.put(&key.to_le_bytes(), random, cpu(thread))
                })
            }
            Kind::LpmLookup => time(threads, operations, |thread, random| {
                let mut key = [32, 0, 0, 0, 0, 0, 0, 0];
                key[4..].copy_from_slice(&random.to_be_bytes()[..4]);
                self.get(&key, cpu(thread))
            }),
            Kind::Ring => {
                let ring = self.map.downcast::<RingBuf>().unwrap();
                let window = self.world.window();
                let time = time(threads, RING_RECORDS / threads as u64, |_, random| {
                    let record = ring.reserve(64).expect("the ring was emptied");
                    let data = record.ptr.slice(window, record.size).expect("in the window");
                    for word in 0..8 {
                        data.set(8 * word, random.wrapping_add(u64::from(word)));
                    }
                    ring.commit(record, false, BPF_RB_NO_WAKEUP);
                    0
                });
                let consumed = ring.consume(|_| std::ops::ControlFlow::Continue(()));
                assert_eq!(consumed.records, RING_RECORDS, "every record arrives");
                time
            }
        }
    }
}
