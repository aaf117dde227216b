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
            insta::assert_snapshot!(format!("{name}.text"), transcript(&text, false));
            insta::assert_snapshot!(format!("{name}.json"), transcript(&text, true));
        }
    });
}

fn transcript(text: &str, json: bool) -> String {
    let mut transcript = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut words = split(line);
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
