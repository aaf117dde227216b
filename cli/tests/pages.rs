//! The pages show what their commands print.
//!
//! A block of `console` holds lines `$ skep ARGUMENTS`, long ones continued after a
//! backslash, and below each what it prints, answers before trouble; a line `...` stands
//! for any number of lines.

mod words;

use std::fs;
use std::path::Path;
use std::process::Command;

use words::split;

#[test]
fn the_programs_print_what_their_page_shows() {
    assert!(check("docs/programs.md", "testdata/objects") > 5);
}

#[test]
fn the_readme_shows_a_fault_as_it_is() {
    assert!(check("README.md", ".") > 0);
}

/// Runs the commands of a page in a folder; how many there were.
fn check(page: &str, folder: &str) -> u32 {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join(page)).expect("the page");
    let blocks = text.split("```console\n").skip(1).map(|rest| {
        let (block, _) = rest.split_once("```").expect("a block ends");
        block
    });
    let mut commands = 0;
    for shown in blocks.flat_map(|block| block.split("$ skep ").skip(1)) {
        let shown = shown.replace("\\\n", " ");
        let (arguments, shown) = shown.split_once('\n').expect("a line");
        let output = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(split(arguments))
            .current_dir(root.join(folder))
            .output()
            .expect("the binary runs");
        let mut printed = String::from_utf8(output.stdout).expect("text");
        printed += std::str::from_utf8(&output.stderr).expect("text");
        let shown: Vec<&str> = shown.lines().collect();
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        assert!(matches(&shown, &lines), "{arguments}\nprints\n{printed}\nnot\n{shown:#?}");
        commands += 1;
    }
    commands
}

/// Whether lines are those shown; `...` stands for any number of lines.
fn matches(shown: &[&str], lines: &[&str]) -> bool {
    match (shown, lines) {
        ([], _) => lines.is_empty(),
        (["...", rest @ ..], _) => (0..=lines.len()).any(|skip| matches(rest, &lines[skip..])),
        ([first, shown @ ..], [line, lines @ ..]) => first == line && matches(shown, lines),
        ([..], []) => false,
    }
}

#[test]
fn dots_stand_for_any_number_of_lines_and_nothing_else_does() {
    assert!(matches(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(matches(&["a", "...", "d"], &["a", "d"]));
    assert!(matches(&["..."], &[]));
    assert!(!matches(&["a", "...", "d"], &["a", "d", "e"]));
    assert!(!matches(&["a"], &["a", "b"]));
    assert!(!matches(&["a", "b"], &["a"]));
    assert!(!matches(&["..", "b"], &["a", "b"]));
}
