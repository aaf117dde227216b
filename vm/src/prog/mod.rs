//! Program types as data: one file for each family, and the table below.

mod other;
pub(crate) mod skb;
mod tracing;
pub(crate) mod xdp;

use skep_memory::Access;

pub use skb::{SCHED_CLS, SOCKET_FILTER};
pub use tracing::SYSCALL;
pub use xdp::XDP;

/// A program type: which sections name it, what its context looks like and what its
/// return values are called.
#[derive(Debug)]
pub struct ProgType {
    /// The type's name as bpftool prints it: `xdp`, `sched_cls`, `tracepoint`.
    pub name: &'static str,
    /// `enum bpf_prog_type` of the UAPI.
    pub id: u32,
    /// Section names that libbpf gives this type: `xdp` alone, `kprobe/` followed by
    /// anything, `xdp+` alone or followed by `/` and anything (as in libbpf's
    /// `SEC_DEF`). The longest match among all types counts.
    pub sections: &'static [&'static str],
    /// What the program gets in r1.
    pub context: Context,
    /// The longest raw context in bytes.
    pub most_context: u32,
    /// Whether it may use `ld_abs` and `ld_ind` (kernel `may_access_skb`).
    pub legacy_loads: bool,
    /// The context's fields, by ascending offset.
    pub fields: &'static [Field],
    /// The names of return values, where they have some.
    pub verdicts: &'static [(u32, &'static str)],
}

/// What a program gets in r1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Bytes that the user gives; the program may read them, and write them if so said.
    Raw(Access),
    /// `struct xdp_md`, and a packet.
    Xdp,
    /// `struct __sk_buff`, and a packet that starts at the Ethernet header or behind it.
    Skb(Start),
    /// skep does not have it yet.
    Unsupported,
}

/// Where the packet of a `__sk_buff` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the Ethernet header.
    Ethernet,
    /// At the network header; the Ethernet header is hidden.
    Network,
}

/// A field of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The field's name in the UAPI; array elements as `cb[0]`.
    pub name: &'static str,
    /// Offset in bytes.
    pub offset: u32,
    /// Size in bytes: 1, 4 or 8.
    pub size: u32,
    /// What the program may do with it.
    pub access: Access,
    /// Whether the user may set it.
    pub settable: bool,
}

/// A read-only field of four bytes.
pub(crate) const fn u32_field(name: &'static str, offset: u32) -> Field {
    Field { name, offset, size: 4, access: Access::Read, settable: false }
}

impl Field {
    /// The same field, writable by the program.
    pub(crate) const fn writable(self) -> Self {
        Self { access: Access::ReadWrite, ..self }
    }

    /// The same field, settable by the user.
    pub(crate) const fn settable(self) -> Self {
        Self { settable: true, ..self }
    }

    /// The same field, out of the program's reach.
    pub(crate) const fn hidden(self) -> Self {
        Self { access: Access::None, ..self }
    }

    /// The same field with one byte.
    pub(crate) const fn byte(self) -> Self {
        Self { size: 1, ..self }
    }

    /// The same field with eight bytes.
    pub(crate) const fn wide(self) -> Self {
        Self { size: 8, ..self }
    }
}

/// All program types.
pub fn all() -> impl Iterator<Item = &'static ProgType> {
    let families = [skb::TYPES, xdp::TYPES, tracing::TYPES, other::TYPES];
    families.into_iter().flatten().copied()
}

/// The program type with this number.
#[must_use]
pub fn by_id(id: u32) -> Option<&'static ProgType> {
    all().find(|t| t.id == id)
}

/// The program type with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static ProgType> {
    all().find(|t| t.name == name)
}

/// The program type that libbpf would give a program in ELF section `section`
/// (a leading `?` is ignored), or `None`.
#[must_use]
pub fn by_section(section: &str) -> Option<&'static ProgType> {
    let section = section.trim_start_matches('?');
    let matching = all().flat_map(|t| t.sections.iter().map(move |pattern| (t, *pattern)));
    let matching = matching.filter(|(_, pattern)| matches(pattern, section));
    matching.max_by_key(|(_, pattern)| pattern.len()).map(|(t, _)| t)
}

fn matches(pattern: &str, section: &str) -> bool {
    if let Some(name) = pattern.strip_suffix('+') {
        let rest = section.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    } else if pattern.ends_with('/') {
        section.starts_with(pattern)
    } else {
        section == pattern
    }
}

impl ProgType {
    /// The name of a return value.
    #[must_use]
    pub fn verdict(&self, retval: u32) -> Option<&'static str> {
        self.verdicts.iter().find(|(value, _)| *value == retval).map(|(_, name)| *name)
    }

    /// The return value that redirects a packet, if there is one.
    #[must_use]
    pub fn redirects(&self) -> Option<u32> {
        self.verdicts.iter().find(|(_, name)| name.ends_with("_REDIRECT")).map(|(value, _)| *value)
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether programs of this type are run on packets.
    #[must_use]
    pub fn takes_packet(&self) -> bool {
        matches!(self.context, Context::Xdp | Context::Skb(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(section: &str) -> Option<&'static str> {
        by_section(section).map(|t| t.name)
    }

    #[test]
    fn sections_name_types_as_in_libbpf() {
        let cases = [
            ("xdp", Some("xdp")),
            ("xdp/foo", Some("xdp")),
            ("?xdp", Some("xdp")),
            ("xdp.frags/devmap", Some("xdp")),
            ("xdpfoo", None),
            ("tc", Some("sched_cls")),
            ("classifier", Some("sched_cls")),
            ("socket", Some("socket_filter")),
            ("socket/1", Some("socket_filter")),
            ("cgroup_skb/ingress", Some("cgroup_skb")),
            ("cgroup/skb", Some("cgroup_skb")),
            ("cgroup/connect4", Some("cgroup_sock_addr")),
            ("tracepoint/syscalls/sys_enter_execve", Some("tracepoint")),
            ("tp/sched/sched_switch", Some("tracepoint")),
            ("raw_tp/sys_enter", Some("raw_tracepoint")),
            ("kprobe/do_unlinkat", Some("kprobe")),
            ("kretprobe", Some("kprobe")),
            ("fentry.s/foo", Some("tracing")),
            ("syscall", Some("syscall")),
            ("lsm/file_open", Some("lsm")),
            ("struct_ops/init", Some("struct_ops")),
            ("maps", None),
            (".text", None),
        ];
        for (section, expected) in cases {
            assert_eq!(name(section), expected, "{section}");
        }
    }

    #[test]
    fn numbers_and_names_are_unique_and_fields_do_not_overlap() {
        for t in all() {
            assert_eq!(all().filter(|o| o.id == t.id || o.name == t.name).count(), 1, "{}", t.name);
            for pair in t.fields.windows(2) {
                assert!(pair[0].offset + pair[0].size <= pair[1].offset, "{}: {pair:?}", t.name);
            }
        }
    }
}
