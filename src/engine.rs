//! Engines by name.

use crate::{Engine, Error};

/// The engine of this build with a name: `jit`, `interp`.
///
/// # Errors
///
/// [`Error::NoEngine`] when this build has none of that name.
pub fn engine_by_name(name: &str) -> Result<Engine, Error> {
    let found = Engine::ALL.iter().find(|engine| engine.name() == name);
    found.copied().ok_or_else(|| Error::NoEngine { name: name.to_owned() })
}
