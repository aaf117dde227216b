//! Replays on skep what was recorded from a kernel: `testdata/semantics/*.txt`, and the
//! scripts in `testdata/maps`.
//!
//! Each file has a family here that knows its questions and answers them on skep, in the
//! words of the file. A trial is a section of a file, or a case of a script. Where skep answers otherwise, the
//! case stands in `testdata/semantics/differences.tsv` with what skep answers and why;
//! a row there that no case needs any more is a failure too.

mod access;
mod adjust;
mod agent;
mod arithmetic;
mod cells;
mod cgroups;
mod context;
mod context_access;
mod coverage;
mod create;
mod differences;
mod dynptr;
mod elements;
mod for_each;
mod format;
mod keyless;
mod legacy;
mod loops;
mod lpm;
mod numbers;
mod ops;
mod packet;
mod page;
mod perf;
mod probe;
mod probe_read;
mod redirect;
mod rights;
mod ring;
mod runs;
mod scripts;
mod section;
mod sockets;
mod special;
mod stack;
mod state;
mod system;
mod tail_call;
mod text;
mod user_ring;
mod verdict;

use libtest_mimic::{Arguments, Trial};
use skep_difftest::lab;

use section::Section;

/// Answers the cases of a section, in their order.
type Family = fn(&Section) -> Vec<String>;

/// Which family answers which file.
const FAMILIES: &[(&str, Family)] = &[
    ("arithmetic", arithmetic::arithmetic),
    ("array", ops::maps),
    ("array-of-maps", ops::maps),
    ("atomics", arithmetic::atomics),
    ("bloom-filter", keyless::maps),
    ("cgroup-array", ops::maps),
    ("cgroups", cgroups::answer),
    ("context-access", context_access::answer),
    ("context-defaults", context::defaults),
    ("context-in", context::inputs),
    ("cpumap", ops::maps),
    ("devmap", ops::maps),
    ("devmap-hash", ops::maps),
    ("dynptr", dynptr::answer),
    ("elements", elements::answer),
    ("for-each", for_each::answer),
    ("get-stackid", stack::answer),
    ("hash", ops::maps),
    ("hash-of-maps", ops::maps),
    ("ld-abs", legacy::answer),
    ("loop", loops::answer),
    ("lpm-trie", lpm::maps),
    ("packet", packet::answer),
    ("percpu-array", ops::maps),
    ("percpu-hash", ops::maps),
    ("perf-event-array", ops::maps),
    ("perf-event-output", perf::output),
    ("perf-event-read", perf::read),
    ("probe-read", probe_read::answer),
    ("prog-array", ops::maps),
    ("queue", keyless::maps),
    ("redirect", redirect::answer),
    ("rights", rights::answer),
    ("reuseport-sockarray", ops::maps),
    ("ringbuf", ops::maps),
    ("ringbuf-program", ring::answer),
    ("skb-load-bytes", adjust::load_bytes),
    ("snprintf", format::snprintf),
    ("sock-programs", sockets::programs),
    ("sockets", sockets::kinds),
    ("sockhash", ops::maps),
    ("sockmap", ops::maps),
    ("stack", keyless::maps),
    ("special-fields", special::answer),
    ("stack-trace", ops::maps),
    ("strncmp", numbers::strncmp),
    ("strtol", numbers::strtol),
    ("tail-call", tail_call::answer),
    ("test-run", runs::answer),
    ("trace-printk", format::trace_printk),
    ("user-ringbuf", ops::maps),
    ("user-ringbuf-drain", user_ring::answer),
    ("xdp-adjust", adjust::adjust),
    ("xskmap", ops::maps),
];

fn main() {
    let verdicts = verdict::all();
    let mut trials: Vec<Trial> = verdicts
        .iter()
        .map(|verdict| Trial::test(verdict.name(), move || verdict.check()))
        .collect();
    trials.push(Trial::test("every_file_has_a_family", section::every_file_has_a_family));
    trials.push(Trial::test("every_difference_is_needed", verdict::every_difference_is_needed));
    trials.push(Trial::test("a_host_without_a_stack_is_told_so", stack::no_stack));
    trials.extend(cells::trials());
    trials.push(page::trial());
    trials.push(Trial::test("coverage: every_helper_is_called", coverage::every_helper_is_called));
    trials.extend(system::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
