//! An object that is open: parsed, nothing created.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use skep_loader::Variable;

use crate::{Bytes, Error, Map, value};

/// An object that was opened and not yet loaded; its globals and maps can still be
/// changed.
#[derive(Debug, Clone)]
pub struct Object {
    pub(crate) parsed: skep_loader::Object,
    /// Maps of the machine to be used in place of the object's own, by index.
    pub(crate) shared: HashMap<usize, Map>,
}

impl Object {
    /// Opens the object in a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read, [`Error::Load`] when it is no usable
    /// object.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Self::parse_named(&name, &bytes)
    }

    /// Opens the object in `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] when it is no usable object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_named("object", bytes)
    }

    /// Opens the object in `bytes`; `name` stands in messages.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] when it is no usable object.
    pub fn parse_named(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let parsed = skep_loader::Object::parse(name, bytes)?;
        Ok(Self { parsed, shared: HashMap::new() })
    }

    /// The name that stands in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parsed.name()
    }

    /// Everything that was parsed.
    #[must_use]
    pub fn parsed(&self) -> &skep_loader::Object {
        &self.parsed
    }

    /// A global variable of any data section, by name or as `section:name`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub fn global(&mut self, name: &str) -> Result<Global<'_>, Error> {
        let named = |var: &Variable| var.name == name;
        let qualified = |map: usize, var: &Variable| {
            let section = &self.parsed.maps()[map].section;
            name.split_once(':').is_some_and(|(s, n)| s == section && n == var.name)
        };
        let found = self.parsed.globals().find(|(map, var)| named(var) || qualified(*map, var));
        let Some((_, var)) = found else {
            return Err(Error::NotFound {
                object: self.name().to_owned(),
                what: "variable",
                name: name.to_owned(),
                have: self.parsed.globals().map(|(_, var)| var.name.clone()).collect(),
            });
        };
        let var = var.clone();
        Ok(Global { object: self, name: name.to_owned(), var })
    }

    /// A map of the object.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub fn map(&mut self, name: &str) -> Result<MapSettings<'_>, Error> {
        let maps = self.parsed.maps();
        let Some(index) = maps.iter().position(|decl| decl.def.name == name) else {
            return Err(Error::NotFound {
                object: self.name().to_owned(),
                what: "map",
                name: name.to_owned(),
                have: maps.iter().map(|decl| decl.def.name.clone()).collect(),
            });
        };
        Ok(MapSettings { object: self, index })
    }
}

/// A global variable of an open object.
#[derive(Debug)]
pub struct Global<'o> {
    object: &'o mut Object,
    name: String,
    var: Variable,
}

impl Global<'_> {
    /// Sets the variable; the value must have the variable's size.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] for another size.
    pub fn set(self, value: impl Bytes) -> Result<(), Error> {
        self.set_bytes(&value.to_bytes())
    }

    /// Sets the variable's bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] for another size.
    pub fn set_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.object.parsed.set_global(&self.name, bytes)?)
    }

    /// Sets the variable to a JSON value, by its type; without BTF, a number of the
    /// variable's size.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when it does not fit.
    pub fn set_value(self, json: &Value) -> Result<(), Error> {
        let view = self.var.type_id.zip(self.object.parsed.btf());
        let view = view.map(|(id, btf)| btf.view(id));
        let bytes = value::encode(view, self.var.size as usize, json);
        let what = format!("variable `{}`", self.name);
        let bytes = bytes.map_err(|problem| Error::Value { what, problem })?;
        self.set_bytes(&bytes)
    }
}

/// A map of an open object.
#[derive(Debug)]
pub struct MapSettings<'o> {
    object: &'o mut Object,
    index: usize,
}

impl MapSettings<'_> {
    /// Sets how many entries the map will have; ring buffers are rounded up to a power
    /// of two of whole pages.
    pub fn set_max_entries(&mut self, max_entries: u32) -> &mut Self {
        let name = self.object.parsed.maps()[self.index].def.name.clone();
        let set = self.object.parsed.set_max_entries(&name, max_entries);
        debug_assert!(set.is_ok(), "the map was found by this name");
        self
    }

    /// Uses a map that exists already in place of the object's own.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when type or sizes differ.
    pub fn share(&mut self, map: &Map) -> Result<&mut Self, Error> {
        let def = &self.object.parsed.maps()[self.index].def;
        let other = map.def();
        let same = def.map_type == other.map_type
            && def.key_size == other.key_size
            && def.value_size == other.value_size;
        if !same {
            let what = format!("map `{}`", def.name);
            let problem = format!("`{}` has another type or other sizes", other.name);
            return Err(Error::Value { what, problem });
        }
        self.object.shared.insert(self.index, map.clone());
        Ok(self)
    }
}
