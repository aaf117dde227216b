//! Why an object, or one program of it, cannot be loaded.
//!
//! Every message starts with the place (object, section, offset) and ends with
//! the cause; [`LoadError::help`] is the next step.

use std::fmt;

use thiserror::Error;

/// A place in an object file.
///
/// Prints as `xdp_fw.o: xdp+0x38`, leaving out what is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Site(Box<Place>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Place {
    object: String,
    section: String,
    offset: Option<u64>,
}

impl Site {
    /// A whole section, or the whole object when `section` is empty.
    pub(crate) fn section(section: &str) -> Self {
        Self(Box::new(Place { object: String::new(), section: section.to_owned(), offset: None }))
    }

    /// A byte of a section.
    pub(crate) fn at(section: &str, offset: u64) -> Self {
        let mut site = Self::section(section);
        site.0.offset = Some(offset);
        site
    }

    /// The name that the object was parsed under; empty when only BTF was parsed.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.0.object
    }

    /// The ELF section; empty when the problem is with the file as a whole.
    #[must_use]
    pub fn section_name(&self) -> &str {
        &self.0.section
    }

    /// The offset in the section, in bytes.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { object, section, offset } = &*self.0;
        f.write_str(object)?;
        if !object.is_empty() && !section.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(section)?;
        match offset {
            Some(offset) if section.is_empty() => write!(f, ": offset {offset:#x}"),
            Some(offset) => write!(f, "+{offset:#x}"),
            None if object.is_empty() && section.is_empty() => f.write_str("object"),
            None => Ok(()),
        }
    }
}

/// What [`Object::parse`](crate::Object::parse) and the calls after it refuse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not a relocatable BPF object.
    #[error("{site}: not a BPF object: {reason}")]
    NotBpf {
        /// The object.
        site: Site,
        /// What was found instead.
        reason: Box<str>,
    },
    /// An ELF table, section or symbol contradicts the file.
    #[error("{site}: malformed ELF: {reason}")]
    Elf {
        /// Where the contradiction stands.
        site: Site,
        /// What is wrong.
        reason: Box<str>,
    },
    /// `.BTF` or `.BTF.ext` is malformed.
    #[error("{site}: malformed BTF: {reason}")]
    Btf {
        /// The byte of the section.
        site: Site,
        /// What is wrong.
        reason: Box<str>,
    },
    /// A map definition cannot be understood or contradicts itself.
    #[error("{site}: map `{map}`: {reason}")]
    Map {
        /// The map's section.
        site: Site,
        /// The map.
        map: Box<str>,
        /// What is wrong.
        reason: Box<str>,
    },
    /// A data section cannot become a map.
    #[error("{site}: {reason}")]
    Data {
        /// The section.
        site: Site,
        /// What is wrong.
        reason: Box<str>,
    },
    /// Code that is not a whole number of instructions, or leaves its function.
    #[error("{site}: {reason}")]
    Code {
        /// The instruction.
        site: Site,
        /// What is wrong.
        reason: Box<str>,
    },
    /// A relocation that nothing in the object can satisfy.
    #[error("{site}: relocation {kind} against `{symbol}`: {reason}")]
    Relocation {
        /// The instruction or datum to be relocated.
        site: Site,
        /// The relocation type, by name.
        kind: &'static str,
        /// The symbol, or the section for a section symbol.
        symbol: Box<str>,
        /// Why it cannot be resolved.
        reason: Box<str>,
    },
    /// A strong symbol that is not defined in the object.
    #[error("{site}: {what} `{symbol}` is not defined in the object")]
    Undefined {
        /// The instruction that needs it.
        site: Site,
        /// `function`, `variable` or `kernel configuration value`.
        what: &'static str,
        /// The symbol.
        symbol: Box<str>,
    },
    /// A program that needs a CO-RE relocation against a target's types.
    #[error(
        "{site}: CO-RE relocations are not supported yet: `{kind}` of `{root}` ({access}) at insn {insn}"
    )]
    Core {
        /// The instruction in its section.
        site: Site,
        /// The kind, as `bpf_core_relo_kind` spells it.
        kind: &'static str,
        /// The root type.
        root: Box<str>,
        /// The access string.
        access: Box<str>,
        /// The instruction in the linked program, in slots.
        insn: u32,
    },
    /// A limit that protects the reader from hostile objects.
    #[error("{site}: {reason}")]
    Limit {
        /// What exceeds it.
        site: Site,
        /// Which limit, and by how much.
        reason: Box<str>,
    },
    /// A map name that the object does not have.
    #[error("{site}: no map `{name}`")]
    NoMap {
        /// The object.
        site: Site,
        /// The name asked for.
        name: Box<str>,
        /// The maps there are, separated by commas.
        have: Box<str>,
    },
    /// A global variable that the object does not have.
    #[error("{site}: no global variable `{name}`")]
    NoGlobal {
        /// The object.
        site: Site,
        /// The name asked for.
        name: Box<str>,
        /// The variables there are, separated by commas.
        have: Box<str>,
    },
    /// Several variables of one name.
    #[error("{site}: several global variables are called `{name}`")]
    AmbiguousGlobal {
        /// The object.
        site: Site,
        /// The name asked for.
        name: Box<str>,
        /// The candidates, as `section:name`.
        have: Box<str>,
    },
    /// A value of the wrong size for a variable.
    #[error("{site}: global variable `{name}` takes {want} bytes, {got} were given")]
    GlobalSize {
        /// The variable's section.
        site: Site,
        /// The variable.
        name: Box<str>,
        /// Its size in bytes.
        want: u32,
        /// The size of the value in bytes.
        got: usize,
    },
}

impl LoadError {
    /// The place the message starts with.
    #[must_use]
    pub fn site(&self) -> &Site {
        match self {
            Self::NotBpf { site, .. }
            | Self::Elf { site, .. }
            | Self::Btf { site, .. }
            | Self::Map { site, .. }
            | Self::Data { site, .. }
            | Self::Code { site, .. }
            | Self::Relocation { site, .. }
            | Self::Undefined { site, .. }
            | Self::Core { site, .. }
            | Self::Limit { site, .. }
            | Self::NoMap { site, .. }
            | Self::NoGlobal { site, .. }
            | Self::AmbiguousGlobal { site, .. }
            | Self::GlobalSize { site, .. } => site,
        }
    }

    /// The next step for the person who sees the message, where there is one.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotBpf { .. } => "compile with `clang -O2 -g -target bpf -c`".to_owned(),
            Self::Elf { .. } => "the file looks damaged; compile or copy it again".to_owned(),
            Self::Btf { .. } => {
                "compile it again, or drop the section with `llvm-objcopy -R .BTF -R .BTF.ext`"
                    .to_owned()
            }
            Self::Undefined { what: "function", symbol, .. } => format!(
                "define `{symbol}`, mark it `__always_inline`, or declare it `__weak` and test it \
                 for null"
            ),
            Self::Undefined { what: KCONFIG, symbol, .. } => {
                format!("give it a value with `--global {symbol}=VALUE`")
            }
            Self::Undefined { symbol, .. } => {
                format!("define `{symbol}`, or declare it `__weak` and test it for null")
            }
            Self::Core { .. } => {
                "compile against fixed types, without `preserve_access_index`".to_owned()
            }
            Self::NoMap { have, .. } if have.is_empty() => "the object has no maps".to_owned(),
            Self::NoMap { have, .. } => format!("its maps are {have}"),
            Self::NoGlobal { have, .. } if have.is_empty() => {
                "the object has no global variables".to_owned()
            }
            Self::NoGlobal { have, .. } => format!("its variables are {have}"),
            Self::AmbiguousGlobal { have, .. } => format!("say which: {have}"),
            Self::Map { .. }
            | Self::Data { .. }
            | Self::Code { .. }
            | Self::Relocation { .. }
            | Self::Limit { .. }
            | Self::GlobalSize { .. } => return None,
        })
    }

    /// Names the object in the message.
    pub(crate) fn in_object(mut self, object: &str) -> Self {
        let site = match &mut self {
            Self::NotBpf { site, .. }
            | Self::Elf { site, .. }
            | Self::Btf { site, .. }
            | Self::Map { site, .. }
            | Self::Data { site, .. }
            | Self::Code { site, .. }
            | Self::Relocation { site, .. }
            | Self::Undefined { site, .. }
            | Self::Core { site, .. }
            | Self::Limit { site, .. }
            | Self::NoMap { site, .. }
            | Self::NoGlobal { site, .. }
            | Self::AmbiguousGlobal { site, .. }
            | Self::GlobalSize { site, .. } => site,
        };
        object.clone_into(&mut site.0.object);
        self
    }

    pub(crate) fn elf(site: Site, reason: impl Into<Box<str>>) -> Self {
        Self::Elf { site, reason: reason.into() }
    }

    pub(crate) fn map(section: &str, map: &str, reason: impl Into<Box<str>>) -> Self {
        Self::Map { site: Site::section(section), map: map.into(), reason: reason.into() }
    }

    pub(crate) fn limit(site: Site, reason: impl Into<Box<str>>) -> Self {
        Self::Limit { site, reason: reason.into() }
    }
}

/// How [`LoadError::Undefined`] calls an `extern … __kconfig` variable.
pub(crate) const KCONFIG: &str = "kernel configuration value";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_small_enough_to_return_by_value() {
        assert!(size_of::<LoadError>() <= 64, "{}", size_of::<LoadError>());
    }

    #[test]
    fn a_place_leaves_out_what_is_unknown() {
        assert_eq!(Site::default().to_string(), "object");
        assert_eq!(Site::at("xdp", 0x38).to_string(), "xdp+0x38");
        let error = LoadError::elf(Site::section(""), "truncated").in_object("a.o");
        assert_eq!(error.to_string(), "a.o: malformed ELF: truncated");
        let error = LoadError::elf(Site::at("", 16), "truncated").in_object("a.o");
        assert_eq!(error.to_string(), "a.o: offset 0x10: malformed ELF: truncated");
        let error = LoadError::elf(Site::at("xdp", 16), "truncated").in_object("a.o");
        assert_eq!(error.to_string(), "a.o: xdp+0x10: malformed ELF: truncated");
    }
}
