//! Maps of maps: what an inner map must look like, and who keeps it alive.

use std::sync::Arc;

use crate::flags::BPF_F_INNER_MAP;
use crate::map::permanent;
use crate::rule::{Refusal, rule};
use crate::types::{MapType, index_of};
use crate::{Errno, Map, MapDef, World};

/// Rules for the template of the inner maps (kernel `bpf_map_meta_alloc`).
pub(crate) fn check_template(def: &MapDef) -> Result<(), Refusal> {
    let Some(inner) = &def.inner else {
        return rule(false, Errno::EINVAL, || "it needs an inner map definition".to_owned());
    };
    rule(inner.inner.is_none(), Errno::EINVAL, || {
        "maps of maps cannot be nested deeper than once".to_owned()
    })?;
    let inner_type = MapType::from_id(inner.map_type);
    let nests = matches!(inner_type, Some(MapType::ArrayOfMaps | MapType::HashOfMaps));
    rule(!nests, Errno::EINVAL, || "maps of maps cannot be nested deeper than once".to_owned())?;
    let rules = inner_type.and_then(MapType::rules);
    rule(rules.is_none_or(|rules| rules.inner), Errno::ENOTSUPP, || {
        "this type cannot be an inner map".to_owned()
    })
}

/// Finds the map with the id in `value` and checks it against the template.
pub(crate) fn resolve(
    world: &World,
    template: &MapDef,
    value: &[u8],
) -> Result<Arc<dyn Map>, Errno> {
    let map = world.map_by_id(index_of(value)).ok_or(Errno::EBADF)?;
    if !meta_equal(template, map.core().def()) {
        return Err(Errno::EINVAL);
    }
    Ok(map)
}

/// Whether a map may stand where the template does (kernel `bpf_map_meta_equal`,
/// `array_map_meta_equal` and `xsk_map_meta_equal`).
fn meta_equal(template: &MapDef, def: &MapDef) -> bool {
    let any_entries = match MapType::from_id(template.map_type) {
        Some(MapType::Array) => template.flags & BPF_F_INNER_MAP != 0,
        Some(MapType::Xskmap) => false,
        _ => true,
    };
    let same_entries = template.max_entries == def.max_entries || any_entries;
    template.map_type == def.map_type
        && template.key_size == def.key_size
        && template.value_size == def.value_size
        && permanent(template.flags) == permanent(def.flags)
        && template.special == def.special
        && same_entries
}
