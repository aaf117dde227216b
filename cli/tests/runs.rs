//! Runs the command lines of `testdata/runs` and compares what they print, as text and as
//! JSON, with snapshots.
//!
//! A file holds lines `$ ARGUMENTS`; they are run in `testdata/objects`.

mod words;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use words::split;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

#[test]
fn command_lines_print_what_they_printed() {
    let mut files: Vec<PathBuf> = fs::read_dir(testdata().join("runs"))
        .expect("the runs are part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "run"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(testdata().join("runs/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for file in files {
            let text = fs::read_to_string(&file).expect("readable");
            let name = file.file_stem().expect("a name").to_string_lossy();
            insta::assert_snapshot!(format!("{name}.text"), transcript(&text, false, "interp"));
            insta::assert_snapshot!(format!("{name}.json"), transcript(&text, true, "interp"));
        }
    });
}

/// What native code prints is what the interpreter prints, but for the engine's name and the
/// registers that a fault shows.
#[test]
fn native_code_prints_what_the_interpreter_prints() {
    if !skep::Engine::ALL.iter().any(|engine| engine.name() == "jit") {
        println!("this build has no native code: it is not compared");
        return;
    }
    for entry in fs::read_dir(testdata().join("runs")).expect("the runs are there") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_none_or(|e| e != "run") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        // Native code may execute a few instructions more than a budget allows.
        let lines = text.lines().filter(|line| !line.contains("--max-insns"));
        let text = lines.collect::<Vec<_>>().join("\n");
        for json in [false, true] {
            let interp = common(&transcript(&text, json, "interp"));
            let jit = common(&transcript(&text, json, "jit"));
            assert!(interp == jit, "{}:\n{}", path.display(), difference(&interp, &jit));
        }
    }
}

/// The lines that do not depend on the engine.
fn common(transcript: &str) -> String {
    let (mut common, mut in_registers) = (String::new(), false);
    for line in transcript.lines() {
        let text = line.trim_start();
        in_registers |= text.starts_with("\"registers\": [");
        if !in_registers && !text.starts_with("!  registers:") && !text.starts_with("\"engine\":") {
            common.push_str(line.trim_end_matches(','));
            common.push('\n');
        }
        in_registers &= !text.starts_with(']');
    }
    common
}

/// The first line that differs, with what is before it.
fn difference(interp: &str, jit: &str) -> String {
    let pairs: Vec<(&str, &str)> = interp.lines().zip(jit.lines()).collect();
    let at = pairs.iter().position(|(a, b)| a != b).unwrap_or(pairs.len().saturating_sub(1));
    let from = at.saturating_sub(12);
    let before: Vec<&str> = pairs[from..at].iter().map(|(a, _)| *a).collect();
    let (a, b) = pairs.get(at).copied().unwrap_or_default();
    format!("{}\ninterp: {a}\njit:    {b}", before.join("\n"))
}

fn transcript(text: &str, json: bool, engine: &str) -> String {
    let mut transcript = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut words = split(line);
        // Some lines are about engines.
        if !words.iter().any(|word| word == "--engine") {
            words.extend(["--engine", engine, "--count"].map(str::to_owned));
        }
        if json {
            words.push("--json".to_owned());
        }
        let output = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(&words)
            .current_dir(testdata().join("objects"))
            .output()
            .expect("the binary runs");
        let code = output.status.code().expect("no signal ends it");
        assert_ne!(code, 101, "{line}: it panicked");
        let stdout = String::from_utf8(output.stdout).expect("text");
        let stderr = String::from_utf8(output.stderr).expect("text");
        writeln!(transcript, "$ {}", shorten(line)).expect("a string");
        if json {
            let document: serde_json::Value = serde_json::from_str(&stdout)
                .unwrap_or_else(|error| panic!("{line}: one JSON document: {error}: {stdout}"));
            let pretty = serde_json::to_string_pretty(&document).expect("JSON");
            writeln!(transcript, "{pretty}").expect("a string");
        } else {
            transcript.push_str(&stdout);
            for line in stderr.lines() {
                writeln!(transcript, "! {line}").expect("a string");
            }
        }
        writeln!(transcript, "[{code}]\n").expect("a string");
    }
    transcript
}

/// Long arguments add nothing to a transcript.
fn shorten(line: &str) -> String {
    let words = line.split(' ').map(|word| match word.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_program_without_end_is_stopped_in_time() {
    for object in ["bad/loop_forever.bpf.o", "bad/poll_forever.bpf.o"] {
        let start = std::time::Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["run", object, "--ctx", "hex:00", "--timeout", "0.2"])
            .current_dir(testdata().join("objects"))
            .output()
            .expect("the binary runs");
        assert_eq!(output.status.code(), Some(4), "{object}");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert!(stderr.contains("the run exceeds its time limit"), "{object}: {stderr}");
        let took = start.elapsed();
        assert!(took.as_millis() >= 200 && took.as_secs() < 5, "{object}: {took:?}");
    }
}

#[test]
fn whoever_stops_reading_sees_no_complaint() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(["run", "count_xdp.bpf.o", "--packet", "@count_xdp.bpf.c", "--repeat", "20000"])
        .current_dir(testdata().join("objects"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
