//! What must hold between types: every reference leads to a type of the right
//! kind, chains of aliases end, and no type contains itself.
//!
//! All walks are loops with explicit stacks: the depth of a hostile BTF must not
//! become the depth of ours.

use super::MAX_DEPTH;
use super::types::{Type, TypeId};

type Result<T> = std::result::Result<T, (TypeId, String)>;

fn ids(types: &[Type]) -> impl Iterator<Item = (TypeId, &Type)> {
    (0u32..).map(TypeId).zip(types)
}

fn get(types: &[Type], id: TypeId) -> &Type {
    types.get(id.0 as usize).unwrap_or(&Type::Void)
}

/// Every reference exists, and is of a kind that makes sense there.
pub(super) fn references(types: &[Type]) -> Result<()> {
    for (id, ty) in ids(types) {
        let exists = |target: TypeId| match types.get(target.0 as usize) {
            Some(_) => Ok(()),
            None => Err((id, format!("refers to type {}, which is missing", target.0))),
        };
        match ty {
            Type::Void | Type::Int(_) | Type::Enum(_) | Type::Fwd { .. } | Type::Float { .. } => {}
            Type::Ptr(target)
            | Type::Typedef { target, .. }
            | Type::Volatile(target)
            | Type::Const(target)
            | Type::Restrict(target)
            | Type::DeclTag { target, .. }
            | Type::Var { target, .. }
            | Type::TypeTag { target, .. } => exists(*target)?,
            Type::Array(array) => {
                exists(array.element)?;
                exists(array.index)?;
            }
            Type::Struct(composite) | Type::Union(composite) => {
                for member in &composite.members {
                    exists(member.target)?;
                }
            }
            Type::Func { proto, .. } => {
                exists(*proto)?;
                if !matches!(get(types, *proto), Type::FuncProto(_)) {
                    return Err((id, format!("type {} is not a prototype", proto.0)));
                }
            }
            Type::FuncProto(proto) => {
                exists(proto.ret)?;
                for param in &proto.params {
                    exists(param.target)?;
                }
            }
            Type::Datasec(section) => {
                for var in &section.vars {
                    exists(var.target)?;
                    if !matches!(get(types, var.target), Type::Var { .. } | Type::Func { .. }) {
                        return Err((id, format!("type {} is not a variable", var.target.0)));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Where a chain of declarators goes on: what must be followed to print a type.
fn next(ty: &Type) -> Option<TypeId> {
    match ty {
        Type::Ptr(target) => Some(*target),
        Type::Array(array) => Some(array.element),
        Type::Var { target, .. } | Type::DeclTag { target, .. } => Some(*target),
        Type::Func { proto, .. } => Some(*proto),
        _ => ty.alias_of(),
    }
}

/// Chains of typedefs, qualifiers, pointers and arrays end within [`MAX_DEPTH`].
pub(super) fn chains(types: &[Type]) -> Result<()> {
    // Length of the chain that starts at each type, once known.
    let mut known = vec![None::<u32>; types.len()];
    for (id, ty) in ids(types) {
        let mut length = 0;
        let mut target = next(ty);
        while let Some(at) = target {
            length += 1;
            if length > MAX_DEPTH {
                return Err((id, "its chain of types is circular or too long".to_owned()));
            }
            if let Some(&Some(rest)) = known.get(at.0 as usize) {
                length += rest;
                break;
            }
            target = next(get(types, at));
        }
        if length > MAX_DEPTH {
            return Err((id, "its chain of types is circular or too long".to_owned()));
        }
        if let Some(slot) = known.get_mut(id.0 as usize) {
            *slot = Some(length);
        }
    }
    Ok(())
}

/// What a value of the type contains, directly.
fn parts(ty: &Type) -> Parts<'_> {
    match ty {
        Type::Array(array) => Parts::One(array.element),
        Type::Var { target, .. } => Parts::One(*target),
        Type::Struct(composite) | Type::Union(composite) => Parts::Members(&composite.members),
        _ => ty.alias_of().map_or(Parts::Members(&[]), Parts::One),
    }
}

enum Parts<'a> {
    One(TypeId),
    Members(&'a [super::Member]),
}

impl Parts<'_> {
    fn get(&self, index: usize) -> Option<TypeId> {
        match self {
            Self::One(id) => (index == 0).then_some(*id),
            Self::Members(members) => members.get(index).map(|member| member.target),
        }
    }
}

/// No type contains itself by value, and nesting stays within [`MAX_DEPTH`].
pub(super) fn nesting(types: &[Type]) -> Result<()> {
    #[derive(Clone, Copy)]
    enum Mark {
        New,
        Open,
        /// With the number of levels below.
        Done(u32),
    }
    let mut marks = vec![Mark::New; types.len()];
    for (root, _) in ids(types) {
        if !matches!(marks.get(root.0 as usize), Some(Mark::New)) {
            continue;
        }
        // Type, next part to visit, levels found below so far.
        let mut stack = vec![(root, 0usize, 0u32)];
        while let Some((id, index, depth)) = stack.last_mut() {
            let slot = id.0 as usize;
            if let Some(mark) = marks.get_mut(slot) {
                *mark = Mark::Open;
            }
            let Some(part) = parts(get(types, *id)).get(*index) else {
                let (id, depth) = (*id, *depth);
                if depth > MAX_DEPTH {
                    return Err((id, format!("it nests deeper than {MAX_DEPTH} levels")));
                }
                if let Some(mark) = marks.get_mut(slot) {
                    *mark = Mark::Done(depth);
                }
                stack.pop();
                if let Some((_, _, above)) = stack.last_mut() {
                    *above = (*above).max(depth + 1);
                }
                continue;
            };
            *index += 1;
            match marks.get(part.0 as usize) {
                Some(Mark::Open) => return Err((*id, "it contains itself".to_owned())),
                Some(&Mark::Done(below)) => *depth = (*depth).max(below + 1),
                Some(Mark::New) => stack.push((part, 0, 0)),
                None => {}
            }
        }
    }
    Ok(())
}
