//! The compiled objects are those that their sources gave: the manifest's hashes hold.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn objects_and_sources_have_the_hashes_of_the_manifest() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let manifest = fs::read_to_string(root.join("manifest.tsv")).expect("a manifest");
    let mut lines = 0;
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [object, object_hash, source_hash, ..] = columns[..] else {
            panic!("a row has at least three columns: {line}");
        };
        let object = root.join("objects").join(object);
        assert_eq!(sha256(&[&object]), object_hash, "{}", object.display());
        let source = object.with_extension("c");
        assert_eq!(sha256(&[&source]), source_hash, "{}", source.display());
        lines += 1;
    }
    assert!(lines > 40, "{lines} objects");
}

/// The hash of files, one after the other, by the system's own tool.
fn sha256(files: &[&Path]) -> String {
    let joined: Vec<u8> = files.iter().flat_map(|file| fs::read(file).expect("readable")).collect();
    let temporary = std::env::temp_dir().join(format!("skep-manifest-{}", std::process::id()));
    fs::write(&temporary, joined).expect("a temporary file");
    let output = Command::new("sha256sum").arg(&temporary).output().expect("sha256sum");
    fs::remove_file(&temporary).expect("it was written");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
