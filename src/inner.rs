//! Maps inside maps of maps.

use skep_maps::{Errno, MapDef, MapError, MapType};

use crate::map::Types;
use crate::{Bytes, Error, Map};

impl Map {
    /// Whether its values are maps.
    #[must_use]
    pub fn holds_maps(&self) -> bool {
        matches!(self.map_type(), MapType::ArrayOfMaps | MapType::HashOfMaps)
    }

    /// Puts a map into a map of maps.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `EINVAL` when it is not like the
    /// template; [`Error::WrongType`].
    pub fn set_map<K: Bytes>(&self, key: &K, inner: &Self) -> Result<(), Error> {
        self.template()?;
        self.update_bytes(&key.to_bytes(), &inner.id().to_le_bytes(), 0)
    }

    /// The map that a map of maps has under a key; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number, [`Error::WrongType`].
    pub fn inner<K: Bytes>(&self, key: &K) -> Result<Option<Self>, Error> {
        self.template()?;
        let id = match self.lookup_bytes(&key.to_bytes()) {
            Ok(id) => u32::from_bytes(&id).unwrap_or_default(),
            Err(Error::Map(MapError { errno: Errno::ENOENT, .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Gone since: another thread has put another map there.
        let found = self.map().core().world().map_by_id(id);
        // What can be an inner map lets nothing go with the last of user space's
        // references, so that a passing one does no harm.
        Ok(found.map(|map| Self::new(map, self.inner_types())))
    }

    /// Makes a map from the template of a map of maps and puts it under a key.
    ///
    /// # Errors
    ///
    /// [`Error::Create`] and [`Error::Map`] with the kernel's error number,
    /// [`Error::WrongType`].
    pub fn create_inner<K: Bytes>(&self, key: &K) -> Result<Self, Error> {
        let made = skep_maps::create(self.map().core().world(), self.template()?);
        let made =
            made.map_err(|source| Error::Create { object: self.name().to_owned(), source })?;
        let inner = Self::new(made, self.inner_types());
        self.set_map(key, &inner)?;
        Ok(inner)
    }

    /// Whether it is one of [`Map::create_inner`] in `outer`, and so nowhere else.
    #[must_use]
    pub fn is_made_in(&self, outer: &Self) -> bool {
        outer.template().is_ok_and(|template| template.name == self.name())
    }

    /// What inner maps have to look like.
    fn template(&self) -> Result<&MapDef, Error> {
        let template = self.def().inner.as_deref().filter(|_| self.holds_maps());
        template.ok_or_else(|| self.wrong_type("inner maps"))
    }

    fn inner_types(&self) -> Types {
        let Types { btf, inner, .. } = self.types();
        Types { btf: btf.clone(), key: inner.key, value: inner.value, ..Types::default() }
    }
}
