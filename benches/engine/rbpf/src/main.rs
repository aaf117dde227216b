//! Runs a program on one of rbpf's engines, as `benches/engine/child.rs` asks:
//! `skep-bench-rbpf interp|jit|cranelift`.
//!
//! Lines of standard input are the packet, the program, whose maps are named by index, and
//! the type, size of values and number of entries of each map. rbpf has no maps: arrays
//! are made here, with the plainest helper that finds an element.

#![expect(unsafe_code, reason = "rbpf runs native code, and its helpers get addresses")]

use std::error::Error;
use std::io::{self, BufRead};
use std::sync::OnceLock;

use rbpf::EbpfVmRaw;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::time::{ClockId, clock_gettime};

const MAP_LOOKUP_ELEM: u32 = 1;
const LDDW: u8 = 0x18;
/// The context and the packet in one piece: Cranelift code may touch no other memory.
const MEMORY: usize = 8192;
const PACKET_AT: usize = 4352;
/// Where the memory should be: an address of 32 bits.
const LOW: usize = 0x1000_0000;
const MODE_AT: usize = PACKET_AT + 8;

/// An array map.
#[derive(Debug)]
struct Array {
    value_size: u64,
    entries: u64,
    values: Vec<u64>,
}

/// The program's maps, which instructions name by their index.
static ARRAYS: OnceLock<Vec<Array>> = OnceLock::new();

/// `bpf_map_lookup_elem`.
fn lookup(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    let Some(array) = ARRAYS.get().and_then(|arrays| arrays.get(map as usize)) else { return 0 };
    // SAFETY: the programs that run here pass the address of a key on their stack.
    let index = u64::from(unsafe { (key as *const u32).read_unaligned() });
    if index >= array.entries {
        return 0;
    }
    array.values.as_ptr().addr() as u64 + index * array.value_size
}

fn main() {
    let engine = std::env::args().nth(1).unwrap_or_default();
    if let Err(error) = serve(&engine) {
        let text = error.to_string();
        println!("{}", text.lines().next().unwrap_or_default());
    }
}

fn serve(engine: &str) -> Result<(), Box<dyn Error>> {
    let mut lines = io::stdin().lock().lines();
    let mut line = || lines.next().unwrap_or_else(|| Ok(String::new()));
    let (packet, mut program, maps) = (unhex(&line()?)?, unhex(&line()?)?, line()?);
    let _ = ARRAYS.set(arrays(&maps)?);
    name_maps_by_number(&mut program);

    let memory = low_memory(&packet)?;
    let mut vm = EbpfVmRaw::new(Some(&program))?;
    vm.register_helper(MAP_LOOKUP_ELEM, lookup)?;
    vm.register_allowed_memory(0..u64::MAX);
    match engine {
        "interp" => {}
        "jit" => vm.jit_compile()?,
        "cranelift" => vm.cranelift_compile()?,
        _ => return Err("rbpf has no such engine".into()),
    }
    println!("ready");
    loop {
        let line = line()?;
        match line.split_once(' ') {
            Some(("mode", mode)) => memory[MODE_AT] = mode.parse()?,
            Some(("run", times)) => {
                let times: u64 = times.parse()?;
                let mut retval = 0;
                let before = cpu_time();
                for _ in 0..times {
                    retval = match engine {
                        "interp" => vm.execute_program(memory)?,
                        // SAFETY: the programs that run here stay in the packet, their
                        // stack and the arrays.
                        "jit" => unsafe { vm.execute_program_jit(memory) }?,
                        _ => vm.execute_program_cranelift(memory)?,
                    };
                }
                println!("{} {}", cpu_time() - before, retval as u32);
            }
            _ => return Ok(()),
        }
    }
}

/// Makes the maps. One that is not an array is refused.
fn arrays(maps: &str) -> Result<Vec<Array>, Box<dyn Error>> {
    // BPF_MAP_TYPE_ARRAY and, for one thread, BPF_MAP_TYPE_PERCPU_ARRAY.
    const TYPES: [u64; 2] = [2, 6];
    let numbers = maps.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let array = |&[map_type, value_size, entries]: &[u64; 3]| {
        if !TYPES.contains(&map_type) {
            return Err("rbpf has no maps".into());
        }
        let value_size = value_size.next_multiple_of(8);
        let words = usize::try_from(value_size * entries)? / 8;
        Ok(Array { value_size, entries, values: vec![0; words] })
    };
    numbers.as_chunks().0.iter().map(array).collect()
}

/// Makes `lddw` of a map one of its index.
fn name_maps_by_number(program: &mut [u8]) {
    for insn in program.as_chunks_mut::<8>().0 {
        if insn[0] == LDDW {
            insn[1] &= 0x0f;
        }
    }
}

/// The context and the packet, where 32 bits are enough for an address.
fn low_memory(packet: &[u8]) -> Result<&'static mut [u8], Box<dyn Error>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // A wish, which the kernel grants where nothing is; a high address is an error below.
    let low = std::ptr::without_provenance_mut(LOW);
    // SAFETY: a fresh anonymous mapping, which does not replace another.
    let base = unsafe { mmap_anonymous(low, MEMORY, protection, MapFlags::PRIVATE) }?;
    // SAFETY: the mapping is of this length, zero, never unmapped and nobody else's.
    let memory = unsafe { std::slice::from_raw_parts_mut(base.cast::<u8>(), MEMORY) };
    memory[PACKET_AT..PACKET_AT + packet.len()].copy_from_slice(packet);
    let start = u32::try_from(memory.as_ptr().addr() + PACKET_AT)?;
    let end = start + u32::try_from(packet.len())?;
    memory[..4].copy_from_slice(&start.to_le_bytes());
    memory[4..8].copy_from_slice(&end.to_le_bytes());
    Ok(memory)
}

fn unhex(digits: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
    pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

/// Nanoseconds of CPU time that this thread has had.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
