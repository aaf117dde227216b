//! What is around packets: helpers that move their ends, metadata, contexts, loads of
//! classic filters.

use skep_memory::Access;
use skep_vm::isa::{Op, Shape};
use skep_vm::prog::{Field, ProgType, XDP};

use crate::code::{Fields, rows};
use crate::generate::{Writer, field, has_packet};
use crate::layout::{CTX, VALUE, VALUE_LEN};

const LOAD_BYTES: i32 = 26;
const ADJUST_HEAD: i32 = 44;
const ADJUST_META: i32 = 54;
const ADJUST_TAIL: i32 = 65;

impl Writer<'_> {
    fn is_type(&self, prog_type: &ProgType) -> bool {
        self.prog_type.is_some_and(|own| own.id == prog_type.id)
    }

    /// Moves an end of the packet and looks at it anew; wrong when old pointers are used.
    pub(super) fn packet_adjust(&mut self, wrong: bool) -> bool {
        if !self.is_type(&XDP) || !self.has_ctx() || self.has_packet() || self.owed > 0 {
            return false;
        }
        let stale = if wrong { self.keep() } else { None };
        if let Some(stale) = stale {
            self.code.load(stale, 10, CTX);
            self.code.ldx(Op::LdxW, stale, stale, field(&XDP, "data"));
            self.pointers.push(stale);
        }
        let helper = *self.rng.pick(&[ADJUST_HEAD, ADJUST_TAIL, ADJUST_META, ADJUST_HEAD]);
        // What stands before a packet that grows at its head is whatever an earlier run left
        // there in skep; in the kernel's test runs it is zeros.
        let deltas: &[i32] = match helper {
            _ if self.profile.goes_wrong() => {
                &[0, 1, -1, 4, -4, 8, -8, 20, -20, 40, -60, -256, 1 << 20]
            }
            ADJUST_HEAD => &[0, 1, 4, 8, 20, 40, -300, 1 << 20],
            ADJUST_META => &[0, 4, -4, -8, -8, -12, -300, 2],
            _ => &[0, 1, -1, 4, -4, 8, -8, 20, -20, 40, -60, 1 << 20],
        };
        let delta = *self.rng.pick(deltas);
        self.code.load(1, 10, CTX);
        self.code.mov(2, delta);
        self.code.call(helper);
        self.after_call();
        if helper == ADJUST_META && !self.profile.goes_wrong() && (-12..0).contains(&delta) {
            self.fill_metadata(-delta);
        }
        if let Some(stale) = stale {
            let [number] = self.some();
            let off = *self.rng.pick(&[0, 0, 40, 60]);
            self.touch(stale, off, 1, number, true);
            self.unlock(stale);
        }
        self.packet_access(false)
    }

    /// Makes three registers the metadata's start, the packet's, and free to use; all are
    /// locked.
    fn metadata_ends(&mut self) -> Option<[u8; 3]> {
        let prog_type = self.prog_type.filter(|t| has_packet(t) && self.has_ctx())?;
        let [meta, data, past] = self.some();
        self.code.load(data, 10, CTX);
        self.code.ldx(Op::LdxW, meta, data, field(prog_type, "data_meta"));
        self.code.ldx(Op::LdxW, data, data, field(prog_type, "data"));
        for register in [meta, data, past] {
            self.lock_pointer(register);
        }
        Some([meta, data, past])
    }

    /// Writes the first bytes of the metadata, if there are so many.
    fn fill_metadata(&mut self, len: i32) {
        let Some([meta, data, past]) = self.metadata_ends() else { return };
        let out = self.code.label();
        self.code.mov_reg(past, meta);
        self.code.alu(Op::Add64Imm, past, len);
        self.code.jump_reg(Op::Jgt64Reg, past, data, out);
        for slot in 0..i16::try_from(len / 4).expect("small") {
            let imm = self.rng.imm();
            self.code.st(Op::StW, meta, 4 * slot, imm);
        }
        self.code.place(out);
        self.release(&[meta, data, past]);
    }

    /// Bytes before the packet, up to where it starts.
    pub(super) fn metadata(&mut self, wrong: bool) -> bool {
        let Some([meta, data, past]) = self.metadata_ends() else { return false };
        let out = self.code.label();
        self.code.mov_reg(past, meta);
        self.code.alu(Op::Add64Imm, past, 4);
        self.end_check(past, data, out, wrong);
        let [number] = self.some();
        self.touch(meta, 0, 4, number, true);
        self.code.place(out);
        self.release(&[meta, data, past]);
        true
    }

    /// Fields of the context.
    pub(super) fn context_fields(&mut self, wrong: bool) -> bool {
        let Some(prog_type) = self.prog_type.filter(|_| self.has_ctx()) else { return false };
        let base = self.free();
        self.code.load(base, 10, CTX);
        self.lock_pointer(base);
        let [number] = self.some();
        if wrong {
            let off = *self.rng.pick(&[-4, 24, 192, 1, 2, 76, 140, 168]);
            let op = *self.rng.pick(&[Op::LdxW, Op::StxW, Op::LdxDw, Op::StxB]);
            if matches!(op, Op::LdxW | Op::LdxDw) {
                self.code.ldx(op, number, base, off);
                self.settle(number);
            } else {
                self.code.stx(op, base, off, number);
            }
        } else {
            for _ in 0..=self.rng.below(2) {
                let fields = prog_type.fields.iter().filter(|field| is_plain(field));
                let fields: Vec<&Field> = fields.collect();
                let field = *self.rng.pick(&fields);
                let off = i16::try_from(field.offset).expect("contexts are small");
                if field.access == Access::ReadWrite && self.rng.one_in(2) {
                    self.code.stx(Op::StxW, base, off, number);
                } else {
                    self.code.ldx(Op::LdxW, number, base, off);
                }
            }
        }
        self.forget(base);
        self.settle(base);
        true
    }

    /// Loads of classic filters, which end the program when the packet is too short.
    pub(super) fn legacy_loads(&mut self, wrong: bool) -> bool {
        let skb = self.prog_type.is_some_and(|t| t.legacy_loads);
        if !skb || self.current != 0 || self.owed > 0 || self.locked.contains(&6) {
            return false;
        }
        // What they leave in r0 to r5 is gone, and so would be pointers there.
        if self.locked.iter().any(|&register| register < 6) {
            return false;
        }
        self.code.load(6, 10, CTX);
        self.lock_pointer(6);
        if wrong {
            self.code.alu(Op::Add64Imm, 6, 4);
        }
        for _ in 0..self.rng.between(1, 4) {
            self.legacy_load();
        }
        self.forget(6);
        self.settle(6);
        true
    }

    fn legacy_load(&mut self) {
        let rows = rows(if self.rng.one_in(2) { Shape::LdAbs } else { Shape::LdInd });
        let row = *self.rng.pick(&rows);
        let src = self.free_of(&[0]);
        let imm = if self.rng.one_in(16) {
            *self.rng.pick(&[-0x10_0000, -0x20_0000, -1, 1000])
        } else {
            self.rng.between(0, 40)
        };
        if row.shape == Shape::LdInd {
            self.code.alu(Op::And64Imm, src, 15);
        }
        self.code.push_row(row, Fields { dst: 0, src, off: 0, imm });
        self.after_call();
    }

    /// Bytes of the packet, copied to the stack.
    pub(super) fn skb_load_bytes(&mut self, wrong: bool) -> bool {
        let skb = self.prog_type.is_some_and(|t| t.legacy_loads);
        if !skb || !self.has_ctx() {
            return false;
        }
        self.value();
        let (len, off) = (self.rng.between(1, VALUE_LEN.into()), self.rng.between(0, 80));
        self.code.load(1, 10, CTX);
        self.code.mov(2, off);
        self.point_to_value(3);
        self.code.mov(4, if wrong { -i32::from(self.scratch(VALUE)) + 1 } else { len });
        self.code.call(LOAD_BYTES);
        self.after_call();
        true
    }
}

/// Whether a field is a number that tests agree about: no address, nothing that depends on
/// where a packet came from.
fn is_plain(field: &Field) -> bool {
    const PLAIN: [&str; 12] = [
        "mark",
        "priority",
        "cb[0]",
        "cb[1]",
        "cb[2]",
        "cb[3]",
        "cb[4]",
        "len",
        "protocol",
        "tc_index",
        "rx_queue_index",
        "gso_segs",
    ];
    PLAIN.contains(&field.name) && field.access != Access::None
}
