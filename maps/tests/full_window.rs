//! Maps in a window that has no room left.

use std::sync::Arc;

use skep_maps::{Errno, Map, MapDef, MapType, World, create, flags, sys};
use skep_memory::Window;

/// The smallest window there is, in bytes.
const WINDOW: u64 = 64 << 20;
const VALUE: u32 = 1 << 20;

fn growing(world: &Arc<World>, map_type: MapType, value_size: u32) -> Arc<dyn Map> {
    let def = MapDef {
        name: "growing".to_owned(),
        map_type: map_type.id(),
        key_size: 4,
        value_size,
        max_entries: 4096,
        flags: flags::BPF_F_NO_PREALLOC,
        ..MapDef::default()
    };
    create(world, &def).expect("it takes no room yet")
}

/// Inserts keys from `first` on until there is no room; gives the key that failed.
fn fill(map: &dyn Map, first: u32) -> u32 {
    let value = vec![1; map.core().user_value_size()];
    (first..)
        .find(|key| match sys::update(map, Some(&key.to_le_bytes()), &value, 0) {
            Ok(()) => false,
            Err(errno) => {
                assert_eq!(errno, Errno::ENOMEM);
                true
            }
        })
        .expect("the window is finite")
}

#[test]
fn a_map_that_finds_no_room_grows_when_there_is_some_again() {
    for (map_type, value_size) in [(MapType::Hash, VALUE), (MapType::PercpuHash, 32 << 10)] {
        let window = Window::with_len(WINDOW).expect("a small window");
        let world = World::new(window, 2).expect("it has room for handles");
        let [map, other] = [(); 2].map(|()| growing(&world, map_type, value_size));
        let filled = fill(&*other, 0);
        assert!(filled > 10, "{map_type}: some fit");
        let full = fill(&*map, 0);
        // The elements that found no room are free still, and not thought to have some.
        assert_eq!(fill(&*map, full), full, "{map_type}: there still is none");
        drop(other);
        let grown = fill(&*map, full);
        assert!(grown > full + filled / 2, "{map_type}: {grown} from {full}, {filled} had fit");
        assert_eq!(sys::keys(&*map).len(), grown as usize);
    }
}

#[test]
fn a_replacement_that_finds_no_room_leaves_the_old_value() {
    let window = Window::with_len(WINDOW).expect("a small window");
    let world = World::new(window, 2).expect("it has room for handles");
    let map = growing(&world, MapType::Hash, VALUE);
    fill(&*map, 0);
    let key = 0_u32.to_le_bytes();
    for _ in 0..100 {
        let replaced = sys::update(&*map, Some(&key), &vec![2; VALUE as usize], 0);
        assert_eq!(replaced, Err(Errno::ENOMEM), "a replacement needs room of its own");
    }
    let mut value = vec![0; VALUE as usize];
    sys::lookup(&*map, Some(&key), 0, &mut value).expect("it is there");
    assert!(value.iter().all(|&byte| byte == 1), "it is the old one");
}
