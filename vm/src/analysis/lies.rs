//! An analysis that is wrong about everything, for tests of what does not rest on it.

use std::cell::Cell;

use super::{CallFacts, Facts, KnownMap, Proof, Sides, access_of};
use crate::ir::{Insn, Link};
use crate::isa::{Cond, Kind, Op};
use crate::program::Program;

thread_local! {
    static LYING: Cell<bool> = const { Cell::new(false) };
}

/// Does something, in this thread, while the analysis lies, or while it does not.
pub(crate) fn while_lying<T>(lying: bool, body: impl FnOnce() -> T) -> T {
    /// Sets it back, after a panic, too.
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            LYING.set(self.0);
        }
    }
    let _back = Back(LYING.replace(lying));
    body()
}

/// Makes lies of facts, where lies are told: all accesses are granted and aligned, all maps
/// known, all keys and values readable; no loop goes round; the sides of each comparison for
/// equality are in order.
pub(super) fn tell(program: &Program, facts: &mut Facts) {
    if !LYING.get() {
        return;
    }
    let mut latest = 0;
    for (index, insn) in (0..).zip(&program.ir().insns) {
        if let Link::Map(map) = insn.link {
            latest = map;
        }
        if access_of(insn).is_some() {
            let base = facts.accesses.get(&index).map_or(super::Value::ANY, |proof| proof.base);
            facts.accesses.insert(index, Proof { base, granted: true, aligned: true });
        }
        if insn.op == Op::CallHelper && !program.maps().is_empty() {
            // Where it does not know the map, it says that it is the one named last.
            let map = facts.calls.get(&index).map_or(KnownMap::This(latest), |call| call.map);
            facts.calls.insert(index, CallFacts { map, key: true, value: true, context: true });
        }
        if is_equality(insn) {
            let sides = if index % 2 == 0 { Sides::AtMost } else { Sides::AtLeast };
            facts.jumps.insert(index, sides);
        }
    }
    for function in &mut facts.functions {
        function.rounds.fill(Some(0));
    }
}

fn is_equality(insn: &Insn) -> bool {
    matches!(insn.kind(), Kind::Jump(Cond::Eq | Cond::Ne, ..))
}
