//! The recorded files and their sections.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use skep_oracle::recorded::Case;

use crate::FAMILIES;

/// Cases that stand under one heading; the files' heads say what they mean.
#[derive(Debug)]
pub(crate) struct Section {
    /// The file's name without `.txt`.
    pub(crate) file: &'static str,
    /// The heading; empty for cases above the first one.
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case<'static>>,
}

/// `testdata/semantics`.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/semantics")
}

/// The sections of a file.
pub(crate) fn sections(file: &'static str) -> Vec<Section> {
    let path = folder().join(file).with_extension("txt");
    let text: &'static str = fs::read_to_string(&path).expect("the file was recorded").leak();
    let cases = Case::parse_all(text);
    let cases = cases.unwrap_or_else(|line| panic!("{}:{line}: no case", path.display()));
    // A heading is a remark below an empty line.
    let lines: Vec<&str> = text.lines().collect();
    let headings = lines.windows(2).enumerate().filter_map(|(at, pair)| {
        let name = pair[1].strip_prefix("# ").filter(|_| pair[0].is_empty())?;
        Some((at + 2, name))
    });
    let mut starts = vec![(0, "")];
    starts.extend(headings);
    let mut sections: Vec<Section> =
        starts.iter().map(|&(_, name)| Section { file, name, cases: Vec::new() }).collect();
    for case in cases {
        let section = starts.partition_point(|&(line, _)| line < case.line) - 1;
        sections[section].cases.push(case);
    }
    sections.retain(|section| !section.cases.is_empty());
    sections
}

/// No recording lies there unused.
pub(crate) fn every_file_has_a_family() -> Result<(), Failed> {
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if !FAMILIES.iter().any(|(file, _)| *file == name) {
                return Err(format!("{name}.txt: nobody replays it").into());
            }
        }
    }
    Ok(())
}
