//! Helpers that change maps.

use skep_maps::MapType;
use skep_vm::isa::Op;

use crate::generate::Writer;
use crate::layout::{VALUE, VALUE_LEN};

const UPDATE: i32 = 2;
const DELETE: i32 = 3;
const PUSH: i32 = 87;
const POP: i32 = 88;
const PEEK: i32 = 89;
const LOCK: i32 = 93;
const UNLOCK: i32 = 94;

const WITH_KEYS: &[MapType] = &[
    MapType::Array,
    MapType::PercpuArray,
    MapType::Hash,
    MapType::LruHash,
    MapType::PercpuHash,
    MapType::LruPercpuHash,
    MapType::LpmTrie,
];

impl Writer<'_> {
    /// Fills the room for a value on the stack.
    pub(in crate::generate) fn value(&mut self) {
        let at = self.scratch(VALUE);
        for slot in 0..VALUE_LEN / 8 {
            if self.rng.one_in(2) {
                let imm = self.rng.imm();
                self.code.st(Op::StDw, 10, at + 8 * slot, imm);
            } else {
                let number = self.any();
                self.code.store(10, at + 8 * slot, number);
            }
        }
    }

    /// Makes `register` the address of that room.
    pub(in crate::generate) fn point_to_value(&mut self, register: u8) {
        let at = self.scratch(VALUE);
        self.code.mov_reg(register, 10);
        self.code.alu(Op::Add64Imm, register, i32::from(at));
    }

    /// Puts a value into a map; wrong when it, or its key, is not all memory.
    pub(super) fn update(&mut self, wrong: bool) -> bool {
        let Some(map) = self.map_of(WITH_KEYS) else { return false };
        if self.value_size(map) > VALUE_LEN || self.plan.maps[map].def.flags & 0x80 != 0 {
            return false;
        }
        self.value();
        self.key(map);
        self.point_to_key(2);
        self.point_to_value(3);
        if wrong {
            match self.rng.below(3) {
                0 => self.code.mov_reg(3, 10),
                1 => self.code.alu(Op::Add64Imm, 2, 1 << 20),
                _ => self.code.mov(3, 0),
            }
        }
        let flags = *self.rng.pick(&[0, 0, 0, 1, 2, 3]);
        self.code.map(1, map);
        self.code.mov(4, flags);
        self.code.call(UPDATE);
        self.after_call();
        true
    }

    /// Deletes an entry.
    pub(super) fn delete(&mut self, wrong: bool) -> bool {
        let Some(map) = self.map_of(WITH_KEYS) else { return false };
        if self.plan.maps[map].def.flags & 0x80 != 0 {
            return false;
        }
        self.key(map);
        self.point_to_key(2);
        self.code.map(1, map);
        if wrong {
            // No map, but memory of one.
            self.code.alu(Op::Add64Imm, 1, 1);
        }
        self.code.call(DELETE);
        self.after_call();
        true
    }

    /// A value that is used after its entry was deleted, which the kernel lets no program see.
    pub(super) fn deleted_value(&mut self, wrong: bool) -> bool {
        let Some(map) = self.map_of(&[MapType::Hash, MapType::LruHash, MapType::PercpuHash]) else {
            return false;
        };
        self.lookup(map);
        let none = self.code.label();
        self.code.jump_imm(Op::Jeq64Imm, 0, 0, none);
        let Some(kept) = self.keep() else {
            self.code.place(none);
            self.settle(0);
            return true;
        };
        self.code.mov_reg(kept, 0);
        self.pointers.push(kept);
        self.settle(0);
        self.delete_key(map);
        let len = self.value_size(map);
        if wrong {
            self.past(kept, len, true);
        } else {
            let [number] = self.some();
            self.touch(kept, 0, 8, number, true);
        }
        self.unlock(kept);
        self.code.place(none);
        self.settle(0);
        self.settle(kept);
        true
    }

    fn delete_key(&mut self, map: usize) {
        self.point_to_key(2);
        self.code.map(1, map);
        self.code.call(DELETE);
        self.after_call();
    }

    /// Values of maps without keys; wrong when there is no room for them.
    pub(super) fn queue(&mut self, wrong: bool) -> bool {
        let types = [MapType::Queue, MapType::Stack, MapType::BloomFilter];
        let Some(map) = self.map_of(&types) else { return false };
        let bloom = self.plan.maps[map].map_type() == MapType::BloomFilter;
        self.value();
        self.point_to_value(2);
        if wrong {
            self.code.alu(Op::Add64Imm, 2, 1 << 20);
        }
        self.code.map(1, map);
        let helper = *self.rng.pick(if bloom { &[PUSH, PEEK] } else { &[PUSH, POP, PEEK] });
        if helper == PUSH {
            let flags = *self.rng.pick(if bloom { &[0, 0] } else { &[0, 2] });
            self.code.mov(3, flags);
        }
        self.code.call(helper);
        self.after_call();
        true
    }

    /// A value under its lock; wrong when the lock is kept, taken twice, or not taken.
    pub(super) fn spin_lock(&mut self, wrong: bool) -> bool {
        let locked = self.plan.maps_of(&[MapType::Array]).into_iter();
        let mut locked = locked.filter(|&map| !self.plan.maps[map].def.special.is_empty());
        let Some(map) = locked.next_back() else { return false };
        self.lookup(map);
        let none = self.code.label();
        self.code.jump_imm(Op::Jeq64Imm, 0, 0, none);
        let Some(kept) = self.keep() else {
            self.code.place(none);
            self.settle(0);
            return true;
        };
        self.code.mov_reg(kept, 0);
        self.pointers.push(kept);
        let mut steps = vec![LOCK, UNLOCK];
        if wrong {
            steps =
                self.rng.pick(&[vec![LOCK], vec![LOCK, LOCK], vec![UNLOCK], vec![LOCK, 5]]).clone();
        }
        for step in steps {
            self.code.mov_reg(1, kept);
            self.code.alu(Op::Add64Imm, 1, 8);
            self.code.call(step);
            self.after_call();
            let number = self.free();
            self.touch(kept, 0, 8, number, true);
        }
        if wrong && self.rng.one_in(2) {
            // The lock's own bytes.
            self.code.st(Op::StW, kept, 8, 0);
        }
        self.unlock(kept);
        self.code.place(none);
        self.settle(0);
        self.settle(kept);
        true
    }
}
