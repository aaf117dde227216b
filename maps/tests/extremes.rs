//! Maps of any type and size are made or refused, at once and without a panic.

use std::sync::Arc;

use skep_maps::{
    Descriptor, Errno, Map, MapDef, MapType, Socket, SocketDef, World, XdpSocket, create, sys,
};
use skep_memory::Window;

fn world() -> Arc<World> {
    let window = Window::with_len(64 << 20).expect("a small window");
    World::new(window, 2).expect("there is room")
}

fn made(world: &Arc<World>, map_type: MapType, sizes: [u32; 3]) -> Result<Arc<dyn Map>, Errno> {
    let [key_size, value_size, max_entries] = sizes;
    let template = MapDef {
        map_type: MapType::Array.id(),
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ..MapDef::default()
    };
    let of_maps = matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
    let def = MapDef {
        name: "tested".to_owned(),
        map_type: map_type.id(),
        key_size,
        value_size,
        max_entries,
        flags: u32::from(map_type == MapType::LpmTrie),
        inner: of_maps.then(|| Box::new(template)),
        ..MapDef::default()
    };
    create(world, &def).map_err(|error| error.errno())
}

#[test]
fn any_size_is_made_or_refused() {
    const SIZES: [u32; 8] = [0, 1, 4, 8, 4097, 1 << 20, 1 << 31, u32::MAX];
    let world = world();
    for &map_type in MapType::ALL.iter().filter(|map_type| map_type.is_supported()) {
        let mut count = 0;
        for sizes in SIZES.iter().flat_map(|&key| {
            SIZES.iter().flat_map(move |&value| SIZES.map(|entries| [key, value, entries]))
        }) {
            match made(&world, map_type, sizes) {
                Ok(map) => {
                    count += 1;
                    let mut next = vec![0; map.core().def().key_size as usize];
                    // Some types have no keys.
                    let _ = sys::next_key(&*map, None, &mut next);
                }
                Err(errno) => assert_ne!(errno.number(), 0),
            }
        }
        assert!(count > 0, "{map_type} can be made");
    }
}

#[test]
fn the_last_element_of_the_longest_array_holds_an_object() {
    let world = world();
    let listener = SocketDef::tcp_listener(([127, 0, 0, 1], 80).into());
    let worker = SocketDef { reuse_port: true, ..listener.clone() };
    let [listener, worker] = [listener, worker]
        .map(|def| Descriptor::open(&world, Socket::new(&world, def).expect("there is room")));
    let xdp = Descriptor::open(&world, XdpSocket::new(&world, 0).expect("there is room"));
    let cgroup = Descriptor::open(&world, skep_maps::Cgroup::root());
    for (map_type, number) in [
        (MapType::Sockmap, listener.number()),
        (MapType::ReuseportSockarray, worker.number()),
        (MapType::Xskmap, xdp.number()),
        (MapType::CgroupArray, cgroup.number()),
    ] {
        let map = made(&world, map_type, [4, 4, u32::MAX]).expect("room is taken as it is used");
        let last = (u32::MAX - 1).to_le_bytes();
        sys::update(&*map, Some(&last), &number.to_le_bytes(), 0).expect("the last index");
        let behind = sys::update(&*map, Some(&[255; 4]), &number.to_le_bytes(), 0);
        assert_eq!(behind, Err(Errno::E2BIG), "{map_type}");
        sys::delete(&*map, Some(&last)).expect("it is there");
    }
}
