//! Objects made to take long or hold much: each costs no more than its size.
//!
//! The tests have no clock. An algorithm that takes quadratic time on one of these
//! takes minutes, which nobody overlooks.

#![allow(clippy::unwrap_used, reason = "a test that cannot make its object fails")]

mod common;

use common::make::{Btf, EXIT, Elf, FUNC, GLOBAL, LOCAL, NOTYPE, OBJECT, SECTION, ZERO, call};
use skep_loader::Object;

/// More than any real object has of anything, and what 16 bits can count.
const MANY: usize = 60_000;

fn parse(elf: &Elf) -> Result<Object, String> {
    Object::parse("hostile.o", &elf.build()).map_err(|error| error.to_string())
}

#[test]
fn functions_that_overlap() {
    let mut elf = Elf::new();
    let tc = elf.code("tc", &[ZERO, EXIT].repeat(MANY));
    let size = MANY as u64 * 16;
    for at in 0..MANY as u64 {
        elf.symbol("f", GLOBAL, FUNC, (tc, at * 16, size - at * 16));
    }
    let error = parse(&elf).unwrap_err();
    assert_eq!(error, "hostile.o: tc+0x0: function `f` overlaps the one after it");
}

#[test]
fn functions_that_all_call_each_other() {
    let mut elf = Elf::new();
    let tc = elf.code("tc", &[call(-1), EXIT].repeat(MANY));
    let section = elf.symbol("", LOCAL, SECTION, (tc, 0, 0));
    for at in 0..MANY as u64 {
        elf.symbol("f", GLOBAL, FUNC, (tc, at * 16, 16));
        elf.reloc(tc, at * 16, section, 10);
    }
    let object = parse(&elf).unwrap();
    assert_eq!(object.programs().len(), MANY);
}

#[test]
fn a_chain_of_calls_as_long_as_the_object() {
    // Each function calls the next, which has not been relocated.
    let mut elf = Elf::new();
    let tc = elf.code("tc", &[call(1), EXIT].repeat(MANY));
    for at in 0..MANY as u64 {
        elf.symbol("f", if at == 0 { GLOBAL } else { LOCAL }, FUNC, (tc, at * 16, 16));
    }
    let object = parse(&elf).unwrap();
    assert_eq!(object.programs().len(), 1);
    assert_eq!(object.programs()[0].funcs.len(), MANY);
    let problem = object.programs()[0].problem.as_ref().unwrap().to_string();
    assert_eq!(
        problem,
        format!("hostile.o: tc+{:#x}: the call leads to no function", (MANY - 1) * 16)
    );
}

#[test]
fn undefined_symbols_and_types_of_one_name() {
    let mut btf = Btf::new();
    let name = btf.name("same");
    for _ in 0..MANY {
        btf.raw(name, 7 << 24, 0, &[]);
    }
    let mut elf = Elf::new();
    elf.meta(".BTF", &btf.build());
    let tc = elf.code("tc", &[ZERO, EXIT].repeat(MANY));
    for at in 0..MANY as u64 {
        elf.symbol("same", GLOBAL, NOTYPE, (0, 0, 0));
        elf.symbol("same", GLOBAL, FUNC, (tc, at * 16, 16));
    }
    let object = parse(&elf).unwrap();
    assert_eq!(object.externs().len(), MANY);
    assert_eq!(object.programs().len(), MANY);
}

#[test]
fn data_sections_of_one_name() {
    let mut btf = Btf::new();
    let int = btf.add(1, "int", 0, 4, &[32]);
    let words: Vec<u32> = (0..MANY).flat_map(|_| [btf.add(14, "v", 0, int, &[1]), 0, 4]).collect();
    btf.add(15, ".data", u32::try_from(MANY).unwrap(), 0, &words);
    let mut elf = Elf::new();
    elf.meta(".BTF", &btf.build());
    for _ in 0..4000 {
        let data = elf.data(".data", &[0; 16]);
        elf.symbol("v", GLOBAL, OBJECT, (data, 0, 4));
    }
    assert_eq!(parse(&elf).unwrap().maps().len(), 4000);
    for _ in 0..4000 {
        elf.data(".data", &[0; 16]);
    }
    assert_eq!(parse(&elf).unwrap_err(), "hostile.o: .data: more than 4096 maps in the object");
}

#[test]
fn lines_and_sections_of_btf_ext_without_end() {
    let mut btf = Btf::new();
    btf.name("tc");
    let line = [0u32, 1, 1, 1 << 10];
    let table: Vec<u32> = [16, 1, u32::try_from(MANY).unwrap()]
        .into_iter()
        .chain(line.into_iter().cycle().take(MANY * 4))
        .collect();
    let with = |table: &[u32]| {
        let mut ext = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, 0, 0, u32::try_from(table.len() * 4).unwrap()].iter().chain(table) {
            ext.extend(word.to_le_bytes());
        }
        let mut elf = Elf::new();
        elf.meta(".BTF", &btf.build());
        elf.meta(".BTF.ext", &ext);
        // Every program shares the function that has all the lines.
        let tc = elf.code("tc", &[&[ZERO, EXIT][..], &[call(-1), EXIT].repeat(MANY / 10)].concat());
        elf.symbol("shared", LOCAL, FUNC, (tc, 0, 16));
        let section = elf.symbol("", LOCAL, SECTION, (tc, 0, 0));
        for at in 1..=MANY as u64 / 10 {
            elf.symbol("f", GLOBAL, FUNC, (tc, at * 16, 16));
            elf.reloc(tc, at * 16, section, 10);
        }
        parse(&elf)
    };
    let object = with(&table).unwrap();
    assert!(object.programs().iter().all(|program| program.lines.len() == 1));
    let empty: Vec<u32> = [16].into_iter().chain([1, 0].repeat(MANY)).collect();
    let error = with(&empty).unwrap_err();
    assert!(error.ends_with("the table is about more than 4096 sections"), "{error}");
}

#[test]
fn names_that_share_their_bytes() {
    let mut elf = Elf::new();
    let long = "n".repeat(4000);
    elf.symbol(&long, GLOBAL, NOTYPE, (0, 0, 0));
    for _ in 0..MANY {
        elf.symbol("", GLOBAL, NOTYPE, (0, 0, 0));
    }
    let mut bytes = elf.build();
    // The symbol table follows the header: all symbols get the name of the first.
    let name: [u8; 4] = bytes[64 + 24..64 + 28].try_into().unwrap();
    for at in 2..MANY + 2 {
        bytes[64 + at * 24..64 + at * 24 + 4].copy_from_slice(&name);
    }
    let error = Object::parse("hostile.o", &bytes).unwrap_err().to_string();
    assert!(error.contains("symbol name"), "{error}");
}
