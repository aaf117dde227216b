//! Rust values as bytes by their BTF type.

use serde::Serialize;
use serde_json::Value;
use skep_loader::btf::{Shape, View};

use super::{MAX_DEPTH, encode, is_kernels};

/// The bytes of a Rust value by its BTF type, `size` of them.
///
/// The fields of a struct are those of the C struct, by name, in any order and none left
/// out but those that belong to the kernel; of a union, one or more. Texts go into `char`
/// arrays, variants without fields into enumerations, sequences of the same length into
/// arrays.
///
/// # Errors
///
/// A sentence that names the member that does not fit.
pub fn to_bytes<T: Serialize + ?Sized>(
    view: View<'_>,
    size: usize,
    value: &T,
) -> Result<Vec<u8>, String> {
    let json = serde_json::to_value(value).map_err(|error| error.to_string())?;
    if let Some(problem) = missing(view, &json, 0) {
        return Err(problem);
    }
    encode(Some(view), size, &json)
}

/// The first member or element that a value does not give.
fn missing(view: View<'_>, json: &Value, depth: u32) -> Option<String> {
    if depth > MAX_DEPTH {
        return Some("the type is nested too deep".to_owned());
    }
    match (view.shape(), json) {
        (Shape::Struct(_), Value::Object(object)) => view.members().find_map(|member| {
            if member.name.is_empty() {
                return missing(member.view, json, depth + 1);
            }
            match object.get(member.name) {
                Some(value) => missing(member.view, value, depth + 1)
                    .map(|problem| format!("{}: {problem}", member.name)),
                None if is_kernels(member.view) => None,
                None => Some(format!(
                    "`{}` has a member `{}`, the Rust value has no such field",
                    view.c_name(),
                    member.name
                )),
            }
        }),
        (Shape::Union(_), Value::Object(object)) => view.members().find_map(|member| {
            let value = object.get(member.name)?;
            missing(member.view, value, depth + 1)
                .map(|problem| format!("{}: {problem}", member.name))
        }),
        (Shape::Array { element, len }, Value::Array(items)) => {
            if len > 0 && items.len() < len as usize {
                return Some(format!("{} elements are given, {len} are needed", items.len()));
            }
            items.iter().find_map(|item| missing(element, item, depth + 1))
        }
        _ => None,
    }
}
