//! The wrapper itself: what goes in comes out, and errors are the kernel's.

use skep_oracle::asm::*;
use skep_oracle::btf::BtfWriter;
use skep_oracle::recorded::Case;
use skep_oracle::{
    BatchFlags, Errno, Kernel, MapSpec, Next, ProgSpec, RingReader, TestRun, map_type, prog_type,
};

#[test]
fn a_value_comes_back_as_it_was_stored() {
    let Some(kernel) = Kernel::for_test("hash round trip") else {
        return;
    };
    let map = kernel.create_map(&MapSpec::new(map_type::HASH, 4, 8, 2)).unwrap();
    assert_eq!(map.lookup(&[1; 4], 0), Err(Errno::ENOENT));
    map.update(&[1; 4], &[2; 8], 0).unwrap();
    assert_eq!(map.lookup(&[1; 4], 0), Ok(vec![2; 8]));
    assert_eq!(map.update(&[1; 4], &[3; 8], 1), Err(Errno::EEXIST));
    assert_eq!(map.keys(), Ok(vec![vec![1; 4]]));
    assert_eq!(map.lookup_and_delete(&[1; 4], 0), Ok(vec![2; 8]));
    assert_eq!(map.delete(&[1; 4]), Err(Errno::ENOENT));
}

#[test]
fn a_key_that_is_too_short_is_efault_and_touches_nothing() {
    let Some(kernel) = Kernel::for_test("short key") else {
        return;
    };
    let map = kernel.create_map(&MapSpec::new(map_type::HASH, 4, 8, 2)).unwrap();
    assert_eq!(map.update(&[1; 3], &[2; 8], 0), Err(Errno::EFAULT));
    assert_eq!(map.update(&[1; 4], &[2; 7], 0), Err(Errno::EFAULT));
    assert_eq!(map.update(&[], &[2; 8], 0), Err(Errno::EFAULT));
}

#[test]
fn a_per_cpu_value_has_a_slot_for_every_possible_cpu() {
    let Some(kernel) = Kernel::for_test("per-CPU values") else {
        return;
    };
    let map = kernel.create_map(&MapSpec::new(map_type::PERCPU_ARRAY, 4, 4, 1)).unwrap();
    assert_eq!(map.value_len(), 8 * kernel.possible_cpus());
    let value: Vec<u8> = (0..map.value_len()).map(|i| u8::from(i % 8 == 0)).collect();
    map.update(&[0; 4], &value, 0).unwrap();
    assert_eq!(map.lookup(&[0; 4], 0), Ok(value));
}

#[test]
fn a_frozen_map_refuses_updates() {
    let Some(kernel) = Kernel::for_test("freeze") else {
        return;
    };
    let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 8, 1)).unwrap();
    map.freeze().unwrap();
    assert_eq!(map.update(&[0; 4], &[0; 8], 0), Err(Errno::EPERM));
    assert_eq!(map.freeze(), Err(Errno::EPERM));
}

#[test]
fn a_batch_reports_how_far_it_got() {
    let Some(kernel) = Kernel::for_test("batches") else {
        return;
    };
    let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 4, 3)).unwrap();
    let batch = map.lookup_batch(&[], 2, BatchFlags::default());
    assert_eq!((batch.errno, batch.count), (None, 2));
    let batch = map.lookup_batch(&batch.out_batch, 2, BatchFlags::default());
    assert_eq!((batch.errno, batch.count), (Some(Errno::ENOENT), 1));
}

#[test]
fn a_map_tells_what_it_was_made_from() {
    let Some(kernel) = Kernel::for_test("map information") else {
        return;
    };
    let spec = MapSpec { name: "told", ..MapSpec::new(map_type::HASH, 4, 8, 2) };
    let map = kernel.create_map(&spec).unwrap();
    let info = map.read_info().unwrap();
    assert_eq!(&info, map.info());
    assert_eq!((info.key_size, info.value_size, info.max_entries), (4, 8, 2));
    assert_eq!(info.name, "told");
}

#[test]
fn a_map_of_maps_returns_the_inner_map_by_id() {
    let Some(kernel) = Kernel::for_test("map of maps") else {
        return;
    };
    let inner = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 8, 1)).unwrap();
    let outer = MapSpec::new(map_type::ARRAY_OF_MAPS, 4, 4, 1).inner(&inner);
    let outer = kernel.create_map(&outer).unwrap();
    outer.update(&[0; 4], &inner.fd().to_ne_bytes(), 0).unwrap();
    assert_eq!(outer.lookup(&[0; 4], 0), Ok(inner.info().id.to_ne_bytes().to_vec()));
}

#[test]
fn a_value_type_with_a_lock_hides_the_lock() {
    let Some(kernel) = Kernel::for_test("spin lock") else {
        return;
    };
    let mut types = BtfWriter::new();
    let int = types.int("int", 4);
    let lock = types.structure("bpf_spin_lock", 4, &[("val", int, 0)]);
    let value = types.structure("value", 8, &[("lock", lock, 0), ("n", int, 4)]);
    let btf = kernel.load_btf(&types.blob()).unwrap();
    let spec = MapSpec::new(map_type::ARRAY, 4, 8, 1).btf(&btf, int, value);
    let map = kernel.create_map(&spec).unwrap();
    map.update(&[0; 4], &[9; 8], 4).unwrap();
    assert_eq!(map.lookup(&[0; 4], 4), Ok(vec![0, 0, 0, 0, 9, 9, 9, 9]));
}

#[test]
fn a_program_returns_its_r0_and_its_packet() {
    let Some(kernel) = Kernel::for_test("run") else {
        return;
    };
    let insns = Asm::new().mov(R0, -7).exit().build();
    let prog = kernel.load(&ProgSpec::new(prog_type::SCHED_CLS, &insns)).unwrap();
    let packet: Vec<u8> = (0..64).collect();
    let run = TestRun::new().data_in(&packet).data_out(64);
    let ran = prog.test_run(&run).ok().unwrap();
    assert_eq!(ran.retval.cast_signed(), -7);
    assert_eq!(ran.data_out, packet);
}

#[test]
fn a_refused_program_comes_back_with_the_verifiers_log() {
    let Some(kernel) = Kernel::for_test("rejection") else {
        return;
    };
    let insns = Asm::new().exit().build();
    let refused = kernel.load(&ProgSpec::new(prog_type::XDP, &insns)).unwrap_err();
    assert_eq!(refused.errno, Errno::EACCES);
    assert!(refused.log.contains("R0 !read_ok"), "{refused}");
}

#[test]
fn a_program_reaches_maps_by_descriptor_and_by_index() {
    let Some(kernel) = Kernel::for_test("map references") else {
        return;
    };
    let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 8, 1)).unwrap();
    let insns = Asm::new()
        .map_value(R1, map.fd(), 4)
        .st(W, R1, 0, 5)
        .insn(0x18, R1, 6, 0, 0)
        .insn(0, 0, 0, 0, 0)
        .ldx(DW, R0, R1, 0)
        .alu64(RSH, R0, 32)
        .exit()
        .build();
    let maps = [&map];
    let prog = kernel.load(&ProgSpec::new(prog_type::XDP, &insns).maps(&maps)).unwrap();
    let ran = prog.test_run(&TestRun::new().data_in(&[0; 64])).ok().unwrap();
    assert_eq!(ran.retval, 5);
    assert_eq!(map.lookup(&[0; 4], 0), Ok(vec![0, 0, 0, 0, 5, 0, 0, 0]));
}

#[test]
fn a_callback_needs_function_types() {
    let Some(kernel) = Kernel::for_test("callback") else {
        return;
    };
    let mut types = BtfWriter::new();
    let int = types.int("int", 4);
    let long = types.int("long", 8);
    let ctx = types.ptr(0);
    let main = types.func("main", int, &[("ctx", ctx)]);
    let body = types.func("body", long, &[("i", int), ("ctx", ctx)]);
    let btf = kernel.load_btf(&types.blob()).unwrap();
    let mut asm = Asm::new();
    asm.mov(R1, 5).func(R2, "body").mov(R3, 0).mov(R4, 0).call(181).exit();
    asm.label("body").mov(R0, 0).exit();
    let functions = [(0, main), (u32::try_from(asm.at("body")).unwrap(), body)];
    let insns = asm.build();
    let spec = ProgSpec::new(prog_type::XDP, &insns);
    assert!(kernel.load(&spec).is_err());
    let prog = kernel.load(&spec.func_info(&btf, &functions)).unwrap();
    let ran = prog.test_run(&TestRun::new().data_in(&[0; 64])).ok().unwrap();
    assert_eq!(ran.retval, 5);
}

#[test]
fn a_ring_gives_back_what_a_program_put_in() {
    let Some(kernel) = Kernel::for_test("ring buffer") else {
        return;
    };
    let map = kernel.create_map(&MapSpec::new(map_type::RINGBUF, 0, 0, 4096)).unwrap();
    let insns = Asm::new()
        .st(DW, R10, -8, 0x1234)
        .map(R1, map.fd())
        .mov_reg(R2, R10)
        .alu64(ADD, R2, -8)
        .mov(R3, 8)
        .mov(R4, 0)
        .call(130)
        .exit()
        .build();
    let prog = kernel.load(&ProgSpec::new(prog_type::XDP, &insns)).unwrap();
    let mut ring = RingReader::new(&map).unwrap();
    assert_eq!(ring.pop(), Next::Empty);
    for _ in 0..300 {
        prog.test_run(&TestRun::new().data_in(&[0; 64])).ok().unwrap();
        assert_eq!(ring.pop(), Next::Record(0x1234_u64.to_ne_bytes().to_vec()));
    }
    assert_eq!(ring.pop(), Next::Empty);
    assert_eq!((ring.consumer_pos(), ring.producer_pos()), (4800, 4800));
}

#[test]
fn a_program_runs_on_the_cpu_it_is_told_to() {
    let Some(kernel) = Kernel::for_test("pinned runs") else {
        return;
    };
    let insns = Asm::new().call(8).exit().build();
    let prog = kernel.load(&ProgSpec::new(prog_type::XDP, &insns)).unwrap();
    for cpu in 0..kernel.possible_cpus() {
        let run = || prog.test_run(&TestRun::new().data_in(&[0; 64])).retval;
        // A possible CPU need not be online.
        if let Ok(seen) = kernel.on_cpu(cpu, run) {
            assert_eq!(seen as usize, cpu);
        }
    }
}

#[test]
fn every_recorded_file_can_be_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/semantics");
    let mut cases = 0;
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt")) {
        let text = std::fs::read_to_string(&path).unwrap();
        match Case::parse_all(&text) {
            Ok(found) => cases += found.len(),
            Err(line) => panic!("{}:{line}: neither a case nor a remark", path.display()),
        }
    }
    assert!(cases > 5000, "only {cases} cases were recorded");
}
