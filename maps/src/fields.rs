//! Fields of map values that belong to the kernel: which of them can stand together, and in
//! which types (kernel `btf_parse_fields` and `map_check_btf`).

use crate::flags::{BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG};
use crate::rule::{Refusal, rule};
use crate::{Errno, MapDef, SpecialKind};

/// What the types can hold whose values all CPUs share and are found by key or index.
pub(crate) const SHARED: &[SpecialKind] = &[
    SpecialKind::SpinLock,
    SpecialKind::ResSpinLock,
    SpecialKind::Timer,
    SpecialKind::Workqueue,
    SpecialKind::TaskWork,
    SpecialKind::Kptr,
    SpecialKind::ListHead,
    SpecialKind::RbRoot,
    SpecialKind::Refcount,
];

/// What LRU_HASH can hold: nothing that needs a lock.
pub(crate) const UNLOCKED: &[SpecialKind] = &[
    SpecialKind::Timer,
    SpecialKind::Workqueue,
    SpecialKind::TaskWork,
    SpecialKind::Kptr,
    SpecialKind::ListHead,
    SpecialKind::RbRoot,
    SpecialKind::Refcount,
];

/// What the types can hold that have values for each CPU.
pub(crate) const PERCPU: &[SpecialKind] = &[SpecialKind::Kptr, SpecialKind::Refcount];

/// Makes a definition's fields what the kernel takes them for: with two timers, work queues
/// or task works, of which a value can have one, it finds no fields at all.
pub(crate) fn settle(def: &mut MapDef) {
    use SpecialKind::{TaskWork, Timer, Workqueue};
    if [Timer, Workqueue, TaskWork].into_iter().any(|kind| count(def, kind) > 1) {
        def.special.clear();
    }
}

fn count(def: &MapDef, kind: SpecialKind) -> usize {
    def.special.iter().filter(|field| field.kind == kind).count()
}

/// Rules for a definition's fields; a type can hold those of `held`.
pub(crate) fn check(def: &MapDef, held: &[SpecialKind]) -> Result<(), Refusal> {
    use SpecialKind::{ListHead, RbRoot, ResSpinLock, SpinLock};
    let has = |kind| count(def, kind) > 0;
    for field in &def.special {
        let inside = field.offset.checked_add(field.size).is_some_and(|e| e <= def.value_size);
        rule(inside, Errno::EINVAL, || {
            format!("a {:?} field reaches beyond the value", field.kind)
        })?;
    }
    // What no types of values can say: BPF_BTF_LOAD refuses them.
    let twice = [SpinLock, ResSpinLock].into_iter().any(|kind| count(def, kind) > 1);
    rule(!twice, Errno::E2BIG, || "a value can have one lock".to_owned())?;
    rule(!(has(SpinLock) && has(ResSpinLock)), Errno::EINVAL, || {
        "a value can have one lock".to_owned()
    })?;
    let unlocked = !has(SpinLock) && !has(ResSpinLock);
    rule(!(unlocked && (has(ListHead) || has(RbRoot))), Errno::EINVAL, || {
        "a list or tree in a value needs a lock beside it".to_owned()
    })?;

    let Some(first) = def.special.first() else { return Ok(()) };
    let access = def.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG) == 0;
    rule(access, Errno::EACCES, || {
        format!("a {:?} needs programs that may both read and write", first.kind)
    })?;
    let misfit = def.special.iter().find(|field| !held.contains(&field.kind));
    rule(misfit.is_none(), Errno::EOPNOTSUPP, || {
        let kind = misfit.map_or(first.kind, |field| field.kind);
        format!("this type cannot hold a {kind:?}")
    })
}
