//! BTF: what values look like through it, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot make its BTF fails")]

mod common;

use common::make;
use skep_loader::btf::{Btf, BtfExt, Shape, Type, TypeId};
use skep_loader::{Endian, Object};

fn object_btf(name: &str) -> std::sync::Arc<Btf> {
    let object = Object::parse(name, &common::object(name)).unwrap();
    std::sync::Arc::clone(object.btf().unwrap())
}

/// The members of `struct everything`: name, place and type.
fn layout(btf: &Btf) -> String {
    let (id, _) = btf.by_name("everything").next().unwrap();
    let members = btf.view(id).members().map(|member| {
        let bits = member.bits.map(|bits| format!(" : {bits}")).unwrap_or_default();
        format!("{:4} {} {}{bits}", member.bit_offset, member.view.c_name(), member.name)
    });
    members.collect::<Vec<_>>().join("\n")
}

#[test]
fn members_have_places_types_and_widths() {
    insta::assert_snapshot!(layout(&object_btf("types.o")));
}

#[test]
fn a_value_reads_the_same_in_both_byte_orders() {
    let fields: &[(&str, &[u8])] = &[
        ("flag", &[1]),
        ("text", b"hey\0\0"),
        ("small", &[0xfe]),
        ("byte", &[200]),
        ("half", &[0xff, 0xfb]),
        ("id", &[0, 0, 1, 0]),
        ("large", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0]),
        ("colour", &[0, 0, 0, 5]),
        ("wide", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
        ("f", &[0x3f, 0xc0, 0, 0]),
        ("d", &[0x40, 0x04, 0, 0, 0, 0, 0, 0]),
    ];
    let mut texts = Vec::new();
    for name in ["types.o", "types-eb.o"] {
        let btf = object_btf(name);
        let (id, _) = btf.by_name("everything").next().unwrap();
        let view = btf.view(id);
        let mut bytes = vec![0; usize::try_from(view.size().unwrap()).unwrap()];
        for (name, value) in fields {
            let member = view.members().find(|member| member.name == *name).unwrap();
            let mut value = value.to_vec();
            if btf.endian() == Endian::Little && *name != "text" {
                value.reverse();
            }
            let at = member.offset() as usize;
            bytes[at..at + value.len()].copy_from_slice(&value);
        }
        texts.push(common::describe::value(view, &bytes));
    }
    assert_eq!(texts[0], texts[1]);
    insta::assert_snapshot!(texts[0]);
}

#[test]
fn bitfields_are_read_by_bits() {
    let btf = object_btf("types.o");
    let (id, _) = btf.by_name("everything").next().unwrap();
    let view = btf.view(id);
    let low = view.members().find(|member| member.name == "low").unwrap();
    let mut bytes = vec![0; usize::try_from(view.size().unwrap()).unwrap()];
    // low = 5 in 3 bits, middle = -3 in the 7 bits after it.
    let word = 5u64 | (128 - 3) << 3;
    let at = (low.bit_offset / 8) as usize;
    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    let text = common::describe::value(view, &bytes);
    assert!(text.contains("low: 5, middle: -3, high: 0"), "{text}");
}

#[test]
fn types_are_spelled_as_in_c() {
    let btf = object_btf("types.o");
    let (id, _) = btf.by_name("node").next().unwrap();
    let names: Vec<_> = btf.view(id).members().map(|member| member.view.c_name()).collect();
    assert_eq!(names, ["struct node *", "callback_t"]);
    let (_, callback) = btf.by_name("callback_t").next().unwrap();
    assert_eq!(btf.c_name(callback.alias_of().unwrap()), "int (*)()");
    assert_eq!(btf.c_name(TypeId::VOID), "void");
    let tags: Vec<_> = btf.types().filter(|(_, ty)| matches!(ty, Type::DeclTag { .. })).collect();
    assert_eq!(btf.str(tags[0].1.name()), "comment:tag");
}

#[test]
fn every_kind_is_read() {
    let mut kinds = std::collections::BTreeSet::new();
    for (_, bytes) in common::objects() {
        let Ok(object) = Object::parse("any.o", &bytes) else {
            continue;
        };
        for (_, ty) in object.btf().iter().flat_map(|btf| btf.types()) {
            let debug = format!("{ty:?}");
            let kind = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
            kinds.insert(match ty {
                Type::Enum(e) if e.wide => "Enum64".to_owned(),
                _ => kind,
            });
        }
    }
    // No compiler writes `Restrict` unless a prototype has it.
    let missing: Vec<_> = [
        "Array",
        "Const",
        "Datasec",
        "DeclTag",
        "Enum",
        "Enum64",
        "Float",
        "Func",
        "FuncProto",
        "Fwd",
        "Int",
        "Ptr",
        "Restrict",
        "Struct",
        "TypeTag",
        "Typedef",
        "Union",
        "Var",
        "Volatile",
        "Void",
    ]
    .into_iter()
    .filter(|kind| !kinds.contains(*kind))
    .collect();
    assert!(missing.is_empty(), "no object has {missing:?}");
}

fn refused(btf: &make::Btf) -> String {
    Btf::parse(&btf.build()).unwrap_err().to_string()
}

#[test]
fn types_that_contain_or_name_themselves_are_refused() {
    let mut texts = Vec::new();
    // typedef t -> const -> t
    let mut btf = make::Btf::new();
    btf.add(8, "t", 0, 2, &[]);
    btf.add(10, "", 0, 1, &[]);
    texts.push(refused(&btf));
    // A pointer to itself.
    let mut btf = make::Btf::new();
    btf.add(2, "", 0, 1, &[]);
    texts.push(refused(&btf));
    // struct s { struct s inner; }
    let mut btf = make::Btf::new();
    let name = btf.name("inner");
    btf.add(4, "s", 1, 4, &[name, 1, 0]);
    texts.push(refused(&btf));
    // An array of itself.
    let mut btf = make::Btf::new();
    btf.add(3, "", 0, 0, &[1, 1, 2]);
    texts.push(refused(&btf));
    // Two structs in each other.
    let mut btf = make::Btf::new();
    let name = btf.name("m");
    btf.add(4, "a", 1, 4, &[name, 2, 0]);
    btf.add(4, "b", 1, 4, &[name, 1, 0]);
    texts.push(refused(&btf));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn a_struct_may_point_to_itself() {
    let mut btf = make::Btf::new();
    let name = btf.name("next");
    btf.add(4, "s", 1, 8, &[name, 2, 0]);
    btf.add(2, "", 0, 1, &[]);
    let btf = Btf::parse(&btf.build()).unwrap();
    assert_eq!(btf.c_name(TypeId(2)), "struct s *");
    assert_eq!(btf.size_of(TypeId(1)), Some(8));
}

#[test]
fn deep_nesting_is_refused_without_deep_recursion() {
    let mut btf = make::Btf::new();
    btf.add(1, "int", 0, 4, &[32]);
    let name = btf.name("m");
    for inner in 1..100_000 {
        btf.add(4, "s", 1, 4, &[name, inner, 0]);
    }
    assert_eq!(refused(&btf), ".BTF+0x628: malformed BTF: type 66: it nests deeper than 64 levels");
    let mut btf = make::Btf::new();
    btf.add(1, "int", 0, 4, &[32]);
    for inner in 1..100_000 {
        btf.add(2, "", 0, inner, &[]);
    }
    assert_eq!(
        refused(&btf),
        ".BTF+0x328: malformed BTF: type 66: its chain of types is circular or too long"
    );
}

#[test]
fn tables_that_lead_nowhere_are_refused() {
    let mut texts = Vec::new();
    let good = {
        let mut btf = make::Btf::new();
        btf.add(1, "int", 0, 4, &[32]);
        btf.build()
    };
    assert!(Btf::parse(&good).is_ok());
    for (at, word) in [(0, 0), (4, 8), (8, 0x7fff_fff0), (12, u32::MAX), (16, 3), (20, 0)] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
        texts.push(Btf::parse(&bytes).unwrap_err().to_string());
    }
    let one = |add: &dyn Fn(&mut make::Btf) -> u32| {
        let mut btf = make::Btf::new();
        add(&mut btf);
        refused(&btf)
    };
    texts.push(one(&|btf| btf.add(4, "s", 0xffff, 4, &[])));
    texts.push(one(&|btf| btf.raw(0x1000, 1 << 24, 4, &[32])));
    texts.push(one(&|btf| btf.add(2, "", 0, 7, &[])));
    texts.push(one(&|btf| btf.add(1, "int", 0, 3, &[24])));
    texts.push(one(&|btf| btf.add(1, "int", 0, 4, &[33])));
    texts.push(one(&|btf| btf.add(20, "new", 0, 0, &[])));
    texts.push(one(&|btf| btf.add(12, "f", 1, 0, &[])));
    texts.push(one(&|btf| btf.add(14, "v", 0, 0, &[9])));
    texts.push(one(&|btf| btf.add(16, "half", 0, 3, &[])));
    texts.push(one(&|btf| btf.add(6, "e", 0, 3, &[])));
    texts.push(one(&|btf| btf.add(15, ".data", 1, 4, &[0, 0, 4])));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn names_that_are_too_long_or_overlap_too_much_are_refused() {
    // 20,000 types whose names are the ends of one string of 4000 bytes.
    let mut btf = make::Btf::new();
    let start = btf.name(&"n".repeat(4000));
    for n in 0..20_000 {
        btf.raw(start + n % 4000, 7 << 24, 0, &[]);
    }
    let error = refused(&btf);
    assert!(error.ends_with("the names of types overlap"), "{error}");
    // One longer than any name is.
    let mut btf = make::Btf::new();
    let start = btf.name(&"n".repeat(5000));
    btf.raw(start, 7 << 24, 0, &[]);
    assert_eq!(refused(&btf), ".BTF+0x18: malformed BTF: a name is longer than 4096 bytes");
}

#[test]
fn arrays_of_arrays_do_not_overflow_their_size() {
    let mut btf = make::Btf::new();
    btf.add(1, "int", 0, 4, &[32]);
    for element in 1..6 {
        btf.add(3, "", 0, 0, &[element, 1, u32::MAX]);
    }
    let btf = Btf::parse(&btf.build()).unwrap();
    assert_eq!(btf.size_of(TypeId(2)), Some(4 * u64::from(u32::MAX)));
    assert_eq!(btf.size_of(TypeId(6)), None);
    assert!(matches!(btf.view(TypeId(6)).shape(), Shape::Array { len: u32::MAX, .. }));
}

/// A `.BTF.ext` with a header of `len` bytes and a table of one line whose records
/// have `record` bytes.
fn ext(len: u32, record: u32) -> Vec<u8> {
    let table: Vec<u32> = [record, 1, 1, 8, 1, 1, 7 << 10 | 3]
        .into_iter()
        .chain(std::iter::repeat_n(0xdead, (record as usize - 16) / 4))
        .collect();
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let size = u32::try_from(table.len() * 4).unwrap();
    for word in [len, 0, 0, 0, size] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.resize(len as usize, 0);
    bytes.extend(table.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

#[test]
fn headers_and_records_of_every_length_are_read() {
    let mut btf = make::Btf::new();
    btf.name("tc");
    let btf = Btf::parse(&btf.build()).unwrap();
    for (len, record) in [(24, 16), (32, 16), (40, 16), (64, 24)] {
        let ext = BtfExt::parse(&ext(len, record), &btf).unwrap();
        assert_eq!(ext.lines[0].records.len(), 1);
        let line = ext.lines[0].records[0];
        assert_eq!((line.offset, line.line, line.column), (8, 7, 3));
        assert_eq!(btf.str(ext.lines[0].section), "tc");
    }
}

#[test]
fn tables_of_btf_ext_that_lead_nowhere_are_refused() {
    let mut btf = make::Btf::new();
    btf.name("tc");
    let btf = Btf::parse(&btf.build()).unwrap();
    let good = ext(24, 16);
    let texts: Vec<String> =
        [(4, 8), (16, 1000), (20, 0x7fff_ffff), (24, 4), (28, 99), (32, u32::MAX), (40, 77)]
            .into_iter()
            .map(|(at, word)| {
                let mut bytes = good.clone();
                bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
                BtfExt::parse(&bytes, &btf).unwrap_err().to_string()
            })
            .collect();
    insta::assert_snapshot!(texts.join("\n"));
}
