//! Files of the corpus with bytes changed at random.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::embedding::pickle::shard::fuzz;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_panic(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let files = corpus_files();
        let mut bytes = files[file.index(files.len())].1.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fuzz(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz(&bytes);
        bytes.splice(0..0, *b"\x80\x04]\x94(");
        fuzz(&bytes);
    }
}

/// A small generator, so that a run can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

fn mutate(bytes: &mut Vec<u8>, files: &[(String, Vec<u8>)], random: &mut Random) {
    const OPCODES: &[u8] =
        b".(NJKMGXCB]ae}su)tqrhjcRb\x80\x95\x88\x89\x8a\x8c\x8d\x8e\x96\x85\x86\x87\x94\x93";
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(24)).min(bytes.len());
        match random.below(8) {
            0 if !bytes.is_empty() => bytes[at] = random.below(256) as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => bytes[at] = OPCODES[random.below(OPCODES.len())],
            3 => bytes.insert(at, OPCODES[random.below(OPCODES.len())]),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
            6 => {
                let other = &files[random.below(files.len())].1;
                let from = random.below(other.len());
                let part = other[from..(from + random.below(40)).min(other.len())].to_vec();
                bytes.splice(at..end, part);
            }
            _ if !bytes.is_empty() => {
                let extreme = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
                bytes[at..end].iter_mut().take(8).for_each(|byte| *byte = extreme);
            }
            _ => {}
        }
    }
}

/// Runs for `PICKLE_FUZZ_SECONDS`, starting from `PICKLE_FUZZ_SEED`.
#[test]
#[ignore = "runs for as long as it is told to"]
fn fuzz_for_a_while() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seconds, seed) = (number("PICKLE_FUZZ_SECONDS", 10), number("PICKLE_FUZZ_SEED", 1));
    let mut files = corpus_files();
    let (mut random, mut runs, mut read) = (Random(seed.max(1)), 0_u64, 0_u64);
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    while start.elapsed().as_secs() < seconds {
        let mut bytes = files[random.below(files.len())].1.clone();
        mutate(&mut bytes, &files, &mut random);
        let before = Instant::now();
        let is_read = fuzz(&bytes).is_some();
        slowest = slowest.max(before.elapsed());
        runs += 1;
        read += u64::from(is_read);
        // What is still a shard is a new starting point now and then.
        if is_read && bytes.len() < 4096 && files.len() < 2000 && random.below(50) == 0 {
            files.push((String::new(), bytes));
        }
    }
    println!("{runs} files, {read} of them read, {} kept, slowest {slowest:?}", files.len());
}
