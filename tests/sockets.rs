//! Sockets in maps, as the library and programs see them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use skep::{
    Descriptor, FixedHost, Input, Loaded, Map, Object, Runner, Socket, SocketDef, SocketState, Vm,
};

const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects/connections.bpf.o");

fn load() -> (Vm, Loaded) {
    let vm = Vm::builder().cpus(2).host(FixedHost::default()).build().expect("a machine");
    let loaded = vm.load(Object::open(OBJECT).expect("the object")).expect("it loads");
    (vm, loaded)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A socket of 192.0.2.1:80 that is connected to a port of 192.0.2.33, and its key.
fn connection(vm: &Vm, port: u16) -> (Descriptor<Socket>, [u8; 12]) {
    let def = SocketDef::tcp(address("192.0.2.1:80"), SocketAddr::from(([192, 0, 2, 33], port)));
    let [high, low] = port.to_be_bytes();
    let key = [192, 0, 2, 33, 192, 0, 2, 1, high, low, 0, 80];
    (vm.socket(def).expect("there is room"), key)
}

/// A segment from a port of 192.0.2.33 to 192.0.2.1:80.
fn segment(key: &[u8; 12]) -> [u8; 54] {
    let mut packet = [0; 54];
    packet[12..15].copy_from_slice(&[8, 0, 0x45]);
    packet[26..38].copy_from_slice(key);
    packet
}

fn run(runner: &mut Runner, loaded: &Loaded, program: &str, key: &[u8; 12]) -> u32 {
    let program = loaded.program(program).expect("it is there");
    runner.run(&program, Input::packet(segment(key))).expect("it runs").retval
}

fn errno(result: Result<(), skep::Error>) -> String {
    result.expect_err("it is refused").to_string()
}

/// What the program says of the last packet's socket: family, state, ports.
fn seen(loaded: &Loaded) -> [u32; 4] {
    let globals = loaded.map(".bss").expect("the variables");
    globals.lookup(&0u32).expect("four words").expect("they are there")
}

fn cookies(map: &Map) -> Vec<u64> {
    map.iter::<u32, u64>().map(|(_, cookie)| cookie).collect()
}

#[test]
fn a_program_finds_the_socket_of_a_connection_and_passes_it_on() {
    let (vm, loaded) = load();
    let mut runner = vm.runner().expect("a free CPU");
    let connections = loaded.map("connections").expect("the map");
    let recent = loaded.map("recent").expect("the map");
    let (socket, key) = connection(&vm, 12345);
    assert_eq!(run(&mut runner, &loaded, "known", &key), 2, "TC_ACT_SHOT");

    connections.update(&key, &u64::from(socket.number()), 0).expect("a connection");
    assert_eq!(run(&mut runner, &loaded, "known", &key), 0, "TC_ACT_OK");
    assert_eq!(seen(&loaded), [2, SocketState::Established as u32, 80, 12345]);
    assert_eq!(cookies(&recent), [socket.object().cookie()]);
    assert_eq!(
        recent.lookup::<u32, u64>(&(12345 & 3)).expect("8 bytes"),
        Some(cookies(&recent)[0])
    );

    assert_eq!(run(&mut runner, &loaded, "forget", &key), 0);
    assert_eq!(run(&mut runner, &loaded, "forget", &key), 2, "it is forgotten");
    assert_eq!(cookies(&recent).len(), 1, "and is still in the other map");
    drop(socket);
    assert!(cookies(&recent).is_empty());
}

#[test]
fn cookies_are_the_users_where_they_say_so() {
    let (vm, loaded) = load();
    let connections = loaded.map("connections").expect("the map");
    let (first, key) = connection(&vm, 1);
    let (second, _) = connection(&vm, 2);
    assert_ne!(first.object().cookie(), second.object().cookie());

    let def = SocketDef { cookie: Some(0x1234_5678_9abc), ..first.object().def().clone() };
    let named = vm.socket(def).expect("there is room");
    connections.update(&key, &u64::from(named.number()), 0).expect("a connection");
    assert_eq!(connections.lookup(&key).expect("8 bytes"), Some(0x1234_5678_9abc_u64));
}

#[test]
fn what_is_no_such_socket_is_refused_with_the_kernels_errno() {
    let (vm, loaded) = load();
    let connections = loaded.map("connections").expect("the map");
    let workers = loaded.map("workers").expect("the map");
    let (socket, key) = connection(&vm, 12345);
    let number = u64::from(socket.number());
    let put = |number: u64| errno(connections.update(&key, &number, 0));

    let unbound = SocketDef { local: None, ..SocketDef::udp(address("[::1]:53")) };
    let unbound = vm.socket(unbound).expect("there is room");
    assert!(put(u64::from(unbound.number())).contains("EOPNOTSUPP"));
    let xdp = vm.xdp_socket(0).expect("there is room");
    assert!(put(u64::from(xdp.number())).contains("EOPNOTSUPP"));
    let cgroup = vm.cgroup(skep::Cgroup::root());
    assert!(put(u64::from(cgroup.number())).contains("ENOTSOCK"));
    assert!(put(1000).contains("EBADF"));
    assert!(put(1 << 40).contains("EINVAL"));

    assert!(errno(workers.update(&0u32, &number, 0)).contains("EINVAL"), "it shares no port");
    let worker = SocketDef { reuse_port: true, ..SocketDef::udp(address("192.0.2.1:53")) };
    let worker = vm.socket(worker).expect("there is room");
    workers.update(&0u32, &u64::from(worker.number()), 0).expect("a worker");
    assert!(put(u64::from(worker.number())).contains("EBUSY"), "an array has it for itself");
    workers.delete(&0u32).expect("it is there");
    connections.update(&key, &u64::from(worker.number()), 0).expect("now nobody has it");
}

#[test]
fn sockets_come_and_go_while_programs_look_them_up() {
    let (vm, loaded) = load();
    let connections = loaded.map("connections").expect("the map");
    let (_, key) = connection(&vm, 12345);
    let done = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&done);
    let (mut runner, reader) = (vm.runner().expect("a free CPU"), loaded.clone());
    let programs = std::thread::spawn(move || {
        let (mut runs, mut found) = (0u64, 0u64);
        while !ended.load(Ordering::Relaxed) || runs == 0 {
            runs += 1;
            found += u64::from(run(&mut runner, &reader, "known", &key) == 0);
        }
        (runs, found)
    });
    for _ in 0..2000 {
        let (socket, _) = connection(&vm, 12345);
        connections.update(&key, &u64::from(socket.number()), 0).expect("there is room");
    }
    done.store(true, Ordering::Relaxed);
    let (runs, found) = programs.join().expect("no program faults");
    assert!(found <= runs);
    assert_eq!(connections.iter::<[u8; 12], u64>().count(), 0, "all are closed");
    assert!(cookies(&loaded.map("recent").expect("the map")).is_empty());
}
