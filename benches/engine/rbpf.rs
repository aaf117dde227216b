//! rbpf's engines, in a package of its own that only this benchmark builds: its Cranelift
//! is another version than skep's, and takes two minutes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::{self, hex};
use crate::native;
use crate::programs::Program;
use crate::side::Side;

/// rbpf's engines, as the package calls them.
pub(crate) const ENGINES: &[&str] = &["interp", "jit", "cranelift"];

/// The executable.
#[derive(Debug)]
pub(crate) struct Rbpf {
    path: PathBuf,
}

impl Rbpf {
    /// Compiles it.
    ///
    /// # Errors
    ///
    /// When its dependencies can not be had.
    pub(crate) fn build() -> Result<Self, String> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/engine/rbpf");
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rbpf");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--release", "--locked", "--manifest-path"]);
        command.arg(package.join("Cargo.toml")).arg("--target-dir").arg(&out);
        native::run(&mut command)?;
        Ok(Self { path: out.join("release/skep-bench-rbpf") })
    }

    /// A program for one of the engines, ready to run.
    pub(crate) fn side(&self, engine: &str, program: &Program) -> Result<Box<dyn Side>, String> {
        let object = skep_loader::Object::parse(program.name, program.object);
        let object = object.map_err(|error| error.to_string())?;
        let def = object.programs().first().ok_or("the object has no program")?;
        if engine == "cranelift" && def.funcs.len() > 1 {
            return Err("it has no calls between functions".to_owned());
        }
        if engine == "cranelift" && !object.maps().is_empty() {
            return Err("its code may not touch the memory of maps".to_owned());
        }
        let insns: Vec<u8> = def.insns.iter().flat_map(|insn| insn.to_le_bytes()).collect();
        let maps = object.maps().iter().map(|map| {
            let def = &map.def;
            format!("{} {} {}", def.map_type, def.value_size, def.max_entries)
        });
        let maps = maps.collect::<Vec<_>>().join(" ");
        let lines = [hex(&program.packet()), hex(&insns), maps];
        child::start(Command::new(&self.path).arg(engine), &lines)
    }
}
