//! Keys and values as JSON, by their BTF types (see [`value`](crate::value)).

use serde_json::Value;
use skep_loader::Variable;

use super::Map;
use super::error::found;
use crate::{Error, value};

impl Map {
    /// The value of a key, both as JSON; `None` when there is none. The value of a per-CPU
    /// map is a list.
    ///
    /// ```
    /// use serde_json::json;
    /// use skep::{Object, Vm, flags};
    ///
    /// # fn main() -> Result<(), skep::Error> {
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects/routes.bpf.o");
    /// let vm = Vm::builder().build()?;
    /// let routes = vm.load(Object::open(path)?)?.map("routes")?;
    /// let prefix = json!({ "len": 8, "addr": [10, 0, 0, 0] });
    /// routes.update_json(&prefix, &json!({ "port": 3 }), flags::BPF_ANY)?;
    ///
    /// let longer = json!({ "len": 32, "addr": [10, 1, 2, 3] });
    /// assert_eq!(routes.lookup_json(&longer)?, Some(json!({ "port": 3, "packets": 0 })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::Value`] when the key does not
    /// fit its type, or values have no type.
    pub fn lookup_json(&self, key: &Value) -> Result<Option<Value>, Error> {
        let Some(bytes) = found(self.lookup_bytes(&self.encode_key(key)?))? else {
            return Ok(None);
        };
        let values: Option<Vec<Value>> = match self.map_type().is_percpu() {
            true => self.cpu_values(&bytes).map(|part| self.value_value(part)).collect(),
            false => self.value_value(&bytes).map(|value| vec![value]),
        };
        let mut values = values.ok_or_else(|| self.untyped("value"))?;
        Ok(match self.map_type().is_percpu() {
            true => Some(Value::Array(values)),
            false => values.pop(),
        })
    }

    /// Inserts or replaces, key and value as JSON. Members that are not named are zero; the
    /// value of a per-CPU map is a list with one for each CPU.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::Value`] when one of them
    /// does not fit its type.
    pub fn update_json(&self, key: &Value, value: &Value, flags: u64) -> Result<(), Error> {
        let key = self.encode_key(key)?;
        let bytes = match value.as_array().filter(|_| self.map_type().is_percpu()) {
            Some(values) => {
                let values = values.iter().map(|value| self.encode_value(value));
                self.join_percpu(&values.collect::<Result<Vec<_>, _>>()?)?
            }
            None => self.encode_value(value)?,
        };
        self.update_bytes(&key, &bytes, flags)
    }

    /// Removes the entry of a key, given as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::Value`] when the key does not
    /// fit its type.
    pub fn delete_json(&self, key: &Value) -> Result<(), Error> {
        self.delete_bytes(&self.encode_key(key)?)
    }

    /// The key that bytes hold, by its BTF type.
    #[must_use]
    pub fn key_value(&self, key: &[u8]) -> Option<Value> {
        value::decode(self.view(self.types.key)?, key)
    }

    /// The value that the bytes of one value hold, by its BTF type.
    #[must_use]
    pub fn value_value(&self, bytes: &[u8]) -> Option<Value> {
        if self.types.variables.is_empty() {
            return value::decode(self.view(self.types.value)?, bytes);
        }
        let variables = self.types.variables.iter();
        let members =
            variables.filter_map(|var| Some((var.name.clone(), self.variable(var, bytes)?)));
        Some(Value::Object(members.collect()))
    }

    fn variable(&self, var: &Variable, bytes: &[u8]) -> Option<Value> {
        let start = var.offset as usize;
        value::decode(self.view(var.type_id)?, bytes.get(start..start + var.size as usize)?)
    }

    /// The bytes of a key, by its BTF type; without one, of a number.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when it does not fit.
    pub fn encode_key(&self, json: &Value) -> Result<Vec<u8>, Error> {
        let size = self.def().key_size as usize;
        value::encode(self.view(self.types.key), size, json)
            .map_err(|problem| self.misfit("key", problem))
    }

    /// The bytes of one value, by its BTF type; without one, of a number.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when it does not fit.
    pub fn encode_value(&self, json: &Value) -> Result<Vec<u8>, Error> {
        let size = self.def().value_size as usize;
        value::encode(self.view(self.types.value), size, json)
            .map_err(|problem| self.misfit("value", problem))
    }

    /// A key or a value that does not fit its type.
    pub(super) fn misfit(&self, what: &str, problem: String) -> Error {
        Error::Value { what: format!("{what} of map `{}`", self.name()), problem }
    }

    pub(super) fn untyped(&self, what: &str) -> Error {
        let problem = "the object has no BTF type for it; use bytes or numbers".to_owned();
        self.misfit(what, problem)
    }
}
