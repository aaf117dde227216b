//! Maps of maps: inner maps made as the definition says. `refs.rs` puts in maps that are there.

use skep_maps::{MapDef, MapType};

use super::{Map, Types};
use crate::{Bytes, Error};

impl Map {
    /// Whether its values are maps.
    #[must_use]
    pub fn holds_maps(&self) -> bool {
        matches!(self.map_type(), MapType::ArrayOfMaps | MapType::HashOfMaps)
    }

    /// Makes a map as the definition of inner maps says, and puts it under a key of this map
    /// of maps. It has the definition's name, and the types that BTF gives its keys and
    /// values.
    ///
    /// # Errors
    ///
    /// [`Error::Create`] and [`Error::Map`] with the kernel's error number;
    /// [`Error::WrongType`].
    pub fn create_inner<K: Bytes>(&self, key: &K) -> Result<Self, Error> {
        let made = skep_maps::create(self.map().core().world(), self.template()?);
        let made =
            made.map_err(|source| Error::Create { object: self.name().to_owned(), source })?;
        let inner = Self::new(made, self.inner_types());
        self.set_map(key, &inner)?;
        Ok(inner)
    }

    /// Whether it has the name that [`Map::create_inner`] of `outer` gives: no map of an
    /// object has it.
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
        let Types { btf, inner, .. } = &*self.types;
        Types { btf: btf.clone(), key: inner.key, value: inner.value, ..Types::default() }
    }
}
