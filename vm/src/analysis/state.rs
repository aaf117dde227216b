//! What is known before an instruction.

use super::frame::Bytes;
use super::num::Num;
use super::value::{Mark, Pointer, Region, Value};

/// What is known of registers, stack and packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) regs: [Value; 11],
    /// Values of eight bytes in the function's frame, by their offset from its end, of which
    /// something is known; ascending.
    slots: Vec<(i64, Value)>,
    /// Bytes of the frame that the function has written.
    written: Bytes,
    /// What comparisons with the packet's end (for metadata: with its start) have shown: so
    /// many bytes from pointers with this mark on are there.
    proven: Vec<(Mark, i64)>,
}

/// Distinguishes facts about metadata from those about the packet.
const META: Mark = 1 << 31;

impl State {
    pub(crate) fn new(regs: [Value; 11]) -> Self {
        Self { regs, slots: Vec::new(), written: Bytes::default(), proven: Vec::new() }
    }

    // The stack.

    /// What a load of eight bytes at an offset of the frame gives.
    pub(crate) fn slot(&self, offset: i64) -> Value {
        let found = self.slots.binary_search_by_key(&offset, |(at, _)| *at);
        found.map_or(Value::ANY, |at| self.slots[at].1)
    }

    /// Bytes of the frame are overwritten; nothing is known of them any more.
    pub(crate) fn overwrite(&mut self, offset: i64, size: i64) {
        self.slots.retain(|(at, _)| *at + 8 <= offset || offset + size <= *at);
    }

    /// Eight bytes of the frame are overwritten with a value.
    pub(crate) fn set_slot(&mut self, offset: i64, value: Value) {
        self.overwrite(offset, 8);
        if value != Value::ANY {
            let at = self.slots.partition_point(|(at, _)| *at < offset);
            self.slots.insert(at, (offset, value));
        }
    }

    /// The function has written bytes of its frame.
    pub(crate) fn write(&mut self, offset: i64, size: i64) {
        self.written = self.written.or(Bytes::range(offset, offset + size));
    }

    /// Bytes of the frame that the function has written for certain.
    pub(crate) fn written(&self) -> Bytes {
        self.written
    }

    /// Anything may have been written anywhere.
    pub(crate) fn forget_stack(&mut self) {
        self.slots.clear();
    }

    // All values.

    /// Looks at all values, and may change them.
    pub(crate) fn each(&mut self, mut change: impl FnMut(&mut Value)) {
        self.regs.iter_mut().for_each(&mut change);
        self.slots.iter_mut().for_each(|(_, value)| change(value));
        self.slots.retain(|(_, value)| *value != Value::ANY);
    }

    /// The pointers into some regions are valid no more.
    pub(crate) fn invalidate(&mut self, gone: impl Fn(Region) -> bool) {
        self.each(|value| match *value {
            Value::Pointer(pointer) | Value::Nullable(pointer, _) if gone(pointer.region) => {
                *value = Value::ANY;
            }
            _ => {}
        });
    }

    /// The packet may lie elsewhere now, and have another length.
    pub(crate) fn move_packet(&mut self) {
        self.invalidate(|region| matches!(region, Region::Packet | Region::Meta));
        self.each(|value| {
            if *value == Value::PacketEnd {
                *value = Value::ANY;
            }
        });
        self.proven.clear();
    }

    /// Values with this mark are 0, or none of them is.
    pub(crate) fn settle_null(&mut self, mark: Mark, is_null: bool) {
        self.each(|value| {
            if value.null_mark() == Some(mark) {
                *value = if is_null { Value::exactly(0) } else { value.not_null() };
            }
        });
    }

    /// A mark is about to stand for something new: what has it now is like nothing else.
    pub(crate) fn retire(&mut self, is_old: impl Fn(Mark) -> bool) {
        self.each(|value| match value {
            Value::Pointer(pointer) | Value::Nullable(pointer, _) if is_old(pointer.mark) => {
                pointer.mark = Pointer::LOST;
            }
            _ => {}
        });
        self.each(|value| {
            if value.null_mark().is_some_and(&is_old) {
                *value = Value::ANY;
            }
        });
        self.proven.retain(|(mark, _)| !is_old(*mark & !META));
    }

    // The packet.

    /// It was shown that `pointer` is not behind the end of the packet (or metadata), and that
    /// `more` bytes are left.
    pub(crate) fn prove(&mut self, pointer: &Pointer, more: i64) {
        if pointer.mark != Pointer::LOST {
            self.add_proof(pointer.region, pointer.mark, pointer.fixed + more);
        }
        // Whatever the rest is, it is at least so much.
        self.add_proof(pointer.region, 0, pointer.span().0 + more);
    }

    fn add_proof(&mut self, region: Region, mark: Mark, bytes: i64) {
        let mark = if region == Region::Meta { mark | META } else { mark };
        match self.proven.iter_mut().find(|(of, _)| *of == mark) {
            Some((_, proven)) => *proven = (*proven).max(bytes),
            None if bytes > 0 => self.proven.push((mark, bytes)),
            None => {}
        }
    }

    /// How many bytes are known to be there from pointers with this mark on.
    pub(crate) fn proven(&self, region: Region, mark: Mark) -> i64 {
        let mark = if region == Region::Meta { mark | META } else { mark };
        self.proven.iter().find(|(of, _)| *of == mark).map_or(0, |(_, bytes)| *bytes)
    }

    // Where control comes together.

    /// What is known when either holds; `mark` gives marks for what is new here, by place.
    pub(crate) fn join(&self, other: &Self, mark: &impl Fn(u32) -> Mark) -> Self {
        let regs = std::array::from_fn(|at| {
            join(self.regs[at], other.regs[at], mark(u32::try_from(at).unwrap_or(0)))
        });
        let slots = self.slots.iter().filter_map(|&(at, value)| {
            let place = u32::try_from(11 + -at / 8).unwrap_or(0);
            let joined = join(value, other.slot(at), mark(place));
            (joined != Value::ANY).then_some((at, joined))
        });
        let proven = self.proven.iter().filter_map(|&(of, bytes)| {
            let others = other.proven.iter().find(|(mark, _)| *mark == of)?.1;
            Some((of, bytes.min(others)))
        });
        let written = self.written.and(other.written);
        Self { regs, slots: slots.collect(), written, proven: proven.collect() }
    }

    /// The same, grown from `before`, so that growing ends.
    pub(crate) fn widen(&mut self, before: &Self) {
        for (value, before) in self.regs.iter_mut().zip(before.regs) {
            *value = widened(*value, before);
        }
        for (at, value) in &mut self.slots {
            *value = widened(*value, before.slot(*at));
        }
        self.slots.retain(|(_, value)| *value != Value::ANY);
    }
}

fn join(a: Value, b: Value, mark: Mark) -> Value {
    const NULL: Num = Num::exactly(0);
    match (a, b) {
        (a, b) if a == b => a,
        (Value::Num(a), Value::Num(b)) => Value::Num(a.join(b)),
        (Value::Pointer(a), Value::Pointer(b)) => {
            a.join(b, mark).map_or(Value::ANY, Value::Pointer)
        }
        (Value::Pointer(a) | Value::Nullable(a, _), Value::Pointer(b) | Value::Nullable(b, _)) => {
            a.join(b, mark).map_or(Value::ANY, |pointer| Value::Nullable(pointer, mark))
        }
        (Value::Num(NULL), Value::Pointer(p) | Value::Nullable(p, _))
        | (Value::Pointer(p) | Value::Nullable(p, _), Value::Num(NULL)) => Value::Nullable(p, mark),
        (Value::Num(NULL), Value::Inner(map) | Value::NullableInner(map, _))
        | (Value::Inner(map) | Value::NullableInner(map, _), Value::Num(NULL)) => {
            Value::NullableInner(map, mark)
        }
        (
            Value::Inner(a) | Value::NullableInner(a, _),
            Value::Inner(b) | Value::NullableInner(b, _),
        ) if a == b => Value::NullableInner(a, mark),
        (a, b) => Value::Num(a.num().join(b.num())),
    }
}

fn widened(value: Value, before: Value) -> Value {
    match (value, before) {
        (Value::Num(num), Value::Num(before)) => Value::Num(num.widened(before)),
        (Value::Pointer(pointer), Value::Pointer(before)) if pointer.span() != before.span() => {
            // Where it goes to was not foretold: it may be anywhere.
            Value::Num(Num::ANY)
        }
        (Value::Nullable(pointer, _), Value::Nullable(before, _))
            if pointer.span() != before.span() =>
        {
            Value::ANY
        }
        _ => value,
    }
}
