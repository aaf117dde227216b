//! The engines: skep's and the others, and why one is not there.

use std::fmt;

use skep_oracle::Kernel;

use crate::native::Native;
use crate::options::Options;
use crate::programs::Program;
use crate::rbpf::{self, Rbpf};
use crate::side::Side;
use crate::{linux, own};

/// Whose engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Skep(skep::Engine),
    /// No engine: clang's code for the processor.
    Native,
    /// The kernel's JIT.
    Kernel,
    Rbpf(&'static str),
}

impl Engine {
    fn all() -> impl Iterator<Item = Self> {
        let own = skep::Engine::ALL.iter().copied().map(Self::Skep);
        let rbpf = rbpf::ENGINES.iter().copied().map(Self::Rbpf);
        own.chain([Self::Native, Self::Kernel]).chain(rbpf)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skep(engine) => write!(f, "skep-{engine}"),
            Self::Native => f.write_str("native"),
            Self::Kernel => f.write_str("kernel"),
            Self::Rbpf(engine) => write!(f, "rbpf-{engine}"),
        }
    }
}

/// The engines that were asked for, built where they must be.
#[derive(Debug)]
pub(crate) struct Engines {
    pub(crate) list: Vec<Engine>,
    native: Result<Native, String>,
    kernel: Result<Kernel, String>,
    rbpf: Result<Rbpf, String>,
}

impl Engines {
    /// Builds them, and says which are not there.
    pub(crate) fn of(options: &Options) -> Self {
        let list: Vec<_> =
            Engine::all().filter(|engine| options.wants_engine(&engine.to_string())).collect();
        let unless = |wanted: bool| if wanted { Ok(()) } else { Err(String::new()) };
        let rbpf = list.iter().any(|engine| matches!(engine, Engine::Rbpf(_)));
        let this = Self {
            native: unless(list.contains(&Engine::Native)).and_then(|()| Native::build()),
            kernel: unless(list.contains(&Engine::Kernel))
                .and_then(|()| Kernel::open().map_err(|error| error.to_string())),
            rbpf: unless(rbpf).and_then(|()| {
                eprintln!("building rbpf, for minutes if for the first time");
                Rbpf::build()
            }),
            list,
        };
        let kernel = this.kernel.as_ref().map(|kernel| format!("Linux {}", kernel.release()));
        for (name, state) in [
            ("native", this.native.as_ref().map(|_| "clang -O2".to_owned())),
            ("kernel", kernel),
            ("rbpf", this.rbpf.as_ref().map(|_| "0.4.1".to_owned())),
        ] {
            match state {
                Ok(what) => println!("{name}: {what}"),
                Err(why) if why.is_empty() => {}
                Err(why) => println!("{name}: none, {why}"),
            }
        }
        this
    }

    /// An engine with a program, ready to run; an empty reason for an engine that is not
    /// there at all.
    pub(crate) fn side(&self, engine: Engine, program: &Program) -> Result<Box<dyn Side>, String> {
        let absent = |_: &String| String::new();
        match engine {
            Engine::Skep(engine) => own::side(engine, program),
            Engine::Native => self.native.as_ref().map_err(absent)?.side(program),
            Engine::Kernel => linux::side(self.kernel.as_ref().map_err(absent)?, program),
            Engine::Rbpf(engine) => self.rbpf.as_ref().map_err(absent)?.side(engine, program),
        }
    }
}
