//! Ends runs that take too long.
//!
//! One thread for the whole process looks at all runners every few milliseconds while one
//! of them is running. To a run it costs a store at its start, a load, and a store at its
//! end; the runs look at a cell, and end when their own number stands in it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use skep_vm::Stop;

/// How often the runners are looked at: a run may be seen, and so ended, so much later.
const TICK: Duration = Duration::from_millis(2);
/// How long the thread sleeps at most when nothing runs.
const REST: Duration = Duration::from_secs(1);

/// A runner whose runs have a limit of time.
#[derive(Debug)]
pub(crate) struct Watched {
    timeout: Duration,
    /// The number of the run: odd while it is going on.
    run: AtomicU64,
    /// The number of the run that is to end.
    stop: AtomicU64,
}

struct Watchdog {
    runners: Mutex<Vec<Seen>>,
    /// Whether the thread must be woken when a run starts.
    asleep: AtomicBool,
    thread: Option<Thread>,
}

/// What the thread has seen of a runner.
struct Seen {
    runner: Weak<Watched>,
    run: u64,
    since: Instant,
}

static WATCHDOG: LazyLock<Watchdog> = LazyLock::new(|| {
    let watch = || WATCHDOG.watch();
    let thread = thread::Builder::new().name("skep-watchdog".to_owned()).spawn(watch);
    Watchdog {
        runners: Mutex::new(Vec::new()),
        asleep: AtomicBool::new(false),
        thread: thread.ok().map(|handle| handle.thread().clone()),
    }
});

impl Watched {
    /// A runner whose runs may take so long.
    pub(crate) fn new(timeout: Duration) -> Arc<Self> {
        let (run, stop) = (AtomicU64::new(0), AtomicU64::new(0));
        let runner = Arc::new(Self { timeout, run, stop });
        let seen = Seen { runner: Arc::downgrade(&runner), run: 0, since: Instant::now() };
        WATCHDOG.lock().push(seen);
        runner
    }

    /// Lets a run be watched: gives what it must look at.
    #[inline]
    pub(crate) fn during<T>(&self, run: impl FnOnce(Stop<'_>) -> T) -> T {
        let at = self.run.load(Ordering::Relaxed) + 1;
        self.run.store(at, Ordering::Relaxed);
        WATCHDOG.wake();
        let result = run(Stop { cell: &self.stop, at });
        self.run.store(at + 1, Ordering::Relaxed);
        result
    }
}

impl Watchdog {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn wake(&self) {
        if self.asleep.load(Ordering::Relaxed) {
            self.wake_up();
        }
    }

    #[cold]
    fn wake_up(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }

    fn watch(&self) {
        loop {
            let (running, next) = self.look();
            if running {
                self.asleep.store(false, Ordering::Relaxed);
                thread::sleep(next);
            } else if self.asleep.swap(true, Ordering::Relaxed) {
                thread::park_timeout(REST);
            } else {
                // Who has just started without seeing that the thread falls asleep will be
                // seen after one more tick: no store takes milliseconds to arrive.
                thread::sleep(TICK);
            }
        }
    }

    /// Ends the runs whose time is up. Says whether some go on, and when to look again.
    fn look(&self) -> (bool, Duration) {
        let now = Instant::now();
        let (mut running, mut next) = (false, TICK);
        self.lock().retain_mut(|seen| {
            let Some(runner) = seen.runner.upgrade() else {
                return false;
            };
            let run = runner.run.load(Ordering::Relaxed);
            if run != seen.run {
                (seen.run, seen.since) = (run, now);
            }
            if run % 2 == 1 {
                running = true;
                let left = runner.timeout.saturating_sub(now - seen.since);
                if left.is_zero() {
                    runner.stop.store(run, Ordering::Relaxed);
                } else {
                    next = next.min(left);
                }
            }
            true
        });
        (running, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs until it is stopped; gives how long that took.
    fn spin(watched: &Watched) -> Duration {
        let start = Instant::now();
        watched.during(|Stop { cell, at }| {
            while cell.load(Ordering::Relaxed) != at {
                std::hint::spin_loop();
            }
        });
        start.elapsed()
    }

    #[test]
    fn a_run_ends_when_its_time_is_up_and_the_next_has_its_own() {
        let watched = Watched::new(Duration::from_millis(30));
        for _ in 0..3 {
            let took = spin(&watched);
            assert!(took >= Duration::from_millis(30), "{took:?}");
        }
    }

    #[test]
    fn a_run_is_watched_when_nothing_ran_for_long() {
        let watched = Watched::new(Duration::from_millis(1));
        thread::sleep(Duration::from_millis(50));
        assert!(spin(&watched) >= Duration::from_millis(1));
    }
}
