//! Types as C spells them, for people.

use super::Btf;
use super::types::{Type, TypeId};

impl Btf {
    /// The type as C spells it: `unsigned int`, `struct event *`, `char[16]`.
    /// Parameters of functions are left out.
    #[must_use]
    pub fn c_name(&self, id: TypeId) -> String {
        // The declarator grows outwards from the middle: `*`, `(*)[4]`, ...
        let mut declarator = String::new();
        let mut qualifiers = String::new();
        let mut at = id;
        loop {
            let qualifier = match self.ty(at) {
                Type::Ptr(target) => {
                    declarator = format!("*{qualifiers}{declarator}");
                    qualifiers.clear();
                    let behind = self.ty(self.strip(*target));
                    if matches!(behind, Type::Array(_) | Type::FuncProto(_)) {
                        declarator = format!("({declarator})");
                    }
                    at = *target;
                    continue;
                }
                Type::Array(array) => {
                    declarator = format!("{declarator}[{}]", array.len);
                    at = array.element;
                    continue;
                }
                Type::FuncProto(proto) => {
                    declarator = format!("{declarator}()");
                    // A prototype may return a pointer to its own kind.
                    if declarator.len() > 256 {
                        break;
                    }
                    at = proto.ret;
                    continue;
                }
                Type::Const(_) => "const ",
                Type::Volatile(_) => "volatile ",
                Type::Restrict(_) => "restrict ",
                Type::TypeTag { .. } => "",
                _ => break,
            };
            if !qualifiers.contains(qualifier) {
                qualifiers.push_str(qualifier);
            }
            at = self.ty(at).alias_of().unwrap_or(TypeId::VOID);
        }
        let base = self.base_name(at);
        let declarator = declarator.trim_end();
        let space = if declarator.starts_with(['*', '(']) { " " } else { "" };
        format!("{qualifiers}{base}{space}{declarator}")
    }

    fn base_name(&self, id: TypeId) -> String {
        let ty = self.ty(id);
        let keyword = match ty {
            Type::Struct(_) | Type::Fwd { union: false, .. } => "struct ",
            Type::Union(_) | Type::Fwd { union: true, .. } => "union ",
            Type::Enum(_) => "enum ",
            Type::Void | Type::FuncProto(_) => return "void".to_owned(),
            _ => "",
        };
        match self.str(ty.name()) {
            "" => format!("{keyword}{{...}}"),
            name => format!("{keyword}{name}"),
        }
    }
}
