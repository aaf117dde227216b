//! Virtual machines as the global options say.

use std::sync::Arc;
use std::time::Duration;

use skep::{Engine, FixedHost, Host, Runner, SystemHost, Vm, VmBuilder};

use crate::args::{Global, HostKind};
use crate::failure::Failure;

/// Pages of the buffer of a perf event: 256 KiB, as many tools have it.
pub(crate) const PERF_PAGES: u32 = 64;

/// The fixed host; not used with `--host system`.
pub(crate) fn fixed_host(global: &Global) -> Arc<FixedHost> {
    Arc::new(FixedHost::default().clock_step(global.clock_step).seed(global.seed))
}

/// A machine with this engine and so many virtual CPUs.
pub(crate) fn build(
    global: &Global,
    engine: Engine,
    cpus: u32,
    fixed: &Arc<FixedHost>,
) -> Result<Vm, Failure> {
    Ok(builder(global, engine, cpus, fixed).build()?)
}

/// The same before it is built.
pub(crate) fn builder(
    global: &Global,
    engine: Engine,
    cpus: u32,
    fixed: &Arc<FixedHost>,
) -> VmBuilder {
    let host: Arc<dyn Host> = match global.host {
        HostKind::Fixed => Arc::clone(fixed) as Arc<dyn Host>,
        HostKind::System => Arc::new(SystemHost),
    };
    let builder = Vm::builder()
        .cpus(cpus)
        .shared_host(host)
        .engine(engine)
        .count(global.count)
        .perf_map(global.perf_map)
        .timeout(Some(Duration::from_secs_f64(global.timeout)));
    match global.max_insns {
        Some(max_insns) => builder.max_insns(max_insns),
        None => builder,
    }
}

/// A runner for each CPU that runs are dealt to.
pub(crate) fn runners(global: &Global, vm: &Vm) -> Result<Vec<Runner>, Failure> {
    let range = global.cpu;
    if range.last >= vm.cpus() {
        return Err(Failure::usage(
            format!("--cpu {}: there are {} virtual CPUs", range.last, vm.cpus()),
            Some(format!("add --cpus {}", range.last + 1)),
        ));
    }
    (range.first..=range.last).map(|cpu| Ok(vm.runner_on(cpu)?)).collect()
}
