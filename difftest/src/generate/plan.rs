//! Decides what a case has: its type, maps, programs, and the functions of each.

use skep_maps::flags::{BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG};
use skep_maps::{MapType, SpecialField, SpecialKind};
use skep_vm::prog::ProgType;

use crate::case::{CaseMap, Fill};
use crate::code::{Code, Label};
use crate::layout::{DATA, MEMORY};
use crate::profile::Profile;
use crate::rng::Rng;

/// A function of a program; the main one is the first.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) start: Label,
    pub(super) kind: Kind,
    /// Functions that it calls: later ones, each once.
    pub(super) calls: Vec<usize>,
    /// Whether it gets, in r1, a pointer to [`CALLEE_STACK`](crate::layout::CALLEE_STACK)
    /// bytes.
    pub(super) takes_memory: bool,
    /// Whether it gets, in r2, the context.
    pub(super) takes_ctx: bool,
    /// Whether it has stack for keys, values and the like.
    pub(super) rich: bool,
}

/// Who calls a function, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The program.
    Plain,
    /// `bpf_loop`.
    Loop,
    /// `for_each_map_elem` on a map.
    Each(usize),
    /// `user_ringbuf_drain` on a ring.
    Drain(usize),
    /// Itself.
    Recursive,
}

impl Kind {
    pub(super) fn is_callback(self) -> bool {
        matches!(self, Self::Loop | Self::Each(_) | Self::Drain(_))
    }
}

/// What a case has.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) prog_type: Option<&'static ProgType>,
    pub(super) maps: Vec<CaseMap>,
    pub(super) programs: usize,
    pub(super) inputs: usize,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng, profile: Profile) -> Self {
        let prog_type = profile.prog_type(rng.bits());
        let mut plan = Self { prog_type, maps: Vec::new(), programs: 1, inputs: 1 };
        if profile != Profile::Rbpf {
            let memory = map_size(MEMORY);
            let mut map = CaseMap::new(MapType::Array, 4, memory, 1);
            let bytes = [rng.bytes(DATA), vec![0; MEMORY - DATA]].concat();
            map.fill.push((vec![0; 4], Fill::Bytes(bytes)));
            plan.maps.push(map);
        }
        if profile.has_shapes() {
            plan.inputs = usize::try_from(rng.between(2, 4)).expect("not negative");
            for _ in 0..rng.between(2, 5) {
                plan.add_map(rng, profile);
            }
            if prog_type.is_some() && rng.one_in(4) {
                plan.programs = usize::try_from(rng.between(2, 3)).expect("not negative");
                plan.add_programs(rng);
            }
        }
        plan
    }

    pub(super) fn into_maps(self) -> Vec<CaseMap> {
        self.maps
    }

    /// The maps of some types.
    pub(super) fn maps_of(&self, types: &[MapType]) -> Vec<usize> {
        let indexes = 1..self.maps.len();
        indexes.filter(|&index| types.contains(&self.maps[index].map_type())).collect()
    }

    /// What user rings get before a run.
    pub(super) fn samples(&self, rng: &mut Rng) -> Vec<(usize, Vec<u8>)> {
        let mut samples = Vec::new();
        for ring in self.maps_of(&[MapType::UserRingbuf]) {
            for _ in 0..rng.below(4) {
                let len = usize::try_from(rng.between(1, 40)).expect("not negative");
                samples.push((ring, rng.bytes(len)));
            }
        }
        samples
    }

    fn add_map(&mut self, rng: &mut Rng, profile: Profile) {
        use MapType::{
            Array, ArrayOfMaps, BloomFilter, Hash, HashOfMaps, LpmTrie, LruHash, LruPercpuHash,
            PercpuArray, PercpuHash, Queue, Ringbuf, Stack, UserRingbuf,
        };
        let value = *rng.pick(&[8, 16, 24, 32]);
        let map = match rng.below(if profile.goes_wrong() { 19 } else { 16 }) {
            0 | 1 => CaseMap::new(Array, 4, *rng.pick(&[8, 20, 48, 64, 100]), 1),
            2 => {
                let mut map = CaseMap::new(Array, 4, 64, 1);
                map.def.flags = BPF_F_RDONLY_PROG;
                map.fill.push((vec![0; 4], Fill::Bytes(text(rng))));
                map.frozen = true;
                return self.maps.push(map);
            }
            3 | 4 => CaseMap::new(Array, 4, value, *rng.pick(&[3, 4, 8])),
            5 => CaseMap::new(PercpuArray, 4, value, 4),
            6 | 7 => CaseMap::new(Hash, *rng.pick(&[4, 8]), value, *rng.pick(&[2, 4, 8])),
            8 => CaseMap::new(LruHash, 4, value, 8),
            9 => CaseMap::new(*rng.pick(&[PercpuHash, LruPercpuHash]), 8, value, 8),
            10 => {
                let mut map = CaseMap::new(LpmTrie, 8, value, 8);
                map.def.flags = BPF_F_NO_PREALLOC;
                map
            }
            11 => CaseMap::new(*rng.pick(&[Queue, Stack]), 0, value, 3),
            12 => CaseMap::new(BloomFilter, 0, 8, 16),
            13 => CaseMap::new(Ringbuf, 0, 0, 4096),
            14 => CaseMap::new(UserRingbuf, 0, 0, 4096),
            15 => {
                let map_type = *rng.pick(&[ArrayOfMaps, HashOfMaps]);
                return self.add_map_of_maps(rng, map_type);
            }
            16 => {
                let mut map = CaseMap::new(Array, 4, 16, 2);
                let kind = SpecialKind::SpinLock;
                map.def.special = vec![SpecialField { kind, offset: 8, size: 4 }];
                map
            }
            17 => CaseMap::new(*rng.pick(&[MapType::Devmap, MapType::Cpumap]), 4, 4, 4),
            _ => match rng.below(3) {
                0 => CaseMap::new(MapType::PerfEventArray, 4, 4, 2),
                1 => CaseMap::new(MapType::CgroupArray, 4, 4, 2),
                _ => CaseMap::new(MapType::StackTrace, 4, 32, 4),
            },
        };
        self.add_filled(rng, map);
    }

    fn add_filled(&mut self, rng: &mut Rng, mut map: CaseMap) {
        use MapType::{
            Array, BloomFilter, Hash, LpmTrie, LruHash, LruPercpuHash, PercpuArray, PercpuHash,
            Queue, Stack,
        };
        let len = map.def.value_size as usize;
        let count = rng.below(u64::from(map.def.max_entries.min(5)) + 1);
        let fills = matches!(
            map.map_type(),
            Array | Hash | LpmTrie | LruHash | LruPercpuHash | PercpuArray | PercpuHash
        );
        let pushes = matches!(map.map_type(), Queue | Stack | BloomFilter);
        if map.def.special.is_empty() && (fills || pushes) {
            for key in 0..count {
                let key = self::key(&map, key);
                map.fill.push((key, Fill::Bytes(rng.bytes(len))));
            }
        }
        self.maps.push(map);
    }

    fn add_map_of_maps(&mut self, rng: &mut Rng, map_type: MapType) {
        let inner = if rng.one_in(2) {
            CaseMap::new(MapType::Array, 4, 16, 3)
        } else {
            CaseMap::new(MapType::Hash, 4, 16, 4)
        };
        let first = self.maps.len();
        for _ in 0..2 {
            self.add_filled(rng, inner.clone());
        }
        let mut outer = CaseMap::new(map_type, 4, 4, 4);
        outer.def.inner = Some(Box::new(inner.def));
        for key in 0..2 {
            if !rng.one_in(4) {
                outer.fill.push((self::key(&outer, key as u64), Fill::Map(first + key)));
            }
        }
        self.maps.push(outer);
    }

    fn add_programs(&mut self, rng: &mut Rng) {
        let mut array = CaseMap::new(MapType::ProgArray, 4, 4, 4);
        for key in 0..4 {
            if !rng.one_in(3) {
                let program = usize::try_from(rng.below(self.programs as u64)).expect("small");
                array.fill.push((self::key(&array, key), Fill::Program(program)));
            }
        }
        self.maps.push(array);
    }

    /// Decides which functions a program has.
    pub(super) fn functions(
        &self,
        rng: &mut Rng,
        profile: Profile,
        code: &mut Code,
    ) -> Vec<Function> {
        let chain = rng.one_in(if profile.goes_wrong() { 10 } else { 5 });
        let most = if chain { 7 } else { 3 };
        let callees =
            if rng.one_in(2) { 0 } else { usize::from(rng.bits().to_le_bytes()[0]) % (most + 1) };
        let mut functions: Vec<Function> = (0..=callees)
            .map(|index| {
                let later = index + 1..=callees;
                let calls: Vec<usize> = match (chain, index) {
                    (true, _) => later.take(1).collect(),
                    // The main function calls all, so that none is unreachable.
                    (false, 0) => later.collect(),
                    (false, _) => later.filter(|_| rng.one_in(3)).collect(),
                };
                let takes_memory = index > 0 && rng.one_in(2);
                let takes_ctx = index > 0 && profile.has_shapes() && rng.one_in(2);
                let rich = !chain && (index == 0 || calls.is_empty());
                let (start, kind) = (code.label(), Kind::Plain);
                Function { start, kind, calls, takes_memory, takes_ctx, rich }
            })
            .collect();
        for callee in 1..functions.len() {
            let lacks = |caller: &Function| !caller.takes_ctx && caller.calls.contains(&callee);
            if functions[1..].iter().any(lacks) {
                functions[callee].takes_ctx = false;
            }
        }
        if profile.has_shapes() && !chain {
            for kind in self.callbacks(rng, profile) {
                let index = functions.len();
                functions[0].calls.push(index);
                let takes_memory = kind != Kind::Recursive;
                functions.push(Function {
                    start: code.label(),
                    kind,
                    calls: Vec::new(),
                    takes_memory,
                    takes_ctx: false,
                    rich: takes_memory,
                });
            }
        }
        functions
    }

    fn callbacks(&self, rng: &mut Rng, profile: Profile) -> Vec<Kind> {
        use MapType::{Array, Hash, LruHash, PercpuArray};
        let mut kinds = Vec::new();
        if rng.one_in(4) {
            kinds.push(Kind::Loop);
        }
        // In which order a hash is walked differs from kernel to kernel.
        let walked: &[MapType] = if profile.goes_wrong() {
            &[Array, PercpuArray, Hash, LruHash]
        } else {
            &[Array, PercpuArray]
        };
        let walked = self.maps_of(walked).into_iter().filter(|&map| {
            let def = &self.maps[map].def;
            def.special.is_empty() && def.flags == 0
        });
        let walked: Vec<usize> = walked.collect();
        if !walked.is_empty() && rng.one_in(4) {
            kinds.push(Kind::Each(*rng.pick(&walked)));
        }
        let rings = self.maps_of(&[MapType::UserRingbuf]);
        if !rings.is_empty() && !rng.one_in(3) {
            kinds.push(Kind::Drain(*rng.pick(&rings)));
        }
        if profile.goes_wrong() && rng.one_in(10) {
            kinds.push(Kind::Recursive);
        }
        kinds
    }
}

/// The key of an entry with a number.
fn key(map: &CaseMap, number: u64) -> Vec<u8> {
    let mut key = number.to_le_bytes().to_vec();
    if map.map_type() == MapType::LpmTrie {
        // A prefix of all bits.
        key.rotate_right(4);
        key[0] = 32;
    }
    key.truncate(map.def.key_size as usize);
    key
}

/// Formats and numbers, for helpers that read text.
fn text(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in ["%d %x\0", " -123x\0", "0x7f\0", "abc\0", "%llu|%s\0", "99999999999999999999\0"] {
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.resize(64, 0);
    bytes[63] = u8::try_from(rng.below(2)).expect("small");
    bytes
}

fn map_size(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a small memory")
}
