//! Readers of what an element has besides its key.

use super::chain::Index;
use crate::Errno;

impl Index {
    /// Does something that only reads with the element that has a key, again until the
    /// element was the key's all the while.
    ///
    /// # Errors
    ///
    /// `ENOENT` when there is no such element, `EBUSY` when other processes never let it be
    /// read.
    pub(crate) fn read(&self, key: &[u8], mut then: impl FnMut(u32)) -> Result<(), Errno> {
        for tries in 0.. {
            let found = self.find(key).ok_or(Errno::ENOENT)?;
            then(found.id);
            if self.still(found) {
                return Ok(());
            }
            if !self.patience.lasts(tries) {
                break;
            }
        }
        Err(Errno::EBUSY)
    }
}
