fn main() {
    for path in std::env::args().skip(1) {
        let vm = skep::Vm::builder().build().unwrap();
        let loaded = vm.load(skep::Object::open(&path).unwrap()).unwrap();
        for name in loaded.program_names().map(str::to_owned).collect::<Vec<_>>() {
            let Ok(p) = loaded.program(&name) else { continue };
            let e = p.explain();
            let n = e.accesses.iter().filter(|a| a.proven).count();
            println!("{path} {name}: {n} of {} proven; loops {:?}", e.accesses.len(), e.loops.iter().map(|l| l.rounds).collect::<Vec<_>>());
            for a in e.accesses.iter().filter(|a| !a.proven) { println!("   {}: {}: {}", a.insn, a.text, a.why); }
            for l in e.loops.iter().filter(|a| a.rounds.is_none()) { println!("   loop {}", l.insn); }
        }
    }
}
