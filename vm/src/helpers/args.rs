//! Kinds of arguments: how each is checked, and what the helper gets.

use std::sync::Arc;

use skep_maps::flags::BPF_F_RDONLY_PROG;
use skep_maps::{
    CgroupArray, Map, MapType, PerfEventArray, ProgArray, ProgramOp, RingBuf, StackTrace,
    UserRingBuf,
};
use skep_memory::{Access, Denied, GuestPtr, GuestSlice};

use super::{Call, Effect};
use crate::dynptr::{Data, Place};
use crate::run::Run;

/// What is wrong with an argument.
#[derive(Debug)]
pub(super) enum Problem {
    Memory(Denied),
    Text(String),
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::Memory(denied)
    }
}

/// A kind of argument.
pub(super) trait Arg {
    /// Its name in tables for people.
    const KIND: &'static str;

    /// What the helper does with what it points to.
    const EFFECT: Effect = Effect::None;

    /// Whether it is the address of memory that the helper reads or writes.
    const MEMORY: bool = true;

    /// What the helper gets.
    type Taken<'r>;

    /// Checks argument `index` (from 0) and takes it.
    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<Self::Taken<'r>, Problem>;
}

/// Any number.
impl Arg for u64 {
    const KIND: &'static str = "scalar";
    const MEMORY: bool = false;
    type Taken<'r> = u64;

    #[inline]
    fn take<'r>(_run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<u64, Problem> {
        Ok(call.args[index])
    }
}

/// A map that some operation is allowed on.
fn map_for<'r>(run: &Run<'r>, ptr: u64, op: ProgramOp) -> Result<&'r Arc<dyn Map>, Problem> {
    let map = any_map(run, ptr)?;
    let def = map.core().def();
    let writes =
        matches!(op, ProgramOp::Update | ProgramOp::Delete | ProgramOp::Push | ProgramOp::Pop);
    if map.core().allows(op) && !(writes && def.flags & BPF_F_RDONLY_PROG != 0) {
        return Ok(map);
    }
    let name = &def.name;
    if map.core().allows(op) {
        let problem = format!("map `{name}` is read-only for programs (BPF_F_RDONLY_PROG)");
        return Err(Problem::Text(problem));
    }
    Err(Problem::Text(format!("map `{name}` is of type {}, which it does not take", {
        map.core().map_type()
    })))
}

fn any_map<'r>(run: &Run<'r>, ptr: u64) -> Result<&'r Arc<dyn Map>, Problem> {
    let world = run.world();
    let map = world.slot_of(ptr).and_then(|slot| run.cpu.maps.get(world, slot));
    map.ok_or_else(|| Problem::Text(format!("{ptr:#x} is no map")))
}

pub(super) fn prog_array<'r>(run: &Run<'r>, ptr: u64) -> Result<&'r ProgArray, Problem> {
    let map = map_for(run, ptr, ProgramOp::TailCall)?;
    Ok(map.downcast().expect("only program arrays allow tail calls"))
}

macro_rules! map_args {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl Arg for $name {
            const KIND: &'static str = "map";
            const MEMORY: bool = false;
            type Taken<'r> = &'r Arc<dyn Map>;

            #[inline]
            fn take<'r>(
                run: &Run<'r>,
                call: &Call<'_>,
                index: usize,
            ) -> Result<&'r Arc<dyn Map>, Problem> {
                map_for(run, call.args[index], ProgramOp::$op)
            }
        }
    )* };
}

map_args! {
    /// A map to look up in.
    LookupMap Lookup;
    /// A map to look up other CPUs' values in.
    LookupPercpuMap LookupPercpu;
    /// A map to update in.
    UpdateMap Update;
    /// A map to delete in.
    DeleteMap Delete;
    /// A map to walk over.
    ForEachMap ForEach;
    /// A map to push a value into.
    PushMap Push;
    /// A map to pop a value from.
    PopMap Pop;
    /// A map to peek into.
    PeekMap Peek;
    /// A map to redirect packets through.
    RedirectMap Redirect;
}

/// Any map.
pub(super) struct AnyMap;

impl Arg for AnyMap {
    const KIND: &'static str = "map";
    const MEMORY: bool = false;
    type Taken<'r> = &'r Arc<dyn Map>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<&'r Arc<dyn Map>, Problem> {
        any_map(run, call.args[index])
    }
}

macro_rules! special_map_args {
    ($($(#[$doc:meta])* $name:ident $op:ident $map:ty, $kind:literal;)*) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl Arg for $name {
            const KIND: &'static str = $kind;
            const MEMORY: bool = false;
            type Taken<'r> = &'r $map;

            fn take<'r>(
                run: &Run<'r>,
                call: &Call<'_>,
                index: usize,
            ) -> Result<&'r $map, Problem> {
                let map = map_for(run, call.args[index], ProgramOp::$op)?;
                Ok(map.downcast().expect("no other type allows it"))
            }
        }
    )* };
}

special_map_args! {
    /// A ring buffer.
    RingMap RingBuf RingBuf, "ring buffer";
    /// A user ring buffer.
    UserRingMap UserRingBuf UserRingBuf, "user ring buffer";
    /// A map of call stacks.
    StackMap StackTrace StackTrace, "stack trace map";
    /// An array of perf events.
    PerfMap PerfEvent PerfEventArray, "perf event array";
}

/// A map of cgroups.
pub(super) struct CgroupMap;

impl Arg for CgroupMap {
    const KIND: &'static str = "map of cgroups";
    const MEMORY: bool = false;
    type Taken<'r> = &'r CgroupArray;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<&'r CgroupArray, Problem> {
        let map = map_for(run, call.args[index], ProgramOp::UnderCgroup)?;
        Ok(map.downcast().expect("only cgroup arrays allow it"))
    }
}

/// Keys up to this size are copied to the host's stack.
const SHORT_KEY: usize = 64;

/// A copy of a key of the map in the first argument.
pub(super) struct Key {
    short: [u8; SHORT_KEY],
    len: usize,
    long: Vec<u8>,
}

impl Key {
    /// The key's bytes.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        if self.len <= SHORT_KEY { &self.short[..self.len] } else { &self.long }
    }
}

impl Arg for Key {
    const KIND: &'static str = "key";
    type Taken<'r> = Self;

    #[inline]
    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<Self, Problem> {
        let size = any_map(run, call.args[0])?.core().def().key_size;
        let slice = memory(run, call.args[index], u64::from(size), Access::Read)?;
        let len = slice.len();
        let mut key = Self { short: [0; SHORT_KEY], len, long: Vec::new() };
        if len <= SHORT_KEY {
            slice.read(&mut key.short[..len]);
        } else {
            key.long = slice.to_vec();
        }
        Ok(key)
    }
}

/// A value of the map in the first argument, in guest memory; for a map of sockets, a socket.
pub(super) struct Value;

impl Arg for Value {
    const KIND: &'static str = "value";
    type Taken<'r> = GuestSlice<'r>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<GuestSlice<'r>, Problem> {
        let core = any_map(run, call.args[0])?.core();
        if let MapType::Sockmap | MapType::Sockhash = core.map_type() {
            check_socket(run, call.args[index])?;
        }
        memory(run, call.args[index], u64::from(core.def().value_size), Access::Read)
    }
}

/// Checks that a pointer is a socket, which has more bytes than a value.
fn check_socket(run: &Run<'_>, ptr: u64) -> Result<(), Problem> {
    let socket = u32::try_from(ptr).ok().map(GuestPtr::new);
    let found = socket.is_some_and(|socket| run.world().socket_at(socket).is_some());
    if found { Ok(()) } else { Err(Problem::Text(format!("{ptr:#x} is no socket"))) }
}

/// Room for a value of the map in the first argument.
pub(super) struct ValueRoom;

impl Arg for ValueRoom {
    const KIND: &'static str = "room for a value";
    const EFFECT: Effect = Effect::Writes;
    type Taken<'r> = GuestSlice<'r>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<GuestSlice<'r>, Problem> {
        let size = any_map(run, call.args[0])?.core().def().value_size;
        memory(run, call.args[index], u64::from(size), Access::ReadWrite)
    }
}

/// What a peek fills; a bloom filter only reads it, to look for the value there.
pub(super) struct PeekRoom;

impl Arg for PeekRoom {
    const KIND: &'static str = "room for a value";
    const EFFECT: Effect = Effect::Writes;
    type Taken<'r> = GuestSlice<'r>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<GuestSlice<'r>, Problem> {
        match any_map(run, call.args[0])?.core().map_type() {
            MapType::BloomFilter => Value::take(run, call, index),
            _ => ValueRoom::take(run, call, index),
        }
    }
}

/// The size of the memory in the argument before; it was checked with it.
pub(super) struct Size;

impl Arg for Size {
    const KIND: &'static str = "size";
    const MEMORY: bool = false;
    type Taken<'r> = Self;

    fn take<'r>(_run: &Run<'r>, _call: &Call<'_>, _index: usize) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// Memory to read, with its size in the next argument.
pub(super) struct ReadMem;

impl Arg for ReadMem {
    const KIND: &'static str = "memory to read";
    type Taken<'r> = GuestSlice<'r>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<GuestSlice<'r>, Problem> {
        memory(run, call.args[index], size(call, index + 1), Access::Read)
    }
}

/// Memory to write, with its size in the next argument, which may be 0.
pub(super) struct ScratchMem;

impl Arg for ScratchMem {
    const KIND: &'static str = "memory to write";
    const EFFECT: Effect = Effect::Writes;
    type Taken<'r> = GuestSlice<'r>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<GuestSlice<'r>, Problem> {
        memory(run, call.args[index], size(call, index + 1), Access::Write)
    }
}

/// The same; the name says that it is filled on success and zeroed otherwise.
pub(super) type BufferArg = ScratchMem;

/// Sizes are 32 bits wide: what stands in the upper half does not count.
fn size(call: &Call<'_>, index: usize) -> u64 {
    call.args[index] & u64::from(u32::MAX)
}

/// A `long` to write the result to.
pub(super) struct OutLong;

impl Arg for OutLong {
    const KIND: &'static str = "pointer to long";
    const EFFECT: Effect = Effect::Writes;
    type Taken<'r> = GuestSlice<'r>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<GuestSlice<'r>, Problem> {
        memory(run, call.args[index], 8, Access::Write)
    }
}

/// A string in readable memory, up to its NUL.
pub(super) struct ConstStr;

impl Arg for ConstStr {
    const KIND: &'static str = "constant string";
    type Taken<'r> = Vec<u8>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        let mut addr = call.args[index];
        loop {
            match memory(run, addr, 1, Access::Read)?.get::<u8>(0) {
                0 => return Ok(bytes),
                byte => bytes.push(byte),
            }
            addr += 1;
        }
    }
}

/// The program's context.
pub(super) struct Ctx;

impl Arg for Ctx {
    const KIND: &'static str = "context";
    const MEMORY: bool = false;
    type Taken<'r> = ();

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<(), Problem> {
        context(run, call.args[index])
    }
}

/// Checks that a pointer is the program's context.
pub(super) fn context(run: &Run<'_>, ptr: u64) -> Result<(), Problem> {
    if ptr == run.ctx() {
        return Ok(());
    }
    Err(Problem::Text(format!("{ptr:#x} is not the program's context")))
}

/// A function of the program, as a `lddw` gave it.
pub(super) struct Function;

impl Arg for Function {
    const KIND: &'static str = "function";
    const MEMORY: bool = false;
    const EFFECT: Effect = Effect::Everything;
    type Taken<'r> = u64;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<u64, Problem> {
        let value = call.args[index];
        let program = call.program(run);
        let start = u32::try_from(value ^ crate::ir::FUNCTION_TAG).ok();
        match start.and_then(|start| program.ir().function_at(start)) {
            Some(_) => Ok(value),
            None => Err(Problem::Text(format!("{value:#x} is no function of the program"))),
        }
    }
}

/// A `bpf_spin_lock` in a map value.
pub(super) struct LockPtr;

impl Arg for LockPtr {
    const KIND: &'static str = "spin lock";
    type Taken<'r> = GuestPtr;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<GuestPtr, Problem> {
        let addr = call.args[index];
        let ptr = u32::try_from(addr).ok().map(GuestPtr::new);
        match ptr.filter(|&ptr| run.world().locks().is_lock(ptr)) {
            Some(ptr) => Ok(ptr),
            None => Err(Problem::Text(format!("{addr:#x} is no bpf_spin_lock"))),
        }
    }
}

/// A dynptr: what it refers to, which is nothing for a null one.
pub(super) struct DynptrArg;

impl Arg for DynptrArg {
    const KIND: &'static str = "dynptr";
    const EFFECT: Effect = Effect::Everything;
    type Taken<'r> = Option<Data>;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<Option<Data>, Problem> {
        let dynptr = run.dynptr(call.args[index]).map_err(Problem::Text)?;
        Ok(dynptr.1.data)
    }
}

/// Room on the stack for a new dynptr.
pub(super) struct NewDynptr;

impl Arg for NewDynptr {
    const KIND: &'static str = "new dynptr";
    const EFFECT: Effect = Effect::Everything;
    type Taken<'r> = Place;

    fn take<'r>(run: &Run<'r>, call: &Call<'_>, index: usize) -> Result<Place, Problem> {
        run.dynptr_place(call.args[index]).map_err(Problem::Text)
    }
}

/// `size` bytes at `addr` that the program may access as `wanted`.
pub(super) fn memory<'r>(
    run: &Run<'r>,
    addr: u64,
    size: u64,
    wanted: Access,
) -> Result<GuestSlice<'r>, Problem> {
    run.view.check(addr, size, wanted)?;
    let len = u32::try_from(size).unwrap_or(u32::MAX);
    let ptr = u32::try_from(addr).map_or(GuestPtr::NULL, GuestPtr::new);
    let ptr = if len == 0 { GuestPtr::NULL } else { ptr };
    Ok(GuestSlice::new(run.view, ptr, len).expect("checked above"))
}
