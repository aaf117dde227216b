//! Values that each CPU has its own of.

use crate::map::Source;
use crate::rule::{Refusal, rule};
use crate::values::Values;
use crate::{Errno, MapDef};

/// The largest per-CPU value in bytes (kernel `PCPU_MIN_UNIT_SIZE`).
const MOST: u32 = 32 << 10;

/// The size rule of per-CPU types.
pub(crate) fn check_value_size(def: &MapDef) -> Result<(), Refusal> {
    let fits = def.value_size.checked_next_multiple_of(8).is_some_and(|size| size <= MOST);
    rule(fits, Errno::E2BIG, || {
        format!("a per-CPU value may have {MOST} bytes, not {}", def.value_size)
    })
}

/// Copies all CPUs' values out, one after the other, each with its padding to eight
/// bytes: what user space stored there comes back (kernel `bpf_long_memcpy`).
pub(crate) fn read_all(values: &Values, id: u32, out: &mut [u8]) {
    let size = values.slice(id, 0).len();
    for (plane, part) in (0..values.planes()).zip(out.chunks_mut(size.next_multiple_of(8))) {
        let (value, padding) = part.split_at_mut(size);
        values.read(id, plane, value);
        values.padding(id, plane).read(padding);
    }
}

/// Copies all CPUs' values in, in the form of [`read_all`].
pub(crate) fn write_all(values: &Values, id: u32, from: &[u8]) {
    let size = values.slice(id, 0).len();
    for (plane, part) in (0..values.planes()).zip(from.chunks(size.next_multiple_of(8))) {
        let (value, padding) = part.split_at(size);
        values.write(id, plane, Source::Host(value));
        values.padding(id, plane).write(padding);
    }
}

/// What an update of a per-CPU value writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Writes<'a> {
    /// One CPU's value, from a program; in a new element the others' are zero.
    One(Source<'a>, u32),
    /// All CPUs' values, from user space.
    All(&'a [u8]),
}

impl Writes<'_> {
    /// Writes over what an element has.
    pub(crate) fn replace(self, values: &Values, id: u32) {
        match self {
            Self::One(value, cpu) => values.write(id, cpu, value),
            Self::All(bytes) => write_all(values, id, bytes),
        }
    }

    /// Fills a new element (kernel `pcpu_init_value`).
    pub(crate) fn fill(self, values: &Values, id: u32) {
        if let Self::One(_, own) = self {
            let others = (0..values.planes()).filter(|&plane| plane != own);
            others.for_each(|plane| values.zero(id, plane));
        }
        self.replace(values, id);
    }
}
