//! A machine with maps of many types, and the programs that use them all.

use skep::{Engine, Map, MapDef, MapType, Program, Vm, isa};

/// Slots of the program array.
pub(crate) const SLOTS: u32 = 4;
/// Programs for a slot return numbers of its own, so many.
pub(crate) const LEAVES: u64 = 10;
/// What the entry returns when the slot is empty.
pub(crate) const NOTHING: u64 = 1000;
/// What the second word of each inner map is.
const STAMP: u64 = 0x5a5a_0000;

/// The machine and its maps.
pub(crate) struct World {
    pub(crate) vm: Vm,
    counts: Map,
    of_cpus: Map,
    pub(crate) hash: Map,
    pub(crate) lru: Map,
    pub(crate) ring: Map,
    pub(crate) outer: Map,
    pub(crate) programs: Map,
}

/// What stands under a key of the hashes.
pub(crate) fn of_key(key: u32) -> u64 {
    u64::from(key) | u64::from(key) << 32
}

fn create(vm: &Vm, map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Map {
    Map::create(vm, &def(map_type, key_size, value_size, max_entries)).expect("there is room")
}

fn def(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    let name = map_type.name().to_owned();
    let map_type = map_type.id();
    MapDef { name, map_type, key_size, value_size, max_entries, ..MapDef::default() }
}

impl World {
    pub(crate) fn new(engine: Engine, cpus: u32) -> Self {
        let vm = Vm::builder().cpus(cpus).engine(engine).build().expect("memory");
        let inner = Box::new(def(MapType::Array, 4, 16, 1));
        let outer = MapDef { inner: Some(inner), ..def(MapType::ArrayOfMaps, 4, 4, 1) };
        let world = Self {
            counts: create(&vm, MapType::Array, 4, 16, 1),
            of_cpus: create(&vm, MapType::PercpuArray, 4, 8, 1),
            hash: create(&vm, MapType::Hash, 4, 8, 48),
            lru: create(&vm, MapType::LruHash, 4, 8, 64),
            ring: create(&vm, MapType::Ringbuf, 0, 0, 1 << 14),
            outer: Map::create(&vm, &outer).expect("there is room"),
            programs: create(&vm, MapType::ProgArray, 4, 4, SLOTS),
            vm,
        };
        world.replace_inner(0);
        world
    }

    /// The program that uses all maps, and jumps to a slot of the program array.
    ///
    /// It returns what the slot's program returns, [`NOTHING`] when there is none, and more
    /// when it finds in a map what nobody put there.
    pub(crate) fn entry(&self) -> Program {
        let asm = format!(
            "mov %r6, %r1
             ldxdw %r8, [%r6+0]              # the thread
             ldxdw %r7, [%r6+8]              # the run
             lddw map_idx_value %r1, 0, 0
             mov %r2, 1
             lock add [%r1], %r2

             stw [%r10-4], 0                 # its own CPU's count
             lddw map_idx %r1, 1
             mov %r2, %r10
             add %r2, -4
             call 1
             jeq %r0, 0, missing
             ldxdw %r1, [%r0]
             add %r1, 1
             stxdw [%r0], %r1

             mov %r9, %r7                    # a hash, which is full at times
             and %r9, 63
             lddw map_idx %r1, 2
             mov %r2, %r9
             call local update
             lddw map_idx %r1, 2
             mov %r2, %r9
             call local check
             jne %r0, 0, wrong

             mov %r9, %r7                    # an LRU map, which evicts
             mul %r9, 7
             add %r9, %r8
             and %r9, 1023
             lddw map_idx %r1, 3
             mov %r2, %r9
             call local update
             lddw map_idx %r1, 3
             mov %r2, %r9
             call local check
             jne %r0, 0, wrong

             lddw map_idx %r1, 4             # a record
             mov %r2, 16
             mov %r3, 0
             call 131
             jeq %r0, 0, full
             stxdw [%r0], %r8
             stxdw [%r0+8], %r7
             mov %r1, %r0
             mov %r2, 0
             call 132
             full:

             stw [%r10-4], 0                 # the inner map
             lddw map_idx %r1, 5
             mov %r2, %r10
             add %r2, -4
             call 1
             jeq %r0, 0, missing
             mov %r1, %r0
             mov %r2, %r10
             add %r2, -4
             call 1
             jeq %r0, 0, missing
             ldxdw %r1, [%r0+8]
             and %r1, 0xffff0000
             jne %r1, {STAMP}, wrong
             mov %r1, 1
             lock add [%r0], %r1

             mov %r1, %r6
             lddw map_idx %r2, 6
             mov %r3, %r7
             and %r3, {mask}
             call 12
             mov %r0, {NOTHING}
             exit
             missing:
             mov %r0, 2000
             exit
             wrong:
             mov %r0, 3000
             exit
             {FUNCTIONS}",
            mask = SLOTS - 1
        );
        let asm: Vec<&str> = asm.lines().map(|line| line.split('#').next().unwrap_or("")).collect();
        let insns = isa::assemble(&asm.join("\n")).unwrap_or_else(|error| panic!("{error}"));
        let maps = [
            self.counts.clone(),
            self.of_cpus.clone(),
            self.hash.clone(),
            self.lru.clone(),
            self.ring.clone(),
            self.outer.clone(),
            self.programs.clone(),
        ];
        self.vm.program_from_insns("entry", None, &insns, &maps).expect("it is well-formed")
    }

    /// A program for a slot, which counts that it was reached and returns a number of the
    /// slot's.
    pub(crate) fn leaf(&self, slot: u32, round: u64) -> Program {
        let r0 = u64::from(slot) * LEAVES + round % LEAVES;
        let asm = format!(
            "lddw map_idx_value %r1, 0, 8\nmov %r2, 1\nlock add [%r1], %r2\nmov %r0, {r0}\nexit"
        );
        let insns = isa::assemble(&asm).expect("it is right");
        let maps = [self.counts.clone()];
        self.vm.program_from_insns("leaf", None, &insns, &maps).expect("it is well-formed")
    }

    /// Puts a new map into the map of maps; nobody else keeps it.
    pub(crate) fn replace_inner(&self, round: u64) {
        let inner = create(&self.vm, MapType::Array, 4, 16, 1);
        let stamp = [0, STAMP + round % 0x1_0000];
        let bytes: Vec<u8> = stamp.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
        inner.update_bytes(&[0; 4], &bytes, 0).expect("it fits");
        self.outer.set_map(&0_u32, &inner).expect("it is like the template");
    }

    /// What was counted: runs, runs on their CPUs, and tail calls.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let counts = self.counts.lookup_bytes(&[0; 4]).expect("it is there");
        let word = |at: usize| u64::from_le_bytes(counts[at..at + 8].try_into().expect("8 bytes"));
        let of_cpus: Option<Vec<u64>> = self.of_cpus.lookup_percpu(&0_u32).expect("it is there");
        (word(0), of_cpus.expect("it is there").iter().sum(), word(8))
    }
}

/// `update(map, key)` puts in what belongs under the key; `check(map, key)` gives 1 when
/// something else is there. The element may have got another key meanwhile, as in the kernel;
/// so the value is loaded at once.
const FUNCTIONS: &str = "
    update:
    stxw [%r10-4], %r2
    stxw [%r10-16], %r2
    stxw [%r10-12], %r2
    mov %r2, %r10
    add %r2, -4
    mov %r3, %r10
    add %r3, -16
    mov %r4, 0
    call 2
    mov %r0, 0
    exit
    check:
    stxw [%r10-4], %r2
    mov %r2, %r10
    add %r2, -4
    call 1
    jeq %r0, 0, absent
    ldxdw %r1, [%r0]
    mov32 %r2, %r1
    rsh %r1, 32
    jne %r1, %r2, torn
    absent:
    mov %r0, 0
    exit
    torn:
    mov %r0, 1
    exit
";
