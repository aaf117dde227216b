//! What must have a case.

use libtest_mimic::Trial;

/// One trial for each table.
pub(crate) fn trials() -> Vec<Trial> {
    Vec::new()
}
