//! `.BTF.ext`: which type a function has, which source line an instruction comes
//! from, and which instructions depend on a kernel's layout.
//!
//! Compilers have written headers of 24, 32 and (clang 9) 40 bytes; what a longer
//! header or record adds is skipped.

use crate::bytes::Endian;
use crate::error::{LoadError, Site};

use super::Btf;
use super::header::magic;
use super::parse::MAX_NAME;
use super::types::{Str, TypeId};

/// Most sections that one table is about. The largest known object has 120.
const MAX_SECTIONS: usize = 4096;

/// A parsed `.BTF.ext` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BtfExt {
    /// Functions by section.
    pub funcs: Vec<ExtSection<FuncInfo>>,
    /// Source lines by section.
    pub lines: Vec<ExtSection<LineInfo>>,
    /// CO-RE relocations by section.
    pub core: Vec<ExtSection<CoreRelo>>,
}

/// The records about one ELF section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtSection<T> {
    /// The section's name.
    pub section: Str,
    /// The records in file order.
    pub records: Vec<T>,
}

/// The type of a function (`struct bpf_func_info`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FuncInfo {
    /// Where it starts in its section, in bytes.
    pub offset: u32,
    /// A [`Type::Func`](super::Type::Func).
    pub type_id: TypeId,
}

/// The source line of an instruction and those after it (`struct bpf_line_info`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineInfo {
    /// The instruction's place in its section, in bytes.
    pub offset: u32,
    /// The source file.
    pub file: Str,
    /// The line's text.
    pub text: Str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0 when not known.
    pub column: u32,
}

/// A CO-RE relocation (`struct bpf_core_relo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreRelo {
    /// The instruction's place in its section, in bytes.
    pub offset: u32,
    /// The root type of the access.
    pub type_id: TypeId,
    /// The access string: `0:1:2`.
    pub access: Str,
    /// What the instruction wants to know.
    pub kind: CoreKind,
}

macro_rules! core_kinds {
    ($($number:literal $kind:ident $name:literal $doc:literal;)*) => {
        /// What a CO-RE relocation asks about (`enum bpf_core_relo_kind`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum CoreKind {
            $(#[doc = $doc] $kind,)*
            /// A kind that later compilers have added.
            Unknown(u32),
        }

        impl CoreKind {
            /// The kind with that number.
            #[must_use]
            pub fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$kind,)*
                    other => Self::Unknown(other),
                }
            }

            /// The kind as the kernel and libbpf spell it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                    Self::Unknown(_) => "unknown",
                }
            }
        }
    };
}

core_kinds! {
    0 FieldByteOffset "byte_off" "A field's offset in bytes.";
    1 FieldByteSize "byte_sz" "A field's size in bytes.";
    2 FieldExists "field_exists" "Whether the field exists.";
    3 FieldSigned "signed" "Whether the field is signed.";
    4 FieldLshift "lshift_u64" "How far to shift a bitfield left.";
    5 FieldRshift "rshift_u64" "How far to shift a bitfield right.";
    6 TypeIdLocal "local_type_id" "The type's number in the object's own BTF.";
    7 TypeIdTarget "target_type_id" "The type's number in the target's BTF.";
    8 TypeExists "type_exists" "Whether the type exists.";
    9 TypeSize "type_size" "The type's size in bytes.";
    10 EnumvalExists "enumval_exists" "Whether the constant exists.";
    11 EnumvalValue "enumval_value" "The constant's value.";
    12 TypeMatches "type_matches" "Whether the type has the same layout.";
}

impl BtfExt {
    /// Parses a `.BTF.ext` section, whose names and types are those of `btf`.
    ///
    /// # Errors
    /// [`LoadError::Btf`] when a table leads out of the section or names a string or
    /// type that `btf` does not have.
    pub fn parse(bytes: &[u8], btf: &Btf) -> Result<Self, LoadError> {
        let endian = magic(bytes).ok_or_else(|| error(0, "no BTF magic number"))?;
        if endian != btf.endian() {
            return Err(error(0, "the byte order differs from that of `.BTF`"));
        }
        let word = |at| endian.u32(bytes, at).ok_or_else(|| error(at, "truncated header"));
        let header_len = word(4)?;
        if header_len < 24 {
            return Err(error(4, "the header is shorter than 24 bytes"));
        }
        let area = |at: usize| {
            let (offset, len) = (word(at)?, word(at + 4)?);
            let start = u64::from(header_len) + u64::from(offset);
            let (start, end) = (usize::try_from(start), usize::try_from(start + u64::from(len)));
            let (Ok(start), Ok(end)) = (start, end) else {
                return Err(error(at, "the table leads out of the section"));
            };
            // An absent table may be said to start anywhere.
            match bytes.get(..end).filter(|_| len > 0) {
                Some(bytes) => Ok(Some(Table { endian, btf, bytes, at: start })),
                None if len == 0 => Ok(None),
                None => Err(error(at, "the table leads out of the section")),
            }
        };
        let mut ext = Self::default();
        if let Some(table) = area(8)? {
            ext.funcs = table.sections(8, |t, at| {
                Some(FuncInfo { offset: t.word(at)?, type_id: t.type_id(at + 4)? })
            })?;
        }
        if let Some(table) = area(16)? {
            ext.lines = table.sections(16, |t, at| {
                // kernel `BPF_LINE_INFO_LINE_NUM`: 22 bits of line, 10 of column.
                let place = t.word(at + 12)?;
                Some(LineInfo {
                    offset: t.word(at)?,
                    file: t.string(at + 4)?,
                    text: t.string(at + 8)?,
                    line: place >> 10,
                    column: place & 0x3ff,
                })
            })?;
        }
        if header_len >= 32
            && let Some(table) = area(24)?
        {
            ext.core = table.sections(16, |t, at| {
                Some(CoreRelo {
                    offset: t.word(at)?,
                    type_id: t.type_id(at + 4)?,
                    access: t.string(at + 8)?,
                    kind: CoreKind::from_number(t.word(at + 12)?),
                })
            })?;
        }
        Ok(ext)
    }
}

fn error(at: usize, reason: &str) -> LoadError {
    LoadError::Btf { site: Site::at(".BTF.ext", at as u64), reason: reason.into() }
}

/// One of the tables: a record size, then runs of records by section.
struct Table<'a> {
    endian: Endian,
    btf: &'a Btf,
    /// The section up to the end of the table.
    bytes: &'a [u8],
    at: usize,
}

impl Table<'_> {
    fn word(&self, at: usize) -> Option<u32> {
        self.endian.u32(self.bytes, at)
    }

    fn string(&self, at: usize) -> Option<Str> {
        self.btf.string_at(self.word(at)?)
    }

    /// Looked at whole, so it must be of a length that names have.
    fn section_name(&self, at: usize) -> Option<Str> {
        let name = self.string(at)?;
        (self.btf.text(name, MAX_NAME).len() < MAX_NAME).then_some(name)
    }

    fn type_id(&self, at: usize) -> Option<TypeId> {
        let id = TypeId(self.word(at)?);
        self.btf.get(id).map(|_| id)
    }

    fn sections<T>(
        &self,
        least: usize,
        read: impl Fn(&Self, usize) -> Option<T>,
    ) -> Result<Vec<ExtSection<T>>, LoadError> {
        let truncated = |at| error(at, "the table is truncated");
        let size = self.word(self.at).ok_or_else(|| truncated(self.at))? as usize;
        if size < least {
            let reason = format!("records of {size} bytes, {least} are needed");
            return Err(error(self.at, &reason));
        }
        let mut at = self.at + 4;
        let mut sections = Vec::new();
        while at < self.bytes.len() {
            if sections.len() == MAX_SECTIONS {
                return Err(error(at, "the table is about more than 4096 sections"));
            }
            let section = self
                .section_name(at)
                .ok_or_else(|| error(at, "the section's name is not a string"))?;
            let count = self.word(at + 4).ok_or_else(|| truncated(at))? as usize;
            at += 8;
            let end = count.checked_mul(size).and_then(|len| at.checked_add(len));
            let end = end.filter(|&end| end <= self.bytes.len()).ok_or_else(|| {
                error(at - 4, &format!("its {count} records lead out of the table"))
            })?;
            let records = (at..end).step_by(size).map(|at| {
                read(self, at).ok_or_else(|| error(at, "names a string or type that is missing"))
            });
            sections.push(ExtSection { section, records: records.collect::<Result<_, _>>()? });
            at = end;
        }
        Ok(sections)
    }
}
