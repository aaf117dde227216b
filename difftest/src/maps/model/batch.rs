//! The batch commands, made of the commands for one element.

use skep_oracle::script::{BatchCommand, BatchRequest};
use skep_oracle::{Batch, Errno};

use super::{Batches, CPUS, LOCK, Map};

impl Map {
    pub(super) fn batch(&mut self, request: &BatchRequest) -> Batch {
        let has = match (request.command, self.rules.batches()) {
            (_, Batches::Buckets) => true,
            (_, Batches::None) => false,
            (BatchCommand::Delete, batches) => batches == Batches::KeysAndDelete,
            (command, _) => command != BatchCommand::LookupAndDelete,
        };
        let allowed = match request.command {
            BatchCommand::Lookup => self.may_read(),
            BatchCommand::LookupAndDelete => self.may_read().and(self.may_write()),
            BatchCommand::Update | BatchCommand::Delete => self.may_write(),
        };
        let reads = matches!(request.command, BatchCommand::Lookup | BatchCommand::LookupAndDelete);
        let flags_matter = reads && self.rules.batches() == Batches::Buckets;
        let checked = allowed
            .and(if has { Ok(()) } else { Err(Errno::ENOTSUPP) })
            .and(if request.elem_flags & !LOCK == 0 { Ok(()) } else { Err(Errno::EINVAL) })
            .and(self.has_lock_for(request.elem_flags))
            .and(if flags_matter && request.flags != 0 { Err(Errno::EINVAL) } else { Ok(()) });
        match checked {
            Err(errno) => Batch {
                errno: Some(errno),
                count: request.count,
                out_batch: Vec::new(),
                keys: Vec::new(),
                values: Vec::new(),
            },
            Ok(()) if reads => self.read_batch(request),
            Ok(()) => self.write_batch(request),
        }
    }

    fn write_batch(&mut self, request: &BatchRequest) -> Batch {
        let (key_size, value_size) = (self.decl.key_size as usize, self.decl.user_value_size(CPUS));
        let mut batch = empty();
        while batch.count < request.count {
            let at = batch.count as usize;
            let key = &request.keys[at * key_size..(at + 1) * key_size];
            let result = if request.command == BatchCommand::Delete {
                self.rules.delete(key)
            } else {
                let value = &request.values[at * value_size..(at + 1) * value_size];
                self.rules.update(key, value, request.elem_flags)
            };
            if let Err(errno) = result {
                batch.errno = Some(errno);
                break;
            }
            batch.count += 1;
        }
        batch
    }

    fn read_batch(&mut self, request: &BatchRequest) -> Batch {
        let mut batch = empty();
        let buckets = self.rules.batches() == Batches::Buckets;
        let mut passed = match (&request.in_batch, buckets) {
            (Some(place), true) => place.clone().try_into().map_or(0, u32::from_ne_bytes),
            _ => 0,
        };
        let mut key = request.in_batch.clone().filter(|_| !buckets);
        for _ in 0..passed {
            key = self.rules.next_key(key.as_deref()).ok().or(key);
        }
        while batch.count < request.count {
            let next = match self.rules.next_key(key.as_deref()) {
                Ok(next) => next,
                Err(errno) => {
                    batch.errno = Some(errno);
                    break;
                }
            };
            // Empty places of arrays are passed over.
            if let Ok(value) = self.rules.lookup(&next, &[]) {
                batch.keys.extend(&next);
                batch.values.extend(value);
                batch.count += 1;
                passed += 1;
            }
            key = Some(next);
        }
        // All buckets that fit are read; with the last of them the map is at its end.
        let at_end = || self.rules.next_key(key.as_deref()).err();
        if buckets && request.count > 0 && batch.errno.is_none() {
            batch.errno = at_end();
        }
        batch.out_batch =
            if buckets { passed.to_ne_bytes().to_vec() } else { key.unwrap_or_default() };
        if request.command == BatchCommand::LookupAndDelete {
            let keys = batch.keys.chunks(self.decl.key_size as usize);
            let deleted = keys.filter(|key| self.rules.delete(key).is_ok()).count();
            // What is deleted is passed no more.
            let left = passed - u32::try_from(deleted).expect("few");
            batch.out_batch = left.to_ne_bytes().to_vec();
        }
        batch
    }
}

fn empty() -> Batch {
    Batch { errno: None, count: 0, out_batch: Vec::new(), keys: Vec::new(), values: Vec::new() }
}
