//! The program's side: the operations of programs, and the programs that do them.
//!
//! A program calls one helper on one map. Its arguments it gets from the *desk*, an array
//! of one value, and leaves there what came of it. Both the kernel and skep run these
//! programs; to add an operation, add a row to [`OPS`].

use super::{ProgramCall, Reply, Shape};
use crate::asm::{ADD, AND, Asm, B, DW, JEQ, JNE, MUL, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, W};

/// An operation of programs: a helper with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct ProgramOp {
    /// The word in scripts.
    pub name: &'static str,
    /// The helper's number (`enum bpf_func_id`).
    pub helper: i32,
    /// What stands in r1, r2 and so on.
    pub args: &'static [Arg],
    /// What comes back.
    pub gives: Gives,
    /// The type of the programs that may call it.
    pub prog_type: &'static str,
}

/// An argument of a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// The program's context.
    Context,
    /// The map.
    Map,
    /// The address of `key=`.
    Key,
    /// The address of `value=`.
    Value,
    /// The number of bytes of `value=`, a constant.
    Size,
    /// The address of a buffer for a value, which holds `value=`, or ee in each byte.
    Buffer,
    /// `flags=`
    Flags,
    /// `cpu=`
    Cpu,
    /// `index=`
    Index,
    /// A callback that notes its key and its value, and returns 1 at call `stop=`.
    Callback,
    /// NULL.
    Null,
}

/// What comes back from a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// A number or an errno.
    Number,
    /// The address of a value or NULL; of maps of maps the address of a map, in which
    /// `inner_key=` (zeros unless it is given) is looked up.
    Pointer,
    /// A number, and the buffer's bytes.
    Filled,
    /// A number, and what the callback noted.
    Calls,
}

/// The operations. Columns: word, helper, arguments, what comes back, program type.
pub static OPS: &[ProgramOp] = &[
    row("lookup", 1, &[Arg::Map, Arg::Key], Gives::Pointer, "sched_cls"),
    row("update", 2, &[Arg::Map, Arg::Key, Arg::Value, Arg::Flags], Gives::Number, "sched_cls"),
    row("delete", 3, &[Arg::Map, Arg::Key], Gives::Number, "sched_cls"),
    row(
        "perf_event_output",
        25,
        &[Arg::Context, Arg::Map, Arg::Flags, Arg::Value, Arg::Size],
        Gives::Number,
        "sched_cls",
    ),
    row("get_stackid", 27, &[Arg::Context, Arg::Map, Arg::Flags], Gives::Number, "raw_tracepoint"),
    row("push", 87, &[Arg::Map, Arg::Value, Arg::Flags], Gives::Number, "sched_cls"),
    row("pop", 88, &[Arg::Map, Arg::Buffer], Gives::Filled, "sched_cls"),
    row("peek", 89, &[Arg::Map, Arg::Buffer], Gives::Filled, "sched_cls"),
    row("output", 130, &[Arg::Map, Arg::Value, Arg::Size, Arg::Flags], Gives::Number, "sched_cls"),
    row("query", 134, &[Arg::Map, Arg::Flags], Gives::Number, "sched_cls"),
    row(
        "for_each",
        164,
        &[Arg::Map, Arg::Callback, Arg::Null, Arg::Flags],
        Gives::Calls,
        "sched_cls",
    ),
    row("lookup_percpu", 195, &[Arg::Map, Arg::Key, Arg::Cpu], Gives::Pointer, "sched_cls"),
];

const fn row(
    name: &'static str,
    helper: i32,
    args: &'static [Arg],
    gives: Gives,
    prog_type: &'static str,
) -> ProgramOp {
    ProgramOp { name, helper, args, gives, prog_type }
}

/// The operation with this name.
#[must_use]
pub fn op(name: &str) -> Option<&'static ProgramOp> {
    OPS.iter().find(|op| op.name == name)
}

/// The operation that calls the helper with this number.
#[must_use]
pub fn calling(helper: i32) -> Option<&'static ProgramOp> {
    OPS.iter().find(|op| op.helper == helper)
}

impl ProgramOp {
    /// The names of the arguments that a script may give.
    #[must_use]
    pub fn arguments(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self
            .args
            .iter()
            .filter_map(|arg| match arg {
                Arg::Key => Some("key"),
                Arg::Value | Arg::Buffer => Some("value"),
                Arg::Flags => Some("flags"),
                Arg::Cpu => Some("cpu"),
                Arg::Index => Some("index"),
                Arg::Callback => Some("stop"),
                Arg::Context | Arg::Map | Arg::Size | Arg::Null => None,
            })
            .collect();
        if self.gives == Gives::Pointer {
            names.push("inner_key");
        }
        names
    }
}

/// How many calls of a callback are noted.
pub const MOST_CALLS: u64 = 64;

// The places of numbers in the desk.
const FLAGS: u32 = 0;
const CPU: u32 = 8;
const INDEX: u32 = 16;
const STOP: u32 = 24;
const RETURNED: u32 = 32;
const FOUND: u32 = 40;
const COUNT: u32 = 48;
const KEY: u32 = 64;

/// What a buffer holds at first, so that one sees what a helper wrote.
const UNTOUCHED: u8 = 0xee;

/// Where a program gets its arguments from and leaves what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Desk {
    shape: Shape,
    given: u32,
    inner_key: u32,
    value: u32,
    found: u32,
    calls: u32,
    size: u32,
}

impl Desk {
    /// A desk for calls of `op` with values of `given` bytes, or less where `op` does not
    /// say how many there are.
    #[must_use]
    pub fn new(op: &ProgramOp, shape: Shape, given: usize) -> Self {
        let area = |size: u32| size.max(8).next_multiple_of(8);
        let given = u32::try_from(given).expect("values are short");
        let inner_key = KEY + area(shape.key_size);
        let value = inner_key + area(shape.inner.map_or(0, |(key, ..)| key));
        let found = value + area(shape.value_size.max(given));
        let calls = found + area(found_size(shape));
        let most = u32::try_from(MOST_CALLS).expect("few");
        let noted = if op.gives == Gives::Calls { most } else { 0 };
        let size = calls + noted * slot(shape);
        Self { shape, given, inner_key, value, found, calls, size }
    }

    /// Bytes of the desk.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The desk's bytes before the call.
    #[must_use]
    pub fn fill(&self, call: &ProgramCall<'_>) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize];
        let mut put = |at: u32, part: &[u8]| {
            bytes[at as usize..at as usize + part.len()].copy_from_slice(part);
        };
        for (at, number) in
            [(FLAGS, call.flags), (CPU, call.asked_cpu), (INDEX, call.index), (STOP, call.stop)]
        {
            put(at, &number.to_ne_bytes());
        }
        put(KEY, cut(call.key, self.inner_key - KEY));
        put(self.inner_key, cut(call.inner_key, self.value - self.inner_key));
        if call.op.args.contains(&Arg::Buffer) {
            put(self.value, &vec![UNTOUCHED; self.shape.value_size as usize]);
        }
        put(self.value, cut(call.value, self.found - self.value));
        bytes
    }

    /// What the desk's bytes say after the call.
    #[must_use]
    pub fn reply(&self, call: &ProgramCall<'_>, bytes: &[u8]) -> Reply {
        let word = |at: u32| {
            let at = at as usize;
            u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("the slice has eight bytes"))
        };
        let part = |at: u32, len: u32| bytes[at as usize..(at + len) as usize].to_vec();
        let returned = word(RETURNED).cast_signed();
        match call.op.gives {
            Gives::Number => Reply::Returned(returned),
            Gives::Filled => Reply::Filled(returned, part(self.value, self.shape.value_size)),
            Gives::Pointer => match (word(FOUND), self.shape.inner) {
                (0, _) => Reply::Null,
                (1, Some(_)) => Reply::InnerNull,
                _ => Reply::Value(part(self.found, found_size(self.shape))),
            },
            Gives::Calls => {
                let count = word(COUNT);
                let noted = u32::try_from(count.min(MOST_CALLS)).expect("few");
                let Shape { key_size, value_size, .. } = self.shape;
                let call = |n: u32| {
                    let at = self.calls + n * slot(self.shape);
                    let value = at + key_size.next_multiple_of(8);
                    (part(at, key_size), part(value, value_size))
                };
                Reply::Calls(returned, count, (0..noted).map(call).collect())
            }
        }
    }

    /// Writes the program; `desk` and `map` are what the assembler names the maps by.
    /// `None` when values are too long for a program to copy.
    #[must_use]
    pub fn write(&self, op: &ProgramOp, desk: i32, map: i32) -> Option<Asm> {
        let mut asm = Asm::new();
        asm.mov_reg(R6, R1);
        for (register, arg) in (R1..=R5).zip(op.args) {
            match arg {
                Arg::Context => asm.mov_reg(register, R6),
                Arg::Map => asm.map(register, map),
                Arg::Key => asm.map_value(register, desk, KEY),
                Arg::Value | Arg::Buffer => asm.map_value(register, desk, self.value),
                Arg::Size => asm.lddw(register, u64::from(self.given)),
                Arg::Flags => asm.map_value(register, desk, FLAGS).ldx(DW, register, register, 0),
                Arg::Cpu => asm.map_value(register, desk, CPU).ldx(DW, register, register, 0),
                Arg::Index => asm.map_value(register, desk, INDEX).ldx(DW, register, register, 0),
                Arg::Callback => asm.func(register, "body"),
                Arg::Null => asm.mov(register, 0),
            };
        }
        asm.call(op.helper).map_value(R7, desk, 0);
        if op.gives == Gives::Pointer {
            self.write_found(&mut asm, desk)?;
        } else {
            asm.stx(DW, R7, at(RETURNED)?, R0);
        }
        asm.label("end").mov(R0, 0).exit();
        if op.args.contains(&Arg::Callback) {
            self.write_callback(&mut asm, desk)?;
        }
        Some(asm)
    }

    /// Copies what r0 points to.
    fn write_found(&self, asm: &mut Asm, desk: i32) -> Option<()> {
        let mut lock = self.shape.lock;
        asm.jmp(JEQ, R0, 0, "end").st(DW, R7, at(FOUND)?, 1);
        if let Some((_, _, inner_lock)) = self.shape.inner {
            lock = inner_lock;
            asm.mov_reg(R1, R0).map_value(R2, desk, self.inner_key).call(1);
            asm.jmp(JEQ, R0, 0, "end").st(DW, R7, at(FOUND)?, 2);
        }
        asm.map_value(R8, desk, self.found);
        copy(asm, R8, 0, R0, found_size(self.shape), lock)
    }

    /// The callback gets the key's address in r2, the value's in r3.
    fn write_callback(&self, asm: &mut Asm, desk: i32) -> Option<()> {
        let Shape { key_size, value_size, lock, .. } = self.shape;
        asm.label("body").map_value(R6, desk, 0).ldx(DW, R7, R6, at(COUNT)?);
        asm.mov_reg(R8, R7).alu64(ADD, R7, 1).stx(DW, R6, at(COUNT)?, R7);
        asm.alu64(AND, R8, i32::try_from(MOST_CALLS - 1).ok()?);
        asm.alu64(MUL, R8, i32::try_from(slot(self.shape)).ok()?);
        asm.map_value(R9, desk, self.calls).alu64_reg(ADD, R9, R8);
        copy(asm, R9, 0, R2, key_size, None)?;
        copy(asm, R9, key_size.next_multiple_of(8), R3, value_size, lock)?;
        asm.ldx(DW, R4, R6, at(STOP)?).mov(R0, 0).jmp_reg(JNE, R7, R4, "on").mov(R0, 1);
        asm.label("on").exit();
        Some(())
    }
}

/// What of some bytes there is room for.
fn cut(bytes: &[u8], room: u32) -> &[u8] {
    &bytes[..bytes.len().min(room as usize)]
}

/// Bytes of what a program finds.
fn found_size(shape: Shape) -> u32 {
    shape.inner.map_or(shape.value_size, |(_, value_size, _)| value_size)
}

/// Bytes of what is noted of a callback's call.
fn slot(shape: Shape) -> u32 {
    (shape.key_size.next_multiple_of(8) + shape.value_size.next_multiple_of(8)).max(8)
}

fn at(offset: u32) -> Option<i16> {
    i16::try_from(offset).ok()
}

/// Copies `len` bytes from `src` to `dst` + `to`, but for a lock, by way of r5.
fn copy(asm: &mut Asm, dst: u8, to: u32, src: u8, len: u32, lock: Option<u32>) -> Option<()> {
    let mut from = 0;
    while from < len {
        let locked = lock.is_some_and(|lock| (lock..lock.saturating_add(4)).contains(&from));
        let wide = from.is_multiple_of(4) && len - from >= 4;
        if !locked {
            let size = if wide { W } else { B };
            asm.ldx(size, R5, src, at(from)?).stx(size, dst, at(to + from)?, R5);
        }
        from += if wide { 4 } else { 1 };
    }
    Some(())
}
