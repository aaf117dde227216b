//! Which attributes `BPF_MAP_CREATE` takes.

use skep_oracle::btf::BtfWriter;
use skep_oracle::{Kernel, Map, MapSpec};

use crate::record::Record;

/// The plain map of a type, from which one attribute at a time differs.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    name: &'a str,
    plain: MapSpec<'a>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(name: &'a str, map_type: u32, key: u32, value: u32, max: u32) -> Self {
        Self { name, plain: MapSpec::new(map_type, key, value, max) }
    }

    /// The flags that a plain map has.
    pub(crate) fn flags(mut self, flags: u32) -> Self {
        self.plain = self.plain.flags(flags);
        self
    }

    pub(crate) fn inner(mut self, inner: &'a Map) -> Self {
        self.plain.inner = Some(inner);
        self
    }
}

const NUMA_NODE: u32 = 1 << 2;

/// Records the creation rules of a type.
pub(crate) fn creation(kernel: &Kernel, record: &mut Record, attributes: &Attributes<'_>) {
    record.note("creation");
    let Attributes { name, plain } = attributes;
    let mut case = |question: &str, spec: &MapSpec<'_>| {
        let answer = match kernel.create_map(spec) {
            Ok(map) => format!("ok flags={:#x}", map.info().flags),
            Err(errno) => errno.to_string(),
        };
        record.case(&format!("create {name}{question}"), &answer);
    };
    flags(plain, &mut case);
    sizes(plain, &mut case);
    types(kernel, plain, &mut case);
}

type Case<'c> = dyn FnMut(&str, &MapSpec<'_>) + 'c;

fn flags(plain: &MapSpec<'_>, case: &mut Case<'_>) {
    let question = format!(
        " key_size={} value_size={} max_entries={} flags={:#x}",
        plain.key_size, plain.value_size, plain.max_entries, plain.flags
    );
    case(&question, plain);
    let bits = (0..20).map(|bit| 1 << bit);
    for flags in bits.chain([0x18, 0x180, 0x88, 0x1 | NUMA_NODE, 0x8000_0000]) {
        let flags = flags | plain.flags;
        case(&format!(" flags={flags:#x}"), &plain.clone().flags(flags));
    }
    // A node that does not exist, heeded and unheeded.
    for flags in [plain.flags, plain.flags | NUMA_NODE] {
        let spec = MapSpec { numa_node: 1000, flags, ..plain.clone() };
        case(&format!(" flags={flags:#x} numa_node=1000"), &spec);
    }
}

fn sizes(plain: &MapSpec<'_>, case: &mut Case<'_>) {
    for key_size in [0, 1, 3, 4, 5, 8, 12, 512, 513, 1 << 22, u32::MAX] {
        case(&format!(" key_size={key_size}"), &MapSpec { key_size, ..plain.clone() });
    }
    for value_size in [0, 1, 4, 5, 8, 32_760, 32_761, 32_768, 32_769, 4_190_000, 1 << 22] {
        case(&format!(" value_size={value_size}"), &MapSpec { value_size, ..plain.clone() });
    }
    for value_size in [1 << 23, i32::MAX.cast_unsigned(), 1 << 31, u32::MAX] {
        let spec = MapSpec { value_size, max_entries: 1 << 20, ..plain.clone() };
        case(&format!(" value_size={value_size} max_entries=1048576"), &spec);
    }
    for max_entries in [0, 1, 2, 4095, 4096, 4097, 8192, 12_288] {
        case(&format!(" max_entries={max_entries}"), &MapSpec { max_entries, ..plain.clone() });
    }
    for max_entries in [(1 << 28) + 1, (1 << 31) + 1, u32::MAX] {
        let spec = MapSpec { max_entries, value_size: 1 << 20, ..plain.clone() };
        case(&format!(" max_entries={max_entries} value_size=1048576"), &spec);
    }
    for map_extra in [1, 16, 1 << 32] {
        case(&format!(" map_extra={map_extra}"), &MapSpec { map_extra, ..plain.clone() });
    }
    for name in ["", "a", "a_b.C9", "with-dash", "with space", "123456789012345"] {
        case(&format!(" name={name:?}"), &MapSpec { name, ..plain.clone() });
    }
    case(" name=\"1234567890123456\"", &MapSpec { name: "1234567890123456", ..plain.clone() });
}

/// Types of keys and values, and types that do not fit.
fn types(kernel: &Kernel, plain: &MapSpec<'_>, case: &mut Case<'_>) {
    let mut types = BtfWriter::new();
    let int = types.int("int", 4);
    let long = types.int("long", 8);
    let lock = types.structure("bpf_spin_lock", 4, &[("val", int, 0)]);
    let locked = types.structure("locked", 8, &[("lock", lock, 0), ("n", int, 4)]);
    let btf = kernel.load_btf(&types.blob()).unwrap();
    let sorts = [("void", 0), ("int", int), ("long", long), ("locked", locked), ("missing", 99)];
    for (key, value) in [
        ("int", "long"),
        ("int", "void"),
        ("void", "long"),
        ("void", "void"),
        ("void", "int"),
        ("int", "int"),
        ("long", "long"),
        ("int", "locked"),
        ("void", "locked"),
        ("missing", "long"),
        ("int", "missing"),
    ] {
        let id = |name| sorts.iter().find(|(n, _)| *n == name).map_or(0, |(_, id)| *id);
        let question = format!(" key_type={key} value_type={value}");
        case(&question, &plain.clone().btf(&btf, id(key), id(value)));
        if value == "locked" {
            let flags = plain.flags | 0x80;
            let question = format!("{question} flags={flags:#x}");
            case(&question, &plain.clone().btf(&btf, id(key), id(value)).flags(flags));
        }
    }
}
