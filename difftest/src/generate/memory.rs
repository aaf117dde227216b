//! Loads, stores and atomic operations.

use skep_vm::isa::{Op, Row, Shape};

use super::{Place, Writer};
use crate::code::{Fields, fetches, is_cmpxchg, rows, width};
use crate::layout::{CALLEE_STACK, DATA, PACKET, POINTER, SPARE, STACK};

/// Bytes that a register points into.
#[derive(Debug, Clone, Copy)]
struct Area {
    place: Place,
    base: u8,
    /// The displacement of its first byte from the register.
    first: i16,
    len: i16,
    /// Whether the register is at an address that the verifier does not know exactly.
    indexed: bool,
}

/// Shapes that access memory; the more often listed, the more often written.
const SHAPES: [Shape; 9] = [
    Shape::Load,
    Shape::Load,
    Shape::StoreImm,
    Shape::StoreReg,
    Shape::StoreReg,
    Shape::Atomic,
    Shape::Atomic,
    Shape::LoadAcquire,
    Shape::StoreRelease,
];

impl Writer<'_> {
    /// Some accesses of one place.
    pub(super) fn access(&mut self) {
        let places = self.places();
        let place = *self.rng.pick(&places);
        if place == Place::Stack && self.rng.one_in(2) {
            let len = self.stack_len();
            self.accesses(Area { place, base: 10, first: SPARE - len, len, indexed: false });
            return;
        }
        let base = self.free();
        let mut area = self.point(place, base);
        if self.may_index(place) && self.rng.one_in(2) {
            self.index(&mut area);
        }
        self.accesses(area);
        self.settle(base);
    }

    fn stack_len(&self) -> i16 {
        if self.current == 0 { STACK } else { CALLEE_STACK }
    }

    /// Makes `base` a pointer.
    fn point(&mut self, place: Place, base: u8) -> Area {
        let (first, len) = match place {
            Place::Stack => {
                self.code.mov_reg(base, 10);
                (SPARE - self.stack_len(), self.stack_len())
            }
            Place::Memory => {
                let len = i16::try_from(DATA).expect("a small memory");
                if self.prog_type.is_none() {
                    self.code.load(base, 10, POINTER);
                    (0, len)
                } else {
                    let skipped = 8 * i16::try_from(self.rng.below(8)).expect("below 8");
                    self.code.map_value(base, u32::from(skipped.unsigned_abs()));
                    (-skipped, len)
                }
            }
            Place::Packet => {
                self.code.load(base, 10, POINTER);
                (0, PACKET)
            }
            Place::Argument => {
                self.code.load(base, 10, POINTER);
                (0, CALLEE_STACK)
            }
        };
        Area { place, base, first, len, indexed: false }
    }

    /// A packet pointer forgets its range when a number is added.
    fn may_index(&self, place: Place) -> bool {
        match place {
            Place::Packet => false,
            Place::Memory => true,
            Place::Stack | Place::Argument => self.profile.indexes_stack(),
        }
    }

    /// Adds a number to the pointer that is at most half of the area.
    fn index(&mut self, area: &mut Area) {
        let number = self.free_of(&[area.base]);
        let half = area.len / 2;
        let imm = i32::from((half - 1) & !7);
        let and = if self.rng.one_in(2) { Op::And64Imm } else { Op::And32Imm };
        self.code.push(and, Fields { dst: number, imm, ..Fields::default() });
        let fields = Fields { dst: area.base, src: number, ..Fields::default() };
        self.code.push(Op::Add64Reg, fields);
        area.len = half;
        area.indexed = true;
    }

    fn accesses(&mut self, area: Area) {
        for _ in 0..=self.rng.below(3) {
            let shape = *self.rng.pick(&SHAPES);
            let rows = rows(shape).into_iter().filter(|row| self.profile.has(row));
            let rows: Vec<&Row> = rows.collect();
            let atomic = matches!(shape, Shape::Atomic | Shape::LoadAcquire | Shape::StoreRelease);
            if rows.is_empty() || atomic && !takes_atomics(area) {
                continue;
            }
            let row = *self.rng.pick(&rows);
            self.one_access(area, row, atomic);
        }
    }

    fn one_access(&mut self, area: Area, row: &Row, atomic: bool) {
        // The verifier wants accesses of the stack aligned, as atomic ones must be.
        let on_stack = matches!(area.place, Place::Stack | Place::Argument);
        let width = width(row);
        let step = if on_stack || atomic { width } else { 1 };
        let choices = u64::from(((area.len - width) / step + 1).unsigned_abs());
        let at = step * i16::try_from(self.rng.below(choices)).expect("a small area");
        let off = area.first + at;
        let base = area.base;
        let fields = match row.shape {
            Shape::Load | Shape::LoadAcquire => {
                let dst = self.free_of(&[base]);
                Fields { dst, src: base, off, imm: 0 }
            }
            _ => {
                // Some atomic operations write their source, or r0.
                let written = row.shape == Shape::Atomic && fetches(row);
                let number = if written { self.free_of(&[base]) } else { self.any_of(base) };
                if is_cmpxchg(row) && (base == 0 || self.locked.contains(&0)) {
                    return;
                }
                let imm = self.rng.imm();
                Fields { dst: base, src: number, off, imm }
            }
        };
        self.code.push_row(row, fields);
        if on_stack && row.shape == Shape::Atomic && (fetches(row) || is_cmpxchg(row)) {
            let fetched = if is_cmpxchg(row) { 0 } else { fields.src };
            self.launder(fetched, base);
        }
    }

    /// Passes a number through memory whose contents the verifier does not track.
    ///
    /// When the verifier of Linux 6.18 asks where a number comes from that an atomic
    /// operation fetched from the stack, it looks past that operation. It does not note
    /// that the slot matters, takes states for equal that differ there, and wires a jump
    /// that depends on it to one side. Such a program goes wrong in the kernel.
    fn launder(&mut self, register: u8, base: u8) {
        let pointer = self.free_of(&[register, base]);
        let slot = 8 * i16::try_from(self.rng.below(8)).expect("below 8");
        self.point(Place::Memory, pointer);
        self.code.store(pointer, slot, register);
        self.code.load(register, pointer, slot);
        self.settle(pointer);
    }

    /// A register with a number, when `pointer` has none.
    fn any_of(&mut self, pointer: u8) -> u8 {
        loop {
            let register = self.any();
            if register != pointer {
                return register;
            }
        }
    }

    /// Makes r1 a pointer to [`CALLEE_STACK`] bytes, for a callee.
    pub(super) fn point_for_callee(&mut self) {
        let places = self.places().into_iter().filter(|&place| place != Place::Packet);
        let places: Vec<Place> = places.collect();
        let place = *self.rng.pick(&places);
        let area = self.point(place, 1);
        let slots = u64::from(((area.len - CALLEE_STACK) / 8 + 1).unsigned_abs());
        let slot = 8 * i32::try_from(self.rng.below(slots)).expect("a small area");
        let imm = i32::from(area.first) + slot;
        self.code.push(Op::Add64Imm, Fields { dst: 1, imm, ..Fields::default() });
    }
}

/// The verifier allows no atomic operation on packets, nor on a stack slot that it does
/// not know.
fn takes_atomics(area: Area) -> bool {
    match area.place {
        Place::Memory => true,
        Place::Packet => false,
        Place::Stack | Place::Argument => !area.indexed,
    }
}
