//! The atomics of the lock-free parts, and how their threads wait.
//!
//! `maps/model` compiles the same source files with loom's atomics in place of these, and
//! checks every interleaving of small programs, under the memory model's weak orders.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Lets some time pass in a loop that waits for another thread; `tries` counts the
/// loop's rounds. Other threads get the processor now and then, since the one that is
/// waited for may need it.
#[inline]
pub(crate) fn pause(tries: u32) {
    if tries % 64 == 63 {
        give_way();
    } else {
        std::hint::spin_loop();
    }
}

/// Waits for a lock that many want, longer each time; returns the next number of tries. The
/// holder then takes it several times in a row, and the memory that it guards does not have
/// to travel between processors each time: two producers of a ring buffer are twice as fast.
#[inline]
pub(crate) fn back_off(tries: u32) -> u32 {
    const SHORTEST: u32 = 4;
    const LONGEST: u32 = 8;
    let length = (SHORTEST + tries).min(LONGEST);
    (0..1 << length).for_each(|_| pause(0));
    if length == LONGEST {
        give_way();
    }
    tries.wrapping_add(1)
}

/// Lets another thread have the processor.
#[cold]
pub(crate) fn give_way() {
    std::thread::yield_now();
}

/// Sleeps for a millisecond, in a loop that has waited long already.
#[cold]
pub(crate) fn nap() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

/// A number that no other thread of this process has at the same time: the smallest one
/// that was free when the thread first asked.
#[inline]
pub(crate) fn thread_number() -> usize {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use crate::mutex::lock;

    static FREE: Mutex<(BTreeSet<usize>, usize)> = Mutex::new((BTreeSet::new(), 0));

    struct Number;
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
        static GUARD: Number = const { Number };
    }
    impl Drop for Number {
        fn drop(&mut self) {
            lock(&FREE).0.insert(OWN.replace(usize::MAX));
        }
    }

    #[cold]
    fn first_time() -> usize {
        let own = {
            let mut free = lock(&FREE);
            let next = free.1;
            free.0.pop_first().unwrap_or_else(|| {
                free.1 += 1;
                next
            })
        };
        OWN.set(own);
        // A thread that is ending keeps its number for good.
        let _is_ending = GUARD.try_with(|_| ());
        own
    }

    match OWN.get() {
        usize::MAX => first_time(),
        own => own,
    }
}
