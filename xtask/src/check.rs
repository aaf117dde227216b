//! Checks that run cargo.

use std::fs;
use std::process::Command;

/// Runs a command and lets it print.
pub(crate) fn run(command: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let status = prepare(command, variables).status().map_err(|e| format!("{command}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{command}` failed: {status}")) }
}

fn prepare(command: &str, variables: &[(&str, &str)]) -> Command {
    let mut words = command.split_whitespace();
    let mut prepared = Command::new(words.next().unwrap_or_default());
    prepared.args(words).envs(variables.iter().copied());
    prepared
}

pub(crate) fn fmt() -> Result<(), String> {
    run("cargo fmt --all --check", &[])?;
    // Packages of their own, outside of the workspace.
    run("cargo fmt --check --manifest-path benches/engine/rbpf/Cargo.toml", &[])?;
    run("cargo fmt --check --manifest-path fuzz/Cargo.toml", &[])
}

pub(crate) fn lint() -> Result<(), String> {
    run("cargo clippy --workspace --all-targets -- -D warnings", &[])
}

pub(crate) fn doc() -> Result<(), String> {
    run("cargo doc --workspace --no-deps --quiet", &[("RUSTDOCFLAGS", "-D warnings")])
}

pub(crate) fn test() -> Result<(), String> {
    let command = readme_command("cargo test")?;
    run(&command, &[])
}

/// Counts instructions under valgrind; `cargo xtask counts --write` accepts the counts.
pub(crate) fn counts() -> Result<(), String> {
    let options: Vec<String> = std::env::args().skip(2).collect();
    let cargo = "cargo bench --quiet --profile counts --bench engines";
    run(&format!("{cargo} -- --counts {}", options.join(" ")), &[])
}

/// Runs the README's first command and compares its output with the block that follows.
pub(crate) fn readme() -> Result<(), String> {
    let command = readme_command("cargo run")?;
    let output = prepare(&command, &[]).output().map_err(|e| format!("{command}: {e}"))?;
    let got = String::from_utf8_lossy(&output.stdout);
    let readme = read_readme()?;
    let shown = readme
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .ok_or("the README shows no output")?;
    if got.trim() == shown.trim() {
        return Ok(());
    }
    Err(format!("the README shows\n{shown}\nbut `{command}` prints\n{got}"))
}

/// The command in the README that starts with `start`.
fn readme_command(start: &str) -> Result<String, String> {
    let readme = read_readme()?;
    let line = readme.lines().find(|line| line.starts_with(start));
    line.map(str::to_owned).ok_or_else(|| format!("the README has no `{start}` command"))
}

fn read_readme() -> Result<String, String> {
    fs::read_to_string("README.md").map_err(|e| format!("README.md: {e}"))
}
