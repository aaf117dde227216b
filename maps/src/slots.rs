//! The slots of an array of references: a word for each, which programs read without a
//! lock, and what keeps the objects alive that the words stand for.
//!
//! The words are committed as they are touched, and what is kept is found by index: an
//! array costs what stands in it, however many slots it has.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::mutex::lock;
use crate::segment::{Cells64, build};
use crate::sync::{AtomicU64, Ordering};
use crate::{Core, Errno};

/// The slots of one map; a word of 0 is an empty slot.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    words: Cells64,
    kept: Mutex<BTreeMap<u32, T>>,
}

impl<T> Slots<T> {
    /// `def.max_entries` empty slots.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the host gives no room.
    pub(crate) fn new(core: &Core) -> Result<Self, Errno> {
        let count = u64::from(core.def().max_entries);
        let words = build(core.home(), &core.def().name, |parts| parts.cells64(count))?;
        Ok(Self { words, kept: Mutex::default() })
    }

    /// The word in a slot; `None` when there is no such slot or it is empty.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<u64> {
        let word = self.word(index)?.load(Ordering::Acquire);
        (word != 0).then_some(word)
    }

    /// All words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    /// The slot's word, empty or not; `None` when there is no such slot.
    #[inline]
    pub(crate) fn word(&self, index: u32) -> Option<&AtomicU64> {
        self.words.get(index as usize)
    }

    /// Puts an object and the word that stands for it into a slot that there is; gives what
    /// was there, which the caller drops where no lock is held.
    pub(crate) fn put(&self, index: u32, word: u64, object: T) -> Option<T> {
        let mut kept = lock(&self.kept);
        self.words[index as usize].store(word, Ordering::Release);
        kept.insert(index, object)
    }

    /// Empties a slot that there is; gives what was there.
    pub(crate) fn take(&self, index: u32) -> Option<T> {
        let mut kept = lock(&self.kept);
        self.words[index as usize].store(0, Ordering::Release);
        kept.remove(&index)
    }

    /// Empties all slots that `which` picks; gives what was there, which the caller drops
    /// where no lock is held.
    pub(crate) fn take_all(&self, which: impl Fn(&T) -> bool) -> Vec<T> {
        let mut kept = lock(&self.kept);
        let gone: Vec<(u32, T)> = kept.extract_if(.., |_, object| which(object)).collect();
        for (index, _) in &gone {
            self.words[*index as usize].store(0, Ordering::Release);
        }
        gone.into_iter().map(|(_, object)| object).collect()
    }

    /// Looks at the object in a slot while it cannot change.
    pub(crate) fn with<R>(&self, index: u32, look: impl FnOnce(&T) -> R) -> Option<R> {
        lock(&self.kept).get(&index).map(look)
    }

    /// Puts what `decide` gives, having seen what is there, into a slot that there is, with
    /// the word that stands for it; gives what was there, which the caller drops where no
    /// lock is held.
    ///
    /// # Errors
    ///
    /// What `decide` gives.
    pub(crate) fn change<E>(
        &self,
        index: u32,
        word: u64,
        decide: impl FnOnce(Option<&T>) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let mut kept = lock(&self.kept);
        let Some(object) = decide(kept.get(&index))? else { return Ok(None) };
        self.words[index as usize].store(word, Ordering::Release);
        Ok(kept.insert(index, object))
    }
}
