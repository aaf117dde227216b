//! Shapes: pieces of programs that compilers and attackers write, each with a proof that
//! engines may believe, and most also with one that they may not.

mod branches;
mod induction;
mod packet;
mod packet_ends;
mod records;
mod stack;
mod tail;
mod tricks;
mod updates;
mod values;

use std::sync::LazyLock;

use super::Writer;
use crate::profile::Profile;

/// A shape: how it is called when it is right and when it is wrong, whether the kernel takes
/// it when it is right, and what writes it.
pub(super) struct Shape {
    right: &'static str,
    wrong: Option<&'static str>,
    in_kernel: bool,
    /// How often it is written in comparison with others.
    weight: usize,
    write: fn(&mut Writer<'_>, bool) -> bool,
}

macro_rules! shapes {
    (@wrong wrong $name:literal) => { Some(concat!($name, ", wrong")) };
    (@wrong right $name:literal) => { None };
    (@kernel kernel) => { true };
    (@kernel engines) => { false };
    ($($name:literal $wrong:ident $kernel:ident $weight:literal $module:ident::$function:ident;)*) => {
        static TABLE: &[Shape] = &[$(
            Shape {
                right: $name,
                wrong: shapes!(@wrong $wrong $name),
                in_kernel: shapes!(@kernel $kernel),
                weight: $weight,
                write: |writer, wrong| writer.$function(wrong),
            },
        )*];
    };
}

// Name, whether it is also written wrong, who takes it when it is right, weight, and where
// it is.
shapes! {
    "stack: variable index" wrong kernel 3 stack::stack_index;
    "stack: spill and refill" wrong kernel 3 stack::spill_refill;
    "stack: a slot in parts" wrong kernel 1 stack::slot_in_parts;
    "stack: edges of the frame" wrong engines 1 stack::frame_edges;
    "stack: a callee writes below" wrong engines 2 stack::callee_clobbers;
    "value: after a null check" wrong kernel 3 values::value_access;
    "value: variable index" wrong kernel 4 values::value_index;
    "value: of one of two maps" wrong kernel 3 values::value_of_two;
    "value: direct" wrong kernel 3 values::direct_access;
    "value: of an inner map" wrong kernel 4 values::inner_value;
    "value: of a CPU" wrong kernel 1 values::percpu_value;
    "value: atomic" wrong kernel 1 values::value_atomic;
    "value: deleted" wrong engines 1 updates::deleted_value;
    "map: update" wrong kernel 2 updates::update;
    "map: delete" wrong kernel 1 updates::delete;
    "map: queue" wrong kernel 2 updates::queue;
    "map: spin lock" wrong engines 1 updates::spin_lock;
    "packet: constant offset" wrong kernel 3 packet::packet_access;
    "packet: variable offset" wrong kernel 3 packet::packet_index;
    "packet: walk" wrong kernel 2 packet::packet_walk;
    "packet: adjusted" wrong kernel 6 packet_ends::packet_adjust;
    "packet: metadata" wrong kernel 1 packet_ends::metadata;
    "context: fields" wrong kernel 1 packet_ends::context_fields;
    "packet: legacy loads" wrong kernel 3 packet_ends::legacy_loads;
    "packet: skb_load_bytes" wrong kernel 1 packet_ends::skb_load_bytes;
    "ring: reserve" wrong kernel 5 records::ring_record;
    "ring: output" wrong kernel 3 records::ring_output;
    "dynptr: memory" wrong kernel 2 records::dynptr_memory;
    "dynptr: ring" wrong kernel 3 records::dynptr_ring;
    "tail call" wrong kernel 3 tail::tail_call;
    "tail call: to itself" wrong engines 1 tail::endless_tail_call;
    "branch: guarded access in a loop" wrong kernel 3 branches::guarded_access;
    "branch: growing index" wrong kernel 3 induction::growing_index;
    "branch: falling index" wrong kernel 3 induction::falling_index;
    "branch: pointer loop" wrong kernel 3 branches::pointer_loop;
    "branch: correlated" right kernel 4 branches::correlated;
    "branch: constant" right kernel 2 branches::constant_branch;
    "branch: diamond of stores" wrong kernel 3 branches::diamond;
    "branch: switch" right kernel 2 branches::switch;
    "constants" right kernel 3 branches::constants;
    "pointer: there and back" wrong engines 2 tricks::there_and_back;
    "pointer: in 32 bits" wrong engines 2 tricks::narrow_pointer;
    "pointer: as a number" wrong engines 1 tricks::pointer_as_number;
    "pointer: null with an offset" wrong engines 1 tricks::near_null;
    "registers: unwritten" right engines 1 tricks::unwritten;
    "loop: endless" wrong engines 1 tricks::endless;
    "order: effects before a fault" wrong engines 3 tricks::effects_first;
    "helper: probe_read" wrong engines 1 tricks::probe_read;
    "helper: trace_printk" wrong engines 1 tricks::printk;
    "helper: text" wrong kernel 2 tricks::text_helpers;
    "helper: any" wrong engines 8 helpers::any_helper;
    "helper: plain" wrong kernel 1 helpers::plain_helper;
}

/// What the generator notes of statements that are no shapes.
const STATEMENTS: &[&str] = &[
    "loop: down to 0",
    "loop: up to a limit",
    "loop: an unknown number of turns",
    "loop: steps",
    "loop: may_goto",
    "loop: two entries",
    "loop: break",
    "loop: continue",
    "call: local",
    "call: bpf_loop",
    "call: for_each_map_elem",
    "call: user_ringbuf_drain",
    "call: recursion",
];

/// All that the generator notes of what it writes for a profile: shapes, right and wrong,
/// loops and calls.
#[must_use]
pub fn marks(profile: Profile) -> Vec<&'static str> {
    let wrong = profile.goes_wrong();
    let shapes = TABLE.iter().filter(|shape| profile.has_shapes() && (wrong || shape.in_kernel));
    let shapes = shapes.flat_map(|shape| [Some(shape.right), shape.wrong.filter(|_| wrong)]);
    let statements = STATEMENTS.iter().filter(|_| profile.has_shapes()).copied();
    // The kernel takes no recursion.
    let statements = statements.filter(|&mark| wrong || mark != "call: recursion");
    shapes.flatten().chain(statements).collect()
}

/// Each shape as often as its weight says.
static WEIGHTED: LazyLock<Vec<&Shape>> = LazyLock::new(|| {
    TABLE.iter().flat_map(|shape| std::iter::repeat_n(shape, shape.weight)).collect()
});

impl Writer<'_> {
    /// Writes one of the shapes.
    pub(super) fn shape(&mut self) {
        if self.shapes_left <= 0 || self.depth > 2 || !self.is_rich() {
            return self.arithmetic();
        }
        self.shapes_left -= 1;
        let shape = *self.rng.pick(&WEIGHTED);
        if !shape.in_kernel && !self.profile.goes_wrong() {
            return self.arithmetic();
        }
        let wrong = self.wrong && shape.wrong.is_some() && self.rng.one_in(2);
        let name = if wrong { shape.wrong.unwrap_or(shape.right) } else { shape.right };
        self.code.mark(name);
        self.depth += 1;
        if !(shape.write)(self, wrong) {
            self.code.unmark();
            self.access();
        }
        self.depth -= 1;
    }
}
