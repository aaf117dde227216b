//! What is checked.

mod index;
mod lru;
mod pool;
mod ring;
mod trie;

use loom::model::Builder;

/// Explores all runs with at most so many preemptions.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}
