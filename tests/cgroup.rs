//! A program that asks which cgroup its task is in.

use skep::{Cgroup, FixedHost, Input, Loaded, Object, Vm};

/// Runs the program once in a cgroup, watching two others; the counts of CPU 0 by slot.
fn opened_in(cgroup: Cgroup) -> (Vec<u64>, u64) {
    let host = FixedHost::default().with_cgroup(cgroup);
    let vm = Vm::builder().host(host).build().expect("a machine");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects/confine.bpf.o");
    let loaded = vm.load(Object::open(path).expect("an object")).expect("its maps");
    let watched = loaded.map("watched").expect("a map");
    for (slot, cgroup) in [(1u32, web().child(101)), (3u32, web())] {
        watched.update(&slot, &vm.cgroup(cgroup).number(), 0).expect("there is a slot");
    }
    let program = loaded.program("on_open").expect("a program");
    vm.runner().expect("a CPU").run(&program, Input::none()).expect("it ends");
    counts(&loaded)
}

fn counts(loaded: &Loaded) -> (Vec<u64>, u64) {
    let opened = loaded.map("opened").expect("a map");
    let count = |slot: u32| opened.lookup_percpu::<u32, u64>(&slot).expect("a lookup");
    let counts = (0..4).map(|slot| count(slot).expect("an array has all its keys")[0]);
    let stranger = loaded.map(".bss").expect("a map").lookup(&0u32).expect("a lookup");
    (counts.collect(), stranger.expect("it has one value"))
}

fn web() -> Cgroup {
    Cgroup::root().child(100)
}

#[test]
fn a_task_belongs_to_the_first_watched_cgroup_that_it_is_below() {
    assert_eq!(opened_in(web()), (vec![0, 0, 0, 1], 0));
    assert_eq!(opened_in(web().child(102).child(103)), (vec![0, 0, 0, 1], 0));
    assert_eq!(opened_in(web().child(101).child(104)), (vec![0, 1, 0, 0], 0));
}

#[test]
fn a_task_outside_is_a_stranger() {
    assert_eq!(opened_in(Cgroup::root()), (vec![0, 0, 0, 0], Cgroup::ROOT));
    assert_eq!(opened_in(Cgroup::root().child(7)), (vec![0, 0, 0, 0], 7));
}
