//! `docs/programs.md` shows what its commands print.
//!
//! A block of `console` holds lines `$ skep ARGUMENTS`, long ones continued after a
//! backslash, and below each what it prints; a line `...` stands for any number of lines.

mod words;

use std::fs;
use std::path::Path;
use std::process::Command;

use words::split;

#[test]
fn the_page_shows_what_its_commands_print() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/programs.md")).expect("the page");
    let blocks = page.split("```console\n").skip(1).map(|rest| {
        let (block, _) = rest.split_once("```").expect("a block ends");
        block
    });
    let mut commands = 0;
    for block in blocks {
        for shown in block.split("$ skep ").skip(1) {
            let shown = shown.replace("\\\n", " ");
            let (arguments, shown) = shown.split_once('\n').expect("a line");
            let output = Command::new(env!("CARGO_BIN_EXE_skep"))
                .args(split(arguments))
                .current_dir(root.join("testdata/objects"))
                .output()
                .expect("the binary runs");
            let stderr = String::from_utf8(output.stderr).expect("text");
            assert!(output.status.success(), "{arguments}: {stderr}");
            let printed = String::from_utf8(output.stdout).expect("text");
            let shown: Vec<&str> = shown.lines().collect();
            let lines: Vec<&str> = printed.lines().collect();
            assert!(matches(&shown, &lines), "{arguments}\nprints\n{printed}\nnot\n{shown:#?}");
            commands += 1;
        }
    }
    assert!(commands > 5, "{commands} commands");
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
