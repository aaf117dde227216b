//! Rust values from bytes by their BTF type.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use skep_loader::btf::{Scalar, Shape, View};

use super::{MAX_DEPTH, is_kernels, text};

/// The Rust value that `bytes` hold by their BTF type.
///
/// The fields of a struct are those of the C struct, by name, in any order; none may be left
/// out but those that belong to the kernel. Texts come from `char` arrays, variants without
/// fields from enumerations, which numbers do too; sequences, tuples and Rust's arrays from
/// arrays; bytes from anything.
///
/// # Errors
///
/// A sentence that names the member that does not fit.
pub fn from_bytes<T: DeserializeOwned>(view: View<'_>, bytes: &[u8]) -> Result<T, String> {
    let part = Part { view, from: From::Bytes(bytes), depth: 0 };
    T::deserialize(part).map_err(|problem| problem.to_string())
}

/// What does not fit, and where.
#[derive(Debug)]
struct Problem {
    /// From the inside out.
    path: Vec<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Message(String),
    /// The Rust struct has a field that the C struct has not.
    NoMember(&'static str),
}

impl Problem {
    fn within(mut self, step: impl fmt::Display) -> Self {
        self.path.push(step.to_string());
        self
    }

    /// Names the struct that a member is missing from.
    fn of(mut self, view: View<'_>, names: &[&str]) -> Self {
        if let What::NoMember(name) = self.what {
            self.what = What::Message(format!(
                "`{}` has no member `{name}`; it has `{}`",
                view.c_name(),
                names.join("`, `")
            ));
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.path.iter().rev() {
            write!(f, "{step}: ")?;
        }
        match &self.what {
            What::Message(message) => f.write_str(message),
            What::NoMember(name) => write!(f, "there is no member `{name}`"),
        }
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), what: What::Message(message.to_string()) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { path: Vec::new(), what: What::NoMember(field) }
    }
}

/// A value in the bytes, or a part of one.
#[derive(Debug, Clone, Copy)]
struct Part<'t, 'b> {
    view: View<'t>,
    from: From<'t, 'b>,
    depth: u32,
}

#[derive(Debug, Clone, Copy)]
enum From<'t, 'b> {
    Bytes(&'b [u8]),
    /// A bitfield, which has no bytes of its own.
    Bits(Scalar<'t>),
}

impl<'t, 'b> Part<'t, 'b> {
    fn bytes(&self) -> Result<&'b [u8], Problem> {
        match self.from {
            From::Bytes(bytes) => Ok(bytes),
            From::Bits(_) => Err(Problem::custom("a bitfield has no bytes of its own")),
        }
    }

    fn scalar(&self) -> Result<Scalar<'t>, Problem> {
        let scalar = match self.from {
            From::Bytes(bytes) => self.view.scalar(bytes),
            From::Bits(scalar) => Some(scalar),
        };
        scalar.ok_or_else(|| Problem::custom(format!("a `{}` has no value", self.view.c_name())))
    }

    fn inner(&self, view: View<'t>, from: From<'t, 'b>) -> Self {
        Self { view, from, depth: self.depth + 1 }
    }

    /// The elements of an array.
    fn elements(&self, element: View<'t>, len: u32) -> Result<Elements<'t, 'b>, Problem> {
        let size = element.size().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let bytes = self.bytes()?;
        let whole = if len == 0 { Some(bytes) } else { bytes.get(..size * len as usize) };
        let whole = whole.filter(|_| size > 0);
        let whole = whole.ok_or_else(|| Problem::custom("the value is too short"))?;
        Ok(Elements { array: *self, element, chunks: whole.chunks_exact(size), index: 0 })
    }

    /// The members of a struct or union, those of anonymous ones among them.
    fn members(&self, members: &mut Vec<(&'t str, Self)>) -> Result<(), Problem> {
        if self.depth > MAX_DEPTH {
            return Err(Problem::custom("the type is nested too deep"));
        }
        let bytes = self.bytes()?;
        for member in self.view.members() {
            let from = member.bytes(bytes).map(From::Bytes);
            match (member.name, from) {
                ("", Some(from)) => self.inner(member.view, from).members(members)?,
                // Padding bitfields have no name and no members either.
                ("", None) => {}
                (name, from) => {
                    let from = from.or_else(|| Some(From::Bits(member.scalar(bytes)?)));
                    let from =
                        from.ok_or_else(|| Problem::custom("the value is too short").within(name))?;
                    members.push((name, self.inner(member.view, from)));
                }
            }
        }
        Ok(())
    }

    /// Reads a number, whatever it stands for in C.
    fn visit_number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.view.shape() {
            Shape::Array { .. } | Shape::Struct(_) | Shape::Union(_) => {
                self.deserialize_any(visitor)
            }
            _ => match self.scalar()? {
                Scalar::Enum(_, number) => visit_signed(visitor, number),
                Scalar::Bool(value) => visitor.visit_u64(value.into()),
                scalar => visit_scalar(visitor, scalar),
            },
        }
    }
}

fn visit_signed<'de, V: Visitor<'de>>(visitor: V, number: i128) -> Result<V::Value, Problem> {
    match (i64::try_from(number), u64::try_from(number)) {
        (_, Ok(number)) => visitor.visit_u64(number),
        (Ok(number), _) => visitor.visit_i64(number),
        _ => visitor.visit_i128(number),
    }
}

fn visit_scalar<'de, V: Visitor<'de>>(visitor: V, scalar: Scalar<'_>) -> Result<V::Value, Problem> {
    match scalar {
        Scalar::Unsigned(number) => match u64::try_from(number) {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => visitor.visit_u128(number),
        },
        Scalar::Signed(number) | Scalar::Enum(None, number) => visit_signed(visitor, number),
        Scalar::Bool(value) => visitor.visit_bool(value),
        Scalar::Float(number) => visitor.visit_f64(number),
        Scalar::Enum(Some(name), _) => visitor.visit_str(name),
    }
}

macro_rules! numbers {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            self.visit_number(visitor)
        }
    )* };
}

macro_rules! sequences {
    ($($method:ident($($extra:ident: $ty:ty),*);)*) => { $(
        fn $method<V: Visitor<'de>>(self, $($extra: $ty,)* visitor: V) -> Result<V::Value, Problem> {
            $(let _checked_by_the_visitor = $extra;)*
            match self.view.shape() {
                // A text that is asked for as a sequence of numbers is one too.
                Shape::Array { element, len } => visitor.visit_seq(self.elements(element, len)?),
                _ => self.deserialize_any(visitor),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for Part<'_, '_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.depth > MAX_DEPTH {
            return Err(Problem::custom("the type is nested too deep"));
        }
        match self.view.shape() {
            Shape::Array { element, len } => {
                let elements = self.elements(element, len)?;
                match text(elements.rest()).filter(|_| element.is_char()) {
                    Some(text) => visitor.visit_string(text),
                    None => visitor.visit_seq(elements),
                }
            }
            Shape::Struct(_) | Shape::Union(_) => {
                let mut members = Vec::new();
                self.members(&mut members)?;
                visitor.visit_map(Members { members: members.into_iter(), value: None })
            }
            _ => visit_scalar(visitor, self.scalar()?),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    sequences! {
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match (self.view.shape(), self.scalar()) {
            (Shape::Int(_), Ok(Scalar::Unsigned(0) | Scalar::Signed(0))) => {
                visitor.visit_bool(false)
            }
            (Shape::Int(_), Ok(Scalar::Unsigned(1) | Scalar::Signed(1))) => {
                visitor.visit_bool(true)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_bytes(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_bytes(self.bytes()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let is_struct = match self.view.shape() {
            Shape::Struct(_) => true,
            Shape::Union(_) => false,
            _ => return self.deserialize_any(visitor),
        };
        let mut members = Vec::new();
        self.members(&mut members)?;
        let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
        let mut left_out = members.iter().filter(|(name, _)| !fields.contains(name));
        let forgotten = left_out.find(|(_, part)| is_struct && !is_kernels(part.view));
        if let Some((name, _)) = forgotten {
            return Err(Problem::custom(format!(
                "`{}` has a member `{name}`, the Rust struct has no such field",
                self.view.c_name()
            )));
        }
        let members = members.into_iter().filter(|(name, _)| fields.contains(name));
        let members: Vec<_> = members.collect();
        let access = Members { members: members.into_iter(), value: None };
        visitor.visit_map(access).map_err(|problem| problem.of(self.view, &names))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let enumerator = |name: &str| {
            let name: StrDeserializer<'_, Problem> = name.into_deserializer();
            visitor.visit_enum(name)
        };
        match self.view.shape() {
            Shape::Enum(_) => match self.scalar()? {
                Scalar::Enum(Some(name), _) => enumerator(name),
                Scalar::Enum(None, number) => Err(Problem::custom(format!(
                    "`{}` has no enumerator {number}",
                    self.view.c_name()
                ))),
                _ => Err(Problem::custom("it is no enumerator")),
            },
            Shape::Array { element, .. } if element.is_char() => match text(self.bytes()?) {
                Some(text) => enumerator(&text),
                None => Err(Problem::custom("it is no text")),
            },
            _ => Err(Problem::custom(format!(
                "a `{}` is none of the variants of `{name}`",
                self.view.c_name()
            ))),
        }
    }

    forward_to_deserialize_any! {
        f32 f64 char str string unit unit_struct map identifier ignored_any
    }
}

struct Elements<'t, 'b> {
    array: Part<'t, 'b>,
    element: View<'t>,
    chunks: std::slice::ChunksExact<'b, u8>,
    index: usize,
}

impl<'b> Elements<'_, 'b> {
    /// All bytes of the elements; to be asked before the first is taken.
    fn rest(&self) -> &'b [u8] {
        let bytes = self.array.bytes().unwrap_or_default();
        let size = self.element.size().and_then(|size| usize::try_from(size).ok());
        bytes.get(..self.chunks.len() * size.unwrap_or(0)).unwrap_or(bytes)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(bytes) = self.chunks.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        let part = self.array.inner(self.element, From::Bytes(bytes));
        let element = seed.deserialize(part).map_err(|e| e.within(format_args!("[{index}]")))?;
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.chunks.len())
    }
}

struct Members<'t, 'b> {
    members: std::vec::IntoIter<(&'t str, Part<'t, 'b>)>,
    value: Option<(&'t str, Part<'t, 'b>)>,
}

impl<'de> MapAccess<'de> for Members<'_, '_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        self.value = self.members.next();
        let Some((name, _)) = &self.value else { return Ok(None) };
        let name: StrDeserializer<'_, Problem> = (*name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some((name, part)) = self.value.take() else {
            return Err(Problem::custom("a value is asked for before its name"));
        };
        seed.deserialize(part).map_err(|problem| problem.within(name))
    }
}
