//! `differences.tsv`: where skep answers otherwise than the kernel, and why.

use std::fs;

use crate::section::folder;

/// A row: cases that match `case` are answered as `skep` says.
#[derive(Debug)]
pub(crate) struct Difference {
    /// The row's line in the file, from 1.
    pub(crate) line: usize,
    file: String,
    case: String,
    skep: String,
}

/// The file's rows: file, case, what skep answers, why; apart by tabs. A case is a line
/// of the file, question and answer; `*` stands for anything.
pub(crate) fn read() -> Vec<Difference> {
    let path = folder().join("differences.tsv");
    let text = fs::read_to_string(path).expect("the list of differences is in the repository");
    let rows = (1..).zip(text.lines()).filter(|(_, row)| !row.is_empty() && !row.starts_with('#'));
    rows.map(|(line, row)| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [file, case, skep, why] = columns[..] else {
            panic!("differences.tsv:{line}: a row has four columns");
        };
        assert!(!why.trim().is_empty(), "differences.tsv:{line}: no reason is given");
        let [file, case, skep] = [file, case, skep].map(str::to_owned);
        Difference { line, file, case, skep }
    })
    .collect()
}

impl Difference {
    /// Whether the row is about this case, whatever skep answers.
    pub(crate) fn is_about(&self, file: &str, case: &str) -> bool {
        matches(&self.file, file) && matches(&self.case, case)
    }

    /// Whether this is how the row says that skep answers.
    pub(crate) fn allows(&self, answer: &str) -> bool {
        matches(&self.skep, answer)
    }
}

/// Whether `text` matches a pattern in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.into_iter().any(|at| matches(rest, &text[at..]))
}
