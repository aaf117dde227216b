//! STACK: values, last in, first out (kernel `queue_stack_maps.c`).

use std::sync::Arc;

use super::Rules;
use super::queue_stack::{self, End, QueueStack};
use crate::{Core, Errno, Map, World};

pub(super) static RULES: Rules = queue_stack::rules(make);

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    Ok(Arc::new(QueueStack::new(core, End::Newest)?))
}
