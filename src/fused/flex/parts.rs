//! Parts of vectors over threads.
//!
//! Vectors begin as memory that nothing has written, and are vectors once all of it was: two unsafe calls, each of which says
//! why it is sound.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Below so many numbers, threads take longer to start than to compute.
const SERIAL: usize = 1 << 14;

/// What computes the parts of an output.
///
/// Methods have `#[inline(always)]`, and so has what they call: what is not inlined is compiled without the vectors of the
/// processor that the program finds when it runs, and closures and function items may not be.
pub(super) trait Parts: Sync {
    /// Writes the part of this number over what it holds: zeros where it is new.
    fn write(&self, number: usize, out: &mut [f32]);
}

/// Writes each part of `out`, where a part is `len` numbers, with the widest vectors of this processor and over threads where
/// there is enough to do. `cost` is how many numbers are read or written for a part.
pub(super) fn write_parts(out: &mut [f32], len: usize, cost: usize, parts: &impl Parts) {
    if len == 0 || out.is_empty() {
        return;
    }
    let together = (SERIAL / cost.max(1)).clamp(1, out.len() / len);
    out.par_chunks_mut(together * len).enumerate().for_each(|(group, out)| {
        Arch::new().dispatch(Group { first: group * together, out, len, parts });
    });
}

/// `total` numbers, made of parts of `len` with the widest vectors of this processor and over threads where there is enough
/// to do. `cost` is how many numbers are read or written for a part.
pub(super) fn of_parts(total: usize, len: usize, cost: usize, parts: &impl Parts) -> Vec<f32> {
    if len == 0 || total == 0 {
        return Vec::new();
    }
    let together = (SERIAL / cost.max(1)).clamp(1, total / len);
    let [out] = over_threads([(total, together * len)], |group, [out]| {
        Arch::new().dispatch(Group { first: group * together, out, len, parts });
    });
    out
}

/// Vectors of so many numbers, in parts of so many, all of them in as many parts; `write` gets each part of all vectors, full
/// of zeros, on some thread.
///
/// Zeros are laid where and when they are written over, in the cache: a vector that one thread fills with zeros before takes
/// a good part of the time of what is then computed into it.
pub(super) fn over_threads<T: Copy + Default + Send, const N: usize>(
    vectors: [(usize, usize); N],
    write: impl Fn(usize, [&mut [T]; N]) + Sync,
) -> [Vec<T>; N] {
    let count = |(total, part): (usize, usize)| total.div_ceil(part.max(1));
    let jobs = vectors.first().map_or(0, |first| count(*first));
    assert!(vectors.iter().all(|vector| count(*vector) == jobs), "as many parts: {vectors:?}");
    let mut out = vectors.map(|(total, _)| Vec::<T>::with_capacity(total));
    let mut parts = vectors.map(|_| Vec::with_capacity(jobs));
    for ((out, parts), (total, part)) in out.iter_mut().zip(&mut parts).zip(vectors) {
        parts.extend(out.spare_capacity_mut()[..total].chunks_mut(part.max(1)));
    }
    let mut parts = parts.map(Vec::into_iter);
    let jobs = (0..jobs).map(|_| parts.each_mut().map(|parts| parts.next().expect("as many parts")));
    let jobs: Vec<[&mut [MaybeUninit<T>]; N]> = jobs.collect();
    jobs.into_par_iter().enumerate().for_each(|(number, parts)| write(number, parts.map(zeroed)));
    for (out, (total, _)) in out.iter_mut().zip(vectors) {
        // SAFETY: the parts are all of the first `total` numbers, and each was filled with zeros.
        unsafe { out.set_len(total) };
    }
    out
}

fn zeroed<T: Copy + Default>(place: &mut [MaybeUninit<T>]) -> &mut [T] {
    for number in place.iter_mut() {
        number.write(T::default());
    }
    // SAFETY: all of it was just written.
    unsafe { place.assume_init_mut() }
}

struct Group<'a, P> {
    first: usize,
    out: &'a mut [f32],
    len: usize,
    parts: &'a P,
}

impl<P: Parts> WithSimd for Group<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (number, out) in self.out.chunks_exact_mut(self.len).enumerate() {
            self.parts.write(self.first + number, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbered;
    impl Parts for Numbered {
        fn write(&self, number: usize, out: &mut [f32]) {
            out.iter_mut().for_each(|value| *value += number as f32 + 1.0)
        }
    }

    #[test]
    fn every_part_is_written_once() {
        for (parts, len) in [(0, 3), (1, 5), (7, 3), (5000, 40)] {
            let out = of_parts(parts * len, len, len, &Numbered);
            assert_eq!(out.len(), parts * len);
            assert!(out.iter().enumerate().all(|(at, value)| *value == (at / len + 1) as f32));
        }
    }

    #[test]
    fn several_vectors_are_written_part_by_part() {
        for total in [0, 1, 7, 8, 1000] {
            let [first, second] = over_threads([(total, 4), (2 * total, 8)], |number, [first, second]| {
                assert_eq!(2 * first.len(), second.len());
                first.iter_mut().for_each(|value| *value += number as f32);
                second[..1].fill(1.0);
            });
            assert!(first.iter().enumerate().all(|(at, value)| *value == (at / 4) as f32));
            // What was left alone is zero.
            assert!(second.iter().enumerate().all(|(at, value)| *value == f32::from(at % 8 == 0)));
            assert_eq!([first.len(), second.len()], [total, 2 * total]);
        }
    }

    #[test]
    #[should_panic(expected = "as many parts")]
    fn vectors_of_different_numbers_of_parts_are_refused() {
        over_threads([(8, 4), (8, 2)], |_, _: [&mut [f32]; 2]| ());
    }
}
