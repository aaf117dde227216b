//! Values of maps.

use skep_maps::MapType;
use skep_maps::flags::BPF_F_RDONLY_PROG;
use skep_vm::isa::Op;

use crate::case::CaseMap;
use crate::code::rows;
use crate::generate::{Place, Writer};
use crate::layout::KEY;

const LOOKUP: i32 = 1;
const LOOKUP_PERCPU: i32 = 195;

/// Maps whose values programs point to.
const WITH_VALUES: &[MapType] = &[
    MapType::Array,
    MapType::PercpuArray,
    MapType::Hash,
    MapType::LruHash,
    MapType::PercpuHash,
    MapType::LruPercpuHash,
    MapType::LpmTrie,
];

impl Writer<'_> {
    /// A map of one of these types without special fields.
    pub(in crate::generate) fn map_of(&mut self, types: &[MapType]) -> Option<usize> {
        let maps = self.plan.maps_of(types).into_iter();
        let maps = maps.filter(|&map| self.plan.maps[map].def.special.is_empty());
        let maps: Vec<usize> = maps.collect();
        if maps.is_empty() { None } else { Some(*self.rng.pick(&maps)) }
    }

    pub(super) fn value_size(&self, map: usize) -> i16 {
        i16::try_from(self.plan.maps[map].def.value_size).expect("a small value")
    }

    fn is_writable_map(&self, map: usize) -> bool {
        self.plan.maps[map].def.flags & BPF_F_RDONLY_PROG == 0
    }

    /// Puts a key on the stack: often that of an entry.
    pub(super) fn key(&mut self, map: usize) {
        let at = self.scratch(KEY);
        let CaseMap { def, .. } = &self.plan.maps[map];
        let (size, entries) = (def.key_size, def.max_entries);
        let most = i32::try_from(entries.min(6)).expect("small");
        if self.plan.maps[map].map_type() == MapType::LpmTrie {
            let bits = *self.rng.pick(&[32, 32, 24, 8, 0]);
            self.code.st(Op::StW, 10, at, bits);
            let key = self.rng.between(0, most);
            self.code.st(Op::StW, 10, at + 4, key);
            return;
        }
        if self.rng.one_in(3) {
            let number = self.free();
            self.code.alu(Op::And64Imm, number, 3);
            self.code.store(10, at, number);
            return;
        }
        let key = self.rng.between(0, most);
        self.code.st(if size == 4 { Op::StW } else { Op::StDw }, 10, at, key);
    }

    /// Makes `register` the address of the key.
    pub(super) fn point_to_key(&mut self, register: u8) {
        let at = self.scratch(KEY);
        self.code.mov_reg(register, 10);
        self.code.alu(Op::Add64Imm, register, i32::from(at));
    }

    /// Looks a key up; r0 is the value's address or null, r1 to r5 are numbers.
    pub(super) fn lookup(&mut self, map: usize) {
        self.key(map);
        self.point_to_key(2);
        self.code.map(1, map);
        self.code.call(LOOKUP);
        self.pointers.push(0);
        self.locked.push(0);
        self.after_call();
        self.forget(0);
    }

    /// The register is free, whatever it holds.
    pub(super) fn forget(&mut self, register: u8) {
        self.pointers.retain(|&r| r != register);
        self.locked.retain(|&r| r != register);
    }

    /// Looks up, checks, and works on the value.
    pub(super) fn value_access(&mut self, wrong: bool) -> bool {
        let Some(map) = self.map_of(WITH_VALUES) else { return false };
        self.lookup(map);
        let none = self.code.label();
        let goes_past = wrong && self.rng.one_in(2);
        self.lock_pointer(0);
        self.null_check(0, none, wrong && !goes_past);
        let (len, writable) = (self.value_size(map), self.is_writable_map(map));
        if goes_past {
            self.past(0, len, writable);
        }
        self.forget(0);
        if self.rng.one_in(2) {
            let [number] = self.some_but(0);
            let width = self.width().min(if len < 8 { 4 } else { 8 });
            let last = u64::from((len - width + 1).unsigned_abs());
            let off = i16::try_from(self.rng.below(last)).expect("small");
            self.touch(0, off, width, number, writable);
        } else {
            self.holding(0, len, writable, Self::block);
        }
        self.code.place(none);
        self.settle(0);
        true
    }

    pub(super) fn lock_pointer(&mut self, register: u8) {
        self.pointers.push(register);
        self.locked.push(register);
    }

    /// Registers that may be written and are not `taken`.
    pub(super) fn some_but<const N: usize>(&mut self, taken: u8) -> [u8; N] {
        let locked = self.locked.contains(&taken);
        if !locked {
            self.locked.push(taken);
        }
        let some = self.some();
        if !locked {
            self.locked.retain(|&r| r != taken);
        }
        some
    }

    /// Accesses the last bytes of something, and one byte too far.
    pub(super) fn past(&mut self, base: u8, len: i16, writable: bool) {
        let [number] = self.some_but(base);
        let width = self.width();
        if self.rng.one_in(2) && len >= 8 {
            // What is inside must have happened.
            self.touch(base, len - 8, 8, number, writable);
        }
        let far = *self.rng.pick(&[len - width + 1, len, len + 8 - width, -1, -width, len + 64]);
        self.touch(base, far, width, number, writable);
    }

    /// An element of a value.
    pub(super) fn value_index(&mut self, wrong: bool) -> bool {
        let Some(map) = self.map_of(WITH_VALUES) else { return false };
        self.lookup(map);
        let out = self.code.label();
        self.lock_pointer(0);
        self.null_check(0, out, false);
        let (len, writable) = (self.value_size(map), self.is_writable_map(map));
        self.element(0, len, writable, out, wrong);
        self.forget(0);
        self.code.place(out);
        self.settle(0);
        true
    }

    /// An access of an element of `len` bytes at a register, which is locked.
    pub(super) fn element(
        &mut self,
        base: u8,
        len: i16,
        writable: bool,
        out: crate::code::Label,
        wrong: bool,
    ) {
        let width = self.width().min(len & -len).min(8);
        let [number, value] = self.some();
        self.bound(number, i32::from(len / width), out, wrong);
        let shift = i32::try_from(width.trailing_zeros()).expect("few");
        match self.rng.below(3) {
            0 if shift > 0 => self.code.alu(Op::Mul64Imm, number, i32::from(width)),
            _ if shift > 0 => self.code.alu(Op::Lsh64Imm, number, shift),
            _ => {}
        }
        // Both ways round: the sum may be in either register.
        if self.rng.one_in(2) {
            self.code.alu_reg(Op::Add64Reg, number, base);
            self.touch(number, 0, width, value, writable);
            self.settle(number);
        } else {
            self.code.alu_reg(Op::Add64Reg, base, number);
            self.touch(base, 0, width, value, writable);
        }
    }

    /// A value of either of two maps, which differ in size.
    pub(super) fn value_of_two(&mut self, wrong: bool) -> bool {
        let (Some(a), Some(b)) = (self.map_of(WITH_VALUES), self.map_of(WITH_VALUES)) else {
            return false;
        };
        let (other, join, none) = (self.code.label(), self.code.label(), self.code.label());
        self.jump_if(other);
        self.lookup(a);
        self.goto(join);
        self.code.place(other);
        self.lookup(b);
        self.code.place(join);
        self.lock_pointer(0);
        self.null_check(0, none, false);
        let (x, y) = (self.value_size(a), self.value_size(b));
        let len = if wrong { x.max(y) } else { x.min(y) };
        let width = self.width().min(len & -len);
        let writable = self.is_writable_map(a) && self.is_writable_map(b);
        let [number] = self.some();
        if wrong && x == y {
            self.touch(0, len - width + 1, width, number, writable);
        } else {
            self.touch(0, len - width, width, number, writable);
        }
        self.forget(0);
        self.code.place(none);
        self.settle(0);
        true
    }

    /// A value whose address the program has: global variables.
    pub(super) fn direct_access(&mut self, wrong: bool) -> bool {
        let maps = self.plan.maps_of(&[MapType::Array]).into_iter();
        let maps = maps.filter(|&map| self.plan.maps[map].def.max_entries == 1);
        let maps: Vec<usize> = maps.collect();
        if maps.is_empty() {
            return false;
        }
        let map = *self.rng.pick(&maps);
        let (len, writable) = (self.value_size(map), self.is_writable_map(map));
        let base = self.free();
        let out = self.code.label();
        let at = i16::try_from(self.rng.below(u64::from(len.unsigned_abs()))).expect("small");
        self.code.direct_value(base, map, u32::from(at.unsigned_abs()));
        self.lock_pointer(base);
        match self.rng.below(4) {
            0 if wrong => {
                let [number] = self.some();
                let width = self.width();
                let off = *self.rng.pick(&[len - at - width + 1, -at - 1]);
                self.touch(base, off, width, number, writable);
            }
            // Read-only memory.
            1 | 2 if wrong && !writable => {
                let op = *self.rng.pick(&[Op::StB, Op::StDw, Op::StH]);
                let imm = self.rng.imm();
                self.code.st(op, base, -at, imm);
            }
            _ => {
                self.code.alu(Op::Add64Imm, base, -i32::from(at));
                self.element(base, len, writable, out, wrong);
            }
        }
        self.forget(base);
        self.code.place(out);
        self.settle(base);
        true
    }

    /// A value of a map in a map.
    pub(super) fn inner_value(&mut self, wrong: bool) -> bool {
        let outers = [MapType::ArrayOfMaps, MapType::HashOfMaps];
        let Some(outer) = self.map_of(&outers) else { return false };
        self.lookup(outer);
        let none = self.code.label();
        self.lock_pointer(0);
        let unchecked = wrong && self.rng.one_in(2);
        self.null_check(0, none, unchecked);
        self.forget(0);
        let key = self.rng.between(0, 3);
        let at = self.scratch(KEY);
        self.code.st(Op::StW, 10, at, key);
        self.code.mov_reg(1, 0);
        self.point_to_key(2);
        self.code.call(LOOKUP);
        self.lock_pointer(0);
        self.after_call();
        let unchecked = wrong && self.rng.one_in(2);
        self.null_check(0, none, unchecked);
        if wrong && !unchecked {
            self.past(0, 16, true);
        } else {
            self.element(0, 16, true, none, false);
        }
        self.forget(0);
        self.code.place(none);
        self.settle(0);
        for register in 1..=5 {
            self.settle(register);
        }
        true
    }

    /// The value of some CPU.
    pub(super) fn percpu_value(&mut self, wrong: bool) -> bool {
        let types = [MapType::PercpuArray, MapType::PercpuHash, MapType::LruPercpuHash];
        let Some(map) = self.map_of(&types) else { return false };
        self.key(map);
        self.point_to_key(2);
        self.code.map(1, map);
        let cpu = *self.rng.pick(&[0, 0, 1, 7, -1]);
        self.code.mov(3, cpu);
        self.code.call(LOOKUP_PERCPU);
        self.lock_pointer(0);
        self.after_call();
        let none = self.code.label();
        self.null_check(0, none, wrong);
        let len = self.value_size(map);
        self.element(0, len, true, none, false);
        self.forget(0);
        self.code.place(none);
        self.settle(0);
        true
    }

    /// An atomic operation on a value, whose address must be aligned.
    pub(super) fn value_atomic(&mut self, wrong: bool) -> bool {
        let base = self.free();
        if self.prog_type.is_none() {
            return false;
        }
        let area = self.point(Place::Memory, base);
        let rows = rows(skep_vm::isa::Shape::Atomic);
        let row = *self.rng.pick(&rows);
        let width = crate::code::width(row);
        let [src] = self.some_but(base);
        let slot = i16::try_from(self.rng.below(8)).expect("small");
        let odd = if wrong { *self.rng.pick(&[1, 2, width / 2]) } else { 0 };
        if base == 0 && crate::code::is_cmpxchg(row) {
            self.settle(base);
            return true;
        }
        if self.rng.one_in(2) {
            self.code.alu(Op::Add64Imm, base, i32::from(odd));
            self.code.stx(row.op, base, area.first + 8 * slot, src);
        } else {
            self.code.stx(row.op, base, area.first + 8 * slot + odd, src);
        }
        self.settle(base);
        true
    }
}
