//! Waiting for what maps have for user space.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

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

/// Takes what there is, and waits for something when there is nothing, until the time is
/// over; returns how much it took.
pub(crate) fn until_some<C>(
    consumer: &mut C,
    timeout: Duration,
    mut take: impl FnMut(&mut C) -> u64,
    wait: impl Fn(&C, Duration) -> Result<(), Error>,
) -> Result<u64, Error> {
    let start = Instant::now();
    loop {
        let taken = take(consumer);
        let left = timeout.saturating_sub(start.elapsed());
        if taken > 0 || left.is_zero() {
            return Ok(taken);
        }
        wait(consumer, left)?;
    }
}

/// The host gives no descriptor, or cannot wait for it.
pub(crate) fn failed(what: &str) -> impl FnOnce(io::Error) -> Error {
    let path = format!("event descriptor of a {what}").into();
    move |source| Error::Io { path, source }
}
