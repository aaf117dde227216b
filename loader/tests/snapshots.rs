//! What is read out of each object beside these tests, as text.

mod common;

use skep_loader::Object;

fn check(name: &str) {
    let text = match Object::parse(name, &common::object(name)) {
        Ok(object) => common::describe::object(&object),
        Err(error) => format!("{error}\n"),
    };
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name.trim_end_matches(".o"), text);
    });
}

macro_rules! snapshots {
    ($($test:ident $name:literal;)*) => {
        $(#[test]
        fn $test() {
            check($name);
        })*
    };
}

snapshots! {
    every_key_of_a_map_definition_is_read "maps.o";
    big_endian_maps_read_the_same "maps-eb.o";
    conflicting_key_sizes_are_refused "conflict.o";
    legacy_definitions_of_each_size_are_read "legacy.o";
    functions_are_linked_in_order_of_use "funcs.o";
    version_1_code_links_too "funcs-v1.o";
    version_4_code_links_too "funcs-v4.o";
    big_endian_code_links_too "funcs-eb.o";
    map_definitions_without_btf_are_refused "nobtf.o";
    variables_have_places_and_types "data.o";
    without_btf_variables_have_places "data-g0.o";
    undefined_symbols_concern_their_programs_only "externs.o";
    core_relocations_are_refused_by_name "core.o";
    one_function_in_text_is_a_program "text.o";
    what_gcc_adds_to_instructions_is_taken_off "gcc.o";
    code_without_symbols_is_named_by_its_section "stripped.o";
}
