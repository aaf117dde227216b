//! Shapes: pieces of programs that compilers and attackers write, each with a proof that
//! engines may believe, and most also with one that they may not.

mod branches;
mod packet;
mod packet_ends;
mod records;
mod stack;
mod tail;
mod tricks;
mod updates;
mod values;

use super::Writer;

/// A shape: how it is called when it is right and when it is wrong, whether the kernel takes
/// it when it is right, and what writes it.
pub(super) struct Shape {
    right: &'static str,
    wrong: Option<&'static str>,
    in_kernel: bool,
    write: fn(&mut Writer<'_>, bool) -> bool,
}

macro_rules! shapes {
    (@wrong wrong $name:literal) => { Some(concat!($name, ", wrong")) };
    (@wrong right $name:literal) => { None };
    (@kernel kernel) => { true };
    (@kernel engines) => { false };
    ($($name:literal $wrong:ident $kernel:ident $module:ident::$function:ident;)*) => {
        static TABLE: &[Shape] = &[$(
            Shape {
                right: $name,
                wrong: shapes!(@wrong $wrong $name),
                in_kernel: shapes!(@kernel $kernel),
                write: |writer, wrong| writer.$function(wrong),
            },
        )*];

        /// What programs of all shapes may be seen to reach: the shapes, right and wrong, and
        /// what other statements note.
        pub const SHAPES: &[&str] = &[$($name, concat!($name, ", wrong"),)*];
    };
}

// Name, whether it is also written wrong, who takes it right, and where it is.
shapes! {
    "stack: variable index" wrong kernel stack::stack_index;
    "stack: spill and refill" wrong kernel stack::spill_refill;
    "stack: a slot in parts" wrong kernel stack::slot_in_parts;
    "stack: edges of the frame" wrong engines stack::frame_edges;
    "stack: a callee writes below" wrong engines stack::callee_clobbers;
    "value: after a null check" wrong kernel values::value_access;
    "value: variable index" wrong kernel values::value_index;
    "value: of one of two maps" wrong kernel values::value_of_two;
    "value: direct" wrong kernel values::direct_access;
    "value: of an inner map" wrong kernel values::inner_value;
    "value: of a CPU" wrong kernel values::percpu_value;
    "value: atomic" wrong kernel values::value_atomic;
    "value: deleted" wrong engines updates::deleted_value;
    "map: update" wrong kernel updates::update;
    "map: delete" wrong kernel updates::delete;
    "map: queue" wrong kernel updates::queue;
    "map: spin lock" wrong engines updates::spin_lock;
    "packet: constant offset" wrong kernel packet::packet_access;
    "packet: variable offset" wrong kernel packet::packet_index;
    "packet: walk" wrong kernel packet::packet_walk;
    "packet: adjusted" wrong kernel packet_ends::packet_adjust;
    "packet: metadata" wrong kernel packet_ends::metadata;
    "context: fields" wrong kernel packet_ends::context_fields;
    "packet: legacy loads" wrong kernel packet_ends::legacy_loads;
    "packet: skb_load_bytes" wrong kernel packet_ends::skb_load_bytes;
    "ring: reserve" wrong kernel records::ring_record;
    "ring: output" wrong kernel records::ring_output;
    "dynptr: memory" wrong kernel records::dynptr_memory;
    "dynptr: ring" wrong kernel records::dynptr_ring;
    "tail call" wrong kernel tail::tail_call;
    "tail call: to itself" wrong engines tail::endless_tail_call;
    "branch: guarded access in a loop" wrong kernel branches::guarded_access;
    "branch: pointer loop" wrong kernel branches::pointer_loop;
    "branch: correlated" right kernel branches::correlated;
    "branch: constant" right kernel branches::constant_branch;
    "branch: diamond of stores" wrong kernel branches::diamond;
    "branch: switch" right kernel branches::switch;
    "constants" right kernel branches::constants;
    "pointer: there and back" wrong engines tricks::there_and_back;
    "pointer: in 32 bits" wrong engines tricks::narrow_pointer;
    "pointer: as a number" wrong engines tricks::pointer_as_number;
    "pointer: null with an offset" wrong engines tricks::near_null;
    "registers: unwritten" right engines tricks::unwritten;
    "loop: endless" wrong engines tricks::endless;
    "order: effects before a fault" wrong engines tricks::effects_first;
    "helper: probe_read" wrong engines tricks::probe_read;
    "helper: trace_printk" wrong engines tricks::printk;
    "helper: text" wrong kernel tricks::text_helpers;
    "helper: any" wrong engines helpers::any_helper;
    "helper: plain" wrong kernel helpers::plain_helper;
}

impl Writer<'_> {
    /// Writes one of the shapes.
    pub(super) fn shape(&mut self) {
        if self.shapes_left <= 0 || self.depth > 2 || !self.is_rich() {
            return self.arithmetic();
        }
        self.shapes_left -= 1;
        let shape = self.rng.pick(TABLE);
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
