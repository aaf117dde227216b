//! What may be changed between parsing and loading.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its object fails")]

mod common;

use skep_loader::{LoadError, Object};

fn object(name: &str) -> Object {
    Object::parse(name, &common::object(name)).unwrap()
}

fn text(error: &LoadError) -> String {
    format!("{error}\nhelp: {}", error.help().unwrap_or_default())
}

fn bytes_of<'a>(object: &'a Object, section: &str) -> &'a [u8] {
    let map = object.maps().iter().find(|map| map.def.name == section).unwrap();
    &map.data.as_ref().unwrap().bytes
}

#[test]
fn a_variable_of_each_section_can_be_set() {
    let mut object = object("data.o");
    object.set_global("limit", &99u32.to_le_bytes()).unwrap();
    object.set_global("tuned", &98u32.to_le_bytes()).unwrap();
    object.set_global("hits", &97u64.to_le_bytes()).unwrap();
    assert_eq!(bytes_of(&object, ".rodata")[..4], 99u32.to_le_bytes());
    assert_eq!(bytes_of(&object, ".data.tuned"), 98u32.to_le_bytes());
    assert_eq!(bytes_of(&object, ".bss")[8..], 97u64.to_le_bytes());
    assert_eq!(bytes_of(&object, ".bss")[..8], [0; 8]);
    object.set_global(".bss:quiet", &1u32.to_le_bytes()).unwrap();
    assert_eq!(bytes_of(&object, ".bss")[..4], 1u32.to_le_bytes());
}

#[test]
fn an_unknown_variable_lists_those_there_are() {
    let mut object = object("data.o");
    let error = object.set_global("limits", &[0; 4]).unwrap_err();
    insta::assert_snapshot!(text(&error));
    let error = object.set_global("limit", &[0; 8]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data.o: .rodata: global variable `limit` takes 4 bytes, 8 were given"
    );
}

#[test]
fn a_name_that_several_variables_have_must_say_its_section() {
    use common::make::{Elf, GLOBAL, LOCAL, OBJECT};
    let mut elf = Elf::new();
    let data = elf.data(".data", &[1; 4]);
    let more = elf.data(".data.more", &[2; 4]);
    elf.symbol("x", LOCAL, OBJECT, (data, 0, 4));
    elf.symbol("x", GLOBAL, OBJECT, (more, 0, 4));
    let mut object = Object::parse("made.o", &elf.build()).unwrap();
    let error = object.set_global("x", &[0; 4]).unwrap_err();
    assert_eq!(
        text(&error),
        "made.o: several global variables are called `x`\n\
         help: say which: `.data:x`, `.data.more:x`"
    );
    object.set_global(".data.more:x", &[9; 4]).unwrap();
    assert_eq!(bytes_of(&object, ".data"), [1; 4]);
    assert_eq!(bytes_of(&object, ".data.more"), [9; 4]);
}

#[test]
fn a_configuration_value_that_is_given_unblocks_its_program() {
    let mut object = object("externs.o");
    let blocked = |object: &Object| {
        let programs = object.programs().iter().filter(|program| program.problem.is_some());
        programs.map(|program| program.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(blocked(&object), ["strong_function", "strong_variable", "elsewhere", "hertz"]);
    object.set_global("CONFIG_HZ", &250u32.to_le_bytes()).unwrap();
    assert_eq!(blocked(&object), ["strong_function", "strong_variable", "elsewhere"]);
    // 6.12.0, the kernel whose behaviour this is.
    assert_eq!(bytes_of(&object, ".kconfig")[8..12], 0x0006_0c00u32.to_le_bytes());
}

#[test]
fn entries_are_set_by_name_and_rings_rounded() {
    let mut object = object("maps.o");
    object.set_max_entries("sized", 77).unwrap();
    object.set_max_entries("ring", 9000).unwrap();
    let entries =
        |name: &str| object.maps().iter().find(|map| map.def.name == name).unwrap().def.max_entries;
    assert_eq!((entries("sized"), entries("ring")), (77, 16384));
    let error = object.set_max_entries("size", 1).unwrap_err();
    insta::assert_snapshot!(text(&error));
}

#[test]
fn the_same_bytes_give_the_same_object() {
    for (name, bytes) in common::objects() {
        let describe = || match Object::parse(&name, &bytes) {
            Ok(object) => common::describe::object(&object),
            Err(error) => error.to_string(),
        };
        assert_eq!(describe(), describe(), "{name}");
    }
}

#[test]
fn an_object_may_start_at_any_address() {
    let bytes = common::object("maps.o");
    let expected = common::describe::object(&object("maps.o"));
    for shift in 1..8 {
        let mut shifted = vec![0; shift];
        shifted.extend(&bytes);
        let object = Object::parse("maps.o", &shifted[shift..]).unwrap();
        assert_eq!(common::describe::object(&object), expected);
    }
}
