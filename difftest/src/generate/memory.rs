//! Loads, stores and atomic operations.

use skep_vm::isa::{Op, Row, Shape};

use super::{Place, Writer};
use crate::code::{Fields, fetches, is_cmpxchg, rows, width};
use crate::layout::{CALLEE_STACK, CTX, DATA, PACKET, POINTER, STACK};

/// Bytes that a register points into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) place: Place,
    pub(super) base: u8,
    /// The displacement of its first byte from the register.
    pub(super) first: i16,
    pub(super) len: i16,
    /// Whether the register is at an address that the verifier does not know exactly.
    pub(super) indexed: bool,
}

/// A pointer that is kept over statements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) at: At,
    pub(super) len: i16,
    /// Whether its memory may be written, by atomic operations, too.
    pub(super) writable: bool,
    /// Whether a number may be added to it.
    pub(super) indexable: bool,
}

/// Where a pointer is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Register(u8),
    /// On the stack, at an offset from r10.
    Slot(i16),
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
            self.accesses(Area { place, base: 10, first: CTX - len, len, indexed: false });
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

    pub(super) fn stack_len(&self) -> i16 {
        if self.current == 0 { STACK } else { CALLEE_STACK }
    }

    /// Makes `base` a pointer.
    pub(super) fn point(&mut self, place: Place, base: u8) -> Area {
        let (first, len) = match place {
            Place::Stack => {
                self.code.mov_reg(base, 10);
                (CTX - self.stack_len(), self.stack_len())
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
            Place::Held(held) => {
                let Held { at, len, .. } = self.held[held];
                match at {
                    At::Register(register) => self.code.mov_reg(base, register),
                    At::Slot(slot) => self.code.load(base, 10, slot),
                }
                (0, len)
            }
        };
        Area { place, base, first, len, indexed: false }
    }

    /// A packet pointer forgets its range when a number is added.
    fn may_index(&self, place: Place) -> bool {
        match place {
            Place::Packet => false,
            Place::Memory => true,
            Place::Held(held) => self.held[held].indexable && self.held[held].len >= 16,
            Place::Stack | Place::Argument => self.profile.indexes_stack(),
        }
    }

    /// Adds a number to the pointer that is at most half of the area.
    fn index(&mut self, area: &mut Area) {
        let number = self.free_of(&[area.base]);
        let half = area.len / 2;
        let half = half.max(8);
        // All bits below the highest that may be set: 8, 16, 32 and so on less 8.
        let imm = i32::from((half.unsigned_abs().next_power_of_two() / 2 - 1).max(7) & !7);
        let half = area.len - i16::try_from(imm).expect("a small area");
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
            let stores = !matches!(shape, Shape::Load | Shape::LoadAcquire);
            if rows.is_empty()
                || atomic && !self.takes_atomics(area)
                || stores && !self.is_writable(area.place)
            {
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
        if width > area.len {
            return;
        }
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

    /// Makes a register a pointer to [`CALLEE_STACK`] bytes, for a callee.
    pub(super) fn point_for_callee(&mut self, register: u8) {
        let places = self.places().into_iter();
        let places = places.filter(|&place| !matches!(place, Place::Packet | Place::Held(_)));
        // What callbacks get must be on the stack, the verifier finds.
        let anywhere = register == 1 || self.profile.goes_wrong();
        let places = places.filter(|&place| anywhere || place == Place::Stack);
        let places: Vec<Place> = places.collect();
        let place = *self.rng.pick(&places);
        let area = self.point(place, register);
        let slots = u64::from(((area.len - CALLEE_STACK) / 8 + 1).unsigned_abs());
        let slot = 8 * i32::try_from(self.rng.below(slots)).expect("a small area");
        let imm = i32::from(area.first) + slot;
        self.code.push(Op::Add64Imm, Fields { dst: register, imm, ..Fields::default() });
    }

    fn is_writable(&self, place: Place) -> bool {
        match place {
            Place::Held(held) => self.held[held].writable,
            _ => true,
        }
    }

    /// The verifier allows no atomic operation on packets, nor on a stack slot that it does
    /// not know.
    fn takes_atomics(&self, area: Area) -> bool {
        match area.place {
            Place::Memory => true,
            Place::Packet => false,
            Place::Held(held) => self.held[held].writable && self.held[held].indexable,
            Place::Stack | Place::Argument => !area.indexed,
        }
    }

    /// Keeps a pointer to `len` bytes, in a register or in a stack slot, while `body` is
    /// written. Afterwards its register holds a number, as it does where there is no room.
    pub(super) fn holding(
        &mut self,
        pointer: u8,
        len: i16,
        writable: bool,
        body: impl FnOnce(&mut Self),
    ) {
        let held = |at| Held { at, len, writable, indexable: true };
        if let Some(slot) = self.spill_slot().filter(|_| self.rng.one_in(3)) {
            self.code.store(10, slot, pointer);
            self.settle(pointer);
            self.spilled += 1;
            self.held.push(held(At::Slot(slot)));
            body(self);
            self.held.pop();
            self.spilled -= 1;
        } else if let Some(kept) = self.keep() {
            self.code.mov_reg(kept, pointer);
            self.settle(pointer);
            self.pointers.push(kept);
            self.held.push(held(At::Register(kept)));
            body(self);
            self.held.pop();
            self.unlock(kept);
        } else {
            self.settle(pointer);
        }
    }
}
