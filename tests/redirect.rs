//! Packets that programs redirect, as the library tells of them.

use skep::{Destination, FixedHost, Input, Loaded, Object, Output, Runner, Vm};

const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects/redirect.bpf.o");

fn load() -> (Vm, Loaded, Runner) {
    let vm = Vm::builder().cpus(2).host(FixedHost::default()).build().expect("a machine");
    let loaded = vm.load(Object::open(OBJECT).expect("the object")).expect("it loads");
    let runner = vm.runner().expect("a free CPU");
    (vm, loaded, runner)
}

/// Runs a program on a packet to 192.0.2.1 from a queue.
fn run(runner: &mut Runner, loaded: &Loaded, program: &str, queue: u64) -> Output {
    let mut packet = [0; 64];
    packet[12..14].copy_from_slice(&[8, 0]);
    packet[30..34].copy_from_slice(&[192, 0, 2, 1]);
    let program = loaded.program(program).expect("it is there");
    let input = Input::packet(packet).set("rx_queue_index", queue);
    runner.run(&program, input).expect("it runs")
}

#[test]
fn a_device_is_told_with_its_map_and_its_program() {
    let (_vm, loaded, mut runner) = load();
    let ports = loaded.map("ports").expect("the map");
    assert_eq!(run(&mut runner, &loaded, "by_address", 0).redirect, None);

    let next = loaded.program("flood").expect("a program").id();
    ports.update(&1u32, &[3u32, next], 0).expect("a device and a program");
    let redirect = run(&mut runner, &loaded, "by_address", 0).redirect.expect("redirected");
    assert_eq!(redirect.map, Some(("ports".to_owned(), 1)));
    assert_eq!(redirect.flags, 2, "the fallback XDP_PASS");
    assert_eq!(redirect.to, [Destination::Device { ifindex: 3, program: next }]);
    assert!(!redirect.is_broadcast() && !redirect.is_ingress());

    ports.delete(&1u32).expect("it is there");
    let output = run(&mut runner, &loaded, "by_address", 0);
    assert_eq!((output.action(), output.redirect), (Some("XDP_PASS"), None));
}

#[test]
fn a_socket_leaves_its_maps_when_it_is_closed() {
    let (vm, loaded, mut runner) = load();
    let sockets = loaded.map("sockets").expect("the map");
    let socket = vm.xdp_socket(2).expect("there is room");
    for key in [2u32, 3] {
        sockets.update(&key, &socket.number(), 0).expect("a socket");
    }
    let output = run(&mut runner, &loaded, "to_user_space", 2);
    let redirect = output.redirect.expect("redirected");
    assert_eq!(redirect.to, [Destination::Socket { queue: 2 }]);

    let number = socket.number();
    drop(socket);
    for queue in [2, 3] {
        let output = run(&mut runner, &loaded, "to_user_space", queue);
        assert_eq!((output.action(), output.redirect), (Some("XDP_PASS"), None));
    }
    let error = sockets.update(&0u32, &number, 0).expect_err("the number names nothing now");
    assert_eq!(error.to_string(), "map `sockets`: update failed: bad handle (EBADF, 9)");
}

#[test]
fn each_run_says_anew_where_its_packet_goes() {
    let (_vm, loaded, mut runner) = load();
    assert!(run(&mut runner, &loaded, "change_of_mind", 0).redirect.is_some());
    let output = run(&mut runner, &loaded, "change_of_mind", 1);
    assert_eq!((output.action(), output.redirect), (Some("XDP_PASS"), None));
    let output = run(&mut runner, &loaded, "change_of_mind", 2);
    assert_eq!((output.action(), output.redirect), (Some("XDP_REDIRECT"), None));
}
