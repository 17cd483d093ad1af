//! Random numbers that depend on a seed and a position only.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// A generator that is a function of `seed` and of the numbers in `path`, such as an epoch, a step or a row.
pub(crate) fn seeded_rng(seed: u64, path: &[u64]) -> Xoshiro256PlusPlus {
    let state = path.iter().fold(mix(seed), |state, number| mix(state ^ mix(number.wrapping_add(GOLDEN))));
    Xoshiro256PlusPlus::seed_from_u64(state)
}

/// 2^64 divided by the golden ratio, the increment of SplitMix64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64, which makes consecutive numbers uncorrelated.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(GOLDEN);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::HashSet;

    #[test]
    fn every_position_has_its_own_numbers() {
        let mut seen = HashSet::new();
        for seed in 0..4 {
            for path in [vec![], vec![0], vec![1], vec![0, 0], vec![0, 1], vec![1, 0]] {
                let draw = |path: &[u64]| seeded_rng(seed, path).next_u64();
                assert_eq!(draw(&path), draw(&path));
                assert!(seen.insert(draw(&path)), "seed {seed}, path {path:?}");
            }
        }
    }
}
