//! Map scripts: asks the kernel the questions of `testdata/maps`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use skep_oracle::Kernel;
use skep_oracle::script::{Case, Linux, Script, answers};

use crate::record::{compare, is_comparable, place, testdata};

/// How often each case is asked. Answers that depend on a hash's seed or on what another
/// CPU does are no answers: a case in which they differ is not well asked.
const TIMES: usize = 3;

#[test]
fn scripts() {
    let Some(kernel) = Kernel::for_test("scripts") else {
        return;
    };
    let place = place(&kernel);
    let mut paths: Vec<_> =
        fs::read_dir(testdata().join("maps")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "testdata/maps has no scripts");
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        if is_comparable(&name, &text, &place) {
            // The system call is made on CPU 0, whose lists an LRU map then uses.
            let found = kernel.on_cpu(0, || ask(&kernel, &path, &text, &place)).unwrap();
            compare(&path, &text, &found);
        }
    }
}

/// The file with this kernel's answers.
fn ask(kernel: &Kernel, path: &Path, text: &str, place: &str) -> String {
    let path = path.display();
    let script = Script::parse(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut answered: BTreeMap<usize, String> = BTreeMap::new();
    for case in &script.cases {
        for (number, line) in ask_case(kernel, case).unwrap_or_else(|why| panic!("{path}:{why}")) {
            answered.insert(number, line);
        }
    }
    let mut lines: Vec<&str> = text.lines().collect();
    if lines.first().is_none_or(|first| !first.starts_with("# Linux ")) {
        lines.insert(0, place);
        answered = answered.into_iter().map(|(number, line)| (number + 1, line)).collect();
    }
    lines[0] = place;
    let lines = (1..).zip(lines).map(|(n, line)| answered.get(&n).map_or(line, String::as_str));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The numbers of a case's lines and the lines with their answers.
fn ask_case(kernel: &Kernel, case: &Case) -> Result<Vec<(usize, String)>, String> {
    let asked: Vec<Vec<String>> =
        (0..TIMES).map(|_| answers(case, &mut Linux::new(kernel))).collect();
    let mut lines = Vec::new();
    for (at, line) in case.lines.iter().enumerate() {
        let answer = &asked[0][at];
        if let Some(other) = asked.iter().find(|other| other[at] != *answer) {
            let (number, question) = (line.number, &line.question);
            return Err(format!("{number}: {question}: now {answer}, now {}", other[at]));
        }
        lines.push((line.number, format!("{} -> {answer}", line.question)));
    }
    Ok(lines)
}
