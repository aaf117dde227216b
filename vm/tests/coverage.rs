//! Every row of the instruction table is tried: by a vector of `testdata/isa`, or by a
//! test below where a vector cannot hold the program; and every row that computes is
//! tried on the operands at which computing goes wrong.

mod vector;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use skep_maps::{MapDef, MapType, sys};
use skep_vm::isa::{Insn, Op, ROWS, Row, Shape, assemble};
use skep_vm::prog::{ProgType, SOCKET_FILTER, XDP};
use skep_vm::{
    Engine, Fault, FaultKind, FixedHost, Input, Limits, Machine, Program, ProgramErrorKind,
    ProgramSpec, RunError, Runner,
};

use vector::{Expected, Vector};

/// Instructions of a vector that are looked at: loops may have more.
const MOST_STEPS: u64 = 3_000;

/// Rows that are tried in this file.
const TRIED_HERE: &[Op] = &[
    Op::LddwMapFd,
    Op::LddwMapValue,
    Op::LddwBtfId,
    Op::LddwFunc,
    Op::LddwMapIdx,
    Op::LddwMapIdxValue,
    Op::LdAbsB,
    Op::LdAbsH,
    Op::LdAbsW,
    Op::LdIndB,
    Op::LdIndH,
    Op::LdIndW,
    Op::AddrSpaceCast,
    Op::CallKfunc,
    Op::CallReg,
];

/// What vectors execute: for each operation, its left and right operands.
type Executed = BTreeMap<Op, (BTreeSet<u64>, BTreeSet<u64>)>;

static EXECUTED: LazyLock<Executed> = LazyLock::new(executed);

#[test]
fn every_row_is_executed_by_a_vector_or_tried_here() {
    let executed = &*EXECUTED;
    let rows = ROWS.iter().map(|row| row.op);
    let missing = rows.filter(|op| !executed.contains_key(op) && !TRIED_HERE.contains(op));
    let missing: Vec<Op> = missing.collect();
    assert!(missing.is_empty(), "no vector executes {missing:?}");
    let both = TRIED_HERE.iter().filter(|op| executed.contains_key(op));
    let both: Vec<&Op> = both.collect();
    assert!(both.is_empty(), "vectors execute {both:?}, which need not be tried here");
}

#[test]
fn every_row_that_computes_is_executed_on_edge_values() {
    let executed = &*EXECUTED;
    let mut missing = Vec::new();
    for row in ROWS {
        let (left, right) = edges(row);
        let Some((lefts, rights)) = executed.get(&row.op) else {
            continue;
        };
        let mask = if row.narrow { u64::from(u32::MAX) } else { u64::MAX };
        for (side, wanted, had) in [("left", left, lefts), ("right", right, rights)] {
            let had: BTreeSet<u64> = had.iter().map(|value| value & mask).collect();
            for value in wanted.into_iter().filter(|value| !had.contains(&(value & mask))) {
                missing.push(format!("{:?}: {side} operand {value:#x}", row.op));
            }
        }
    }
    assert!(missing.is_empty(), "no vector has\n{}", missing.join("\n"));
}

/// The operands that a row must be tried on.
fn edges(row: &Row) -> (Vec<u64>, Vec<u64>) {
    let width = if row.narrow { 32 } else { 64 };
    let edges = |bits: u32| {
        let (min, max) = (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits));
        [0, 1, -1, min, max].map(i64::cast_unsigned).to_vec()
    };
    let name = row.mnemonic.trim_end_matches("32");
    let shift = matches!(name, "lsh" | "rsh" | "arsh");
    let divides = matches!(name, "div" | "sdiv" | "mod" | "smod");
    let right = match row.shape {
        Shape::AluImm | Shape::AluReg if shift => vec![0, 1, width - 1, width, u64::MAX],
        // By 0 they are refused.
        Shape::AluImm if divides => edges(32).split_off(1),
        Shape::AluImm | Shape::JumpImm => edges(32),
        Shape::AluReg | Shape::JumpReg => edges(if row.narrow { 32 } else { 64 }),
        Shape::Unary | Shape::Movsx => Vec::new(),
        _ => return (Vec::new(), Vec::new()),
    };
    (edges(if row.narrow { 32 } else { 64 }), right)
}

/// Runs all vectors step by step.
fn executed() -> Executed {
    let machine = Machine::new(1).expect("memory");
    let mut runner = Runner::new(&machine, 0, Engine::Interp).expect("memory");
    let mut executed = Executed::new();
    for path in vector::files(&vector::own()) {
        let vector = vector::read(&path);
        let vector = vector.unwrap_or_else(|error| panic!("{}: {error}", vector::name(&path)));
        // One whose program cannot be loaded executes nothing.
        if matches!(&vector.expected, Expected::Error(why) if why.starts_with("load: ")) {
            continue;
        }
        trace(&machine, &mut runner, vector, &mut executed);
    }
    executed
}

/// Runs a vector for one instruction, for two, and so on: where each run stops, the next
/// instruction and its operands are seen.
fn trace(machine: &Arc<Machine>, runner: &mut Runner, vector: Vector, executed: &mut Executed) {
    let Vector { insns, memory, .. } = vector;
    let spec = ProgramSpec { insns, ..ProgramSpec::default() };
    let program = machine.load(spec).expect("the vector loads");
    let input = Input::raw(memory);
    for steps in 0..MOST_STEPS {
        let Err(fault) = run(runner, &program, &input, steps) else {
            return;
        };
        let insn = program.insns()[fault.insn as usize];
        let op = insn.op().expect("it was loaded");
        let (lefts, rights) = executed.entry(op).or_default();
        let [dst, src] =
            [insn.dst, insn.src].map(|r| fault.registers.get(usize::from(r)).copied().flatten());
        let right = match op.row().shape {
            Shape::AluImm | Shape::JumpImm => Some(i64::from(insn.imm).cast_unsigned()),
            _ => src,
        };
        let left = if op.row().shape == Shape::Movsx { src } else { dst };
        lefts.extend(left);
        rights.extend(right);
        if !matches!(fault.kind, FaultKind::Budget { .. }) {
            return;
        }
    }
}

fn run(
    runner: &mut Runner,
    program: &Program,
    input: &Input,
    most: u64,
) -> Result<u64, Box<Fault>> {
    let limits = Limits { max_insns: Some(most), ..Limits::default() };
    match runner.run(program, input, &FixedHost::default(), limits) {
        Ok(outcome) => Ok(outcome.r0),
        Err(RunError::Fault(fault, _)) => Err(fault),
        Err(error) => panic!("{error:?}"),
    }
}

/// A machine with a map `numbers` of one value: bytes 0, 1, 2 and so on.
struct Bench {
    machine: Arc<Machine>,
    spec: ProgramSpec,
}

impl Bench {
    fn new(prog_type: Option<&'static ProgType>, asm: &str) -> Self {
        let machine = Machine::new(1).expect("memory");
        let def = MapDef {
            name: "numbers".to_owned(),
            map_type: MapType::Array.id(),
            key_size: 4,
            value_size: 16,
            max_entries: 1,
            ..MapDef::default()
        };
        let map = skep_maps::create(machine.world(), &def).expect("an array");
        let value: Vec<u8> = (0..16).collect();
        sys::update(&*map, Some(&[0; 4]), &value, 0).expect("the entry exists");
        let insns = assemble(asm).expect("right");
        let spec = ProgramSpec { prog_type, insns, maps: vec![map], ..ProgramSpec::default() };
        Self { machine, spec }
    }

    fn refusal(self) -> ProgramErrorKind {
        self.machine.load(self.spec).expect_err("the program is wrong").kind
    }

    fn run(self, input: &Input) -> Result<u64, FaultKind> {
        let mut runner = Runner::new(&self.machine, 0, Engine::Interp).expect("memory");
        let program = self.machine.load(self.spec).expect("the program loads");
        run(&mut runner, &program, input, 1_000_000).map_err(|fault| fault.kind)
    }
}

#[test]
fn lddw_of_a_map_by_index_is_its_handle() {
    let asm = "stw [%r10-4], 0\nmov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\ncall 1\n\
               jne %r0, 0, +1\nexit\nldxb %r0, [%r0+7]\nexit";
    assert_eq!(Bench::new(None, asm).run(&Input::none()), Ok(7));
    let beyond = Bench::new(None, "lddw map_idx %r1, 1\nmov %r0, 0\nexit").refusal();
    assert_eq!(beyond, ProgramErrorKind::NoMap { index: 1, maps: 1 });
    let load = Bench::new(None, "lddw map_idx %r1, 0\nldxb %r0, [%r1+0]\nexit");
    assert!(matches!(load.run(&Input::none()), Err(FaultKind::Memory(_))));
}

#[test]
fn lddw_of_a_value_by_index_points_into_it() {
    let at = |offset: i32| format!("lddw map_idx_value %r1, 0, {offset}\nldxb %r0, [%r1+0]\nexit");
    assert_eq!(Bench::new(None, &at(0)).run(&Input::none()), Ok(0));
    assert_eq!(Bench::new(None, &at(15)).run(&Input::none()), Ok(15));
    let beyond = ProgramErrorKind::BeyondValue { map: "numbers".to_owned(), offset: 16, size: 16 };
    assert_eq!(Bench::new(None, &at(16)).refusal(), beyond);
}

#[test]
fn lddw_of_a_function_is_what_loops_call() {
    let asm = "mov %r1, 5\nlddw func %r2, each\nmov %r3, %r10\nadd %r3, -8\nstdw [%r10-8], 0\n\
               mov %r4, 0\ncall 181\nldxdw %r1, [%r10-8]\nlsh %r1, 8\nor %r0, %r1\nexit\n\
               each:\nldxdw %r3, [%r2+0]\nadd %r3, %r1\nstxdw [%r2+0], %r3\nmov %r0, 0\nexit";
    assert_eq!(Bench::new(None, asm).run(&Input::none()), Ok(0x0a05));
    // As a pointer it is good for nothing.
    let asm = "lddw func %r2, each\nldxb %r0, [%r2+0]\nexit\neach:\nmov %r0, 0\nexit";
    assert!(matches!(Bench::new(None, asm).run(&Input::none()), Err(FaultKind::Memory(_))));
}

#[test]
fn lddw_kinds_that_name_kernel_objects_are_refused() {
    let kinds = [
        ("lddw map_fd %r1, 3", "lddw map_fd"),
        ("lddw map_value %r1, 3, 0", "lddw map_value"),
        ("lddw btf_id %r1, 3", "lddw btf_id"),
    ];
    for (asm, what) in kinds {
        let refusal = Bench::new(None, &format!("{asm}\nmov %r0, 0\nexit")).refusal();
        assert_eq!(refusal, ProgramErrorKind::UnsupportedLddw { what });
    }
}

/// A packet whose bytes, behind the Ethernet header that socket filters do not see, count
/// from 0x80.
fn packet() -> Input {
    Input::packet([vec![0; 14], (0x80..0xb2).collect()].concat())
}

#[test]
fn legacy_loads_read_the_packet_in_network_order() {
    let cases = [
        ("ldabsb 0", 0x80),
        ("ldabsb 49", 0xb1),
        ("ldabsh 1", 0x8182),
        ("ldabsw 2", 0x8283_8485),
        ("ldindb %r7, 1", 0x84),
        ("ldindh %r7, 0", 0x8384),
        ("ldindw %r7, -3", 0x8081_8283),
        // What is not all in the packet ends the program with 0.
        ("ldabsb 50", 0),
        ("ldabsh 49", 0),
        ("ldabsw 47", 0),
        ("ldindb %r7, 47", 0),
        ("ldindh %r7, 46", 0),
        ("ldindw %r7, 44", 0),
    ];
    for (asm, result) in cases {
        let asm = format!("mov %r6, %r1\nmov %r7, 3\nmov %r0, 5\n{asm}\nexit");
        assert_eq!(Bench::new(Some(&SOCKET_FILTER), &asm).run(&packet()), Ok(result), "{asm}");
    }
}

#[test]
fn legacy_loads_need_a_program_type_with_an_skb() {
    for asm in
        ["ldabsb 0", "ldabsh 0", "ldabsw 0", "ldindb %r1, 0", "ldindh %r1, 0", "ldindw %r1, 0"]
    {
        for prog_type in [None, Some(&XDP)] {
            let refusal = Bench::new(prog_type, &format!("{asm}\nexit")).refusal();
            let mnemonic = asm.split(' ').next().expect("a mnemonic");
            assert_eq!(refusal, ProgramErrorKind::NoSkb { mnemonic });
        }
    }
}

#[test]
fn addr_space_cast_faults_when_it_is_reached() {
    let asm = "jeq %r2, 0, +1\naddr_space_cast %r1, %r1, 1\nmov %r0, 0\nexit";
    assert_eq!(Bench::new(None, asm).run(&Input::none()), Ok(0));
    let fault = Bench::new(None, asm).run(&Input::raw([0; 8]));
    assert_eq!(fault, Err(FaultKind::Unsupported("addr_space_cast")));
}

#[test]
fn a_call_of_a_kernel_function_faults_when_it_is_reached() {
    let asm = "jeq %r2, 0, +1\ncall runtime 7\nmov %r0, 0\nexit";
    assert_eq!(Bench::new(None, asm).run(&Input::none()), Ok(0));
    let fault = Bench::new(None, asm).run(&Input::raw([0; 8]));
    assert_eq!(fault, Err(FaultKind::Unsupported("call of a kernel function")));
}

#[test]
fn callx_is_refused() {
    let refusal = Bench::new(None, "mov %r1, 0\ncallx %r1\nexit").refusal();
    assert_eq!(refusal, ProgramErrorKind::CallReg);
}

#[test]
fn ja32_jumps_farther_than_ja_can() {
    // mov %r0, 1; ja32 to the end; 70,000 times add %r0, 2; exit: and back again.
    let far = 70_000;
    let row = |op: Op, fields: Insn| op.row().encode(fields);
    let add = row(Op::Add64Imm, Insn { imm: 2, ..Insn::default() });
    let mut insns = vec![
        row(Op::Mov64Imm, Insn { imm: 1, ..Insn::default() }),
        row(Op::Ja32, Insn { imm: far + 1, ..Insn::default() }),
        row(Op::Exit, Insn::default()),
    ];
    insns.extend((0..far).map(|_| add));
    insns.push(row(Op::Add64Imm, Insn { imm: 40, ..Insn::default() }));
    insns.push(row(Op::Ja32, Insn { imm: -far - 3, ..Insn::default() }));
    let mut bench = Bench::new(None, "exit");
    bench.spec.insns = insns;
    assert_eq!(bench.run(&Input::none()), Ok(41));
}
