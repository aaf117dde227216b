//! BTF: the types of an object, of its maps and of the kernel it was made for.
//!
//! [`Btf::parse`] validates everything once, so that what comes after is total:
//! every [`TypeId`] and [`Str`] inside is valid, chains of typedefs and pointers
//! end, and no type contains itself. [`Btf::view`] walks values pleasantly;
//! [`BtfExt`] holds the tables that tie code to types and source lines.

mod check;
mod ext;
mod header;
mod name;
mod parse;
mod types;
mod view;

use crate::bytes::Endian;

pub use ext::{BtfExt, CoreKind, CoreRelo, ExtSection, FuncInfo, LineInfo};
pub use types::{
    Array, Composite, Datasec, Encoding, Enum, Enumerator, FuncProto, Int, Linkage, Member, Param,
    SectionVar, Str, Type, TypeId,
};
pub use view::{MemberView, Scalar, Shape, View, read_bits};

/// Longest chain of typedefs, qualifiers, pointers and arrays, and deepest nesting
/// of structs by value. The kernel refuses above 32 (`MAX_RESOLVE_DEPTH`).
pub const MAX_DEPTH: u32 = 64;

/// A validated `.BTF` section.
#[derive(Clone, PartialEq, Eq)]
pub struct Btf {
    endian: Endian,
    strings: Box<str>,
    types: Vec<Type>,
    /// Hash of each named type's name, ordered, to find types by name.
    names: Vec<(u64, TypeId)>,
}

impl Btf {
    /// The byte order of the section, which is that of the values it describes.
    #[must_use]
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// How many types there are, `void` included.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.types.len()).expect("parse limits type ids to 32 bits")
    }

    /// Holds no type but `void`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.len() <= 1
    }

    /// All types in order, `void` first.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        (0u32..).map(TypeId).zip(&self.types)
    }

    /// A type by number; `None` when this BTF has no such number.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(id.0 as usize)
    }

    /// A type by number; `void` when this BTF has no such number, which happens
    /// only with an id of another BTF.
    #[must_use]
    pub fn ty(&self, id: TypeId) -> &Type {
        self.get(id).unwrap_or(&Type::Void)
    }

    /// The text of a name.
    #[must_use]
    pub fn str(&self, name: Str) -> &str {
        let rest = self.strings.get(name.0 as usize..).unwrap_or_default();
        rest.split_once('\0').map_or("", |(text, _)| text)
    }

    /// The text of a name that may be a whole source line, cut to `limit` bytes.
    pub(crate) fn text(&self, name: Str, limit: usize) -> &str {
        let rest = self.strings.get(name.0 as usize..).unwrap_or_default();
        let rest = rest.get(..rest.floor_char_boundary(limit)).unwrap_or(rest);
        rest.split_once('\0').map_or(rest, |(text, _)| text)
    }

    /// Size of the string section in bytes.
    pub(crate) fn strings_len(&self) -> usize {
        self.strings.len()
    }

    /// A string of `.BTF.ext`, if there is one at that offset.
    fn string_at(&self, offset: u32) -> Option<Str> {
        self.strings.get(offset as usize..).filter(|rest| !rest.is_empty()).map(|_| Str(offset))
    }

    /// The name of a type; empty when it has none.
    #[must_use]
    pub fn name(&self, id: TypeId) -> &str {
        self.str(self.ty(id).name())
    }

    /// All types of that name, in order: a struct, a typedef and a function may
    /// share one.
    pub fn by_name<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = (TypeId, &'a Type)> + use<'a, 'n> {
        let hash = hash(name);
        let first = self.names.partition_point(|&(other, _)| other < hash);
        let rest = self.names.get(first..).unwrap_or_default();
        rest.iter()
            .take_while(move |&&(other, _)| other == hash)
            .map(|&(_, id)| (id, self.ty(id)))
            .filter(move |(_, ty)| self.str(ty.name()) == name)
    }

    /// The variables of the section called `name`.
    #[must_use]
    pub fn datasec(&self, name: &str) -> Option<&Datasec> {
        self.by_name(name).find_map(|(_, ty)| match ty {
            Type::Datasec(section) => Some(section),
            _ => None,
        })
    }

    /// Looks through typedefs, qualifiers and type tags; ends at the first other
    /// type. Ends always: chains are shorter than [`MAX_DEPTH`].
    #[must_use]
    pub fn resolve(&self, mut id: TypeId) -> TypeId {
        while let Some(target) = self.ty(id).alias_of() {
            id = target;
        }
        id
    }

    /// Looks through qualifiers and type tags, but keeps typedefs.
    #[must_use]
    pub fn strip(&self, mut id: TypeId) -> TypeId {
        while let Some(target) = self.ty(id).alias_of() {
            if matches!(self.ty(id), Type::Typedef { .. }) {
                break;
            }
            id = target;
        }
        id
    }

    /// Size in bytes of a value of the type; `None` for what has none (`void`,
    /// functions, forward declarations) or more than 64 bits can say.
    #[must_use]
    pub fn size_of(&self, id: TypeId) -> Option<u64> {
        match self.ty(self.resolve(id)) {
            Type::Int(int) => Some(int.size.into()),
            // Pointers of BPF are 64 bits wide whatever the machine.
            Type::Ptr(_) => Some(8),
            Type::Array(array) => self.size_of(array.element)?.checked_mul(array.len.into()),
            Type::Struct(composite) | Type::Union(composite) => Some(composite.size.into()),
            Type::Enum(enumeration) => Some(enumeration.size.into()),
            Type::Float { size, .. } => Some((*size).into()),
            Type::Var { target, .. } => self.size_of(*target),
            Type::Datasec(section) => Some(section.size.into()),
            _ => None,
        }
    }

    /// A cursor on a type, for walking values.
    #[must_use]
    pub fn view(&self, id: TypeId) -> View<'_> {
        View::new(self, id)
    }
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A kernel's BTF has 150,000 types; nobody wants them in a log.
        f.debug_struct("Btf")
            .field("endian", &self.endian)
            .field("types", &self.types.len())
            .field("strings", &self.strings.len())
            .finish()
    }
}

/// FNV-1a: the same on every machine and run.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
