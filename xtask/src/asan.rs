//! The tests of the sandbox under AddressSanitizer.

use crate::check::run;

/// The only target for which there is native code.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// How many random programs both engines run.
const PROGRAMS: &str = "4000";

/// Which tests are run beside unit tests. Not those that measure memory, which takes more here,
/// or ask the kernel.
const TESTS: [&str; 11] = [
    // Memory and maps.
    "sandbox",
    "bad_input",
    "bloom_filter",
    "corrupt",
    "extremes",
    "lpm_trie",
    "queue_stack",
    "shared",
    // Programs.
    "vectors",
    "stress",
    "engines",
];

/// Builds the tests of memory, maps and vm, and those that compare engines, with
/// AddressSanitizer, and runs them: all unit tests, programs that try to leave the sandbox among
/// them, the vectors, maps on several threads, and some thousand random programs on all engines.
///
/// AddressSanitizer is in what rustc compiles: it sees wrong accesses of Rust code to Rust's own
/// memory, by pointers that native code or the trampolines handed over wrongly, too. It does not
/// see guest memory, for that is mapped by skep itself, all of it accessible; nor native code,
/// which Cranelift makes. Of these the canaries tell (`vm/src/jit/escape`). LeakSanitizer is on.
///
/// The stable toolchain has what it needs; `RUSTC_BOOTSTRAP` makes it accept the option. The
/// standard library is not instrumented. The build stands in a folder of its own.
///
/// # Errors
///
/// When a test fails or AddressSanitizer finds something.
pub(crate) fn asan() -> Result<(), String> {
    let packages = ["skep-memory", "skep-maps", "skep-vm", "skep-difftest"];
    let packages = packages.map(|package| format!(" -p {package}")).concat();
    let tests = TESTS.map(|test| format!(" --test {test}")).concat();
    run(
        &format!("cargo test --target {TARGET} --target-dir target/asan{packages} --lib{tests}"),
        &[
            ("RUSTC_BOOTSTRAP", "1"),
            ("RUSTFLAGS", "-Zsanitizer=address"),
            ("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1"),
            ("SKEP_ENGINE_PROGRAMS", PROGRAMS),
        ],
    )
}
