//! What a function may read of its frame before it has written it: only that must be zeroed
//! when the function is entered.
//!
//! This holds for programs that read memory at addresses of which it is known where they lie.
//! Where one may read anywhere, it may read anyone's frame, and so may a program that it calls
//! in its place: then the frames are zeroed as the interpreter does, which knows less.

use skep_memory::Access;

use super::state::State;
use super::{Setting, access_of};
use crate::helpers::{self, Helper};
use crate::ir::{Insn, Link};
use crate::isa::Op;
use crate::program::FRAME_SIZE;

use super::value::{Region, Value};

/// A set of bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bytes([u64; WORDS]);

/// One bit for each byte.
const WORDS: usize = FRAME_SIZE as usize / 64;

impl Bytes {
    /// Those from one offset to before another, from the frame's end, as far as they are in
    /// it.
    pub(super) fn range(start: i64, end: i64) -> Self {
        let at = |offset: i64| {
            let offset = (offset + i64::from(FRAME_SIZE)).clamp(0, i64::from(FRAME_SIZE));
            usize::try_from(offset).unwrap_or(0)
        };
        let mut bytes = Self::default();
        for bit in at(start)..at(end) {
            bytes.0[bit / 64] |= 1 << (bit % 64);
        }
        bytes
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }

    /// The offsets of the aligned words of eight bytes of which some byte is in it, ascending,
    /// from the frame's end.
    pub(crate) fn words(self) -> impl Iterator<Item = i32> {
        let frame = FRAME_SIZE.cast_signed();
        (-frame..0)
            .step_by(8)
            .zip(self.0.into_iter().flat_map(u64::to_le_bytes))
            .filter_map(|(offset, byte)| (byte != 0).then_some(offset))
    }
}

/// What a function reads before it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reads {
    /// Bytes of its frame.
    pub(super) early: Bytes,
    /// Memory that may be anywhere.
    pub(super) anywhere: bool,
}

impl Reads {
    fn frame(&mut self, state: &State, start: i64, end: i64) {
        self.early = self.early.or(Bytes::range(start, end).without(state.written()));
    }
}

impl Setting<'_> {
    /// Adds what an instruction reads.
    pub(super) fn reads(&self, state: &State, insn: &Insn, granted: bool, reads: &mut Reads) {
        if let Some((base, size, access)) = access_of(insn) {
            if access == Access::Write {
                return;
            }
            let (off, size) = (i64::from(insn.off), i64::from(size));
            match state.regs[usize::from(base)].pointer() {
                Some(pointer) if granted && pointer.region == Region::Frame => {
                    let (least, most) = pointer.span();
                    reads.frame(state, least + off, most + off + size);
                }
                Some(_) if granted => {}
                _ => reads.anywhere = true,
            }
            return;
        }
        match (insn.op, insn.link) {
            (Op::CallLocal, _) => {
                let lends = |value: &Value| matches!(value.pointer(), Some(pointer) if pointer.region == Region::Frame);
                if state.regs[1..=5].iter().any(lends) {
                    reads.frame(state, -i64::from(FRAME_SIZE), 0);
                }
            }
            (Op::CallHelper, Link::Helper(position)) => {
                self.helper_reads(state, helpers::at(position as usize), reads);
            }
            // The target of a tail call may read anywhere.
            (Op::CallHelper, Link::TailCall) => reads.anywhere = true,
            _ => {}
        }
    }

    /// Adds what a helper reads.
    fn helper_reads(&self, state: &State, helper: &Helper, reads: &mut Reads) {
        if helpers::reads_anywhere(helper) {
            reads.anywhere = true;
            return;
        }
        let memory = helper.memory.iter().enumerate().filter(|(_, is_memory)| **is_memory);
        for (index, _) in memory {
            let Some(pointer) = state.regs[index + 1].pointer() else {
                reads.anywhere = true;
                return;
            };
            let (least, most) = pointer.span();
            let size = self.argument_size(state, helper, index);
            match pointer.region {
                // To the frame's end, if it is not known how far; what is not in the frame is
                // refused.
                Region::Frame => reads.frame(state, least, size.map_or(0, |size| most + size)),
                // It reads what the pointer points into, or is refused.
                _ if self.proves_start(state, &pointer) => {}
                _ => reads.anywhere = true,
            }
        }
    }

    /// How many bytes a helper reads at most of what an argument points to.
    fn argument_size(&self, state: &State, helper: &Helper, index: usize) -> Option<i64> {
        let kind = helper.args[index];
        if helper.args.get(index + 1) == Some(&helpers::SIZE) {
            let size = state.regs[index + 2].num().value()?;
            return i64::try_from(size & u64::from(u32::MAX)).ok();
        }
        let def = self.map_of(state.regs[1])?;
        match kind {
            helpers::KEY => Some(i64::from(def.key_size)),
            helpers::VALUE => Some(i64::from(def.value_size)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn words_hold_the_bytes_and_no_more() {
        let words = |start, end| Bytes::range(start, end).words().collect::<Vec<_>>();
        assert_eq!(words(-4, 0), [-8]);
        assert_eq!(words(-9, -7), [-16, -8]);
        assert_eq!(words(-600, -504), [-512]);
        assert_eq!(words(-8, 8), [-8]);
        assert_eq!(words(0, 8), [0; 0]);
        assert_eq!(words(-512, 0).len(), 64);
    }

    #[test]
    fn sets_are_sets() {
        let (a, b) = (Bytes::range(-16, -4), Bytes::range(-8, 0));
        assert_eq!(a.and(b), Bytes::range(-8, -4));
        assert_eq!(a.or(b), Bytes::range(-16, 0));
        assert_eq!(a.without(b), Bytes::range(-16, -8));
    }
}
