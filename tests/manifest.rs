//! The compiled objects are those that their sources gave: the manifests' hashes hold.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn objects_and_sources_have_the_hashes_of_the_manifest() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let lines = check(&root.join("manifest.tsv"), &root.join("objects"), None);
    assert!(lines > 40, "{lines} objects");
}

#[test]
fn so_have_those_of_the_benchmark() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/engine/progs");
    let lines = check(&root.join("manifest.tsv"), &root, Some("bench.h"));
    assert_eq!(lines, 24);
}

/// Compares the hashes of a manifest with the files in a folder, where all sources include
/// the header; returns the number of rows.
fn check(manifest: &Path, folder: &Path, header: Option<&str>) -> usize {
    let manifest = fs::read_to_string(manifest).expect("a manifest");
    let mut lines = 0;
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [object, object_hash, source_hash, ..] = columns[..] else {
            panic!("a row has at least three columns: {line}");
        };
        let object = folder.join(object);
        assert_eq!(sha256(std::slice::from_ref(&object)), object_hash, "{}", object.display());
        let source = object.with_extension("c");
        let name = source.display().to_string();
        let sources: Vec<_> = [source].into_iter().chain(header.map(|h| folder.join(h))).collect();
        assert_eq!(sha256(&sources), source_hash, "{name}");
        lines += 1;
    }
    lines
}

/// The hash of files, one after the other, by the system's own tool.
fn sha256(files: &[PathBuf]) -> String {
    let joined: Vec<u8> = files.iter().flat_map(|file| fs::read(file).expect("readable")).collect();
    let mut tool = Command::new("sha256sum");
    let mut tool = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    tool.stdin.take().expect("a pipe").write_all(&joined).expect("it reads all");
    let output = tool.wait_with_output().expect("sha256sum");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
