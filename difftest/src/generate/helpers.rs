//! Calls of helpers by what their table says of their arguments.

use skep_maps::MapType;
use skep_vm::helpers::{self, Helper};
use skep_vm::isa::Op;

use super::Writer;
use crate::layout::{CTX, DYNPTR, VALUE};

/// Helpers that answer the same everywhere: the CPU is the first, the node the only one.
const PLAIN: [i32; 2] = [8, 42];
/// Those about this machine, which only skep's engines agree about.
const OF_THE_WORLD: [i32; 12] = [5, 7, 14, 15, 42, 80, 118, 123, 125, 160, 208, 8];

impl Writer<'_> {
    /// A helper without pointers.
    pub(super) fn plain_helper(&mut self, wrong: bool) -> bool {
        let helpers: &[i32] = if self.profile.goes_wrong() { &OF_THE_WORLD } else { &PLAIN };
        let helper = *self.rng.pick(helpers);
        // There is none with this number, or skep does not have it.
        let missing = *self.rng.pick(&[0, 9, 220, 100_000, -1]);
        self.code.call(if wrong { missing } else { helper });
        self.after_call();
        true
    }

    /// Any helper, with arguments of the kinds that it takes; wrong when one of them is not.
    pub(super) fn any_helper(&mut self, wrong: bool) -> bool {
        let helper = self.rng.pick(helpers::all());
        // Most end the run, and some move the packet.
        let moves = self.has_packet() && matches!(helper.id, 44 | 54 | 65);
        if !self.wrong || moves {
            return false;
        }
        self.value();
        let odd = self.rng.below(helper.args.len().max(1) as u64);
        for (index, kind) in helper.args.iter().enumerate() {
            let register = u8::try_from(index + 1).expect("five arguments");
            self.argument(helper, register, kind);
            if wrong && index as u64 == odd {
                self.spoil(register);
            }
        }
        let id = i32::try_from(helper.id).expect("small");
        self.code.call(id);
        self.after_call();
        self.settle(0);
        true
    }

    /// An argument of a kind.
    fn argument(&mut self, helper: &Helper, register: u8, kind: &str) {
        match kind {
            "context" if self.has_ctx() => self.code.load(register, 10, CTX),
            "map" | "ring buffer" | "user ring buffer" | "perf event array" | "stack trace map"
            | "map of cgroups" => {
                let map = self.map_for(helper);
                self.code.map(register, map);
            }
            "key" => {
                self.point_to_value(register);
            }
            "size" => {
                let size = *self.rng.pick(&[0, 1, 7, 8, 16, 32]);
                self.code.mov(register, size);
            }
            "scalar" | "function" => {
                let small = *self.rng.pick(&[0, 0, 1, 2, 3, 8, 10, 0x100]);
                self.code.mov(register, small);
            }
            "dynptr" | "new dynptr" => {
                let at = self.scratch(DYNPTR);
                self.code.mov_reg(register, 10);
                self.code.alu(Op::Add64Imm, register, i32::from(at));
            }
            _ => self.point_to_value(register),
        }
    }

    /// A map that a helper takes, if there is one.
    fn map_for(&mut self, helper: &Helper) -> usize {
        use MapType::{
            Array, BloomFilter, CgroupArray, Cpumap, Devmap, Hash, LruHash, PercpuArray,
            PercpuHash, PerfEventArray, ProgArray, Queue, Ringbuf, Stack, StackTrace, UserRingbuf,
        };
        let types: &[MapType] = match helper.id {
            12 => &[ProgArray],
            22 | 25 | 55 => &[PerfEventArray],
            27 => &[StackTrace],
            33 | 37 => &[CgroupArray],
            51 => &[Devmap, Cpumap],
            87..=89 => &[Queue, Stack, BloomFilter],
            130..=134 | 198 => &[Ringbuf],
            195 => &[PercpuArray, PercpuHash],
            209 => &[UserRingbuf],
            _ => &[Array, Hash, LruHash],
        };
        let found = self.map_of(types);
        found.unwrap_or_else(|| {
            let any = self.rng.below(self.plan.maps.len() as u64);
            usize::try_from(any).expect("an index")
        })
    }

    /// Makes an argument something else.
    fn spoil(&mut self, register: u8) {
        match self.rng.below(5) {
            0 => self.code.mov(register, 0),
            1 => {
                let imm = *self.rng.pick(&[1, -1, 8, 64, 1 << 20]);
                self.code.alu(Op::Add64Imm, register, imm);
            }
            2 => {
                let value = self.rng.value();
                self.code.lddw(register, value);
            }
            3 => self.code.mov_reg(register, 10),
            _ => {
                let at = -i32::from(self.scratch(VALUE)) + 1;
                self.code.mov(register, at);
            }
        }
    }
}
