//! Maps in files, which several processes map, each at an address of its own.
//!
//! The file begins with a header that says what the map is made from; then come the map's
//! host segment and its guest memory, in which everything is addressed by offsets.
//!
//! The processes trust each other with the map and with nothing else. One that writes
//! nonsense into the file spoils the map for all: entries are lost, or stand where nobody
//! put them. But nobody reads or writes memory that is not the map's, and no walk is without
//! end. A lock whose holder died is never free again: whoever wants it waits a second the
//! first time, then less and less, and gets `EBUSY`, or `ENOMEM` for an element that an LRU
//! map does not find; a lookup finds nothing, and a ring has no room or no records.
//!
//! One thing nobody can be kept from by that: whoever can shorten the file takes the memory
//! away, and the next access ends the process. A file that can be sealed (`memfd_create` with
//! `MFD_ALLOW_SEALING`) is sealed against it.
//!
//! Only data is shared: what a process may do with the map, whether it is frozen, and the
//! descriptors that wake a ring buffer's consumer are each process's own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::home::Home;
use crate::types::create_in;
use crate::{CreateError, Map, MapDef, World};

/// What a file with a map begins with: the last thing that is written.
const MAGIC: [u8; 8] = *b"skepmap\x01";
/// Bytes of the header: the magic, eight numbers of 32 bits, `map_extra`, the name.
const HEADER: usize = 8 + 4 * NUMBERS + 8 + NAME;
const NUMBERS: usize = 8;
/// The most bytes of a name.
const NAME: usize = 128;

/// Makes a map in an empty file, which grows as far as the map needs it; where it can be
/// sealed, it is sealed against being shortened. Other processes may [attach](attach()) to it
/// from then on.
///
/// # Errors
///
/// As [`create`](crate::create()), and [`CreateError::Unsupported`] for types whose
/// contents mean something in one process only.
pub fn create_shared(
    world: &Arc<World>,
    def: &MapDef,
    file: &File,
) -> Result<Arc<dyn Map>, CreateError> {
    let io = |source: std::io::Error| CreateError::NoMap { problem: source.to_string() };
    let own = file.try_clone().map_err(io)?;
    let map = create_in(world, def, Home::shared(own, HEADER as u64, true))?;
    // Most files cannot be sealed.
    let _sealed = rustix::fs::fcntl_add_seals(file, rustix::fs::SealFlags::SHRINK);
    let header = encode(def, world.cpus());
    file.write_all_at(&header[MAGIC.len()..], MAGIC.len() as u64).map_err(io)?;
    file.write_all_at(&MAGIC, 0).map_err(io)?;
    Ok(map)
}

/// Attaches to a map in a file.
///
/// # Errors
///
/// [`CreateError::NoMap`] when the file does not hold a map, or one for another number of
/// virtual CPUs; otherwise as [`create`](crate::create()).
pub fn attach(world: &Arc<World>, file: &File) -> Result<Arc<dyn Map>, CreateError> {
    let problem = |problem: String| CreateError::NoMap { problem };
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).map_err(|source| problem(source.to_string()))?;
    let (def, cpus) = decode(&header).ok_or_else(|| problem("it has no header".to_owned()))?;
    if cpus != world.cpus() {
        let own = world.cpus();
        return Err(problem(format!("it is for {cpus} virtual CPUs; here there are {own}")));
    }
    let own = file.try_clone().map_err(|source| problem(source.to_string()))?;
    create_in(world, &def, Home::shared(own, HEADER as u64, false))
}

fn encode(def: &MapDef, cpus: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let name = def.name.as_bytes();
    let name = &name[..name.len().min(NAME)];
    let len = u32::try_from(name.len()).expect("cut");
    let numbers: [u32; NUMBERS] = [
        def.map_type,
        def.key_size,
        def.value_size,
        def.max_entries,
        def.flags,
        def.numa_node,
        cpus,
        len,
    ];
    let fields = MAGIC.into_iter().chain(numbers.into_iter().flat_map(u32::to_le_bytes));
    let fields = fields.chain(def.map_extra.to_le_bytes()).chain(name.iter().copied());
    header.iter_mut().zip(fields).for_each(|(to, byte)| *to = byte);
    header
}

fn decode(header: &[u8; HEADER]) -> Option<(MapDef, u32)> {
    let rest = header.strip_prefix(&MAGIC)?;
    let (numbers, rest) = rest.split_at(4 * NUMBERS);
    let (numbers, _) = numbers.as_chunks::<4>();
    let numbers: [u32; NUMBERS] = std::array::from_fn(|index| u32::from_le_bytes(numbers[index]));
    let (extra, name) = rest.split_first_chunk::<8>()?;
    let [map_type, key_size, value_size, max_entries, flags, numa_node, cpus, len] = numbers;
    let name = name.get(..len as usize)?;
    let def = MapDef {
        name: String::from_utf8_lossy(name).into_owned(),
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
        numa_node,
        map_extra: u64::from_le_bytes(*extra),
        ..MapDef::default()
    };
    Some((def, cpus))
}
