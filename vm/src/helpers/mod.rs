//! Helpers: the functions that programs call by number.
//!
//! A helper is a function in the file of its topic, and a row in the table below. The
//! row says what kinds of arguments it takes; from it the table makes a wrapper that
//! checks each argument against guest memory and hands the function what it found, so
//! that no helper sees a raw pointer.

mod args;
mod cgroup;
mod dynptr;
mod format;
mod locks;
mod loops;
pub(crate) mod maps;
mod names;
mod packet;
mod perf;
mod probe;
mod redirect;
pub(crate) mod ring;
mod sockets;
mod stack;
mod strings;
mod system;
mod trace;
mod user_ring;

use args::{
    AnyMap, BufferArg, CgroupMap, ConstStr, Ctx, DeleteMap, DynptrArg, ForEachMap, Function, Key,
    LockPtr, LookupMap, LookupPercpuMap, NewDynptr, OutLong, PeekMap, PeekRoom, PerfMap, PopMap,
    PushMap, ReadMem, RedirectMap, RingMap, ScratchMem, Size, StackMap, UpdateMap, UserRingMap,
    Value, ValueRoom,
};
use args::{Arg, Problem};

use crate::fault::FaultKind;
use crate::program::Program;
use crate::run::{Run, Trap};

pub use names::{LAST, name};
pub(crate) use packet::load_packet_word;

/// The number of `tail_call`, which engines implement themselves.
pub(crate) const TAIL_CALL: u32 = 12;

/// A call of a helper.
pub(crate) struct Call<'a> {
    /// The program that calls.
    pub(crate) caller: Caller<'a>,
    /// r1 to r5.
    pub(crate) args: [u64; 5],
}

/// The program that calls a helper.
#[derive(Clone, Copy)]
pub(crate) enum Caller<'a> {
    /// This one.
    Known(&'a Program),
    /// The one with this id.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    Id(u32),
}

impl<'a> Call<'a> {
    /// The program that calls.
    pub(crate) fn program(&self, run: &Run<'_>) -> ProgramRef<'a> {
        match self.caller {
            Caller::Known(program) => ProgramRef::Known(program),
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            Caller::Id(id) => {
                let found = run.cpu.machine.program(id);
                ProgramRef::Held(found.expect("a program that runs is there"))
            }
        }
    }
}

/// A program, for as long as a helper needs it.
pub(crate) enum ProgramRef<'a> {
    Known(&'a Program),
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    Held(std::sync::Arc<Program>),
}

impl std::ops::Deref for ProgramRef<'_> {
    type Target = Program;

    fn deref(&self) -> &Program {
        match self {
            Self::Known(program) => program,
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            Self::Held(program) => program,
        }
    }
}

/// What a helper leaves in r0, or why the run ends.
pub(crate) type Return = Result<u64, Trap>;

/// A helper.
#[derive(Debug)]
pub struct Helper {
    /// Its number (`enum bpf_func_id`).
    pub id: u32,
    /// Its name, without `bpf_`.
    pub name: &'static str,
    /// What kinds of arguments it takes.
    pub args: &'static [&'static str],
    /// What it does with what each of them points to.
    pub(crate) effects: &'static [Effect],
    /// Which of them are addresses of memory that it reads or writes.
    pub(crate) memory: &'static [bool],
    pub(crate) function: for<'r, 'a> fn(&mut Run<'r>, &Call<'a>) -> Return,
    /// The same for native code.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    pub(crate) native: crate::jit::NativeHelper,
}

/// All helpers that skep has, by ascending number.
#[must_use]
pub fn all() -> &'static [Helper] {
    TABLE
}

/// The helper with this number.
#[must_use]
pub fn by_id(id: u32) -> Option<&'static Helper> {
    position(id).map(|position| &TABLE[position])
}

/// Where in the table a helper stands.
pub(crate) fn position(id: u32) -> Option<usize> {
    TABLE.binary_search_by_key(&id, |helper| helper.id).ok()
}

/// The helper at a place in the table.
#[inline(always)]
pub(crate) fn at(position: usize) -> &'static Helper {
    &TABLE[position]
}

/// What a helper does with what an argument points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing of it.
    None,
    /// It writes to it: so many bytes as the next argument says if that is a size.
    Writes,
    /// It may change whatever the program can reach.
    Everything,
}

/// The kind of an argument that is the size of what the one before points to.
pub(crate) const SIZE: &str = Size::KIND;
/// The kind of an argument that is a function to call back.
pub(crate) const FUNCTION: &str = Function::KIND;

/// The kind of an argument that is a map's key.
pub(crate) const KEY: &str = Key::KIND;
/// The kind of an argument that is a map's value.
pub(crate) const VALUE: &str = Value::KIND;

/// Whether a helper may read memory that none of its arguments for memory points to.
pub(crate) fn reads_anywhere(helper: &Helper) -> bool {
    // Those that print take addresses of strings; locks are found by their address.
    changes_everything(helper)
        || helper.name.starts_with("probe_read")
        || matches!(helper.name, "trace_printk" | "trace_vprintk" | "snprintf")
}

/// Whether a helper may change whatever the program can reach: it calls back, or works on
/// dynptrs, which can refer to anything.
pub(crate) fn changes_everything(helper: &Helper) -> bool {
    helper.effects.contains(&Effect::Everything) || helper.name.contains("dynptr")
}

/// Whether a helper may move the packet or change its length: those that get the context, but
/// for some that are known not to.
pub(crate) fn moves_packet(helper: &Helper) -> bool {
    const STAYS: [&str; 6] = [
        "perf_event_output",
        "skb_load_bytes",
        "get_stackid",
        "skb_under_cgroup",
        "tail_call",
        "get_stack",
    ];
    changes_everything(helper)
        || (helper.args.contains(&Ctx::KIND) && !STAYS.contains(&helper.name))
}

/// Whether records of ring buffers may be given up by a helper.
pub(crate) fn ends_records(helper: &Helper) -> bool {
    changes_everything(helper) || matches!(helper.name, "ringbuf_submit" | "ringbuf_discard")
}

/// Whether a helper must know which frame it is called from: it calls back, or works on the
/// stack.
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
pub(crate) fn needs_frame(position: u32) -> bool {
    let kinds = [Function::KIND, DynptrArg::KIND, NewDynptr::KIND];
    at(position as usize).args.iter().any(|kind| kinds.contains(kind))
}

/// Whether a helper takes a lock.
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
pub(crate) fn locks(position: u32) -> bool {
    at(position as usize).name == "spin_lock"
}

/// Whether a helper looks a key up, and so may find a socket, which the run then holds.
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
pub(crate) fn looks_up(position: u32) -> bool {
    at(position as usize).id == 1
}

/// Whether a helper copies a map's value.
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
pub(crate) fn copies_value(position: u32) -> bool {
    at(position as usize).id == 2
}

/// Whether a helper may leave the run with something to give up, or with a lock: those that
/// make none are known.
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
pub(crate) fn acquires(position: u32) -> bool {
    let helper = at(position as usize);
    let names = ["ringbuf_reserve", "spin_lock", "user_ringbuf_drain"];
    names.contains(&helper.name) || helper.name.contains("dynptr") || helper.name.starts_with("sk")
}

/// Whether a helper can take rights to a part of the stack from the program: a dynptr that
/// holds a record.
pub(crate) fn closes_stack(position: u32) -> bool {
    at(position as usize).id == RESERVE_DYNPTR
}

/// The number of `ringbuf_reserve_dynptr`.
const RESERVE_DYNPTR: u32 = 198;

/// The fault of calling a helper that skep does not have.
#[cold]
pub(crate) fn missing(id: u32) -> FaultKind {
    FaultKind::Helper(match name(id) {
        Some(name) => format!("skep does not support helper `{name}` (number {id}) yet"),
        None => format!("there is no helper number {id}"),
    })
}

/// The program array that a tail call names, once its context was checked.
pub(crate) fn prog_array<'r>(
    run: &Run<'r>,
    ctx: u64,
    map: u64,
) -> Result<&'r skep_maps::ProgArray, Trap> {
    const NAME: &str = "tail_call";
    if run.holds_lock() {
        return Err(locks::called_under_lock(NAME));
    }
    args::context(run, ctx).map_err(|problem| refuse(run, NAME, 1, problem))?;
    args::prog_array(run, map).map_err(|problem| refuse(run, NAME, 2, problem))
}

#[cold]
fn refuse(run: &Run<'_>, helper: &'static str, argument: u32, problem: Problem) -> Trap {
    Trap::new(match problem {
        Problem::Memory(denied) => run.memory_fault(denied),
        Problem::Text(problem) => FaultKind::Argument { helper, argument, problem },
    })
}

macro_rules! helpers {
    ($($id:literal $name:ident($($arg:ident),*) => $module:ident::$function:ident;)*) => {
        static TABLE: &[Helper] = &[$(
            Helper {
                id: $id,
                name: name_of(stringify!($name)),
                args: &[$(<$arg as Arg>::KIND),*],
                effects: &[$(<$arg as Arg>::EFFECT),*],
                memory: &[$(<$arg as Arg>::MEMORY),*],
                function: wrappers::$name,
                #[cfg(all(feature = "jit", target_arch = "x86_64"))]
                native: crate::jit::native_helper::<natives::$name>(),
            },
        )*];

        /// The helpers as types.
        #[cfg(all(feature = "jit", target_arch = "x86_64"))]
        #[allow(non_camel_case_types, reason = "they have the helpers' names")]
        mod natives {
            use super::*;

            $(
                pub(super) struct $name;

                impl crate::jit::HelperFn for $name {
                    #[inline(always)]
                    fn call(run: &mut Run<'_>, call: &Call<'_>) -> Return {
                        wrappers::$name(run, call)
                    }
                }
            )*
        }

        mod wrappers {
            use super::*;

            $(
                #[allow(
                    unused_assignments,
                    unused_mut,
                    unused_variables,
                    reason = "helpers without arguments take none"
                )]
                pub(super) fn $name<'r>(run: &mut Run<'r>, call: &Call<'_>) -> Return {
                    if run.holds_lock() && $id != UNLOCK {
                        return Err(locks::called_under_lock(name_of(stringify!($name))));
                    }
                    let mut argument = 0u32;
                    $module::$function(run, call, $({
                        argument += 1;
                        match <$arg as Arg>::take(run, call, argument as usize - 1) {
                            Ok(value) => value,
                            Err(problem) => {
                                return Err(refuse(run, name_of(stringify!($name)), argument, problem));
                            }
                        }
                    }),*)
                }
            )*
        }
    };
}

/// The name of a row: `loop_` stands for the keyword.
const fn name_of(row: &'static str) -> &'static str {
    match row.as_bytes() {
        [.., b'_'] => row.split_at(row.len() - 1).0,
        _ => row,
    }
}

/// The number of the only helper that may be called while a lock is held.
const UNLOCK: u32 = 94;

// Number, name, kinds of arguments, and where it is.
helpers! {
    1   map_lookup_elem(LookupMap, Key) => maps::lookup;
    2   map_update_elem(UpdateMap, Key, Value, u64) => maps::update;
    3   map_delete_elem(DeleteMap, Key) => maps::delete;
    4   probe_read(ScratchMem, Size, u64) => probe::read;
    5   ktime_get_ns() => system::ktime_get_ns;
    6   trace_printk(ReadMem, Size, u64, u64, u64) => trace::printk;
    7   get_prandom_u32() => system::random;
    8   get_smp_processor_id() => system::cpu;
    12  tail_call(Ctx, AnyMap, u64) => loops::tail_call;
    14  get_current_pid_tgid() => system::pid_tgid;
    15  get_current_uid_gid() => system::uid_gid;
    16  get_current_comm(ScratchMem, Size) => system::comm;
    22  perf_event_read(PerfMap, u64) => perf::read;
    23  redirect(u64, u64) => redirect::redirect;
    25  perf_event_output(Ctx, PerfMap, u64, ReadMem, Size) => perf::output;
    26  skb_load_bytes(Ctx, u64, BufferArg, Size) => packet::skb_load_bytes;
    27  get_stackid(Ctx, StackMap, u64) => stack::get_stackid;
    33  skb_under_cgroup(Ctx, CgroupMap, u64) => cgroup::skb_under;
    37  current_task_under_cgroup(CgroupMap, u64) => cgroup::current_task_under;
    42  get_numa_node_id() => system::numa_node;
    44  xdp_adjust_head(Ctx, u64) => packet::adjust_head;
    45  probe_read_str(ScratchMem, Size, u64) => probe::read_str;
    51  redirect_map(RedirectMap, u64, u64) => redirect::redirect_map;
    54  xdp_adjust_meta(Ctx, u64) => packet::adjust_meta;
    55  perf_event_read_value(PerfMap, u64, ScratchMem, Size) => perf::read_value;
    65  xdp_adjust_tail(Ctx, u64) => packet::adjust_tail;
    67  get_stack(Ctx, ScratchMem, Size, u64) => stack::get_stack;
    80  get_current_cgroup_id() => cgroup::current_id;
    86  sk_release(u64) => sockets::release;
    87  map_push_elem(PushMap, Value, u64) => maps::push;
    88  map_pop_elem(PopMap, ValueRoom) => maps::pop;
    89  map_peek_elem(PeekMap, PeekRoom) => maps::peek;
    93  spin_lock(LockPtr) => locks::lock;
    94  spin_unlock(LockPtr) => locks::unlock;
    105 strtol(ReadMem, Size, u64, OutLong) => strings::strtol;
    106 strtoul(ReadMem, Size, u64, OutLong) => strings::strtoul;
    112 probe_read_user(ScratchMem, Size, u64) => probe::read_user;
    113 probe_read_kernel(ScratchMem, Size, u64) => probe::read_kernel;
    114 probe_read_user_str(ScratchMem, Size, u64) => probe::read_user_str;
    115 probe_read_kernel_str(ScratchMem, Size, u64) => probe::read_kernel_str;
    118 jiffies64() => system::jiffies;
    123 get_current_ancestor_cgroup_id(u64) => cgroup::current_ancestor_id;
    125 ktime_get_boot_ns() => system::ktime_get_boot_ns;
    130 ringbuf_output(RingMap, ReadMem, Size, u64) => ring::output;
    131 ringbuf_reserve(RingMap, u64, u64) => ring::reserve_elem;
    132 ringbuf_submit(u64, u64) => ring::submit_elem;
    133 ringbuf_discard(u64, u64) => ring::discard;
    134 ringbuf_query(RingMap, u64) => ring::query;
    160 ktime_get_coarse_ns() => system::ktime_get_coarse_ns;
    164 for_each_map_elem(ForEachMap, Function, u64, u64) => loops::for_each;
    165 snprintf(ScratchMem, Size, ConstStr, u64, u64) => trace::snprintf;
    177 trace_vprintk(ReadMem, Size, u64, u64) => trace::vprintk;
    181 loop_(u64, Function, u64, u64) => loops::bpf_loop;
    182 strncmp(ReadMem, Size, ConstStr) => strings::strncmp;
    195 map_lookup_percpu_elem(LookupPercpuMap, Key, u64) => maps::lookup_percpu;
    197 dynptr_from_mem(ScratchMem, Size, u64, NewDynptr) => dynptr::from_mem;
    198 ringbuf_reserve_dynptr(RingMap, u64, u64, NewDynptr) => dynptr::ringbuf_reserve;
    199 ringbuf_submit_dynptr(u64, u64) => dynptr::ringbuf_submit;
    200 ringbuf_discard_dynptr(u64, u64) => dynptr::ringbuf_discard;
    201 dynptr_read(ScratchMem, Size, DynptrArg, u64, u64) => dynptr::read;
    202 dynptr_write(DynptrArg, u64, ReadMem, Size, u64) => dynptr::write;
    203 dynptr_data(DynptrArg, u64, u64) => dynptr::data;
    208 ktime_get_tai_ns() => system::ktime_get_tai_ns;
    209 user_ringbuf_drain(UserRingMap, Function, u64, u64) => user_ring::drain;
}
