//! From the bytes of `.BTF` to types (kernel Documentation/bpf/btf.rst, and
//! `btf_check_all_metas` for what is valid).

use crate::bytes::Endian;
use crate::error::{LoadError, Site};

use super::header::{Header, ends};
use super::types::{
    Array, Composite, Datasec, Encoding, Enum, Enumerator, FuncProto, Int, Linkage, Member, Param,
    SectionVar, Str, Type, TypeId,
};
use super::{Btf, check, hash};

/// Longest name, in bytes. The kernel's limit is 512 (`KSYM_NAME_LEN`) where it has
/// one; without any, overlapping names would take quadratic time.
pub(super) const MAX_NAME: usize = 4096;

impl Btf {
    /// Parses a `.BTF` section of either byte order (a kernel's
    /// `/sys/kernel/btf/vmlinux` is one too) and validates all of it.
    ///
    /// # Errors
    /// [`LoadError::Btf`] with the offset in the section: truncated tables, unknown
    /// kinds, names and types that do not exist, typedefs that go round in circles,
    /// types that contain themselves.
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let header = Header::parse(bytes)?;
        let mut parser = Parser {
            endian: header.endian,
            strings: header.strings,
            ends: ends(header.strings),
            body: header.types,
            base: header.types_at,
            at: 0,
            start: 0,
        };
        let mut types = vec![Type::Void];
        let mut starts = vec![0];
        while parser.at < parser.body.len() {
            parser.start = parser.at;
            starts.push(parser.start);
            types.push(parser.ty()?);
            if u32::try_from(types.len()).is_err() {
                return Err(parser.error("more types than 32 bits can number"));
            }
        }
        let error = |id: TypeId, reason: String| {
            let start = starts.get(id.0 as usize).copied().unwrap_or(0);
            let site = Site::at(".BTF", (header.types_at + start) as u64);
            LoadError::Btf { site, reason: format!("type {}: {reason}", id.0).into() }
        };
        check::references(&types).map_err(|(id, reason)| error(id, reason))?;
        check::chains(&types).map_err(|(id, reason)| error(id, reason))?;
        check::nesting(&types).map_err(|(id, reason)| error(id, reason))?;
        let mut btf = Self {
            endian: header.endian,
            strings: header.strings.into(),
            types,
            names: Vec::new(),
        };
        let mut names = Vec::new();
        let mut left = btf.strings.len().saturating_mul(16).saturating_add(1 << 20);
        for (id, ty) in btf.types().filter(|(_, ty)| !ty.name().is_empty()) {
            let name = btf.str(ty.name());
            left = left
                .checked_sub(name.len())
                .ok_or_else(|| error(id, "the names of types overlap".to_owned()))?;
            names.push((hash(name), id));
        }
        names.sort_unstable();
        btf.names = names;
        Ok(btf)
    }
}

struct Parser<'a> {
    endian: Endian,
    strings: &'a str,
    /// Where the string that holds each byte ends.
    ends: Vec<u32>,
    body: &'a [u8],
    /// Where `body` starts in the section.
    base: usize,
    at: usize,
    /// Where the type being read starts.
    start: usize,
}

impl Parser<'_> {
    fn error(&self, reason: &str) -> LoadError {
        let site = Site::at(".BTF", (self.base + self.start) as u64);
        LoadError::Btf { site, reason: reason.into() }
    }

    fn word(&mut self) -> Result<u32, LoadError> {
        let word = self.endian.u32(self.body, self.at);
        let word = word.ok_or_else(|| self.error("the last type is truncated"))?;
        self.at += 4;
        Ok(word)
    }

    fn id(&mut self) -> Result<TypeId, LoadError> {
        self.word().map(TypeId)
    }

    fn name(&mut self) -> Result<Str, LoadError> {
        let offset = self.word()?;
        self.check_name(offset)
    }

    fn check_name(&self, offset: u32) -> Result<Str, LoadError> {
        let at = offset as usize;
        let (Some(&end), true) = (self.ends.get(at), self.strings.is_char_boundary(at)) else {
            return Err(self.error(&format!("name {offset:#x} is outside the strings")));
        };
        match end as usize - at {
            // Name 0 and any other empty name mean the same.
            0 => Ok(Str::EMPTY),
            len if len > MAX_NAME => Err(self.error("a name is longer than 4096 bytes")),
            _ => Ok(Str(offset)),
        }
    }

    /// Reads `count` records of `words` words each; checks first that they are there,
    /// so that a count cannot make us reserve memory.
    fn many<T>(
        &mut self,
        count: u16,
        words: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, LoadError>,
    ) -> Result<Vec<T>, LoadError> {
        if usize::from(count) * words * 4 > self.body.len() - self.at {
            return Err(self.error(&format!("its {count} parts lead out of the types")));
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn ty(&mut self) -> Result<Type, LoadError> {
        let name = self.name()?;
        let info = self.word()?;
        let size = self.word()?;
        let target = TypeId(size);
        let count = (info & 0xffff) as u16;
        let flag = info >> 31 != 0;
        Ok(match (info >> 24) & 0x1f {
            1 => Type::Int(self.int(name, size)?),
            2 => Type::Ptr(target),
            3 => {
                let (element, index, len) = (self.id()?, self.id()?, self.word()?);
                Type::Array(Array { element, index, len })
            }
            4 => Type::Struct(self.composite(name, size, count, flag)?),
            5 => Type::Union(self.composite(name, size, count, flag)?),
            6 => Type::Enum(self.enumeration(name, size, count, flag)?),
            7 => Type::Fwd { name, union: flag },
            8 => Type::Typedef { name, target },
            9 => Type::Volatile(target),
            10 => Type::Const(target),
            11 => Type::Restrict(target),
            12 => Type::Func { name, proto: target, linkage: self.linkage(count.into())? },
            13 => Type::FuncProto(self.func_proto(target, count)?),
            14 => {
                let linkage = self.word()?;
                Type::Var { name, target, linkage: self.linkage(linkage)? }
            }
            15 => {
                let vars = self.many(count, 3, |p| {
                    let (target, offset, size) = (p.id()?, p.word()?, p.word()?);
                    Ok(SectionVar { target, offset, size })
                })?;
                Type::Datasec(Datasec { name, size, vars })
            }
            16 if matches!(size, 2 | 4 | 8 | 12 | 16) => Type::Float { name, size },
            16 => return Err(self.error(&format!("a float of {size} bytes"))),
            17 => {
                let component = self.word()?;
                Type::DeclTag {
                    name,
                    target,
                    component: (component != u32::MAX).then_some(component),
                }
            }
            18 => Type::TypeTag { name, target },
            19 => Type::Enum(self.enumeration64(name, size, count, flag)?),
            kind => return Err(self.error(&format!("unknown kind {kind}"))),
        })
    }

    fn linkage(&self, value: u32) -> Result<Linkage, LoadError> {
        match value {
            0 => Ok(Linkage::Static),
            1 => Ok(Linkage::Global),
            2 => Ok(Linkage::Extern),
            other => Err(self.error(&format!("unknown linkage {other}"))),
        }
    }

    fn int(&mut self, name: Str, size: u32) -> Result<Int, LoadError> {
        let word = self.word()?;
        let (bits, offset) = ((word & 0xff) as u8, (word >> 16 & 0xff) as u8);
        if !matches!(size, 1 | 2 | 4 | 8 | 16) || u32::from(bits) + u32::from(offset) > size * 8 {
            let reason = format!("an integer of {bits} bits at bit {offset} in {size} bytes");
            return Err(self.error(&reason));
        }
        let encoding = match word >> 24 & 0xf {
            0 | 2 => Encoding::Unsigned,
            1 | 3 => Encoding::Signed,
            4 => Encoding::Bool,
            other => return Err(self.error(&format!("unknown integer encoding {other}"))),
        };
        let char_flag = word >> 24 & 2 != 0;
        Ok(Int { name, size, encoding, char_flag, bits, offset })
    }

    fn composite(
        &mut self,
        name: Str,
        size: u32,
        count: u16,
        has_bitfields: bool,
    ) -> Result<Composite, LoadError> {
        let members = self.many(count, 3, |p| {
            let (name, target, word) = (p.name()?, p.id()?, p.word()?);
            // With the kind flag the top byte holds a bitfield's width.
            let (bit_offset, bits) = match has_bitfields {
                true => (word & 0x00ff_ffff, (word >> 24) as u8),
                false => (word, 0),
            };
            if u64::from(bit_offset) > u64::from(size) * 8 {
                return Err(p.error(&format!("a member at bit {bit_offset} of {size} bytes")));
            }
            Ok(Member { name, target, bit_offset, bits: (bits != 0).then_some(bits) })
        })?;
        Ok(Composite { name, size, members })
    }

    fn enum_size(&self, size: u32) -> Result<(), LoadError> {
        match size {
            1 | 2 | 4 | 8 => Ok(()),
            _ => Err(self.error(&format!("an enum of {size} bytes"))),
        }
    }

    fn enumeration(
        &mut self,
        name: Str,
        size: u32,
        count: u16,
        signed: bool,
    ) -> Result<Enum, LoadError> {
        self.enum_size(size)?;
        // LLVM before 16 never set the flag: negative constants of such an object read
        // as large ones, here as in libbpf.
        let values = self.many(count, 2, |p| {
            let (name, value) = (p.name()?, p.word()?);
            let value = match signed {
                true => i64::from(value.cast_signed()).cast_unsigned(),
                false => value.into(),
            };
            Ok(Enumerator { name, value })
        })?;
        Ok(Enum { name, size, signed, wide: false, values })
    }

    fn enumeration64(
        &mut self,
        name: Str,
        size: u32,
        count: u16,
        signed: bool,
    ) -> Result<Enum, LoadError> {
        self.enum_size(size)?;
        let values = self.many(count, 3, |p| {
            let (name, low, high) = (p.name()?, p.word()?, p.word()?);
            Ok(Enumerator { name, value: u64::from(high) << 32 | u64::from(low) })
        })?;
        Ok(Enum { name, size, signed, wide: true, values })
    }

    fn func_proto(&mut self, ret: TypeId, count: u16) -> Result<FuncProto, LoadError> {
        let mut params = self.many(count, 2, |p| {
            let (name, target) = (p.name()?, p.id()?);
            Ok(Param { name, target })
        })?;
        // `...` is a last parameter without name and type.
        let variadic = params.pop_if(|p| p.target == TypeId::VOID && p.name.is_empty()).is_some();
        Ok(FuncProto { ret, params, variadic })
    }
}
