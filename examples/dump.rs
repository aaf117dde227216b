use std::io::Write;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let vm = skep::Vm::builder().build().unwrap();
    let loaded = vm.load(skep::Object::open(&path).unwrap()).unwrap();
    let p = loaded.program("prog").unwrap();
    std::fs::File::create("/tmp/code.bin").unwrap().write_all(&p.scratch_bytes()).unwrap();
}
