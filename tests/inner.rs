//! Maps in maps of maps, from user space.

use skep::{Errno, Error, FixedHost, Input, Loaded, MapDef, MapSnapshot, Object, Vm};

fn load(name: &str) -> (Vm, Loaded) {
    let vm = Vm::builder().host(FixedHost::default()).build().expect("a machine");
    let path = format!("{}/testdata/objects/{name}", env!("CARGO_MANIFEST_DIR"));
    let loaded = vm.load(Object::open(path).expect("an object")).expect("its maps");
    (vm, loaded)
}

fn errno(error: Error) -> Errno {
    match error {
        Error::Map(error) => error.errno,
        other => panic!("no map operation failed: {other}"),
    }
}

/// A frame of a VLAN that ends behind the ports, to port 80.
fn frame(vlan: u16) -> Vec<u8> {
    let mut frame = vec![0; 42];
    frame[12..14].copy_from_slice(&[0x81, 0x00]);
    frame[14..16].copy_from_slice(&vlan.to_be_bytes());
    frame[16..18].copy_from_slice(&[0x08, 0x00]);
    frame[18] = 0x45;
    frame[40..42].copy_from_slice(&80u16.to_be_bytes());
    frame
}

#[test]
fn a_map_that_is_made_inside_is_found_by_programs_and_by_user_space() {
    let (vm, loaded) = load("tenants.bpf.o");
    let tenants = loaded.map("tenants").expect("a map");
    let made = tenants.create_inner(&10u32).expect("it has a template");
    made.update(&80u16, &[5u64, 0], 0).expect("there is room");

    let admit = loaded.program("admit").expect("a program");
    let out = vm.runner().expect("a CPU").run(&admit, Input::packet(frame(10))).expect("it ends");
    assert_eq!(out.action(), Some("XDP_PASS"));

    let found = tenants.inner_map(&10u32).expect("a map of maps").expect("it was put there");
    assert_eq!(found.lookup(&80u16).expect("a lookup"), Some([6u64, 42]));
    assert_eq!(found.id(), made.id());
    assert!(found.is_made_in(&tenants));
    assert!(tenants.inner_map(&11u32).expect("a map of maps").is_none());
}

#[test]
fn inner_maps_outlive_their_handles_and_are_replaced() {
    let (_vm, loaded) = load("tenants.bpf.o");
    let tenants = loaded.map("tenants").expect("a map");
    let guests = loaded.map("guests").expect("a map");
    let made = tenants.create_inner(&10u32).expect("it has a template");
    drop(made);
    assert!(tenants.inner_map(&10u32).expect("a map of maps").is_some());
    tenants.set_map(&10u32, &guests).expect("it is like the template");
    let found = tenants.inner_map(&10u32).expect("a map of maps").expect("it was put there");
    assert_eq!(found.id(), guests.id());
    assert!(!found.is_made_in(&tenants));
}

#[test]
fn only_what_is_like_the_template_goes_in_and_only_into_maps_of_maps() {
    let (vm, loaded) = load("netns.bpf.o");
    let by_class = loaded.map("by_class").expect("a map");
    let small = loaded.map("small").expect("a map");
    let two = MapDef { max_entries: 2, ..small.def().clone() };
    let two = skep::Map::create(&vm, &two).expect("an array");
    assert_eq!(errno(by_class.set_map(&1u32, &two).unwrap_err()), Errno::EINVAL);
    assert_eq!(errno(by_class.create_inner(&3u32).unwrap_err()), Errno::E2BIG);
    assert!(by_class.inner_map(&1u32).expect("a map of maps").is_none());
    assert!(by_class.inner_map(&3u32).expect("a map of maps").is_none());

    assert!(matches!(small.inner_map(&0u32), Err(Error::WrongType { .. })));
    assert!(matches!(small.create_inner(&0u32), Err(Error::WrongType { .. })));
    assert!(matches!(small.set_map(&0u32, &two), Err(Error::WrongType { .. })));
}

#[test]
fn a_snapshot_names_the_objects_maps_and_shows_the_others() {
    let (_vm, loaded) = load("netns.bpf.o");
    let by_class = loaded.map("by_class").expect("a map");
    let made = by_class.create_inner(&1u32).expect("it has a template");
    made.update(&0u32, &7u64, 0).expect("an array");
    let text = MapSnapshot::of(&by_class).to_string();
    let expected = "map by_class array_of_maps key 4 value 4 max 3\n  \
                    0: small\n  1: array\n    0: 7\n  2: large\n";
    assert_eq!(text, expected);
}
