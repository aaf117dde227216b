//! The verbs whose output depends on the engines and on the machine: what holds of it
//! everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use skep_oracle::Kernel;

fn objects() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/objects")
}

fn skep(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    let output = command.args(args).current_dir(objects()).output().expect("the binary runs");
    let code = output.status.code().expect("no signal ends it");
    assert_ne!(code, 101, "{args:?}: it panicked: {}", text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The document, and the exit code.
fn json(args: &[&str]) -> (Value, i32) {
    let output = skep(&[args, &["--json"]].concat());
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|error| panic!("{args:?}: {error}"));
    (document, output.status.code().expect("no signal"))
}

fn list<'v>(document: &'v Value, member: &str) -> &'v Vec<Value> {
    document[member].as_array().unwrap_or_else(|| panic!("no {member} in {document}"))
}

/// The objects of a folder.
fn object_files(folder: &str) -> Vec<String> {
    let files = fs::read_dir(objects().join(folder)).expect("the objects are there");
    let names = files.map(|file| file.expect("readable").file_name());
    let names = names.map(|name| name.into_string().expect("text"));
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".o")).map(|name| format!("{folder}{name}")).collect();
    names.sort();
    assert!(names.len() > 15);
    names
}

fn has_jit() -> bool {
    skep::Engine::ALL.iter().any(|engine| engine.name() == "jit")
}

#[test]
fn the_kernel_and_all_engines_agree_on_every_object() {
    let kernel = Kernel::for_test("skep diff").is_some();
    let mut asked = 0;
    for object in object_files("") {
        let (document, code) = json(&["diff", &object]);
        assert_eq!(code, 0, "{object}: {document}");
        for program in list(&document, "programs") {
            let engines = list(program, "engines");
            assert_eq!(program["equal"], true, "{object}: {program}");
            assert!(program["runs"].as_u64() > Some(1), "{object}: {program}");
            assert!(engines.iter().any(|name| name == "interp"), "{object}: {program}");
            assert!(!has_jit() || engines.iter().any(|name| name == "jit"), "{object}: {program}");
            asked += usize::from(engines.iter().any(|name| name == "kernel"));
        }
    }
    // Most programs that see packets.
    assert!(!kernel || asked > 30, "the kernel was asked about {asked} programs");
}

#[test]
fn all_engines_agree_on_programs_that_no_verifier_takes() {
    for object in object_files("bad/") {
        let (document, code) = json(&["diff", &object, "--no-kernel", "--timeout", "0.3"]);
        if ["bad/bad_map_def.bpf.o", "bad/big_map.bpf.o"].contains(&&*object) {
            assert_eq!(code, 3, "{object}: {document}");
            continue;
        }
        assert_eq!(code, 0, "{object}: {document}");
        for program in list(&document, "programs") {
            // Endless, or not linked.
            let left_out = object.ends_with("_forever.bpf.o") || program["name"] == "lost";
            assert_eq!(program["runs"].as_u64() == Some(0), left_out, "{object}: {program}");
        }
    }
}

#[test]
fn every_run_of_a_capture_is_compared() {
    let settings = ["--map", "networks4=@../runs/networks4.json", "--repeat", "2"];
    let args = ["diff", "allow.bpf.o", "--packet", "../packets/mixed.pcap"];
    let (document, code) = json(&[&args[..], &settings].concat());
    assert_eq!((code, &document["programs"][0]["runs"]), (0, &18.into()), "{document}");
    let output = skep(&["diff", "bad/value_overrun.bpf.o", "--no-kernel"]);
    let told = "overrun: equal in 2 runs, 2 of them faults (interp";
    assert!(text(&output.stdout).starts_with(told), "{}", text(&output.stdout));
}

#[test]
fn a_difference_is_told_and_is_exit_code_1() {
    if !has_jit() {
        println!("this build has one engine");
        return;
    }
    // Two machines that ask the real clock do not get the same time.
    let args = ["diff", "time.bpf.o", "-n", "clocks", "--host", "system", "--no-kernel"];
    let output = skep(&args);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.starts_with("clocks: jit differs in run 1, on a short frame"), "{told}");
    let stderr = text(&output.stderr);
    assert!(stderr.contains("error: `clocks` did not do the same everywhere"), "{stderr}");
    let (document, code) = json(&args);
    let program = &document["programs"][0];
    assert_eq!((code, &program["equal"]), (1, &false.into()));
    let difference = &list(program, "differences")[0];
    assert_eq!(difference["run"], 1);
    assert_ne!(difference["values"]["interp"], difference["values"]["jit"], "{difference}");
}

#[test]
fn what_the_kernel_is_not_asked_is_said() {
    let output = skep(&["diff", "counts.bpf.o", "-v"]);
    let notes = text(&output.stderr);
    let told = ["the kernel is not asked: ", "the kernel cannot test-run tracepoint programs"];
    assert!(told.iter().any(|told| notes.contains(told)), "{notes}");
    assert_eq!(skep(&["diff", "counts.bpf.o"]).stderr, b"");
}

#[test]
fn addresses_may_differ_in_the_kernel() {
    if Kernel::for_test("addresses").is_none() {
        return;
    }
    let (document, code) = json(&["diff", "addresses.bpf.o"]);
    let program = &document["programs"][0];
    assert_eq!((code, &program["equal"], &program["runs"]), (0, &true.into(), &5.into()));
    assert!(!list(program, "engines").iter().any(|name| name == "kernel"), "{document}");
    let note = list(program, "notes")[0].as_str().expect("text");
    assert!(note.contains("what it does depends on addresses"), "{note}");
}

#[test]
fn programs_are_measured_on_each_engine() {
    let (document, code) = json(&["bench", "subprogs.bpf.o", "--rounds", "2"]);
    assert_eq!(code, 0, "{document}");
    let rows = list(&document, "programs");
    assert_eq!(rows.len(), 3 * skep::Engine::ALL.len(), "{document}");
    for row in rows {
        let ns = |member: &str| row[member].as_f64().expect("a number");
        assert!(0.0 < ns("ns_min") && ns("ns_min") <= ns("ns_median"), "{row}");
        let same = rows.iter().filter(|other| other["name"] == row["name"]);
        assert!(same.into_iter().all(|other| other["insns"] == row["insns"]), "{document}");
        assert!(row["insns"].as_u64() > Some(2), "{row}");
    }
    let text = text(&skep(&["bench", "subprogs.bpf.o", "-n", "deep", "--rounds", "1"]).stdout);
    assert_eq!(text.lines().count(), 1 + skep::Engine::ALL.len(), "{text}");
}

#[test]
fn native_code_is_shown_with_what_each_check_belongs_to() {
    let args = ["disasm", "bad/value_overrun.bpf.o", "--jit"];
    if !has_jit() {
        assert_eq!(skep(&args).status.code(), Some(2));
        return;
    }
    let shown = text(&skep(&args).stdout);
    let check =
        "# insn 21 (bad/value_overrun.bpf.c:29): r0 = *(u8 *)(r1 + 8): the access is denied";
    // Of the pointer and of its shadow: where they jump, and where their exits are.
    assert_eq!(shown.matches(check).count(), 4, "{shown}");
    for object in object_files("").iter().chain(&object_files("bad/")) {
        let output = skep(&["disasm", object, "--jit"]);
        if output.status.code() == Some(3) {
            continue;
        }
        let shown = text(&output.stdout);
        assert!(!shown.contains("(bad)"), "{object}: {shown}");
        let (document, _) = json(&["disasm", object, "--jit"]);
        for program in list(&document, "programs") {
            let whole = program["interpreted"].is_string() || program["functions"].is_array();
            assert!(whole, "{object}: {program}");
        }
    }
}

#[test]
fn why_a_program_is_interpreted_is_said_on_request() {
    let run = |more: &[&str]| {
        text(&skep(&[&["run", "bad/recursion.bpf.o", "--ctx", "hex:00"], more].concat()).stderr)
    };
    let note = "note: program `recurse` runs in the interpreter: functions are nested";
    assert_eq!(run(&["-v"]).contains(note), has_jit());
    assert!(!run(&[]).contains(note));
    assert!(!run(&["-v", "--engine", "interp"]).contains(note));
}

#[test]
fn native_code_is_named_for_perf() {
    let child = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(["check", "subprogs.bpf.o", "--perf-map"])
        .current_dir(objects())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let path = format!("/tmp/perf-{}.map", child.id());
    assert!(child.wait_with_output().expect("it ends").status.success());
    if !has_jit() {
        assert!(!Path::new(&path).exists());
        return;
    }
    let lines = fs::read_to_string(&path).expect("the list");
    fs::remove_file(&path).expect("it is there");
    let names: Vec<&str> = lines.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert!(names.contains(&"skep:calls/calls"), "{lines}");
    assert!(names.contains(&"skep:calls/weak"), "{lines}");
    for line in lines.lines() {
        let mut numbers = line.split(' ').take(2);
        let mut number = || u64::from_str_radix(numbers.next()?, 16).ok();
        let (address, size) = (number(), number());
        assert!(address > Some(0) && size > Some(0), "{line}");
    }
}
