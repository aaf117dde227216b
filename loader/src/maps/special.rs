//! Fields of a map value that belong to the kernel (`btf_parse_fields`).

use std::collections::BTreeMap;

use skep_maps::{SpecialField, SpecialKind};

use crate::btf::{Btf, Shape, Type, TypeId, View};

/// Most fields of one value (kernel `BTF_FIELDS_MAX`).
const MAX_FIELDS: usize = 11;

/// What a struct of that name is to the kernel.
fn by_tag(name: &str) -> Option<SpecialKind> {
    Some(match name {
        "bpf_spin_lock" => SpecialKind::SpinLock,
        "bpf_res_spin_lock" => SpecialKind::ResSpinLock,
        "bpf_timer" => SpecialKind::Timer,
        "bpf_wq" => SpecialKind::Workqueue,
        "bpf_task_work" => SpecialKind::TaskWork,
        "bpf_list_head" => SpecialKind::ListHead,
        "bpf_rb_root" => SpecialKind::RbRoot,
        "bpf_refcount" => SpecialKind::Refcount,
        _ => return None,
    })
}

/// Which field of the kernel's a value of this type is; `None` for one of the program's own.
#[must_use]
pub fn special_kind(view: View<'_>) -> Option<SpecialKind> {
    Search::new(view.btf()).own(view.id())
}

/// Finds special fields.
///
/// What is found about a type is kept: structs that share members form a graph with
/// exponentially many paths, and a file can name one large type from many maps.
pub(super) struct Search<'a> {
    btf: &'a Btf,
    known: BTreeMap<TypeId, Found>,
}

/// The fields of a type, ordered by offset.
type Found = Result<Vec<SpecialField>, String>;

impl<'a> Search<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self { btf, known: BTreeMap::new() }
    }

    pub(super) fn btf(&self) -> &'a Btf {
        self.btf
    }

    /// The special fields of a value, in nested structs and arrays too, by offset.
    pub(super) fn find(&mut self, value: TypeId) -> Found {
        // Recursion is bounded: no type nests deeper than `btf::MAX_DEPTH`.
        if let Some(known) = self.known.get(&value) {
            return known.clone();
        }
        let found = self.compute(value);
        self.known.insert(value, found.clone());
        found
    }

    fn compute(&mut self, id: TypeId) -> Found {
        let view = self.btf.view(id);
        let mut found = Vec::new();
        if let Some(kind) = self.own(id) {
            let size = view.size().and_then(|size| u32::try_from(size).ok()).unwrap_or(0);
            found.push(SpecialField { kind, offset: 0, size });
            return Ok(found);
        }
        match view.shape() {
            Shape::Array { element, len } => {
                let fields = self.find(element.id())?;
                let stride = element.size().unwrap_or(0);
                for n in 0..u64::from(if fields.is_empty() { 0 } else { len }) {
                    append(&mut found, &fields, n.saturating_mul(stride))?;
                }
            }
            Shape::Struct(_) => {
                for member in view.members() {
                    let fields = self.find(member.view.id())?;
                    append(&mut found, &fields, member.offset().into())?;
                }
            }
            _ => {}
        }
        found.sort_by_key(|field| field.offset);
        Ok(found)
    }

    /// What a value of the type is itself, apart from its parts.
    fn own(&self, id: TypeId) -> Option<SpecialKind> {
        match self.btf.ty(self.btf.resolve(id)) {
            Type::Struct(composite) => by_tag(self.btf.str(composite.name)),
            Type::Ptr(target) => self.pointer(*target),
            _ => None,
        }
    }

    /// What a pointer is: the tag stands between it and its target.
    fn pointer(&self, mut id: TypeId) -> Option<SpecialKind> {
        while let Some(target) = self.btf.ty(id).alias_of() {
            if let Type::TypeTag { name, .. } = self.btf.ty(id) {
                match self.btf.str(*name) {
                    "kptr" | "kptr_untrusted" | "percpu_kptr" => return Some(SpecialKind::Kptr),
                    "uptr" => return Some(SpecialKind::Uptr),
                    _ => {}
                }
            }
            id = target;
        }
        None
    }
}

/// Adds the fields of a part that starts at `base`. Every call adds at least one or
/// costs nothing, so the limit also bounds arrays of any length.
fn append(found: &mut Vec<SpecialField>, fields: &[SpecialField], base: u64) -> Result<(), String> {
    if found.len() + fields.len() > MAX_FIELDS {
        return Err(format!("its value has more than {MAX_FIELDS} special fields"));
    }
    for field in fields {
        let offset = u32::try_from(base.saturating_add(field.offset.into()))
            .map_err(|_| "a special field lies beyond 4 GiB".to_owned())?;
        found.push(SpecialField { offset, ..field.clone() });
    }
    Ok(())
}
