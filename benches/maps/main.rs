//! How fast maps are: skep's from native code, and beside them the Linux kernel's under
//! its JIT, and for scale some hash maps that anyone can have.
//!
//! `cargo bench --bench maps` prints nanoseconds for each operation and thread, and how
//! skep compares with the kernel. All sides take turns within each round; the least of
//! the rounds counts, since noise only adds. Without a kernel that may be asked its
//! columns are empty, which is said. `cargo bench --bench maps -- lru` runs the rows with
//! `lru` in their name.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it does not expect")]
#![expect(clippy::print_stdout, reason = "the table is the answer")]

mod linux;
mod native;
mod peers;
mod work;

use std::env;

use skep_oracle::Kernel;

use work::{Side, WORKS, Work};

const ROUNDS: usize = 9;

/// The least time of each side of a row, by number of threads.
#[derive(Debug, Default, Clone, Copy)]
struct Least([Option<f64>; 2]);

fn main() {
    let wanted: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let kernel = Kernel::open();
    match &kernel {
        Ok(kernel) => println!("kernel: Linux {}", kernel.release()),
        Err(why) => println!("kernel: none, {why}"),
    }
    println!("ns per operation and thread, least of {ROUNDS} rounds; 1 and 2 threads\n");
    println!("{:<44} {:>13} {:>13} {:>11}  for scale", "work", "skep", "kernel", "skep/kernel");
    for work in WORKS.iter().filter(|work| {
        wanted.is_empty() || wanted.iter().any(|part| work.name.contains(part.as_str()))
    }) {
        row(work, kernel.as_ref().ok());
    }
}

fn row(work: &Work, kernel: Option<&Kernel>) {
    let mut sides: Vec<(&str, Box<dyn Side>)> = vec![("skep", native::side(work))];
    sides.extend(kernel.map(|kernel| ("kernel", linux::side(kernel, work))));
    sides.extend(peers::sides(work));
    let mut least = vec![Least::default(); sides.len()];
    for _ in 0..ROUNDS {
        for threads in 1..=2_usize.min(cores()) {
            for ((_, side), least) in sides.iter_mut().zip(&mut least) {
                let time = side.run(threads);
                let best = &mut least.0[threads - 1];
                *best = Some(best.map_or(time, |best| best.min(time)));
            }
        }
    }
    let of = |name| sides.iter().position(|(own, _)| *own == name).map(|at| least[at]);
    let (skep, linux) = (of("skep").unwrap_or_default(), of("kernel").unwrap_or_default());
    let ratio = |threads: usize| Some(skep.0[threads]? / linux.0[threads]?);
    let others =
        sides.iter().zip(&least).filter(|((name, _), _)| !["skep", "kernel"].contains(name));
    let others: Vec<String> =
        others.map(|((name, _), least)| format!("{name} {}", pair(least.0, 0))).collect();
    println!(
        "{:<44} {:>13} {:>13} {:>11}  {}",
        work.name,
        pair(skep.0, 1),
        pair(linux.0, 1),
        pair([ratio(0), ratio(1)], 2),
        others.join(", ")
    );
}

fn pair(times: [Option<f64>; 2], digits: usize) -> String {
    let one = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.digits$}"));
    format!("{} {}", one(times[0]), one(times[1]))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
