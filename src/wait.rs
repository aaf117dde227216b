//! Waiting for what maps have for user space.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Error;

/// Waits until a descriptor is readable, the time is over or a signal comes; `what` says
/// whose descriptor it is.
pub(crate) fn readable(fd: impl AsFd, timeout: Duration, what: &str) -> Result<(), Error> {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(failed(what)(error.into())),
    }
}

/// The host gives no descriptor, or cannot wait for it.
pub(crate) fn failed(what: &str) -> impl FnOnce(io::Error) -> Error {
    let path = format!("event descriptor of a {what}").into();
    move |source| Error::Io { path, source }
}
