//! Bytes as slots: they are refused alike by all engines, or run alike.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use skep_difftest::text::{Expected, Vector, write};
use skep_difftest::{Case, CaseMap, ENGINES, Fill, INTERP, MEMORY, Rig, agree};
use skep_maps::MapType;
use skep_vm::isa::Insn;
use skep_vm::prog::{ProgType, SCHED_CLS, SOCKET_FILTER, XDP};

const MAX_INSNS: u64 = 5_000;
const MOST_SLOTS: usize = 256;
const TYPES: [Option<&ProgType>; 4] = [None, Some(&SOCKET_FILTER), Some(&SCHED_CLS), Some(&XDP)];

thread_local! {
    static RIGS: RefCell<Vec<Rig>> =
        RefCell::new(ENGINES.iter().map(|engine| Rig::with_cpus(*engine, 2)).collect());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, slots)) = bytes.split_first() else { return };
    let slots = &slots[..slots.len().min(8 * MOST_SLOTS) / 8 * 8];
    let insns = Insn::parse_le(slots).expect("whole slots");
    let prog_type = TYPES[usize::from(first) % TYPES.len()];
    let data: Vec<u8> = (0..MEMORY).map(|at| (at * 7 % 251).to_le_bytes()[0]).collect();
    let len = u32::try_from(MEMORY).expect("small");
    let mut array = CaseMap::new(MapType::Array, 4, len, 1);
    array.fill.push((vec![0; 4], Fill::Bytes(data.clone())));
    let mut programs = CaseMap::new(MapType::ProgArray, 4, 4, 2);
    programs.fill.push((vec![0; 4], Fill::Program(0)));
    let maps = vec![
        array,
        CaseMap::new(MapType::Hash, 4, 8, 4),
        CaseMap::new(MapType::PercpuArray, 4, 8, 2),
        CaseMap::new(MapType::Ringbuf, 0, 0, 4096),
        programs,
    ];
    let data = if prog_type.is_none() { data } else { data[..90].to_vec() };
    let case = Case { maps, ..Case::single(prog_type, insns, data) };
    RIGS.with_borrow_mut(|rigs| {
        if let Err(difference) = agree(rigs, &case, MAX_INSNS) {
            let expected = Rig::with_cpus(INTERP, 2).run(&case, MAX_INSNS).unwrap_or_default();
            let vector = Vector {
                about: difference.clone(),
                budget: MAX_INSNS,
                case: case.clone(),
                expected: expected.iter().map(Expected::of).collect(),
            };
            panic!("{difference}\n{}", write(&vector));
        }
    });
});
