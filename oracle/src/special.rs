//! Types of map values with fields that belong to the kernel.

use crate::btf::BtfWriter;
use crate::{Btf, Errno, Kernel};

/// A value with such fields, and eight bytes of the program's behind them.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// What recordings call it.
    pub name: &'static str,
    /// The fields: kind, offset and size in bytes.
    pub fields: &'static [(&'static str, u32, u32)],
    /// The value's size in bytes.
    pub size: u32,
}

/// Types of a value: the blob, the ids of key and value.
pub type Types = (Btf, u32, u32);

const fn one(name: &'static str, fields: &'static [(&'static str, u32, u32)]) -> Layout {
    let (_, offset, size) = fields[fields.len() - 1];
    let end = (offset + size).next_multiple_of(8);
    Layout { name, fields, size: end + 8 }
}

/// Those that recordings are about.
pub static LAYOUTS: &[Layout] = &[
    one("lock", &[("spin_lock", 0, 4)]),
    one("res_lock", &[("res_spin_lock", 0, 4)]),
    one("timer", &[("timer", 0, 16)]),
    one("wq", &[("wq", 0, 16)]),
    one("task_work", &[("task_work", 0, 8)]),
    one("kptr", &[("kptr", 0, 8)]),
    one("kptr_untrusted", &[("kptr_untrusted", 0, 8)]),
    one("percpu_kptr", &[("percpu_kptr", 0, 8)]),
    one("uptr", &[("uptr", 0, 8)]),
    one("list_head", &[("spin_lock", 0, 4), ("list_head", 8, 16)]),
    one("rb_root", &[("spin_lock", 0, 4), ("rb_root", 8, 16)]),
    one("refcount", &[("refcount", 0, 4)]),
    one("lock_and_timer", &[("spin_lock", 0, 4), ("timer", 8, 16)]),
    one("both_locks", &[("spin_lock", 0, 4), ("res_spin_lock", 4, 4)]),
    one("two_locks", &[("spin_lock", 0, 4), ("spin_lock", 4, 4)]),
    one("two_timers", &[("timer", 0, 16), ("timer", 16, 16)]),
    one("list_without_lock", &[("list_head", 0, 16)]),
    one("list_with_res_lock", &[("res_spin_lock", 0, 4), ("list_head", 8, 16)]),
    one("late_timer", &[("timer", 24, 16)]),
    one("two_kptrs", &[("kptr", 8, 8), ("kptr_untrusted", 24, 8)]),
    one(
        "many_kptrs",
        &[("kptr_untrusted", 0, 8), ("kptr_untrusted", 8, 8), ("kptr_untrusted", 16, 8)],
    ),
];

impl Layout {
    /// The fields as recordings have them: `KIND@OFFSET:SIZE`, apart by commas.
    #[must_use]
    pub fn text(&self) -> String {
        let fields = self.fields.iter();
        let fields = fields.map(|(kind, offset, size)| format!("{kind}@{offset}:{size}"));
        fields.collect::<Vec<_>>().join(",")
    }

    /// Its types, in the kernel.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn types(&self, kernel: &Kernel) -> Result<Types, Errno> {
        let mut types = BtfWriter::new();
        let int = types.int("int", 4);
        let long = types.int("long", 8);
        let mut members = Vec::new();
        let mut contains = Vec::new();
        for &(kind, offset, _) in self.fields {
            let id = field(&mut types, (int, long), kind);
            if let Some(tag) = root(&mut types, long, kind) {
                contains.push((tag, u32::try_from(members.len()).expect("few members")));
            }
            members.push((kind, id, offset));
        }
        members.push(("rest", long, self.size - 8));
        let value = types.structure("value", self.size, &members);
        for (tag, member) in contains {
            types.decl_tag(tag, value, member);
        }
        Ok((kernel.load_btf(&types.blob())?, int, value))
    }
}

/// The type of a field; `numbers` are `int` and `long`.
fn field(types: &mut BtfWriter, (int, long): (u32, u32), kind: &str) -> u32 {
    match kind {
        "spin_lock" | "res_spin_lock" => {
            types.structure(&format!("bpf_{kind}"), 4, &[("val", int, 0)])
        }
        "task_work" => types.structure("bpf_task_work", 8, &[("opaque", long, 0)]),
        "refcount" => types.structure("bpf_refcount", 4, &[("opaque", int, 0)]),
        "kptr" | "kptr_untrusted" => {
            let task = types.structure("task_struct", 0, &[]);
            let tagged = types.type_tag(kind, task);
            types.ptr(tagged)
        }
        "percpu_kptr" | "uptr" => {
            let own = types.structure("own", 8, &[("n", long, 0)]);
            let tagged = types.type_tag(kind, own);
            types.ptr(tagged)
        }
        _ => {
            let words = types.array(long, int, 2);
            types.structure(&format!("bpf_{kind}"), 16, &[("opaque", words, 0)])
        }
    }
}

/// What the root of a list or tree contains: the tag that says so.
fn root(types: &mut BtfWriter, long: u32, kind: &str) -> Option<&'static str> {
    let (node, size, tag) = match kind {
        "list_head" => ("bpf_list_node", 24, "contains:element:node"),
        "rb_root" => ("bpf_rb_node", 32, "contains:element:node"),
        _ => return None,
    };
    let words = types.array(long, 1, size / 8);
    let node = types.structure(node, size, &[("opaque", words, 0)]);
    types.structure("element", size + 8, &[("node", node, 0), ("n", long, size)]);
    Some(tag)
}
