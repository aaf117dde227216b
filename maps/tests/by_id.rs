//! Maps that come and go while others look for them by their ids.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use skep_maps::{Map, MapDef, MapType, World, create};
use skep_memory::Window;

fn make(world: &Arc<World>) -> Arc<dyn Map> {
    let def = MapDef {
        name: "short-lived".to_owned(),
        map_type: MapType::Array.id(),
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..MapDef::default()
    };
    create(world, &def).expect("there is room")
}

/// Whoever looks must not be the last to have a map while it holds the table: the map's end
/// would wait for the table.
#[test]
fn maps_end_while_they_are_looked_for() {
    const MAPS: usize = 400_000;
    const LOOKERS: usize = 2;
    let window = Window::with_len(64 << 20).expect("address space");
    let world = World::new(window, 1).expect("room for handles");
    let kept = make(&world);
    let over = Arc::new(AtomicBool::new(false));
    let (done, all_done) = mpsc::channel();
    for _ in 0..LOOKERS {
        let (world, kept, over) = (Arc::clone(&world), Arc::clone(&kept), Arc::clone(&over));
        let done = done.clone();
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let found = world.map_by_id(kept.core().id()).expect("it is kept");
                assert!(Arc::ptr_eq(&found, &kept));
                assert!(world.map_by_id(u32::MAX).is_none());
            }
            done.send(()).expect("the test waits");
        });
    }
    let others = Arc::clone(&world);
    thread::spawn(move || {
        (0..MAPS).for_each(|_| drop(make(&others)));
        over.store(true, Ordering::Relaxed);
        done.send(()).expect("the test waits");
    });
    for _ in 0..=LOOKERS {
        all_done.recv_timeout(Duration::from_secs(60)).expect("nobody waits for ever");
    }
    assert_eq!(world.maps().len(), 1);
}
