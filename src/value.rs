//! Bytes as JSON by their BTF type, and back.
//!
//! Structs are objects in member order, members of anonymous structs among them; arrays
//! are lists, but `char` arrays text; enumerations are named; pointers are numbers.

mod read;
mod write;

use serde_json::{Map, Number, Value};
use skep_loader::btf::{MemberView, Scalar, Shape, View};

pub use read::from_bytes;
pub use write::to_bytes;

/// Types nested deeper than this are left out; C code does not get there.
const MAX_DEPTH: u32 = 32;

/// The value that `bytes` hold; `None` when the type has none or needs more bytes.
#[must_use]
pub fn decode(view: View<'_>, bytes: &[u8]) -> Option<Value> {
    decode_at(view, bytes, 0)
}

fn decode_at(view: View<'_>, bytes: &[u8], depth: u32) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    match view.shape() {
        Shape::Array { element, len } => decode_array(element, len, bytes, depth),
        Shape::Struct(_) | Shape::Union(_) => {
            let mut object = Map::new();
            decode_members(view, bytes, depth, &mut object)?;
            Some(Value::Object(object))
        }
        _ => Some(scalar(view.scalar(bytes)?)),
    }
}

fn decode_array(element: View<'_>, len: u32, bytes: &[u8], depth: u32) -> Option<Value> {
    let size = usize::try_from(element.size()?).ok().filter(|&size| size > 0)?;
    let bytes = if len == 0 { bytes } else { bytes.get(..size.checked_mul(len as usize)?)? };
    if element.is_char()
        && let Some(text) = text(bytes)
    {
        return Some(Value::String(text));
    }
    let items = bytes.chunks_exact(size).map(|item| decode_at(element, item, depth + 1));
    items.collect::<Option<Vec<Value>>>().map(Value::Array)
}

/// Text up to its NUL, when it is text and nothing but NULs follow.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let rest_is_empty = bytes[end..].iter().all(|&byte| byte == 0);
    let text = std::str::from_utf8(&bytes[..end]).ok().filter(|_| rest_is_empty)?;
    Some(text.to_owned())
}

fn decode_members(
    view: View<'_>,
    bytes: &[u8],
    depth: u32,
    object: &mut Map<String, Value>,
) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    for member in view.members() {
        let inner = member.bytes(bytes);
        if member.name.is_empty() {
            // Padding bitfields have no name and no members either.
            if let Some(inner) = inner {
                decode_members(member.view, inner, depth + 1, object)?;
            }
            continue;
        }
        let value = match inner {
            Some(inner) => decode_at(member.view, inner, depth + 1)?,
            None => scalar(member.scalar(bytes)?),
        };
        object.insert(member.name.to_owned(), value);
    }
    Some(())
}

fn scalar(scalar: Scalar<'_>) -> Value {
    match scalar {
        Scalar::Unsigned(number) => match u64::try_from(number) {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(number.to_string()),
        },
        Scalar::Signed(number) | Scalar::Enum(None, number) => match i64::try_from(number) {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(number.to_string()),
        },
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Float(number) => Number::from_f64(number)
            .map_or_else(|| Value::String(number.to_string()), Value::Number),
        Scalar::Enum(Some(name), _) => Value::String(name.to_owned()),
    }
}

/// The bytes of a value of type `view` and `size` bytes; without a type, of a number.
///
/// Members that are not named are zero. Numbers may be text: decimal, or hexadecimal
/// with `0x`. A text of the form `hex:…` gives the bytes themselves.
///
/// # Errors
///
/// A sentence that says what does not fit.
pub fn encode(view: Option<View<'_>>, size: usize, json: &Value) -> Result<Vec<u8>, String> {
    if let Some(hex) = json.as_str().and_then(|text| text.strip_prefix("hex:")) {
        let bytes = from_hex(hex).ok_or_else(|| format!("`{hex}` is not hexadecimal"))?;
        if bytes.len() != size {
            return Err(format!("{} bytes are given, {size} are needed", bytes.len()));
        }
        return Ok(bytes);
    }
    let mut bytes = vec![0; size];
    match view {
        Some(view) => encode_at(view, &mut bytes, json, 0)?,
        None => encode_number(&mut bytes, json, false)?,
    }
    Ok(bytes)
}

fn encode_at(view: View<'_>, bytes: &mut [u8], json: &Value, depth: u32) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("the type is nested too deep".to_owned());
    }
    match view.shape() {
        Shape::Opaque => Err(format!("a `{}` has no value", view.c_name())),
        Shape::Float { size } => {
            let number = json.as_f64().ok_or_else(|| format!("{json} is no number"))?;
            #[expect(clippy::cast_possible_truncation, reason = "a float is less precise")]
            let float = (number as f32).to_le_bytes();
            let double = number.to_le_bytes();
            fill(bytes, if size == 4 { &float } else { &double })
        }
        Shape::Enum(_) => {
            match json.as_str().and_then(|name| enumerator(view, bytes.len(), name)) {
                Some(value) => fill(bytes, &value),
                None => encode_number(bytes, json, true),
            }
        }
        Shape::Int(int) => match json {
            Value::Bool(value) => fill(bytes, &[u8::from(*value)]),
            _ => encode_number(bytes, json, int.encoding == skep_loader::btf::Encoding::Signed),
        },
        Shape::Ptr(_) => encode_number(bytes, json, false),
        Shape::Array { element, .. } => encode_array(element, bytes, json, depth),
        Shape::Struct(_) | Shape::Union(_) => {
            let object =
                json.as_object().ok_or_else(|| format!("{json} is no object with members"))?;
            for (name, value) in object {
                let found = encode_member(view, bytes, name, value, depth)?;
                if !found {
                    let known: Vec<&str> = member_names(view);
                    return Err(format!(
                        "`{}` has no member `{name}`; it has `{}`",
                        view.c_name(),
                        known.join("`, `")
                    ));
                }
            }
            Ok(())
        }
    }
}

fn encode_array(
    element: View<'_>,
    bytes: &mut [u8],
    json: &Value,
    depth: u32,
) -> Result<(), String> {
    match json {
        Value::String(text) if element.is_char() => {
            if text.len() > bytes.len() {
                return Err(format!("`{text}` is longer than {} bytes", bytes.len()));
            }
            fill(bytes, text.as_bytes())
        }
        Value::Array(items) => {
            let size = element.size().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
            let room = bytes.len().checked_div(size).unwrap_or(0);
            if items.len() > room {
                return Err(format!(
                    "{} elements are given, there is room for {room}",
                    items.len()
                ));
            }
            for (item, part) in items.iter().zip(bytes.chunks_exact_mut(size.max(1))) {
                encode_at(element, part, item, depth + 1)?;
            }
            Ok(())
        }
        _ => Err(format!("{json} is no list")),
    }
}

fn member_names<'a>(view: View<'a>) -> Vec<&'a str> {
    view.members().map(|member| member.name).filter(|name| !name.is_empty()).collect()
}

/// Writes a member, looked for in anonymous members too; whether there is one.
fn encode_member(
    view: View<'_>,
    bytes: &mut [u8],
    name: &str,
    json: &Value,
    depth: u32,
) -> Result<bool, String> {
    if depth > MAX_DEPTH {
        return Ok(false);
    }
    for member in view.members() {
        let inside = |member: &MemberView<'_>| {
            let size = usize::try_from(member.view.size().unwrap_or(0)).unwrap_or(0);
            member.offset() as usize..member.offset() as usize + size
        };
        if member.name == name {
            if member.bits.is_some() {
                encode_bits(&member, bytes, json)?;
                return Ok(true);
            }
            let part = bytes.get_mut(inside(&member)).ok_or("the value is too short")?;
            encode_at(member.view, part, json, depth + 1).map_err(|e| format!("{name}: {e}"))?;
            return Ok(true);
        }
        if member.name.is_empty()
            && member.bits.is_none()
            && let Some(part) = bytes.get_mut(inside(&member))
            && encode_member(member.view, part, name, json, depth + 1)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a bitfield of a little-endian struct.
fn encode_bits(member: &MemberView<'_>, bytes: &mut [u8], json: &Value) -> Result<(), String> {
    let bits = u32::from(member.bits.unwrap_or(0));
    let number = integer(json)?;
    let fits =
        number >= -(1i128 << bits.saturating_sub(1).min(100)) && number < 1i128 << bits.min(100);
    if !fits {
        return Err(format!("{}: {number} does not fit in {bits} bits", member.name));
    }
    for bit in 0..bits {
        let at = member.bit_offset + bit;
        let byte = bytes.get_mut((at / 8) as usize).ok_or("the value is too short")?;
        let mask = 1u8 << (at % 8);
        if number >> bit & 1 == 1 { *byte |= mask } else { *byte &= !mask }
    }
    Ok(())
}

/// The bytes of the enumerator of a name.
fn enumerator(view: View<'_>, size: usize, name: &str) -> Option<Vec<u8>> {
    let Shape::Enum(enumeration) = view.shape() else { return None };
    // A scalar knows its name; find the value whose name it is.
    enumeration.values.iter().find_map(|known| {
        let bytes = known.value.to_le_bytes().get(..size)?.to_vec();
        match view.scalar(&bytes) {
            Some(Scalar::Enum(Some(found), _)) if found == name => Some(bytes),
            _ => None,
        }
    })
}

fn encode_number(bytes: &mut [u8], json: &Value, signed: bool) -> Result<(), String> {
    let number = integer(json)?;
    let bits = u32::try_from(bytes.len() * 8).unwrap_or(u32::MAX);
    if !matches!(bits, 8 | 16 | 32 | 64 | 128) {
        return Err(format!("a value of {} bytes is no number; give it as `hex:…`", bytes.len()));
    }
    if bits < 128 {
        let lowest = -(1i128 << (bits - 1));
        let beyond = 1i128 << bits;
        if number < lowest || number >= beyond {
            return Err(format!("{number} does not fit in {} bytes", bytes.len()));
        }
        if signed && number >= 1i128 << (bits - 1) && json.is_number() {
            return Err(format!("{number} does not fit in {} signed bytes", bytes.len()));
        }
    }
    fill(bytes, &number.to_le_bytes()[..bytes.len().min(16)])
}

/// The number in a JSON value: a number, or text.
fn integer(json: &Value) -> Result<i128, String> {
    let bad = || format!("{json} is no number");
    match json {
        Value::Number(number) => {
            let signed = number.as_i64().map(i128::from);
            signed.or_else(|| number.as_u64().map(i128::from)).ok_or_else(bad)
        }
        Value::Bool(value) => Ok(i128::from(*value)),
        Value::String(text) => parse_integer(text).ok_or_else(bad),
        _ => Err(bad()),
    }
}

/// A decimal or, with `0x`, hexadecimal number with an optional sign.
#[must_use]
pub fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let magnitude = magnitude.ok().filter(|number| *number >= 0)?;
    Some(if negative { -magnitude } else { magnitude })
}

fn fill(bytes: &mut [u8], from: &[u8]) -> Result<(), String> {
    let room = bytes.len();
    let part = bytes
        .get_mut(..from.len())
        .ok_or_else(|| format!("{} bytes do not fit in {room}", from.len()))?;
    part.copy_from_slice(from);
    Ok(())
}

/// Bytes in hexadecimal, lower case.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
    }
    text
}

/// The bytes that hexadecimal digits stand for; blanks between bytes are allowed.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Whether a type is of those whose values belong to the kernel, and which user space
/// neither reads nor writes.
fn is_kernels(view: View<'_>) -> bool {
    skep_loader::special_kind(view).is_some()
}
