//! Bytes as an object: it is opened, loaded and run, or refused with a sentence.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use skep::{FixedHost, Input, Object, Vm};

fuzz_target!(|bytes: &[u8]| {
    let object = match Object::parse(bytes) {
        Ok(object) => object,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let vm = Vm::builder()
        .cpus(2)
        .host(FixedHost::default())
        .timeout(Some(Duration::from_secs(2)))
        .max_insns(5_000)
        .max_map_memory(64 << 20)
        .build()
        .expect("address space");
    let loaded = match vm.load(object) {
        Ok(loaded) => loaded,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let packet: Vec<u8> = (0..64).collect();
    let mut runner = vm.runner().expect("a free CPU");
    for name in loaded.program_names() {
        let program = match loaded.program(name) {
            Ok(program) => program,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let takes_packet = program.prog_type().is_some_and(|t| t.takes_packet());
        let input = if takes_packet { Input::packet(&packet[..]) } else { Input::raw(&packet[..]) };
        if let Err(error) = runner.run(&program, input) {
            assert!(!error.to_string().is_empty());
        }
    }
    let _events = loaded.events();
    let _text = loaded.snapshot().to_string();
});
