//! Map scripts: `testdata/maps/*.txt`. A case is a trial.

use std::fs;
use std::path::PathBuf;

use skep_difftest::maps::Skep;
use skep_maps::MapType;
use skep_oracle::recorded;
use skep_oracle::script::{self, Case, Line, Script, Step};

use crate::section::Section;

/// `testdata/maps`.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/maps")
}

/// The cases of all scripts; their files are `maps/NAME`.
pub(crate) fn sections() -> Vec<Section> {
    let entries = fs::read_dir(folder()).expect("there are scripts");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut sections = Vec::new();
    for path in paths {
        let file = path.file_stem().expect("it ends in .txt").to_string_lossy();
        let file: &'static str = format!("maps/{file}").leak();
        let text = fs::read_to_string(&path).expect("a script is text");
        let script = Script::parse(&text).unwrap_or_else(|error| panic!("{file}.txt: {error}"));
        let cases = script.cases.into_iter().filter(is_supported);
        sections.extend(cases.map(|case| section(file, case)));
    }
    sections
}

/// Whether skep has the types of all maps; cases of other types wait until it has them.
fn is_supported(case: &Case) -> bool {
    let has = |name: &str| MapType::ALL.iter().any(|own| own.name() == name && own.is_supported());
    let steps = case.lines.iter().flat_map(|line| line.steps().expect("the script was read"));
    let mut maps = steps.filter_map(|(step, _)| match step {
        Step::Map(decl) => Some(decl.map_type),
        Step::Prog(_) | Step::Event(_) | Step::Call(_) => None,
    });
    maps.all(|map_type| has(&map_type))
}

fn section(file: &'static str, case: Case) -> Section {
    let words = |text: String| text.leak().split_whitespace().collect();
    let cases = case.lines.into_iter().map(|line| {
        let number = line.number;
        let answer = line.answer.unwrap_or_else(|| panic!("{file}.txt:{number}: no answer"));
        recorded::Case { line: number, question: words(line.question), answer: words(answer) }
    });
    Section { file, name: case.title.leak(), cases: cases.collect() }
}

/// The case that a section is.
pub(crate) fn case(section: &Section) -> Case {
    let lines = section.cases.iter().map(|case| Line {
        number: case.line,
        question: case.question.join(" "),
        answer: Some(case.answer.join(" ")),
    });
    Case { title: section.name.to_owned(), line: 0, lines: lines.collect() }
}

/// Does what a case says on a machine of its own.
pub(crate) fn answer(section: &Section) -> Vec<String> {
    script::answers(&case(section), &mut Skep::new())
}
