//! The real world as a host.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::time::{ClockId, clock_gettime};
use skep_maps::Cgroup;
use skep_vm::{Clock, Host, Task};

/// A host that asks the operating system: real clocks, random numbers, the calling task
/// and its cgroup.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemHost;

impl Host for SystemHost {
    fn clock(&self, clock: Clock) -> u64 {
        let id = match clock {
            Clock::Monotonic => ClockId::Monotonic,
            Clock::Coarse => ClockId::MonotonicCoarse,
            Clock::Boot => ClockId::Boottime,
            // International atomic time is the wall clock plus the leap seconds that a
            // time daemon has told the kernel; mostly none has.
            Clock::Tai => ClockId::Realtime,
        };
        let time = clock_gettime(id);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
        seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
    }

    fn random(&self) -> u32 {
        let mut bytes = [0; 4];
        // It fails only before the system has gathered any chance; then 0 is as random
        // as it gets.
        let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        u32::from_ne_bytes(bytes)
    }

    fn task(&self) -> Task {
        let comm = fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
        Task {
            pid: rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(),
            tgid: rustix::process::getpid().as_raw_nonzero().get().cast_unsigned(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            comm: Task::comm_of(comm.trim_end()),
        }
    }

    fn cgroup(&self) -> Cgroup {
        own_cgroup().unwrap_or_else(Cgroup::root)
    }
}

/// The cgroup of the calling thread in the default hierarchy, when that is mounted.
fn own_cgroup() -> Option<Cgroup> {
    let own = fs::read_to_string("/proc/thread-self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut fields = mounts.lines().map(|line| line.split(' '));
    let mount = fields.find_map(|mut line| {
        let (_, folder, kind) = (line.next()?, line.next()?, line.next()?);
        (kind == "cgroup2").then_some(folder)
    });
    let mut folder = PathBuf::from(mount?);
    let mut cgroup = Cgroup::root();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        folder.push(name);
        cgroup = cgroup.child(fs::metadata(&folder).ok()?.ino());
    }
    Some(cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calling_thread_is_in_a_cgroup_below_the_root() {
        let cgroup = SystemHost.cgroup();
        assert!(cgroup.is_under(Cgroup::ROOT));
        assert_eq!(cgroup.ancestor(0), Some(Cgroup::ROOT));
    }
}
