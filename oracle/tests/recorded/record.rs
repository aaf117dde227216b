//! Compares what a topic records with the topic's file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use skep_oracle::{Errno, Kernel};

/// How every file is to be read; stands at its top, behind where it was recorded.
const GRAMMAR: &str = "\
# Not to be edited by hand. A line is a question, `->` and the answer: words and
# NAME=VALUE pairs, apart by spaces. Bytes are hexadecimal, numbers are decimal or
# 0x-hexadecimal; text stands in quotes, with Rust's escapes. An errno stands by
# name, or by number where it has none.
";

/// The lines of one topic.
#[derive(Debug, Default)]
pub(crate) struct Record {
    text: String,
}

impl Record {
    /// Adds a question and its answer.
    pub(crate) fn case(&mut self, question: &str, answer: &str) {
        writeln!(self.text, "{question} -> {answer}").expect("a string takes any text");
    }

    /// Adds a remark on the lines that follow.
    pub(crate) fn note(&mut self, note: &str) {
        writeln!(self.text, "\n# {note}").expect("a string takes any text");
    }
}

/// Records a topic and compares it with `testdata/semantics/NAME.txt`.
pub(crate) fn check(name: &str, about: &str, topic: impl FnOnce(&Kernel, &mut Record)) {
    let Some(kernel) = Kernel::for_test(name) else {
        return;
    };
    let place = place(&kernel);
    let mut record = Record { text: format!("{place}\n{GRAMMAR}") };
    for line in about.lines() {
        writeln!(record.text, "# {line}").expect("a string takes any text");
    }
    let path = testdata().join("semantics").join(name).with_extension("txt");
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if is_comparable(name, &expected, &place) {
        topic(&kernel, &mut record);
        compare(&path, &expected, &record.text);
    }
}

/// The folder `testdata`.
pub(crate) fn testdata() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

/// The first line of every file: where it was recorded.
pub(crate) fn place(kernel: &Kernel) -> String {
    format!("# Linux {}, {} possible CPUs.", kernel.release(), kernel.possible_cpus())
}

/// Whether a file is to be compared with this kernel, or written by it.
///
/// Another version of the kernel may answer otherwise: there nothing is compared, which
/// is said on stderr, unless `SKEP_REQUIRE_KERNEL=1`.
pub(crate) fn is_comparable(name: &str, expected: &str, place: &str) -> bool {
    let elsewhere = expected.lines().next() != Some(place);
    if elsewhere && !told("SKEP_RECORD") && !told("SKEP_REQUIRE_KERNEL") {
        let there = expected.lines().next().unwrap_or("nowhere");
        let _ = writeln!(
            io::stderr(),
            "{name}: 0 kernel cases: recorded on `{there}`, this is `{place}`"
        );
        return false;
    }
    true
}

/// Compares a file with what this kernel answered; with `SKEP_RECORD=1` writes it.
pub(crate) fn compare(path: &Path, expected: &str, found: &str) {
    if told("SKEP_RECORD") {
        fs::write(path, found).unwrap();
        return;
    }
    for (n, (expected, found)) in expected.lines().zip(found.lines()).enumerate() {
        assert_eq!(found, expected, "{}:{}: this kernel differs", path.display(), n + 1);
    }
    assert_eq!(
        found.lines().count(),
        expected.lines().count(),
        "{}: this kernel gives another number of lines",
        path.display()
    );
}

fn told(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| value == "1")
}

/// Bytes as hexadecimal; `-` for none.
pub(crate) fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `ok` or the errno.
pub(crate) fn outcome(errno: Option<Errno>) -> String {
    errno.map_or_else(|| "ok".to_owned(), |e| e.to_string())
}

/// What a helper returned: 0 or more as a number, an errno by name.
pub(crate) fn returned(value: i64) -> String {
    match i32::try_from(-i128::from(value)) {
        Ok(errno @ 1..=4095) => match Errno(errno).name() {
            Some(name) => name.to_owned(),
            None => format!("-{errno}"),
        },
        _ => value.to_string(),
    }
}
