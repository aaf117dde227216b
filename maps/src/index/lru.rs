//! Which elements of an LRU map are free, and which has to go when none is: the kernel's
//! approximation of "least recently used" (`bpf_lru_list.c`), step by step, so that the
//! same keys stay.
//!
//! Elements in use stand on an **active** or an **inactive** list; being looked up by a
//! program only sets an element's *reference bit*. When elements are wanted, the lists
//! are rotated a little: referenced elements move to, or stay on, the active list and
//! lose their bit, others move to, or stay on, the inactive one, from whose end
//! unreferenced ones are evicted.
//!
//! With one set of lists for all CPUs (the common LRU), each CPU has a **local** list of
//! free elements, which is refilled by many at a time, and one of **pending** ones: those
//! that it has put to use since the last refill. So a map that is full may lose several
//! keys at once, and a CPU that finds nothing takes from the others' local lists.
//! With `BPF_F_NO_COMMON_LRU` each CPU has a set of lists and a share of the elements.
//!
//! Lock order: a CPU's local lists, then the common lists, then a bucket of the index. An
//! element's links belong to the lock of the list that it is on, which its state names.
//!
//! In a file links, states and locks may be anything. So nothing is believed to be an
//! element that is none, no walk is longer than there are elements, and whoever does not
//! get a lock does without: then elements are lost, and at worst there are none to be had.

use super::list::{self, Lists};
use crate::patience::Patience;
use crate::segment::{Cells32, Parts};
use crate::sync::{AtomicU32, Ordering};
use crate::word_lock::WordGuard;

/// Most elements of a refill (`LOCAL_FREE_TARGET`), and as many are looked at.
const REFILL: u32 = 128;
/// Elements that a CPU with its own lists evicts at a time (`PERCPU_FREE_TARGET`).
const PERCPU_REFILL: u32 = 4;

/// Which kind of list an element is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    Free,
    Active,
    Inactive,
    LocalFree,
    LocalPending,
}

/// The lists of one map, in its segment. All methods may be called from any thread.
#[derive(Debug)]
pub(crate) struct Lru {
    /// An element's state is its [`Kind`] of list and above it its CPU.
    lists: Lists,
    sets: Cells32,
    locals: Cells32,
    elements: u32,
    /// The first head's id.
    heads: u32,
    cpus: u32,
    sharing: Sharing,
    patience: Patience,
}

/// Who shares the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// All CPUs, with local lists.
    Common,
    /// Each CPU has its own (`BPF_F_NO_COMMON_LRU`).
    Percpu,
}

/// Cells of a set: a cache line, of which the lock, the numbers of active and of inactive
/// elements, where the next rotation of the inactive list begins, and how many elements
/// were ever in use are used.
const LINE: u32 = 16;
const LOCK: usize = 0;
const ACTIVE: usize = 1;
const INACTIVE: usize = 2;
const ROTATION: usize = 3;
const USED: usize = 4;
/// In a CPU's line: the lock, and from which CPU to steal next.
const STEAL: usize = 1;

impl Lru {
    /// The lists of `elements` elements for `cpus` CPUs.
    pub(crate) fn new(parts: &mut Parts<'_>, elements: u32, cpus: u32, sharing: Sharing) -> Self {
        let sets = if sharing == Sharing::Common { 1 } else { cpus };
        let heads = elements.next_multiple_of(list::LINE);
        let ids = u64::from(heads) + u64::from(cpus + sets) * u64::from(list::LINE);
        Self {
            lists: Lists::new(parts, elements, ids),
            sets: parts.cells32(u64::from(sets * LINE)),
            locals: parts.cells32(u64::from(cpus * LINE)),
            elements,
            heads,
            cpus,
            sharing,
            patience: parts.patience(),
        }
    }

    /// Makes all elements free, in new cells. They are put on lists when they are first
    /// wanted, so that an unused map takes no memory.
    pub(crate) fn fill(&self) {
        let lists = &self.lists;
        let sets = self.sets();
        let heads = (self.cpus + sets) * list::LINE;
        (self.heads..self.heads + heads).for_each(|head| lists.clear(head));
        for set in 0..sets {
            let start = self.set_head(set, Kind::Inactive);
            self.set_cell(set, ROTATION).store(start, Ordering::Relaxed);
        }
        for cpu in 0..self.cpus {
            self.local_cell(cpu, STEAL).store(cpu, Ordering::Relaxed);
        }
    }

    /// Takes an element for CPU `cpu`. When none is free, `evict` is asked to take
    /// elements out of the index; it says no when the element is not there.
    /// `None` when nothing can be had.
    #[inline(always)]
    pub(crate) fn take(&self, cpu: u32, evict: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        match self.sharing {
            Sharing::Common => self.take_common(cpu, evict),
            Sharing::Percpu => self.take_percpu(cpu, evict),
        }
    }

    /// Gives an element back that is in no bucket (kernel `bpf_lru_push_free`).
    pub(crate) fn give(&self, id: u32) {
        let (kind, cpu) = self.kind_and_cpu(id);
        if kind == Kind::LocalPending as u32 {
            let Some(_guard) = self.lock_local(cpu) else { return };
            let lists = &self.lists;
            // A refill may have moved it to the common lists meanwhile.
            if self.kind_and_cpu(id).0 == Kind::LocalPending as u32 {
                self.state(id).store(state(Kind::LocalFree, cpu), Ordering::Relaxed);
                self.unreference(id);
                lists.remove(id);
                lists.push(self.local_head(cpu, Kind::LocalFree), id);
                return;
            }
        }
        let set = if self.sharing == Sharing::Common { 0 } else { cpu };
        if let Some(mut set) = Set::lock(self, set) {
            set.move_to(id, Kind::Free);
        }
    }

    /// Notes that a program looked the element up. It writes only when it has to.
    #[inline]
    pub(crate) fn reference(&self, id: u32) {
        let cell = self.lists.reference(id);
        if cell.load(Ordering::Relaxed) == 0 {
            cell.store(1, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn take_common(&self, cpu: u32, evict: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        {
            let _guard = self.lock_local(cpu)?;
            if self.lists.first(self.local_head(cpu, Kind::LocalFree)).is_none() {
                self.refill(cpu, evict);
            }
            let lists = &self.lists;
            if let Some(id) = lists.first(self.local_head(cpu, Kind::LocalFree)) {
                lists.remove(id);
                self.add_pending(cpu, id);
                return Some(id);
            }
        }
        let id = self.steal(cpu, evict)?;
        let _guard = self.lock_local(cpu)?;
        self.add_pending(cpu, id);
        Some(id)
    }

    /// Fills a CPU's free list from the common one and by evicting; what was pending joins
    /// the common lists (kernel `bpf_lru_list_pop_free_to_local`). The caller holds the
    /// local lock.
    #[cold]
    fn refill(&self, cpu: u32, evict: &mut impl FnMut(u32) -> bool) {
        let target = (self.elements / self.cpus / 2).clamp(1, REFILL);
        let Some(mut set) = Set::lock(self, 0) else { return };
        set.adopt(self.local_head(cpu, Kind::LocalPending));
        set.rotate();
        let to = (self.local_head(cpu, Kind::LocalFree), state(Kind::LocalFree, cpu));
        let mut got = 0;
        while got < target
            && let Some(id) = set.first_free()
        {
            set.release(id, to);
            got += 1;
        }
        if got < target {
            set.shrink(target - got, to, evict);
        }
    }

    /// Puts an element that is on no list on a CPU's pending list.
    #[inline(always)]
    fn add_pending(&self, cpu: u32, id: u32) {
        self.state(id).store(state(Kind::LocalPending, cpu), Ordering::Relaxed);
        self.unreference(id);
        self.lists.push(self.local_head(cpu, Kind::LocalPending), id);
    }

    /// Takes an element from some CPU's local lists, each in turn.
    #[cold]
    fn steal(&self, cpu: u32, evict: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        let next = self.local_cell(cpu, STEAL);
        let first = next.load(Ordering::Relaxed) % self.cpus;
        let mut victim = first;
        loop {
            let stolen = self.steal_from(victim, evict);
            victim = (victim + 1) % self.cpus;
            if stolen.is_some() || victim == first {
                next.store(victim, Ordering::Relaxed);
                return stolen;
            }
        }
    }

    /// A free element, or the oldest pending one, unreferenced if there is such.
    fn steal_from(&self, cpu: u32, evict: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        let _guard = self.lock_local(cpu)?;
        let lists = &self.lists;
        let head = self.local_head(cpu, Kind::LocalPending);
        let oldest_first = || {
            let prev = move |&id: &u32| Some(lists.prev(id)).filter(|&id| lists.is_element(id));
            std::iter::successors(lists.last(head), prev).take(self.elements as usize)
        };
        let free = lists.first(self.local_head(cpu, Kind::LocalFree));
        let id = free
            .or_else(|| oldest_first().find(|&id| !self.is_referenced(id) && evict(id)))
            .or_else(|| oldest_first().find(|&id| evict(id)))?;
        lists.remove(id);
        Some(id)
    }

    fn take_percpu(&self, cpu: u32, evict: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        let mut set = Set::lock(self, cpu)?;
        set.rotate();
        if set.first_free().is_none() {
            set.shrink(PERCPU_REFILL, (set.head(Kind::Free), state(Kind::Free, cpu)), evict);
        }
        let id = set.first_free()?;
        self.unreference(id);
        set.move_to(id, Kind::Inactive);
        Some(id)
    }

    fn sets(&self) -> u32 {
        if self.sharing == Sharing::Common { 1 } else { self.cpus }
    }

    #[inline(always)]
    fn is_referenced(&self, id: u32) -> bool {
        self.lists.reference(id).load(Ordering::Relaxed) != 0
    }

    #[inline(always)]
    fn unreference(&self, id: u32) {
        self.lists.reference(id).store(0, Ordering::Relaxed);
    }

    #[inline(always)]
    fn state(&self, id: u32) -> &AtomicU32 {
        self.lists.state(id)
    }

    #[inline(always)]
    fn set_cell(&self, set: u32, cell: usize) -> &AtomicU32 {
        &self.sets[(set * LINE) as usize + cell]
    }

    #[inline(always)]
    fn local_cell(&self, cpu: u32, cell: usize) -> &AtomicU32 {
        &self.locals[(cpu * LINE) as usize + cell]
    }

    #[inline(always)]
    fn lock_local(&self, cpu: u32) -> Option<WordGuard<'_>> {
        WordGuard::take(self.local_cell(cpu, LOCK), &self.patience)
    }

    /// An element's kind of list, as a number, and its CPU, which there is.
    #[inline(always)]
    fn kind_and_cpu(&self, id: u32) -> (u32, u32) {
        let (kind, cpu) = parts(self.state(id).load(Ordering::Relaxed));
        (kind, cpu.min(self.cpus - 1))
    }

    #[inline(always)]
    fn set_head(&self, set: u32, kind: Kind) -> u32 {
        self.heads + (self.cpus + set) * list::LINE + kind as u32
    }

    #[inline(always)]
    fn local_head(&self, cpu: u32, kind: Kind) -> u32 {
        self.heads + cpu * list::LINE + (kind as u32 - Kind::LocalFree as u32)
    }
}

/// A locked set of lists.
struct Set<'s> {
    lru: &'s Lru,
    lists: &'s Lists,
    number: u32,
    _guard: WordGuard<'s>,
}

impl<'s> Set<'s> {
    fn lock(lru: &'s Lru, number: u32) -> Option<Self> {
        let guard = WordGuard::take(lru.set_cell(number, LOCK), &lru.patience)?;
        Some(Self { lru, lists: &lru.lists, number, _guard: guard })
    }

    #[inline(always)]
    fn head(&self, kind: Kind) -> u32 {
        self.lru.set_head(self.number, kind)
    }

    /// The first free element, which may be one that never was in use.
    #[inline(always)]
    fn first_free(&mut self) -> Option<u32> {
        let head = self.head(Kind::Free);
        if let Some(id) = self.lists.first(head) {
            return Some(id);
        }
        let share = self.lru.elements / self.lru.sets();
        let used = self.count(USED).load(Ordering::Relaxed);
        if used >= share {
            return None;
        }
        self.count(USED).store(used + 1, Ordering::Relaxed);
        let id = self.number * share + used;
        self.lru.state(id).store(state(Kind::Free, self.number), Ordering::Relaxed);
        self.lists.push(head, id);
        Some(id)
    }

    /// How many elements are looked at in one go.
    fn scans(&self) -> u32 {
        if self.lru.sharing == Sharing::Common { REFILL } else { PERCPU_REFILL }
    }

    #[inline(always)]
    fn count(&self, cell: usize) -> &AtomicU32 {
        self.lru.set_cell(self.number, cell)
    }

    #[inline(always)]
    fn add(&self, kind: u32, change: i32) {
        let cell = match kind {
            kind if kind == Kind::Active as u32 => ACTIVE,
            kind if kind == Kind::Inactive as u32 => INACTIVE,
            _ => return,
        };
        let count = self.count(cell).load(Ordering::Relaxed).wrapping_add_signed(change);
        self.count(cell).store(count, Ordering::Relaxed);
    }

    /// An element leaves its place: a rotation that would have begun there begins at the
    /// one before.
    #[inline(always)]
    fn leave(&mut self, id: u32) {
        let rotation = self.count(ROTATION);
        if rotation.load(Ordering::Relaxed) == id {
            rotation.store(self.lists.prev(id), Ordering::Relaxed);
        }
        self.lists.remove(id);
    }

    /// Moves an element of this set to the head of one of its lists; it loses its
    /// reference (kernel `__bpf_lru_node_move`).
    #[inline(always)]
    fn move_to(&mut self, id: u32, kind: Kind) {
        let (from, cpu) = self.lru.kind_and_cpu(id);
        self.add(from, -1);
        self.add(kind as u32, 1);
        self.lru.state(id).store(state(kind, cpu), Ordering::Relaxed);
        self.lru.unreference(id);
        self.leave(id);
        self.lists.push(self.head(kind), id);
    }

    /// Takes the elements of a local list in, the oldest first: referenced ones become
    /// active, others inactive (kernel `__local_list_flush`).
    fn adopt(&mut self, pending: u32) {
        let (mut at, mut inactive) = (self.lists.prev(pending), 0);
        for _ in 0..self.lru.elements {
            if !self.lists.is_element(at) {
                break;
            }
            let (id, newer) = (at, self.lists.prev(at));
            let cpu = self.lru.kind_and_cpu(id).1;
            let kind = if self.lru.is_referenced(id) { Kind::Active } else { Kind::Inactive };
            self.lru.state(id).store(state(kind, cpu), Ordering::Relaxed);
            if kind == Kind::Active {
                self.lru.unreference(id);
                self.lists.remove(id);
                self.lists.push(self.head(kind), id);
                self.add(kind as u32, 1);
            } else {
                inactive += 1;
            }
            at = newer;
        }
        // What is left keeps its order.
        self.lists.splice(pending, self.head(Kind::Inactive));
        self.add(Kind::Inactive as u32, inactive);
    }

    /// Moves a free or evicted element of this set to a list of free ones, given as its
    /// head and the state that goes with it (kernel `__bpf_lru_node_move_to_free`).
    #[inline(always)]
    fn release(&mut self, id: u32, (head, state): (u32, u32)) {
        self.add(self.lru.kind_and_cpu(id).0, -1);
        self.lru.state(id).store(state, Ordering::Relaxed);
        self.leave(id);
        self.lists.push(head, id);
    }

    /// Lets elements change lists: active ones when they are the majority, inactive ones
    /// always (kernel `__bpf_lru_list_rotate`).
    fn rotate(&mut self) {
        let count = |cell| self.count(cell).load(Ordering::Relaxed);
        if count(INACTIVE) < count(ACTIVE) {
            self.rotate_active();
        }
        self.rotate_inactive();
    }

    /// From the end of the active list: referenced elements go back to its head, others
    /// to the inactive list.
    fn rotate_active(&mut self) {
        let head = self.head(Kind::Active);
        let Some(first) = self.lists.first(head) else { return };
        for _ in 0..self.scans() {
            let Some(id) = self.lists.last(head) else { return };
            let referenced = self.lru.is_referenced(id);
            self.move_to(id, if referenced { Kind::Active } else { Kind::Inactive });
            if id == first {
                return;
            }
        }
    }

    /// From where the last rotation ended, towards the head and around: referenced
    /// elements become active, others stay where they are.
    fn rotate_inactive(&mut self) {
        let head = self.head(Kind::Inactive);
        if self.lists.first(head).is_none() {
            return;
        }
        let mut at = self.count(ROTATION).load(Ordering::Relaxed);
        let mut last = self.lists.next(at);
        if last == head {
            last = self.lists.next(last);
        }
        let (mut scanned, mut next) = (0, head);
        while scanned < self.scans() {
            if !self.lists.is_element(at) {
                let Some(id) = self.lists.last(head) else { break };
                at = id;
                continue;
            }
            next = self.lists.prev(at);
            if self.lru.is_referenced(at) {
                self.move_to(at, Kind::Active);
            }
            if at == last {
                break;
            }
            at = next;
            scanned += 1;
        }
        self.count(ROTATION).store(next, Ordering::Relaxed);
    }

    /// Evicts up to `wanted` elements from the end of the inactive list, and if there are
    /// none to be had, one of any (kernel `__bpf_lru_list_shrink`).
    fn shrink(&mut self, wanted: u32, to: (u32, u32), evict: &mut impl FnMut(u32) -> bool) {
        let head = self.head(Kind::Inactive);
        let (mut got, mut at) = (0, self.lists.prev(head));
        for _ in 0..self.scans() {
            if !self.lists.is_element(at) || got == wanted {
                break;
            }
            let (id, before) = (at, self.lists.prev(at));
            if self.lru.is_referenced(id) {
                self.move_to(id, Kind::Active);
            } else if evict(id) {
                self.release(id, to);
                got += 1;
            }
            at = before;
        }
        if got > 0 {
            return;
        }
        let inactive = self.lists.first(head).is_some();
        let head = if inactive { head } else { self.head(Kind::Active) };
        let mut at = self.lists.prev(head);
        for _ in 0..self.lru.elements {
            if !self.lists.is_element(at) {
                return;
            }
            if evict(at) {
                self.release(at, to);
                return;
            }
            at = self.lists.prev(at);
        }
    }
}

/// An element's state: the kind of its list, and its CPU.
fn state(kind: Kind, cpu: u32) -> u32 {
    kind as u32 | cpu << 8
}

fn parts(state: u32) -> (u32, u32) {
    (state & 0xff, state >> 8)
}
