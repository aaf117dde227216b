//! Fields of a map value that belong to the kernel (`btf_parse_fields`).

use std::collections::BTreeMap;

use skep_maps::{SpecialField, SpecialKind};

use crate::btf::{Btf, Shape, Type, TypeId};

/// Most fields of one value (kernel `BTF_FIELDS_MAX`).
const MAX_FIELDS: usize = 11;

/// Finds the special fields of a value, in nested structs and arrays too, by offset.
pub(super) fn find(btf: &Btf, value: TypeId) -> Result<Vec<SpecialField>, String> {
    let mut search = Search {
        btf,
        holds: BTreeMap::new(),
        found: Vec::new(),
    };
    search.walk(value, 0)?;
    search.found.sort_by_key(|field| field.offset);
    Ok(search.found)
}

/// What a struct of that name is to the kernel.
fn by_tag(name: &str) -> Option<SpecialKind> {
    Some(match name {
        "bpf_spin_lock" => SpecialKind::SpinLock,
        "bpf_timer" => SpecialKind::Timer,
        "bpf_wq" => SpecialKind::Workqueue,
        "bpf_list_head" => SpecialKind::ListHead,
        "bpf_rb_root" => SpecialKind::RbRoot,
        "bpf_refcount" => SpecialKind::Refcount,
        _ => return None,
    })
}

struct Search<'a> {
    btf: &'a Btf,
    /// Whether a type holds any such field: structs that share members form a graph
    /// whose paths can be exponentially many, so only those that do are walked.
    holds: BTreeMap<TypeId, bool>,
    found: Vec<SpecialField>,
}

impl Search<'_> {
    /// What a value of the type is itself, apart from its parts.
    fn own(&self, id: TypeId) -> Option<SpecialKind> {
        match self.btf.ty(self.btf.resolve(id)) {
            Type::Struct(composite) => by_tag(self.btf.str(composite.name)),
            Type::Ptr(target) => self.is_kptr(*target).then_some(SpecialKind::Kptr),
            _ => None,
        }
    }

    /// The tag stands between the pointer and its target.
    fn is_kptr(&self, mut id: TypeId) -> bool {
        while let Some(target) = self.btf.ty(id).alias_of() {
            if let Type::TypeTag { name, .. } = self.btf.ty(id)
                && matches!(
                    self.btf.str(*name),
                    "kptr" | "kptr_untrusted" | "percpu_kptr" | "uptr"
                )
            {
                return true;
            }
            id = target;
        }
        false
    }

    /// Recursion is bounded: no type nests deeper than `btf::MAX_DEPTH`.
    fn holds(&mut self, id: TypeId) -> bool {
        if let Some(&known) = self.holds.get(&id) {
            return known;
        }
        let view = self.btf.view(id);
        let holds = self.own(id).is_some()
            || match view.shape() {
                Shape::Array { element, .. } => self.holds(element.id()),
                Shape::Struct(_) => view.members().any(|member| self.holds(member.view.id())),
                _ => false,
            };
        self.holds.insert(id, holds);
        holds
    }

    fn walk(&mut self, id: TypeId, offset: u64) -> Result<(), String> {
        if !self.holds(id) {
            return Ok(());
        }
        let view = self.btf.view(id);
        let size = view.size().unwrap_or(0);
        if let Some(kind) = self.own(id) {
            if self.found.len() == MAX_FIELDS {
                return Err(format!(
                    "its value has more than {MAX_FIELDS} special fields"
                ));
            }
            let (Ok(offset), Ok(size)) = (u32::try_from(offset), u32::try_from(size)) else {
                return Err("a special field lies beyond 4 GiB".to_owned());
            };
            self.found.push(SpecialField { kind, offset, size });
            return Ok(());
        }
        match view.shape() {
            Shape::Array { element, len } => {
                let stride = element.size().unwrap_or(0);
                // Each element holds at least one field, so the limit ends this.
                for n in 0..u64::from(len) {
                    self.walk(
                        element.id(),
                        offset.saturating_add(n.saturating_mul(stride)),
                    )?;
                }
            }
            Shape::Struct(_) => {
                for member in view.members() {
                    self.walk(
                        member.view.id(),
                        offset.saturating_add(member.offset().into()),
                    )?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
