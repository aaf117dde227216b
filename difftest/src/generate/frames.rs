//! Programs that do nothing but write and read their frames, in parts and on some ways only.
//!
//! All that they access is proven, so that engines may leave bytes of a frame as they are which
//! are written before they are read. Most random programs read memory somewhere of which nothing
//! is known, and then everything is zeroed.

use skep_maps::MapType;
use skep_vm::isa::Op;
use skep_vm::prog::XDP;

use crate::case::{Case, CaseInput, CaseMap, CaseProgram};
use crate::code::{Code, Fields, Label};
use crate::rng::Rng;

/// Bytes of the frame that are used, in words of eight bytes.
const WORDS: i32 = 8;
/// The packet's first word, by which programs branch.
const CHOICES: u8 = 7;
/// The sum of all that was read.
const SUM: u8 = 6;
/// Counts the turns of a loop.
const TURNS: u8 = 9;
/// Holds what is read.
const READ: u8 = 8;

/// A random case of such a program.
pub(super) fn generate(rng: &mut Rng) -> Case {
    let inputs = (0..3).map(|_| CaseInput { data: rng.bytes(16), samples: Vec::new() }).collect();
    let maps = vec![CaseMap::new(MapType::Hash, 8, 16, 4)];
    let mut writer = Frames { rng, code: Code::default(), callees: Vec::new() };
    let (insns, marks) = writer.program();
    Case { programs: vec![CaseProgram { prog_type: Some(&XDP), insns, marks }], maps, inputs }
}

struct Frames<'r> {
    rng: &'r mut Rng,
    code: Code,
    /// Functions that are called and not yet written.
    callees: Vec<Label>,
}

impl Frames<'_> {
    fn program(&mut self) -> (Vec<skep_vm::isa::Insn>, Vec<(u32, &'static str)>) {
        let out = self.code.label();
        self.code.mov(0, 0);
        self.code.mov(SUM, 0);
        self.code.ldx(Op::LdxW, 2, 1, 0);
        self.code.ldx(Op::LdxW, 3, 1, 4);
        self.code.mov_reg(4, 2);
        self.code.alu(Op::Add64Imm, 4, 8);
        self.code.jump_reg(Op::Jgt64Reg, 4, 3, out);
        self.code.load(CHOICES, 2, 0);
        for _ in 0..self.rng.between(4, 24) {
            self.statement(true);
        }
        self.code.mov_reg(0, SUM);
        self.code.place(out);
        self.code.exit();
        for callee in std::mem::take(&mut self.callees) {
            self.callee(callee);
        }
        std::mem::take(&mut self.code).finish()
    }

    /// Something in the main function; `nests` if others may stand in it.
    fn statement(&mut self, nests: bool) {
        match self.rng.below(if nests { 12 } else { 7 }) {
            0..=2 => self.write(),
            3 | 4 => self.read(10, -8 * WORDS),
            5 => self.read_by_choice(),
            6 => self.add(),
            7 | 8 => self.sometimes(),
            9 => self.repeatedly(),
            10 => self.call(),
            _ => self.map(),
        }
    }

    /// An offset of so many bytes below the frame's end.
    fn offset(&mut self, width: i32) -> i16 {
        let offset = width * self.rng.between(-8 * WORDS / width, -1);
        i16::try_from(offset).expect("in the frame")
    }

    fn write(&mut self) {
        const OPS: [(Op, Op, i32); 4] = [
            (Op::StB, Op::StxB, 1),
            (Op::StH, Op::StxH, 2),
            (Op::StW, Op::StxW, 4),
            (Op::StDw, Op::StxDw, 8),
        ];
        let (of_imm, of_reg, width) = *self.rng.pick(&OPS);
        let offset = self.offset(width);
        if self.rng.one_in(2) {
            let imm = self.rng.imm();
            self.code.st(of_imm, 10, offset, imm);
        } else {
            self.code.stx(of_reg, 10, offset, CHOICES);
        }
    }

    /// Adds something from behind `base + first` to the sum.
    fn read(&mut self, base: u8, first: i32) {
        const OPS: [(Op, i32); 5] =
            [(Op::LdxB, 1), (Op::LdxH, 2), (Op::LdxW, 4), (Op::LdxDw, 8), (Op::LdxsB, 1)];
        let (op, width) = *self.rng.pick(&OPS);
        let offset = first + self.rng.between(0, 8 * WORDS - width);
        self.code.ldx(op, READ, base, i16::try_from(offset).expect("in the frame"));
        self.sum();
    }

    fn sum(&mut self) {
        self.code.alu(Op::Mul64Imm, SUM, 31);
        self.code.alu_reg(Op::Add64Reg, SUM, READ);
    }

    /// Reads one of four words; which one is known when it runs.
    fn read_by_choice(&mut self) {
        let shift = self.rng.between(0, 60);
        self.code.mov_reg(READ, CHOICES);
        self.code.alu(Op::Rsh64Imm, READ, shift);
        self.code.alu(Op::And64Imm, READ, 3);
        self.code.alu(Op::Lsh64Imm, READ, 3);
        self.code.mov_reg(2, 10);
        self.code.alu_reg(Op::Add64Reg, 2, READ);
        let offset = 8 * self.rng.between(-WORDS, -4);
        self.code.load(READ, 2, i16::try_from(offset).expect("in the frame"));
        self.sum();
    }

    fn add(&mut self) {
        let (op, width) = *self.rng.pick(&[(Op::AtomicAdd64, 8), (Op::AtomicFetchOr32, 4)]);
        let offset = self.offset(width);
        self.code.mov_reg(READ, CHOICES);
        self.code.stx(op, 10, offset, READ);
        self.sum();
    }

    /// Some statements, or others, or none.
    fn sometimes(&mut self) {
        let (other, end) = (self.code.label(), self.code.label());
        let bit = 1 << self.rng.between(0, 30);
        self.code.jump_imm(Op::Jset64Imm, CHOICES, bit, other);
        for _ in 0..self.rng.between(1, 4) {
            self.statement(false);
        }
        self.code.jump(Op::Ja, Fields::default(), end);
        self.code.place(other);
        for _ in 0..self.rng.between(0, 3) {
            self.statement(false);
        }
        self.code.place(end);
    }

    fn repeatedly(&mut self) {
        self.code.mov(TURNS, 0);
        let top = self.code.here();
        for _ in 0..self.rng.between(1, 4) {
            self.statement(false);
        }
        self.code.alu(Op::Add64Imm, TURNS, 1);
        let turns = self.rng.between(1, 4);
        self.code.jump_imm(Op::Jlt64Imm, TURNS, turns, top);
    }

    /// Lends a part of the frame to a function.
    fn call(&mut self) {
        let callee = self.code.label();
        self.callees.push(callee);
        self.code.mov_reg(1, 10);
        self.code.alu(Op::Add64Imm, 1, -8 * WORDS);
        self.code.jump(Op::CallLocal, Fields::default(), callee);
        self.code.mov_reg(READ, 0);
        self.sum();
    }

    /// A function that reads and writes what it was lent, and its own frame.
    fn callee(&mut self, start: Label) {
        self.code.place(start);
        self.code.mov(SUM, 1);
        self.code.mov_reg(CHOICES, 1);
        for _ in 0..self.rng.between(1, 5) {
            match self.rng.below(4) {
                0 => self.read(CHOICES, 0),
                1 => {
                    let offset = 8 * self.rng.between(0, WORDS - 1);
                    self.code.store(CHOICES, i16::try_from(offset).expect("lent"), SUM);
                }
                2 => self.read(10, -8 * WORDS),
                _ => {
                    let offset = self.offset(8);
                    self.code.store(10, offset, SUM);
                }
            }
        }
        self.code.mov_reg(0, SUM);
        self.code.exit();
    }

    /// Puts a key and a value from the frame into a map, or reads a value.
    fn map(&mut self) {
        const LOOKUP: i32 = 1;
        const UPDATE: i32 = 2;
        let words = |rng: &mut Rng, count: i32| 8 * rng.between(-WORDS, -count);
        let key = words(self.rng, 1);
        self.code.map(1, 0);
        self.code.mov_reg(2, 10);
        self.code.alu(Op::Add64Imm, 2, key);
        if self.rng.one_in(2) {
            let value = words(self.rng, 2);
            self.code.mov_reg(3, 10);
            self.code.alu(Op::Add64Imm, 3, value);
            self.code.mov(4, 0);
            self.code.call(UPDATE);
            return;
        }
        let none = self.code.label();
        self.code.call(LOOKUP);
        self.code.jump_imm(Op::Jeq64Imm, 0, 0, none);
        self.code.load(READ, 0, 8);
        self.sum();
        self.code.place(none);
    }
}
