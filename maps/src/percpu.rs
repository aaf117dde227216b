//! Values that each CPU has its own of.

use crate::map::Source;
use crate::types::{Refusal, rule};
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

/// Copies all CPUs' values out, one after the other, each padded to eight bytes.
pub(crate) fn read_all(values: &Values, id: u32, out: &mut [u8]) {
    let size = values.slice(id, 0).len();
    for (plane, part) in (0..values.planes()).zip(out.chunks_mut(size.next_multiple_of(8))) {
        let (value, padding) = part.split_at_mut(size);
        values.read(id, plane, value);
        padding.fill(0);
    }
}

/// Copies all CPUs' values in, in the form of [`read_all`].
pub(crate) fn write_all(values: &Values, id: u32, from: &[u8]) {
    let size = values.slice(id, 0).len();
    for (plane, part) in (0..values.planes()).zip(from.chunks(size.next_multiple_of(8))) {
        values.write(id, plane, Source::Host(&part[..size]));
    }
}
