//! Maps of maps and of programs: what is replaced stays for those who use it, and goes when
//! they are done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use skep_maps::{Map, MapDef, MapType, sys};
use skep_vm::Program;

use crate::{RUNNERS, RUNS, Turns, create, def, load, machine, stress, word};

#[test]
fn slots_of_a_prog_array_change_while_programs_jump_through_them() {
    let machine = machine();
    let array = create(&machine, &def(MapType::ProgArray, 4, 4, 1));
    let leaves: Vec<Arc<Program>> =
        [10, 20].map(|r0| load(&machine, &format!("mov %r0, {r0}\nexit"), &[])).into();
    let asm = "lddw map_idx %r2, 0\nmov %r3, 0\ncall 12\nmov %r0, 30\nexit";
    let program = load(&machine, asm, &[&array]);
    let counts = [const { AtomicU64::new(0) }; 3];
    let user = |turns: &Turns| {
        let key = [0; 4];
        while turns.go_on() {
            for leaf in &leaves {
                sys::update(&*array, Some(&key), &leaf.id().to_le_bytes(), 0).expect("it fits");
                thread::yield_now();
            }
            sys::delete(&*array, Some(&key)).expect("it is there");
            thread::yield_now();
        }
    };
    stress(&machine, &program, user, |r0| {
        assert!(matches!(r0, 10 | 20 | 30), "{r0} is no program's");
        counts[usize::try_from(r0 / 10 - 1).expect("0 to 2")].fetch_add(1, Ordering::Relaxed);
    });
    let sum: u64 = counts.map(AtomicU64::into_inner).iter().sum();
    assert_eq!(sum, RUNS * u64::from(RUNNERS));
    let weak: Vec<_> = leaves.iter().map(Arc::downgrade).collect();
    drop(leaves);
    sys::update(&*array, Some(&[0; 4]), &program.id().to_le_bytes(), 0).expect("it fits");
    let gone = weak.iter().filter(|program| program.upgrade().is_none()).count();
    assert_eq!(gone, 2, "programs that are nowhere any more go");
    // The program holds the array, which would hold it for ever.
    sys::delete(&*array, Some(&[0; 4])).expect("it is there");
}

#[test]
fn an_inner_map_stays_for_a_run_that_found_it() {
    let machine = machine();
    let inner = def(MapType::Array, 4, 8, 1);
    let outer =
        MapDef { inner: Some(Box::new(inner.clone())), ..def(MapType::HashOfMaps, 4, 4, 4) };
    let outer = create(&machine, &outer);
    // Looks an inner map up and adds to its value; 1 when there is none.
    let asm = "stw [%r10-4], 0\nmov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\ncall 1\n\
               jne %r0, 0, inner\nmov %r0, 1\nexit\ninner:\nmov %r1, %r0\nmov %r2, %r10\n\
               add %r2, -4\ncall 1\njne %r0, 0, value\nmov %r0, 2\nexit\nvalue:\n\
               mov %r1, 1\nlock add [%r0], %r1\nmov %r0, 0\nexit";
    let program = load(&machine, asm, &[&outer]);
    let (added, counted) = (AtomicU64::new(0), AtomicU64::new(0));
    // There is one from the start, however late the user comes.
    let first = create(&machine, &inner);
    let id = first.core().id().to_le_bytes();
    sys::update(&*outer, Some(&[0; 4]), &id, 0).expect("it is like the template");
    let user = |turns: &Turns| {
        let mut kept = vec![Arc::clone(&first)];
        let mut round = 0_u32;
        while turns.go_on() {
            let map = create(&machine, &inner);
            let id = map.core().id().to_le_bytes();
            sys::update(&*outer, Some(&[0; 4]), &id, 0).expect("it is like the template");
            kept.push(map);
            round += 1;
            if round.is_multiple_of(8) {
                // Maps of which only the outer one and runs know; they are not counted.
                sys::delete(&*outer, Some(&[0; 4])).expect("it is there");
                let map = create(&machine, &inner);
                let id = map.core().id().to_le_bytes();
                sys::update(&*outer, Some(&[0; 4]), &id, 0).expect("it is like the template");
            }
            thread::yield_now();
        }
        let sum: u64 = kept.iter().map(|map| word(&**map, 0).expect("it is there")[0]).sum();
        counted.store(sum, Ordering::Relaxed);
    };
    stress(&machine, &program, user, |r0| match r0 {
        0 => drop(added.fetch_add(1, Ordering::Relaxed)),
        1 => {}
        other => panic!("an inner map has a value: {other}"),
    });
    let (added, counted) = (added.into_inner(), counted.into_inner());
    assert!(counted <= added, "{counted} are in maps that are kept, {added} were added");
    assert!(counted > 0, "programs used the inner maps");
    assert_eq!(sys::keys(&*outer).len(), 1);
}

/// Runs find an inner map and add to its value again and again, while user space puts
/// another one in its place. None of what they add is lost, and no memory.
#[test]
fn counts_in_inner_maps_are_kept_while_the_maps_are_replaced() {
    for map_type in [MapType::ArrayOfMaps, MapType::HashOfMaps] {
        let machine = machine();
        let window = Arc::clone(machine.world().window());
        // Large, so that a map that stays is missed.
        let inner = def(MapType::Array, 4, 1 << 16, 1);
        let outer = MapDef { inner: Some(Box::new(inner.clone())), ..def(map_type, 4, 4, 1) };
        let outer = create(&machine, &outer);
        let (key, free, maps) = ([0; 4], window.free_bytes(), machine.world().maps().len());
        let put = |map: &Arc<dyn Map>| {
            let id = map.core().id().to_le_bytes();
            sys::update(&*outer, Some(&key), &id, 0).expect("it is like the template");
        };
        let first = create(&machine, &inner);
        put(&first);
        let adds = "lock add [%r0], %r1\nlock add [%r0+65528], %r1\n".repeat(20);
        let asm = format!(
            "stw [%r10-4], 0\nmov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\ncall 1\n\
             jne %r0, 0, inner\nmov %r0, 1\nexit\ninner:\nmov %r1, %r0\nmov %r2, %r10\n\
             add %r2, -4\ncall 1\njne %r0, 0, value\nmov %r0, 1\nexit\nvalue:\n\
             mov %r1, 1\n{adds}mov %r0, 0\nexit"
        )
        .replace("[%r0+65528]", "[%r0+32760]");
        let program = load(&machine, &asm, &[&outer]);
        let kept = Mutex::new(vec![first]);
        let user = |turns: &Turns| {
            for round in 0.. {
                if !turns.go_on() {
                    return;
                }
                let mut kept = kept.lock().expect("nobody panics");
                if kept.len() < 500 {
                    kept.push(create(&machine, &inner));
                }
                put(&kept[(round + 1) % kept.len()]);
                thread::yield_now();
            }
        };
        stress(&machine, &program, user, |r0| assert_eq!(r0, 0, "there always is one"));
        let kept = kept.into_inner().expect("nobody panics");
        let sums = kept.iter().map(|map| {
            let words = word(&**map, 0).expect("it is there");
            [words[0], words[32760 / 8]]
        });
        let sum = sums.fold([0; 2], |[a, b], [c, d]| [a + c, b + d]);
        assert_eq!(sum, [20 * RUNS * u64::from(RUNNERS); 2], "no count is lost");
        let used = kept.iter().filter(|map| word(&***map, 0).expect("it is there")[0] > 0).count();
        assert!(kept.len() > 2 && used > 1, "maps were replaced: {used} of {}", kept.len());
        drop(kept);
        // The last one stands in the outer map still.
        assert_eq!(machine.world().maps().len(), maps + 1, "{map_type}");
        sys::delete(&*outer, Some(&key)).expect("it is there");
        assert_eq!(machine.world().maps().len(), maps, "{map_type}: all have gone");
        assert_eq!(window.free_bytes(), free, "{map_type}: and their memory is free");
    }
}
