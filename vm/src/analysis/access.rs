//! Whether an access is proven.

use skep_memory::Access;

use super::Setting;
use super::state::State;
use super::value::{Pointer, Region, Value};

/// An access to memory by an instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// The displacement.
    pub(super) off: i64,
    /// In bytes.
    pub(super) size: i64,
    pub(super) access: Access,
}

impl Setting<'_> {
    /// Whether all bytes of an access through `pointer` are accessible, whatever happens.
    pub(super) fn proves(&self, state: &State, pointer: &Pointer, wish: Wish) -> bool {
        let (least, most) = pointer.span();
        let (start, end) = (least + wish.off, most + wish.off + wish.size);
        match pointer.region {
            Region::Frame => {
                let (first, behind) = Region::FRAME;
                !self.closes_stack && first <= start && end <= behind
            }
            Region::Context => self.context_grants(start, end, wish.access),
            Region::Packet | Region::Meta => {
                let needed = pointer.fixed + wish.off + wish.size;
                let by_mark = pointer.mark != Pointer::LOST
                    && needed <= state.proven(pointer.region, pointer.mark);
                start >= 0 && (by_mark || end <= state.proven(pointer.region, 0))
            }
            Region::Value(map) => self.value_grants(map, (start, end), wish.access),
            Region::InnerValue(map) => self.inner_value_grants(map, (start, end), wish.access),
            Region::Record(size) => 0 <= start && end <= i64::from(size),
            Region::Lent(first, behind, access) => {
                first <= start && end <= behind && access.allows(wish.access)
            }
        }
    }

    /// Whether the first byte that `pointer` points to is always readable: what is read from
    /// there on is all of one object.
    pub(super) fn proves_start(&self, state: &State, pointer: &Pointer) -> bool {
        self.proves(state, pointer, Wish { off: 0, size: 1, access: Access::Read })
    }

    /// Whether the address of an access is a multiple of its size.
    pub(super) fn is_aligned(&self, pointer: &Pointer, off: i64, size: u32) -> bool {
        let wanted = size.trailing_zeros();
        let known = pointer.alignment().min(pointer.region.origin_alignment());
        known >= wanted && off % i64::from(size) == 0
    }

    fn context_grants(&self, start: i64, end: i64, access: Access) -> bool {
        let fields = self.prog_type.map_or(&[][..], |t| t.fields);
        let (Ok(mut at), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else {
            return false;
        };
        // Fields are in order, so one walk finds those that cover all bytes.
        for field in fields {
            let behind = field.offset + field.size;
            if at < end && field.offset <= at && at < behind && field.access.allows(access) {
                at = behind;
            }
        }
        at >= end && self.has_fields()
    }

    fn value_grants(&self, map: u32, span: (i64, i64), access: Access) -> bool {
        let map = self.maps.get(map as usize);
        map.is_some_and(|map| grants(map.core().def(), span, access))
    }

    fn inner_value_grants(&self, map: u32, span: (i64, i64), access: Access) -> bool {
        // All maps in a map have the values of its template (kernel `bpf_map_meta_equal`).
        let map = self.maps.get(map as usize);
        let inner = map.and_then(|map| map.core().def().inner.as_deref());
        inner.is_some_and(|inner| grants(inner, span, access))
    }

    /// What a load gives, if more than a number of its size.
    pub(super) fn loaded(&self, pointer: &Pointer, off: i64, size: i64) -> Option<Value> {
        if pointer.region != Region::Context || size != 4 {
            return None;
        }
        let offset = u32::try_from(pointer.offset()? + off).ok()?;
        let (data, end, meta) = self.packet_fields()?;
        if offset == data {
            Some(Value::Pointer(Pointer::to(Region::Packet)))
        } else if offset == meta {
            Some(Value::Pointer(Pointer::to(Region::Meta)))
        } else if offset == end {
            Some(Value::PacketEnd)
        } else {
            None
        }
    }
}

/// Whether programs may access bytes of a map's values.
fn grants(def: &skep_maps::MapDef, (start, end): (i64, i64), access: Access) -> bool {
    let inside = 0 <= start && end <= i64::from(def.value_size);
    let special = def
        .special
        .iter()
        .any(|field| start < i64::from(field.offset + field.size) && i64::from(field.offset) < end);
    inside && !special && def.program_access().allows(access)
}
