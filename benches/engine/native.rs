//! The programs compiled to native code, with the simplest maps that do.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::{self, hex};
use crate::programs::{PROGRAMS, Program};
use crate::side::Side;

/// The executable that has all programs.
#[derive(Debug)]
pub(crate) struct Native {
    path: PathBuf,
}

impl Native {
    /// Compiles it.
    ///
    /// # Errors
    ///
    /// When there is no clang 19, or the sources are wrong.
    pub(crate) fn build() -> Result<Self, String> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/engine");
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("native");
        let said = |error: std::io::Error| format!("{}: {error}", out.display());
        std::fs::create_dir_all(&out).map_err(said)?;
        let list: String =
            PROGRAMS.iter().map(|program| format!("P({})\n", program.name)).collect();
        std::fs::write(out.join("programs.h"), list).map_err(said)?;
        let mut objects = Vec::new();
        for program in PROGRAMS {
            let name = program.name;
            let define = format!("-Dprog=prog_{name}");
            let source = sources.join(format!("progs/{name}.bpf.c"));
            objects.push(compile(&source, &out.join(name).with_extension("o"), &[&define])?);
        }
        let include = format!("-I{}", out.display());
        for name in ["main", "maps"] {
            let source = sources.join("native").join(name).with_extension("c");
            // No program has one of these names.
            let object = out.join(format!("_{name}.o"));
            objects.push(compile(&source, &object, &[&include])?);
        }
        let path = out.join("native");
        run(clang().args(objects).arg("-o").arg(&path))?;
        Ok(Self { path })
    }

    /// One of the programs, ready to run.
    pub(crate) fn side(&self, program: &Program) -> Result<Box<dyn Side>, String> {
        let lines = [hex(&program.packet())];
        child::start(Command::new(&self.path).arg(program.name), &lines)
    }
}

fn clang() -> Command {
    Command::new(std::env::var_os("CLANG").unwrap_or_else(|| "clang-19".into()))
}

fn compile(source: &Path, object: &Path, flags: &[&str]) -> Result<PathBuf, String> {
    let common = ["-O2", "-w", "-fno-strict-aliasing", "-c"];
    run(clang().args(common).args(flags).arg(source).arg("-o").arg(object))?;
    Ok(object.to_owned())
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("`{name}`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| line.contains("error")).unwrap_or_default();
    Err(format!("`{name}` failed: {first}"))
}
