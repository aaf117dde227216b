//! A program that samples call stacks.

use skep::{FixedHost, Input, Loaded, Object, StackKind, Vm};

const KERNEL: [u64; 3] = [0xffff_8000_0000_1000, 0xffff_8000_0000_2000, 0xffff_8000_0000_3000];
const USER: [u64; 2] = [0x40_1000, 0x40_2000];

/// What the program counts: process, id of the kernel's stack, id of the process's.
type Sample = [i32; 3];

/// Runs the program this often with these stacks in a map for so many.
fn sample(host: FixedHost, times: u32, max_stacks: u32) -> Loaded {
    let vm = Vm::builder().host(host).build().expect("a machine");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects/profile.bpf.o");
    let mut object = Object::open(path).expect("an object");
    object.map("stacks").expect("a map").set_max_entries(max_stacks);
    let loaded = vm.load(object).expect("its maps");
    let program = loaded.program("on_tick").expect("a program");
    let mut runner = vm.runner().expect("a CPU");
    for _ in 0..times {
        runner.run(&program, Input::none()).expect("it ends");
    }
    loaded
}

fn samples(loaded: &Loaded) -> Vec<(Sample, u64)> {
    loaded.map("samples").expect("a map").iter().collect()
}

fn lost(loaded: &Loaded) -> Option<u64> {
    loaded.map(".bss").expect("a map").lookup(&0u32).expect("a lookup")
}

#[test]
fn equal_stacks_have_one_id_under_which_user_space_finds_them() {
    let host = FixedHost::default();
    let host = host.with_stack(StackKind::Kernel, KERNEL).with_stack(StackKind::User, USER);
    let loaded = sample(host, 3, 1024);
    let [([1000, kernel, user], 3)] = samples(&loaded)[..] else {
        panic!("{:?}", samples(&loaded))
    };
    assert_eq!(lost(&loaded), Some(0));
    for (id, stack) in [(kernel, &KERNEL[..]), (user, &USER[..])] {
        let found: Option<[u64; 32]> =
            loaded.map("stacks").expect("a map").lookup(&id).expect("a lookup");
        let mut expected = [0; 32];
        expected[..stack.len()].copy_from_slice(stack);
        assert_eq!(found, Some(expected));
    }
}

#[test]
fn a_stack_whose_place_is_taken_is_lost() {
    let host = FixedHost::default();
    let host = host.with_stack(StackKind::Kernel, KERNEL).with_stack(StackKind::User, USER);
    let loaded = sample(host, 2, 1);
    assert_eq!(samples(&loaded), []);
    assert_eq!(lost(&loaded), Some(2));
}

#[test]
fn a_task_of_the_kernel_has_no_stack_of_its_own() {
    let host = FixedHost::default().with_stack(StackKind::Kernel, KERNEL);
    let loaded = sample(host, 1, 1);
    assert_eq!(samples(&loaded), [([1000, 0, -14], 1)]);
    assert_eq!(lost(&loaded), Some(0));
}
