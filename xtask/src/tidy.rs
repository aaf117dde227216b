//! What no compiler checks: sizes of files, where unsafe code and opcodes stand, stubs.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a source file, without its tests.
const MOST_LINES: usize = 800;

pub(crate) fn run() -> Result<(), String> {
    let files = rust_files(Path::new("."));
    if files.is_empty() {
        return Err("no source files: run it at the workspace's root".to_owned());
    }
    let mut problems = Vec::new();
    let mut unsafe_files = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let name = file.strip_prefix(".").unwrap_or(file).display().to_string();
        check_size(&name, &text, &mut problems);
        check_opcodes(&name, &text, &mut problems);
        check_stubs(&name, &text, &mut problems);
        if text.lines().any(|line| line.starts_with("#![expect(unsafe_code")) {
            unsafe_files.push(name);
        }
    }
    unsafe_files.sort();
    check_unsafe_list(&unsafe_files, &mut problems)?;
    check_architecture(&mut problems)?;
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && (!name.starts_with('.') || name == ".") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn check_size(name: &str, text: &str, problems: &mut Vec<String>) {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = code.lines().count();
    if lines > MOST_LINES {
        problems.push(format!("{name}: {lines} lines; a file does one thing and has {MOST_LINES}"));
    }
}

/// Opcode bytes stand in the instruction table alone. (The oracle encodes on its own, so
/// that it can disagree.)
fn check_opcodes(name: &str, text: &str, problems: &mut Vec<String>) {
    let exempt = name.starts_with("vm/src/isa/")
        || name.starts_with("oracle/")
        || name.starts_with("xtask/")
        || name.contains("/tests/")
        || name.starts_with("tests/");
    if exempt {
        return;
    }
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        let literal = ["code == 0x", "code != 0x", "code: 0x", "opcode == 0x", "code = 0x"];
        if literal.iter().any(|pattern| code.contains(pattern)) {
            problems.push(format!("{name}:{}: an opcode outside of the table", index + 1));
        }
    }
}

fn check_stubs(name: &str, text: &str, problems: &mut Vec<String>) {
    // Spelled in parts, so that this file is not found.
    let stubs = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    for (index, line) in text.lines().enumerate() {
        if let Some(stub) = stubs.iter().find(|stub| line.contains(*stub)) {
            problems.push(format!("{name}:{}: `{stub}`", index + 1));
        }
    }
}

/// The files with unsafe code are those that ARCHITECTURE.md lists.
fn check_unsafe_list(found: &[String], problems: &mut Vec<String>) -> Result<(), String> {
    let text = read_architecture()?;
    let listed = text
        .split("<!-- unsafe -->")
        .nth(1)
        .ok_or("ARCHITECTURE.md: the list between `<!-- unsafe -->` marks is missing")?;
    let mut listed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("- `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    listed.sort_unstable();
    if listed != found {
        problems.push(format!("unsafe code stands in {found:?}, ARCHITECTURE.md lists {listed:?}"));
    }
    Ok(())
}

fn check_architecture(problems: &mut Vec<String>) -> Result<(), String> {
    let lines = read_architecture()?.lines().count();
    if lines > 150 {
        problems.push(format!("ARCHITECTURE.md: {lines} lines; it may have 150"));
    }
    Ok(())
}

fn read_architecture() -> Result<String, String> {
    fs::read_to_string("ARCHITECTURE.md").map_err(|e| format!("ARCHITECTURE.md: {e}"))
}
