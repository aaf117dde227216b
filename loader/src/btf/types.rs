//! BTF types as data (kernel Documentation/bpf/btf.rst).

/// A type's number: 0 is `void`, the others count from 1 in the order of `.BTF`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

impl TypeId {
    /// `void`.
    pub const VOID: Self = Self(0);
}

/// A name: an offset into the string section. [`Btf::str`](super::Btf::str) reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Str(pub(super) u32);

impl Str {
    /// The empty name, as anonymous types have it.
    pub const EMPTY: Self = Self(0);

    /// The offset in the string section.
    pub(crate) fn offset(self) -> u32 {
        self.0
    }

    /// The type or member has no name.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One BTF type, of any of the kinds 1–19.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Type 0.
    Void,
    /// `BTF_KIND_INT`.
    Int(Int),
    /// `BTF_KIND_PTR`.
    Ptr(TypeId),
    /// `BTF_KIND_ARRAY`.
    Array(Array),
    /// `BTF_KIND_STRUCT`.
    Struct(Composite),
    /// `BTF_KIND_UNION`.
    Union(Composite),
    /// `BTF_KIND_ENUM` and `BTF_KIND_ENUM64`.
    Enum(Enum),
    /// `BTF_KIND_FWD`: a struct or union that is declared only.
    Fwd {
        /// Its tag.
        name: Str,
        /// Whether it is a union.
        union: bool,
    },
    /// `BTF_KIND_TYPEDEF`.
    Typedef {
        /// The new name.
        name: Str,
        /// What it stands for.
        target: TypeId,
    },
    /// `BTF_KIND_VOLATILE`.
    Volatile(TypeId),
    /// `BTF_KIND_CONST`.
    Const(TypeId),
    /// `BTF_KIND_RESTRICT`.
    Restrict(TypeId),
    /// `BTF_KIND_FUNC`.
    Func {
        /// The function's name.
        name: Str,
        /// Its prototype.
        proto: TypeId,
        /// How far it is visible.
        linkage: Linkage,
    },
    /// `BTF_KIND_FUNC_PROTO`.
    FuncProto(FuncProto),
    /// `BTF_KIND_VAR`.
    Var {
        /// The variable's name.
        name: Str,
        /// Its type.
        target: TypeId,
        /// How far it is visible.
        linkage: Linkage,
    },
    /// `BTF_KIND_DATASEC`.
    Datasec(Datasec),
    /// `BTF_KIND_FLOAT`.
    Float {
        /// The name: `float`, `double`.
        name: Str,
        /// Size in bytes.
        size: u32,
    },
    /// `BTF_KIND_DECL_TAG`: an attribute of another type or one of its parts.
    DeclTag {
        /// The attribute's text.
        name: Str,
        /// What it is attached to.
        target: TypeId,
        /// The member or parameter it is attached to, or the type as a whole.
        component: Option<u32>,
    },
    /// `BTF_KIND_TYPE_TAG`: an attribute between a pointer and its target.
    TypeTag {
        /// The attribute's text: `kptr`, `rcu`, `user`.
        name: Str,
        /// The type it qualifies.
        target: TypeId,
    },
}

impl Type {
    /// The name of the type, variable or function; empty where kinds have none.
    #[must_use]
    pub fn name(&self) -> Str {
        match self {
            Self::Int(Int { name, .. })
            | Self::Struct(Composite { name, .. })
            | Self::Union(Composite { name, .. })
            | Self::Enum(Enum { name, .. })
            | Self::Fwd { name, .. }
            | Self::Typedef { name, .. }
            | Self::Func { name, .. }
            | Self::Var { name, .. }
            | Self::Datasec(Datasec { name, .. })
            | Self::Float { name, .. }
            | Self::DeclTag { name, .. }
            | Self::TypeTag { name, .. } => *name,
            Self::Void
            | Self::Ptr(_)
            | Self::Array(_)
            | Self::Volatile(_)
            | Self::Const(_)
            | Self::Restrict(_)
            | Self::FuncProto(_) => Str::EMPTY,
        }
    }

    /// What a typedef, qualifier or type tag stands for.
    #[must_use]
    pub fn alias_of(&self) -> Option<TypeId> {
        match *self {
            Self::Typedef { target, .. }
            | Self::Volatile(target)
            | Self::Const(target)
            | Self::Restrict(target)
            | Self::TypeTag { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// An integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int {
    /// The name: `unsigned int`, `char`, `_Bool`.
    pub name: Str,
    /// Size in bytes: 1, 2, 4, 8 or 16.
    pub size: u32,
    /// How to show it.
    pub encoding: Encoding,
    /// `BTF_INT_CHAR`: clang never sets it, gcc for every type of one byte. Whether
    /// something is text is told by [`View::is_char`](super::View::is_char).
    pub char_flag: bool,
    /// Width in bits, at most eight times `size`.
    pub bits: u8,
    /// Where the value starts, in bits; only clang 7 and older use it, for bitfields.
    pub offset: u8,
}

/// How an integer is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// An unsigned number.
    Unsigned,
    /// A signed number (`BTF_INT_SIGNED`).
    Signed,
    /// True or false (`BTF_INT_BOOL`).
    Bool,
}

/// An array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array {
    /// The element's type.
    pub element: TypeId,
    /// The type of an index.
    pub index: TypeId,
    /// How many elements; 0 for a flexible array.
    pub len: u32,
}

/// A struct or union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composite {
    /// The tag.
    pub name: Str,
    /// Size in bytes.
    pub size: u32,
    /// The members in the order of the source.
    pub members: Vec<Member>,
}

/// A member of a struct or union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The name; empty for an anonymous struct or union.
    pub name: Str,
    /// The declared type.
    pub target: TypeId,
    /// Where it starts, in bits from the start of the struct.
    pub bit_offset: u32,
    /// The width in bits of a bitfield.
    pub bits: Option<u8>,
}

/// An enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enum {
    /// The tag.
    pub name: Str,
    /// Size in bytes: 1, 2, 4 or 8.
    pub size: u32,
    /// Whether values are signed.
    pub signed: bool,
    /// Whether the kind was `BTF_KIND_ENUM64`.
    pub wide: bool,
    /// The constants in the order of the source.
    pub values: Vec<Enumerator>,
}

/// A constant of an enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enumerator {
    /// The name.
    pub name: Str,
    /// The value, extended to 64 bits as the enum is signed or not.
    pub value: u64,
}

/// A function's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuncProto {
    /// What it returns.
    pub ret: TypeId,
    /// The parameters in order, without a final `...`.
    pub params: Vec<Param>,
    /// Takes further arguments.
    pub variadic: bool,
}

/// A parameter of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// The name; may be empty.
    pub name: Str,
    /// The type.
    pub target: TypeId,
}

/// How far a function or variable is visible (`BTF_FUNC_*`, `BTF_VAR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// `static`.
    Static,
    /// Defined here, visible everywhere.
    Global,
    /// Declared here, defined elsewhere.
    Extern,
}

/// The variables of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datasec {
    /// The section's name.
    pub name: Str,
    /// Size in bytes; compilers write 0, only linkers of objects fill it in.
    pub size: u32,
    /// The variables.
    pub vars: Vec<SectionVar>,
}

/// A variable's place in a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionVar {
    /// A `Var`, or a `Func` in `.ksyms`.
    pub target: TypeId,
    /// Offset in bytes; 0 until a linker of objects fills it in.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}
