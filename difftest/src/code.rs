//! A program in the making: slots and labels.

use skep_vm::isa::{Insn, Key, Op, ROWS, Row, Shape};

/// A place in the program that is not known yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label(usize);

/// Slots, and jumps that wait for their labels.
#[derive(Debug, Default)]
pub(crate) struct Code {
    slots: Vec<Insn>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
    marks: Vec<(u32, &'static str)>,
}

/// The fields of an instruction; those that it does not use are ignored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fields {
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) off: i16,
    pub(crate) imm: i32,
}

impl Code {
    /// Adds an instruction of one slot.
    pub(crate) fn push(&mut self, op: Op, fields: Fields) {
        self.push_row(op.row(), fields);
    }

    /// The same by its row.
    pub(crate) fn push_row(&mut self, row: &Row, fields: Fields) {
        let Fields { dst, src, off, imm } = fields;
        self.slots.push(row.encode(Insn { code: 0, dst, src, off, imm }));
    }

    /// `dst = imm`
    pub(crate) fn mov(&mut self, dst: u8, imm: i32) {
        self.push(Op::Mov64Imm, Fields { dst, imm, ..Fields::default() });
    }

    /// `dst = src`
    pub(crate) fn mov_reg(&mut self, dst: u8, src: u8) {
        self.push(Op::Mov64Reg, Fields { dst, src, ..Fields::default() });
    }

    /// `dst = value`, in two slots.
    pub(crate) fn lddw(&mut self, dst: u8, value: u64) {
        self.wide(Op::Lddw, dst, value);
    }

    /// `dst =` the address of byte `offset` of the first map's value.
    pub(crate) fn map_value(&mut self, dst: u8, offset: u32) {
        self.direct_value(dst, 0, offset);
    }

    /// `dst =` the address of byte `offset` of a map's only value.
    pub(crate) fn direct_value(&mut self, dst: u8, map: usize, offset: u32) {
        self.wide(Op::LddwMapIdxValue, dst, u64::from(offset) << 32 | map as u64);
    }

    /// `dst =` a map.
    pub(crate) fn map(&mut self, dst: u8, map: usize) {
        self.wide(Op::LddwMapIdx, dst, map as u64);
    }

    /// `dst =` a function.
    pub(crate) fn function(&mut self, dst: u8, start: Label) {
        self.jumps.push((self.slots.len(), start));
        self.wide(Op::LddwFunc, dst, 0);
    }

    /// `dst ∘= imm`
    pub(crate) fn alu(&mut self, op: Op, dst: u8, imm: i32) {
        self.push(op, Fields { dst, imm, ..Fields::default() });
    }

    /// `dst ∘= src`
    pub(crate) fn alu_reg(&mut self, op: Op, dst: u8, src: u8) {
        self.push(op, Fields { dst, src, ..Fields::default() });
    }

    /// `dst = *(src + off)`, of any size.
    pub(crate) fn ldx(&mut self, op: Op, dst: u8, src: u8, off: i16) {
        self.push(op, Fields { dst, src, off, imm: 0 });
    }

    /// `*(dst + off) = src`, of any size, or an atomic operation.
    pub(crate) fn stx(&mut self, op: Op, dst: u8, off: i16, src: u8) {
        self.push(op, Fields { dst, src, off, imm: 0 });
    }

    /// `*(dst + off) = imm`, of any size.
    pub(crate) fn st(&mut self, op: Op, dst: u8, off: i16, imm: i32) {
        self.push(op, Fields { dst, src: 0, off, imm });
    }

    /// `if dst ∘ imm goto label`
    pub(crate) fn jump_imm(&mut self, op: Op, dst: u8, imm: i32, label: Label) {
        self.jump(op, Fields { dst, imm, ..Fields::default() }, label);
    }

    /// `if dst ∘ src goto label`
    pub(crate) fn jump_reg(&mut self, op: Op, dst: u8, src: u8, label: Label) {
        self.jump(op, Fields { dst, src, ..Fields::default() }, label);
    }

    /// Calls a helper.
    pub(crate) fn call(&mut self, helper: i32) {
        self.push(Op::CallHelper, Fields { imm: helper, ..Fields::default() });
    }

    /// `exit`
    pub(crate) fn exit(&mut self) {
        self.push(Op::Exit, Fields::default());
    }

    /// Notes what the next instruction begins.
    pub(crate) fn mark(&mut self, what: &'static str) {
        let slot = u32::try_from(self.slots.len()).expect("a short program");
        self.marks.push((slot, what));
    }

    /// Takes the last note back, when nothing was written after it.
    pub(crate) fn unmark(&mut self) {
        self.marks.pop();
    }

    fn wide(&mut self, op: Op, dst: u8, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        let imm = i32::from_le_bytes([a, b, c, d]);
        self.push(op, Fields { dst, imm, ..Fields::default() });
        self.slots.push(Insn { imm: i32::from_le_bytes([e, f, g, h]), ..Insn::default() });
    }

    /// `dst = *(u64 *)(src + off)`
    pub(crate) fn load(&mut self, dst: u8, src: u8, off: i16) {
        self.push(Op::LdxDw, Fields { dst, src, off, imm: 0 });
    }

    /// `*(u64 *)(dst + off) = src`
    pub(crate) fn store(&mut self, dst: u8, off: i16, src: u8) {
        self.push(Op::StxDw, Fields { dst, src, off, imm: 0 });
    }

    /// A label that [`Code::place`] will put somewhere.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// A label at the next slot.
    pub(crate) fn here(&mut self) -> Label {
        let label = self.label();
        self.place(label);
        label
    }

    /// Puts a label at the next slot.
    pub(crate) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.slots.len());
    }

    /// Adds a jump or call to a label.
    pub(crate) fn jump(&mut self, op: Op, fields: Fields, label: Label) {
        self.jumps.push((self.slots.len(), label));
        self.push(op, fields);
    }

    /// The slots, and what was noted of them.
    pub(crate) fn finish(mut self) -> (Vec<Insn>, Vec<(u32, &'static str)>) {
        for (slot, label) in self.jumps {
            let target = self.labels[label.0].expect("every label is placed");
            let distance = target.cast_signed() - slot.cast_signed() - 1;
            let insn = &mut self.slots[slot];
            let shape = insn.op().expect("written from its row").row().shape;
            if matches!(shape, Shape::GotoLong | Shape::Call | Shape::Lddw) {
                insn.imm = i32::try_from(distance).expect("a short program");
            } else {
                insn.off = i16::try_from(distance).expect("a short program");
            }
        }
        (self.slots, self.marks)
    }
}

/// The rows of one shape.
pub(crate) fn rows(shape: Shape) -> Vec<&'static Row> {
    ROWS.iter().filter(|row| row.shape == shape).collect()
}

/// Bytes of the memory that a load, store or atomic operation accesses.
pub(crate) fn width(row: &Row) -> i16 {
    match row.shape {
        Shape::Atomic if row.narrow => 4,
        Shape::Atomic => 8,
        _ => match row.text {
            "u8" | "s8" => 1,
            "u16" | "s16" => 2,
            "u32" | "s32" => 4,
            _ => 8,
        },
    }
}

/// Whether an atomic operation writes what was in memory to its source register.
pub(crate) fn fetches(row: &Row) -> bool {
    matches!(row.key, Key::Imm(imm) if imm & 1 == 1) && !is_cmpxchg(row)
}

/// Whether it compares with r0, and writes what was in memory there.
pub(crate) fn is_cmpxchg(row: &Row) -> bool {
    matches!(row.op, Op::AtomicCmpxchg64 | Op::AtomicCmpxchg32)
}
