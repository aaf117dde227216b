//! Memory around a window that nobody may touch, and that nobody may have read.
//!
//! ```text
//!   far          guard canary │ slop window slop │ canary canary │ slop shadow slop │ canary guard
//!  canaries ···   none  secret                     secret  0xff                       0xff   none
//! ```
//!
//! (Which of the two comes first is the kernel's choice.) What lies beside the window is a
//! secret; what lies beside its shadow would grant all accesses, so that one that leaves both is
//! not denied by chance. The far canaries lie at one distance, [`FAR`], from the window and from
//! the shadow: there a guest pointer leads that is the difference of two host addresses.
#![expect(unsafe_code, reason = "memory outside of the window is mapped, filled and compared")]

use std::ptr;
use std::sync::Arc;

use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};
use skep_memory::Window;

/// What M1 promises on each side of a window, in bytes.
pub(super) const SLOP: u64 = 64 << 10;
/// Length of a canary in bytes.
pub(super) const LEN: u64 = 8 << 10;
/// Where the far canaries begin, as a guest pointer: a TiB below.
pub(super) const FAR: u64 = (1u64 << 40).wrapping_neg() + 0x5000_0000;
/// Inaccessible memory beyond the canaries, in bytes: more than any displacement.
const GUARD: usize = 1 << 20;

/// What the canaries hold. Runs between different secrets must be the same in every respect:
/// then nobody has seen a bit of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Secret {
    /// Each byte, taken as a shadow's, grants reads and writes.
    word: u64,
    shadow: u64,
    slop: u64,
}

impl Secret {
    /// Two that differ in each byte; the slop differs, too, when nobody may read that either.
    pub(super) fn pair(slop_is_secret: bool) -> [Self; 2] {
        let slop = 0x5a5a_4b4b_3c3c_2d2d;
        let other = if slop_is_secret { !slop } else { slop };
        [
            Self { word: 0xd5b3_a7e9_c19d_f18b, shadow: u64::MAX, slop },
            Self { word: 0xa3c7_9185_bfe3_9bd9, shadow: 0, slop: other },
        ]
    }

    /// Whether half a word of it, at any alignment, stands in `bytes`.
    pub(super) fn leaks(self, bytes: &[u8]) -> bool {
        let halves = (0..64).step_by(8).map(|by| self.word.rotate_right(by).to_le_bytes());
        let halves: Vec<[u8; 8]> = halves.collect();
        bytes.windows(4).any(|window| halves.iter().any(|half| half[..4] == *window))
    }

    /// What the slop holds.
    pub(super) fn slop(self) -> u64 {
        self.slop
    }
}

/// Words at a host address that must stay as they are.
#[derive(Debug)]
struct Zone {
    what: &'static str,
    start: usize,
    words: usize,
    holds: u64,
}

/// A window with canaries around it.
#[derive(Debug)]
pub(super) struct Fence {
    window: Arc<Window>,
    /// The canaries.
    canaries: Vec<Zone>,
    /// The slop of the shadow, and of the window where that may not be touched.
    slop: Vec<Zone>,
    /// What was mapped for the canaries: addresses and lengths.
    mapped: Vec<(usize, usize)>,
}

impl Fence {
    /// A window of `len` bytes in the middle of canaries. With `slop_is_open`, programs may
    /// change its slop.
    pub(super) fn around(len: u64, secret: Secret, slop_is_open: bool) -> Self {
        // Other threads may map something just where the window should go.
        let mut failed = Vec::new();
        for _ in 0..100 {
            match Self::attempt(len, secret, slop_is_open) {
                Ok(fence) => return fence,
                Err(elsewhere) => failed.push(elsewhere),
            }
        }
        panic!("the kernel maps windows elsewhere");
    }

    /// Maps canaries with holes between them and hopes for the window to come there; gives the
    /// window if it does not.
    fn attempt(len: u64, secret: Secret, slop_is_open: bool) -> Result<Self, Arc<Window>> {
        let (canary, slop) = (to_usize(LEN), to_usize(SLOP));
        let hole = to_usize(len) + 2 * slop;
        let total = 2 * GUARD + 4 * canary + 2 * hole;
        let start = map(0, total, ProtFlags::empty(), MapFlags::empty()).expect("address space");
        let first = start + GUARD + canary;
        let second = first + hole + 2 * canary;
        unmap(first, hole);
        unmap(second, hole);
        let window = Window::with_len(len).expect("memory for a window");
        let view = window.view();
        let (base, shadow) = (view.base_ptr() as usize, view.shadow_ptr() as usize);
        let mut mapped = vec![
            (start, GUARD + canary),
            (first + hole, 2 * canary),
            (second + hole, canary + GUARD),
        ];
        let mut placed = [base - slop, shadow - slop];
        placed.sort_unstable();
        let mut free = placed == [first, second];
        for near in [base, shadow] {
            let far = near.wrapping_add(to_usize(FAR));
            let flags = MapFlags::FIXED_NOREPLACE;
            free &=
                map(far, canary, rw(), flags).inspect(|&at| mapped.push((at, canary))).is_some();
        }
        let mut fence =
            Self { window: Arc::clone(&window), canaries: Vec::new(), slop: Vec::new(), mapped };
        if !free {
            return Err(window);
        }
        for (at, holds, names) in [
            (base, secret.word, ["canary before the window", "canary behind the window"]),
            (shadow, secret.shadow, ["canary before the shadow", "canary behind the shadow"]),
        ] {
            let [before, behind] = [at - slop - canary, at + to_usize(len) + slop];
            // SAFETY: both lie in what was mapped above, and nobody uses them.
            let made = unsafe { mm::mprotect(before as *mut _, canary, rw_again()) };
            made.expect("a canary can be made accessible");
            // SAFETY: as above.
            unsafe { mm::mprotect(behind as *mut _, canary, rw_again()) }.expect("as before");
            let far = at.wrapping_add(to_usize(FAR));
            fence.canaries.push(Zone::fill(names[0], before, canary, holds));
            fence.canaries.push(Zone::fill(names[1], behind, canary, holds));
            fence.canaries.push(Zone::fill("far canary", far, canary, holds));
        }
        let end = base + to_usize(len);
        let open = [
            Zone::fill("slop before the window", base - slop, slop, secret.slop),
            Zone::fill("slop behind the window", end, slop, secret.slop),
        ];
        if !slop_is_open {
            fence.slop.extend(open);
        }
        // It holds zeros as it is.
        let end = shadow + to_usize(len);
        fence.slop.push(Zone::fill("slop before the shadow", shadow - slop, slop, 0));
        fence.slop.push(Zone::fill("slop behind the shadow", end, slop, 0));
        Ok(fence)
    }

    /// The window.
    pub(super) fn window(&self) -> &Arc<Window> {
        &self.window
    }

    /// Looks for a word of the canaries that was changed.
    pub(super) fn check(&self) -> Result<(), String> {
        self.canaries.iter().try_for_each(Zone::check)
    }

    /// The same for the slop, which is larger.
    pub(super) fn check_slop(&self) -> Result<(), String> {
        self.slop.iter().try_for_each(Zone::check)
    }

    /// Changes words of each zone, one at a time, and sees whether that is found.
    pub(super) fn finds_all(&self) -> bool {
        let all = || self.check().and_then(|()| self.check_slop());
        self.canaries.iter().chain(&self.slop).all(|zone| {
            [0, zone.words / 2, zone.words - 1].into_iter().all(|at| {
                zone.write(at, zone.holds ^ 1);
                let found = all().is_err_and(|text| text.starts_with(zone.what));
                zone.write(at, zone.holds);
                found && all().is_ok()
            })
        })
    }
}

impl Zone {
    /// Fills `len` bytes at a host address, which must be mapped, and nobody else's.
    fn fill(what: &'static str, start: usize, len: usize, holds: u64) -> Self {
        let zone = Self { what, start, words: len / 8, holds };
        (0..zone.words).for_each(|at| zone.write(at, holds));
        zone
    }

    fn check(&self) -> Result<(), String> {
        match (0..self.words).find(|&at| self.read(at) != self.holds) {
            Some(at) => Err(format!("{} at {:#x}: {:#x}", self.what, at * 8, self.read(at))),
            None => Ok(()),
        }
    }

    fn read(&self, at: usize) -> u64 {
        // SAFETY: the zone is mapped, readable and writable, as long as its fence lives; native
        // code may have changed it, but runs no more.
        unsafe { ((self.start as *const u64).wrapping_add(at)).read_volatile() }
    }

    fn write(&self, at: usize, word: u64) {
        // SAFETY: as above; nobody has a reference to it.
        unsafe { ((self.start as *mut u64).wrapping_add(at)).write_volatile(word) };
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        for &(start, len) in &self.mapped {
            unmap(start, len);
        }
    }
}

fn rw() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

fn rw_again() -> MprotectFlags {
    MprotectFlags::READ | MprotectFlags::WRITE
}

/// Maps memory at an address, or anywhere for 0.
fn map(at: usize, len: usize, prot: ProtFlags, flags: MapFlags) -> Option<usize> {
    let flags = flags | MapFlags::PRIVATE | MapFlags::NORESERVE;
    let at = ptr::without_provenance_mut(at);
    // SAFETY: nothing is replaced: the address is null, or the flags say so.
    unsafe { mm::mmap_anonymous(at, len, prot, flags) }.ok().map(|start| start as usize)
}

/// Unmaps what [`map`] gave, or a part of it.
fn unmap(start: usize, len: usize) {
    // SAFETY: it was mapped here, and only canaries were made of it.
    unsafe { mm::munmap(start as *mut _, len) }.expect("it was mapped");
}

/// A length as the host counts; `usize` has 64 bits here.
fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("64 bits")
}
