//! What no compiler at hand writes: objects of old compilers, of gcc, and hostile
//! ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot make its object fails")]

mod common;

use common::make::{
    Btf, EXIT, Elf, FUNC, GLOBAL, LOCAL, NOTYPE, OBJECT, SECTION, WEAK, ZERO, call, insn, lddw,
};
use skep_loader::{Init, LoadError, Object, POISON_CALL};

fn parse(elf: &Elf) -> Object {
    Object::parse("made.o", &elf.build()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(elf: &Elf) -> String {
    Object::parse("made.o", &elf.build()).unwrap_err().to_string()
}

/// Slot, `src` and `imm` of the calls and 64-bit loads of a program.
fn references(object: &Object, program: &str) -> Vec<(usize, u8, i32)> {
    let program = object.programs().iter().find(|found| &*found.name == program).unwrap();
    assert_eq!(program.problem, None);
    let insns = program.insns.iter().enumerate();
    insns
        .filter(|(_, insn)| matches!(insn.code, 0x18 | 0x85))
        .map(|(at, insn)| (at, insn.src, insn.imm))
        .collect()
}

/// A program that calls a function of `.text` at slot 2, with `imm` in the call and a
/// symbol of that type.
fn calling(imm: i32, kind: u8, value: u64) -> Elf {
    let mut elf = Elf::new();
    let text = elf.code(".text", &[ZERO, EXIT, ZERO, EXIT]);
    let xdp = elf.code("xdp", &[call(imm), EXIT]);
    elf.symbol("first", GLOBAL, FUNC, (text, 0, 16));
    elf.symbol("second", GLOBAL, FUNC, (text, 16, 16));
    elf.symbol("entry", GLOBAL, FUNC, (xdp, 0, 16));
    let name = if kind == SECTION { "" } else { "alias" };
    let target = elf.symbol(name, LOCAL, kind, (text, value, 0));
    elf.reloc(xdp, 0, target, 10);
    elf
}

#[test]
fn a_call_by_section_symbol_adds_the_immediate() {
    let object = parse(&calling(1, SECTION, 0));
    assert_eq!(references(&object, "entry"), [(0, 1, 1)]);
    assert_eq!(&*object.programs()[0].funcs[1].name, "second");
}

#[test]
fn a_call_by_function_symbol_ignores_the_immediate() {
    // clang leaves -1; gcc the symbol's address less one, in bytes.
    for imm in [-1, 15, 7] {
        let object = parse(&calling(imm, FUNC, 16));
        assert_eq!(&*object.programs()[0].funcs[1].name, "second", "imm {imm}");
    }
}

#[test]
fn a_call_into_the_middle_of_a_function_concerns_its_program_only() {
    let object = parse(&calling(0, SECTION, 0));
    let problem = object.programs()[0].problem.as_ref().unwrap();
    assert_eq!(
        problem.to_string(),
        "made.o: xdp+0x0: relocation R_BPF_64_32 against `.text`: no function starts at .text+0x8"
    );
}

#[test]
fn old_compilers_gave_functions_neither_type_nor_size() {
    let mut elf = Elf::new();
    elf.machine = 0;
    elf.rela = true;
    let code = [lddw(0)[0], 0, EXIT, ZERO, EXIT];
    let xdp = elf.code("xdp", &code);
    let maps = elf.data("maps", &[1u32, 4, 8, 16, 0].map(u32::to_le_bytes).concat());
    elf.symbol("first", GLOBAL, NOTYPE, (xdp, 0, 0));
    elf.symbol("LBB0_1", LOCAL, NOTYPE, (xdp, 16, 0));
    elf.symbol("second", GLOBAL, NOTYPE, (xdp, 24, 0));
    let map = elf.symbol("map", GLOBAL, NOTYPE, (maps, 0, 0));
    elf.reloc(xdp, 0, map, 0);
    let object = parse(&elf);
    let names: Vec<_> = object.programs().iter().map(|program| &*program.name).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(object.programs()[0].insns.len(), 3);
    assert_eq!(references(&object, "first"), [(0, 5, 0)]);
    assert_eq!(object.maps()[0].def.max_entries, 16);
}

#[test]
fn legacy_definitions_without_sizes_reach_to_the_next_one() {
    let mut elf = Elf::new();
    let words: Vec<u32> = vec![12, 4, 4, 3, 0, 1, 0, 2, 4, 8, 5, 0, 0, 0];
    let maps = elf.data("maps", &words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>());
    elf.symbol("outer", GLOBAL, NOTYPE, (maps, 0, 0));
    elf.symbol("inner", GLOBAL, NOTYPE, (maps, 28, 0));
    let object = parse(&elf);
    let inner = object.maps()[0].def.inner.as_ref().unwrap();
    assert_eq!((inner.name.as_str(), inner.max_entries), ("inner", 5));
    assert_eq!(object.maps()[1].def.inner, None);
}

#[test]
fn legacy_definitions_must_be_whole_and_mean_something() {
    let made = |words: &[u32], bind: u8| {
        let mut elf = Elf::new();
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let maps = elf.data("maps", &bytes);
        elf.symbol("m", bind, OBJECT, (maps, 0, bytes.len() as u64));
        refused(&elf)
    };
    let text = [
        made(&[1, 4, 4, 1], GLOBAL),
        made(&[0, 4, 4, 1, 0], GLOBAL),
        made(&[1, 4, 4, 1, 0, 9], GLOBAL),
        made(&[1, 4, 4, 1, 0], LOCAL),
    ];
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn the_section_of_iproute2_says_which_slot_a_program_goes_to() {
    let mut elf = Elf::new();
    let words = [3u32, 4, 4, 8, 0, 2, 0, 0, 0].map(u32::to_le_bytes).concat();
    let maps = elf.data("maps", &words);
    elf.symbol("jumps", GLOBAL, OBJECT, (maps, 0, 36));
    let code = elf.code("2/5", &[ZERO, EXIT]);
    elf.symbol("tail", GLOBAL, FUNC, (code, 0, 16));
    let object = parse(&elf);
    assert_eq!(object.maps()[0].values, [(5, Init::Program("tail".to_owned()))]);
}

#[test]
fn a_static_function_of_a_program_section_is_a_program_unless_called() {
    let mut elf = Elf::new();
    let code = elf.code("tc", &[insn(0x85, 0, 1, 0, 1), EXIT, ZERO, EXIT, ZERO, EXIT]);
    elf.symbol("entry", GLOBAL, FUNC, (code, 0, 16));
    elf.symbol("called", LOCAL, FUNC, (code, 16, 16));
    elf.symbol("tail", LOCAL, FUNC, (code, 32, 16));
    let object = parse(&elf);
    let names: Vec<_> = object.programs().iter().map(|program| &*program.name).collect();
    assert_eq!(names, ["entry", "tail"]);
}

#[test]
fn recursion_links_each_function_once() {
    let mut elf = Elf::new();
    let code = elf.code("tc", &[insn(0x85, 0, 1, 0, 1), EXIT, insn(0x85, 0, 1, 0, -1), EXIT]);
    elf.symbol("entry", GLOBAL, FUNC, (code, 0, 16));
    elf.symbol("again", LOCAL, FUNC, (code, 16, 16));
    let object = parse(&elf);
    assert_eq!(references(&object, "entry"), [(0, 1, 1), (2, 1, -1)]);
}

#[test]
fn a_weak_function_that_is_not_there_is_poisoned_with_its_index() {
    let mut elf = Elf::new();
    let code = elf.code("tc", &[call(-1), lddw(0)[0], 0, EXIT]);
    elf.symbol("entry", GLOBAL, FUNC, (code, 0, 32));
    elf.symbol("strong", GLOBAL, NOTYPE, (0, 0, 0));
    let weak = elf.symbol("weak", WEAK, NOTYPE, (0, 0, 0));
    elf.reloc(code, 0, weak, 10);
    elf.reloc(code, 8, weak, 1);
    let object = parse(&elf);
    assert_eq!(references(&object, "entry"), [(0, 0, POISON_CALL + 1), (1, 0, 0)]);
    assert_eq!(&*object.externs()[1].name, "weak");
}

#[test]
fn variables_are_addressed_by_symbol_and_by_section() {
    let mut elf = Elf::new();
    let code = elf.code("tc", &[lddw(4), lddw(12), lddw(16), [ZERO, EXIT]].concat());
    let data = elf.data(".data", &[7; 16]);
    elf.symbol("entry", GLOBAL, FUNC, (code, 0, 64));
    let section = elf.symbol("", LOCAL, SECTION, (data, 0, 0));
    let var = elf.symbol("var", GLOBAL, OBJECT, (data, 8, 8));
    elf.reloc(code, 0, var, 1);
    elf.reloc(code, 16, section, 1);
    elf.reloc(code, 32, section, 1);
    let object = parse(&elf);
    let program = &object.programs()[0];
    assert_eq!(program.problem, None);
    let offsets: Vec<_> = [0, 2, 4].map(|at| program.insns[at + 1].imm).into();
    // One past the end is an address in C, though nothing is there.
    assert_eq!(offsets, [12, 12, 16]);
}

#[test]
fn what_cannot_be_relocated_names_section_symbol_and_cause() {
    let mut elf = Elf::new();
    let code = elf.code("tc", &[lddw(0)[0], 0, EXIT]);
    elf.symbol("entry", GLOBAL, FUNC, (code, 0, 24));
    let data = elf.data(".data", &[0; 8]);
    let misc = elf.data("features", &[0; 8]);
    let arena = elf.data(".addr_space.1", &[0; 8]);
    let text = elf.code(".text", &[ZERO, EXIT]);
    elf.symbol("function", GLOBAL, FUNC, (text, 0, 16));
    let beyond = elf.symbol("beyond", GLOBAL, OBJECT, (data, 9, 1));
    let feature = elf.symbol("feature", GLOBAL, OBJECT, (misc, 0, 8));
    let in_arena = elf.symbol("in_arena", GLOBAL, OBJECT, (arena, 0, 8));
    let middle = elf.symbol("middle", GLOBAL, NOTYPE, (text, 8, 0));
    let strong = elf.symbol("strong", GLOBAL, NOTYPE, (0, 0, 0));
    let absolute = elf.symbol("absolute", GLOBAL, NOTYPE, (0xfff1, 5, 0));
    let common = elf.symbol("common", GLOBAL, OBJECT, (0xfff2, 8, 8));
    let mut problems = Vec::new();
    let targets = [beyond, feature, in_arena, middle, strong, absolute, common];
    for (offset, symbol) in targets.map(|symbol| (0, symbol)).into_iter().chain([(16, feature)]) {
        elf.reloc(code, offset, symbol, 1);
        let object = parse(&elf);
        problems.push(object.programs()[0].problem.as_ref().unwrap().to_string());
        elf.clear_relocs(code);
    }
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn a_load_whose_second_slot_is_missing_is_refused() {
    let mut elf = Elf::new();
    let code = elf.code("tc", &[EXIT, lddw(0)[0]]);
    elf.symbol("entry", GLOBAL, FUNC, (code, 0, 16));
    let data = elf.data(".data", &[0; 8]);
    let var = elf.symbol("var", GLOBAL, OBJECT, (data, 0, 8));
    elf.reloc(code, 8, var, 1);
    let object = parse(&elf);
    assert_eq!(
        object.programs()[0].problem.as_ref().unwrap().to_string(),
        "made.o: tc+0x8: relocation R_BPF_64_64 against `var`: the 64-bit load has no second slot"
    );
}

#[test]
fn what_is_no_bpf_object_says_what_it_is() {
    let mut machine = Elf::new();
    machine.machine = 62;
    let cut = &machine.build()[..30];
    let mut narrow = machine.build();
    narrow[4] = 1;
    let refusals = [&[][..], b"#!/bin/sh", cut, &narrow, &machine.build()]
        .map(|bytes| Object::parse("made.o", bytes).unwrap_err());
    let text: Vec<String> = refusals
        .iter()
        .map(|error| format!("{error}\n  help: {}", error.help().unwrap()))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn code_that_is_not_whole_slots_or_leaves_its_section_is_refused() {
    let made = |size: u64, value: u64| {
        let mut elf = Elf::new();
        let code = elf.code("tc", &[ZERO, EXIT]);
        elf.symbol("entry", GLOBAL, FUNC, (code, value, size));
        refused(&elf)
    };
    let text = [made(24, 0), made(8, 4), made(u64::MAX, 8), made(0, 64)];
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn data_sections_are_bounded_and_never_held_before_they_are_set() {
    let mut elf = Elf::new();
    elf.bss(".bss", i32::MAX as u64);
    let object = parse(&elf);
    assert_eq!(object.maps()[0].def.value_size, i32::MAX as u32);
    assert!(object.maps()[0].data.as_ref().unwrap().bytes.is_empty());
    elf.bss(".bss.more", 1 << 40);
    let error = refused(&elf);
    assert_eq!(
        error,
        "made.o: .bss.more: the section is larger than 2 GiB, the limit of an array's value"
    );
}

#[test]
fn programs_that_share_large_functions_do_not_multiply_them() {
    // 2000 programs of two slots, all calling one function of 100,000.
    let mut elf = Elf::new();
    let text = elf.code(".text", &[&vec![ZERO; 100_000][..], &[EXIT]].concat());
    elf.symbol("large", GLOBAL, FUNC, (text, 0, 800_008));
    let large = elf.symbol("", LOCAL, SECTION, (text, 0, 0));
    let tc = elf.code("tc", &[call(-1), EXIT].repeat(2000));
    for number in 0..2000u64 {
        elf.symbol(&format!("p{number}"), GLOBAL, FUNC, (tc, number * 16, 16));
        elf.reloc(tc, number * 16, large, 10);
    }
    let object = parse(&elf);
    assert_eq!(object.programs().len(), 2000);
    let held: usize = object.programs().iter().map(|program| program.insns.len()).sum();
    assert!(held <= 4 << 20, "{held} slots");
    let last = object.programs().last().unwrap().problem.as_ref().unwrap();
    assert_eq!(
        last.to_string(),
        "made.o: .text: all programs together have more than 4194304 instructions"
    );
}

/// A hash map whose value is the type that `value` adds.
fn with_value(value: impl FnOnce(&mut Btf) -> u32) -> Result<Object, LoadError> {
    let mut btf = Btf::new();
    let int = btf.add(1, "int", 0, 4, &[1 << 24 | 32]);
    let number = |btf: &mut Btf, n: u32| {
        let array = btf.add(3, "", 0, 0, &[int, int, n]);
        btf.add(2, "", 0, array, &[])
    };
    let (one, four) = (number(&mut btf, 1), number(&mut btf, 4));
    let value = value(&mut btf);
    let value = btf.add(2, "", 0, value, &[]);
    let names = ["type", "max_entries", "key_size", "value"].map(|name| btf.name(name));
    let members: Vec<u32> = names
        .into_iter()
        .zip([one, one, four, value])
        .zip([0, 64, 128, 192])
        .flat_map(|((name, ty), at)| [name, ty, at])
        .collect();
    let definition = btf.add(4, "", 4, 32, &members);
    let var = btf.add(14, "m", 0, definition, &[1]);
    btf.add(15, ".maps", 1, 0, &[var, 0, 32]);
    let mut elf = Elf::new();
    let maps = elf.data(".maps", &[0; 32]);
    elf.symbol("m", GLOBAL, OBJECT, (maps, 0, 32));
    elf.meta(".BTF", &btf.build());
    Object::parse("made.o", &elf.build())
}

#[test]
fn special_fields_are_found_without_walking_every_path() {
    // Structs that each hold the one before twice: 2^27 paths, none of interest.
    let object = with_value(|btf| {
        let mut last = btf.add(1, "char", 0, 1, &[8]);
        for level in 1..28 {
            let size = 1u32 << level;
            let names = [btf.name("a"), btf.name("b")];
            let second = size * 4;
            last = btf.add(4, "s", 2, size, &[names[0], last, 0, names[1], last, second]);
        }
        last
    });
    assert!(object.unwrap().maps()[0].def.special.is_empty());
}

#[test]
fn too_many_special_fields_are_refused() {
    let error = with_value(|btf| {
        let lock = btf.add(4, "bpf_refcount", 0, 4, &[]);
        btf.add(3, "", 0, 0, &[lock, lock, u32::MAX / 8])
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "made.o: .maps: map `m`: its value has more than 11 special fields"
    );
}

#[test]
fn a_value_without_a_size_is_refused_by_its_type() {
    let error = with_value(|btf| btf.add(7, "later", 0, 0, &[]));
    assert_eq!(
        error.unwrap_err().to_string(),
        "made.o: .maps: map `m`: the value type `struct later` has no size"
    );
}
