//! Each helper is called by some case.

use std::collections::BTreeSet;

use libtest_mimic::Failed;
use skep_oracle::script::program::OPS;
use skep_vm::helpers;

use crate::section::sections;
use crate::{scripts, system};

/// Helpers that a recording is about, by the word that its questions or answers have.
fn recorded() -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for &(file, _) in crate::FAMILIES {
        for section in sections(file) {
            for case in &section.cases {
                let words = case.question.iter().chain(&case.answer);
                names.extend(words.filter_map(|word| word.split([':', '=']).next()));
                if case.question.get(1) == Some(&"P") {
                    names.extend(case.question.get(2).copied());
                }
            }
        }
    }
    names
}

/// The word that stands for a helper in the recordings, where it is not the helper's name.
const WORDS: &[(&str, &str)] = &[
    ("map_lookup_elem", "lookup"),
    ("map_update_elem", "update"),
    ("map_delete_elem", "delete"),
    ("map_lookup_percpu_elem", "lookup_percpu"),
    ("map_push_elem", "push"),
    ("map_pop_elem", "pop"),
    ("map_peek_elem", "peek"),
    ("for_each_map_elem", "for_each"),
    ("tail_call", "leaf"),
    ("xdp_adjust_head", "head"),
    ("xdp_adjust_tail", "tail"),
    ("xdp_adjust_meta", "meta"),
    ("perf_event_output", "output"),
    ("ringbuf_reserve", "reserve"),
    ("ringbuf_submit", "submit"),
    ("ringbuf_discard", "discard"),
    ("ringbuf_output", "output"),
    ("ringbuf_query", "query"),
    ("trace_vprintk", "vprintk"),
    ("get_stackid", "stackid"),
    ("user_ringbuf_drain", "drain"),
    ("dynptr_from_mem", "from_mem"),
    ("dynptr_read", "read"),
    ("dynptr_write", "write"),
    ("dynptr_data", "data"),
    // All lines about dynptrs of ring buffers use them.
    ("ringbuf_reserve_dynptr", "reserve"),
    ("ringbuf_submit_dynptr", "submit"),
    ("ringbuf_discard_dynptr", "discard"),
];

/// The helpers that scripts' programs call, by number.
fn scripted() -> BTreeSet<i32> {
    let sections = scripts::sections();
    let words = sections.iter().flat_map(|section| &section.cases).filter_map(|case| {
        let side = case.question.iter().position(|word| word.starts_with('P'))?;
        case.question.get(side + 1)
    });
    let words: BTreeSet<&str> = words.copied().collect();
    OPS.iter().filter(|op| words.contains(op.name)).map(|op| op.helper).collect()
}

pub(crate) fn every_helper_is_called() -> Result<(), Failed> {
    let (mut called, scripted) = (recorded(), scripted());
    called.extend(system::called());
    let missing: Vec<&str> = helpers::all()
        .iter()
        .filter(|helper| {
            let word = WORDS.iter().find(|(name, _)| *name == helper.name);
            let by_script = i32::try_from(helper.id).is_ok_and(|id| scripted.contains(&id));
            !by_script && !called.contains(word.map_or(helper.name, |(_, word)| word))
        })
        .map(|helper| helper.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("no case calls {}", missing.join(", ")).into())
}
