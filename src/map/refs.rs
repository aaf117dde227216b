//! Maps of other objects: programs and maps.

use skep_maps::MapType;

use super::Map;
use super::error::{Asked, found};
use crate::{Bytes, Errno, Error, Program};

impl Map {
    /// Puts a program into a program array.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `E2BIG` beyond the last slot, `EINVAL`
    /// when the array is for programs of another type; [`Error::WrongType`].
    pub fn set_program(&self, index: u32, program: &Program) -> Result<(), Error> {
        self.check_programs()?;
        let (key, value) = (index.to_le_bytes(), program.id().to_le_bytes());
        self.update_reference(&key, value, || {
            let prog_type = program.prog_type().map_or("no type", |prog_type| prog_type.name);
            format!("the array is for programs of another type than `{prog_type}`")
        })
    }

    /// The id of the program in a slot of a program array; `None` when it is empty or there
    /// is no such slot.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::WrongType`].
    pub fn program_id(&self, index: u32) -> Result<Option<u32>, Error> {
        self.check_programs()?;
        self.lookup(&index)
    }

    /// Puts a map into a map of maps.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `EINVAL` when `inner` is not as the
    /// definition of inner maps says, `EBADF` when it is of another machine;
    /// [`Error::WrongType`].
    pub fn set_map<K: Bytes>(&self, key: &K, inner: &Self) -> Result<(), Error> {
        self.check_maps()?;
        let key = key.to_bytes();
        let ours = std::sync::Arc::ptr_eq(self.map().core().world(), inner.map().core().world());
        if !ours {
            let why = format!("map `{}` belongs to another machine", inner.name());
            return Err(self.failed_since("update", Errno::EBADF, why));
        }
        self.update_reference(&key, inner.id().to_le_bytes(), || self.difference(inner))
    }

    /// The map under a key of a map of maps; `None` when there is none.
    ///
    /// It is the map itself, with the types that its own object gave it.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::WrongType`].
    pub fn inner_map<K: Bytes>(&self, key: &K) -> Result<Option<Self>, Error> {
        let world = self.map().core().world();
        let id = self.inner_map_id(key)?;
        // It may have been taken out meanwhile, and be gone.
        Ok(id.and_then(|id| world.map_by_id(id)).map(Self::reopen))
    }

    /// The id of the map under a key of a map of maps; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::WrongType`].
    pub fn inner_map_id<K: Bytes>(&self, key: &K) -> Result<Option<u32>, Error> {
        self.check_maps()?;
        let bytes = found(self.lookup_bytes(&key.to_bytes()))?;
        bytes.map(|bytes| self.typed(&bytes)).transpose()
    }

    fn check_programs(&self) -> Result<(), Error> {
        let holds = self.map_type() == MapType::ProgArray;
        if holds { Ok(()) } else { Err(self.wrong_type("programs")) }
    }

    fn check_maps(&self) -> Result<(), Error> {
        if self.holds_maps() { Ok(()) } else { Err(self.wrong_type("inner maps")) }
    }

    /// Puts a reference under a key; `misfit` says what is wrong with an object that the map
    /// does not take.
    fn update_reference(
        &self,
        key: &[u8],
        value: [u8; 4],
        misfit: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let key = self.some_key(key);
        self.user.update(key, &value, 0).map_err(|errno| {
            let asked = Asked { key, ..Asked::of("update") };
            let right_size = key.is_none_or(|key| key.len() == self.def().key_size as usize);
            match errno {
                Errno::EINVAL if right_size => self.failed_since(asked.op, errno, misfit()),
                _ => self.failed(asked, errno),
            }
        })
    }

    /// In what a map differs from the definition of inner maps.
    fn difference(&self, inner: &Self) -> String {
        let name = inner.name();
        let Some(template) = &self.def().inner else {
            return format!("map `{name}` does not fit");
        };
        let def = inner.def();
        if template.map_type != def.map_type {
            let (wanted, has) = (type_name(template.map_type), inner.map_type().name());
            return format!("map `{name}` is of type {has}, inner maps are of type {wanted}");
        }
        let fields = [
            ("key_size", template.key_size, def.key_size),
            ("value_size", template.value_size, def.value_size),
            ("flags", template.flags, def.flags),
            ("max_entries", template.max_entries, def.max_entries),
        ];
        match fields.into_iter().find(|(_, wanted, has)| wanted != has) {
            Some((what, wanted, has)) => {
                format!("the {what} of map `{name}` is {has}, that of inner maps {wanted}")
            }
            None => format!("the kernel's fields in values of map `{name}` are others"),
        }
    }
}

/// The type's name; its number, should it have none.
fn type_name(id: u32) -> String {
    MapType::from_id(id).map_or_else(|| id.to_string(), |known| known.name().to_owned())
}
