//! Hints to the processor's caches, for rows that are too many to stay in them.
//!
//! They change no result. Where a processor is not known here they do nothing, or the plain thing.

// The instructions below are unsafe functions; each call says why it is sound.
#![allow(unsafe_code)]

/// Bytes that a cache fetches at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Begins to fetch bytes that will be read soon.
#[inline(always)]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults, and SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// Copies a row to memory past the caches: it is not read again soon, and without this its place would be fetched first.
/// Only after [`finish_streaming`] may other threads read it.
#[inline(always)]
pub(crate) fn stream(row: &[f32], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128, _mm_loadu_ps, _mm_stream_ps};
        let row = &row[..out.len()];
        // SAFETY: any bits are a vector of four float32 numbers.
        let (head, middle, tail) = unsafe { out.align_to_mut::<__m128>() };
        let (first, rest) = row.split_at(head.len());
        let (fours, last) = rest.as_chunks::<4>();
        head.copy_from_slice(first);
        tail.copy_from_slice(last);
        for (out, four) in middle.iter_mut().zip(fours) {
            // SAFETY: `four` holds four numbers, `out` is valid for a vector and aligned as one; SSE is part of x86-64.
            unsafe { _mm_stream_ps(std::ptr::from_mut(out).cast(), _mm_loadu_ps(four.as_ptr())) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    out.copy_from_slice(row);
}

/// Waits until what [`stream`] wrote on this thread can be seen by all.
#[inline]
pub(crate) fn finish_streaming() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a fence has no other effect; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_are_copied_to_any_place() {
        for length in [0, 1, 3, 4, 5, 16, 67] {
            for start in 0..6 {
                let row: Vec<f32> = (0..length).map(|i| i as f32 + 0.5).collect();
                let mut out = vec![-1.0; length + 10];
                super::stream(&row, &mut out[start..start + length]);
                super::finish_streaming();
                assert_eq!(out[start..start + length], row);
                assert!(out[..start].iter().chain(&out[start + length..]).all(|value| *value == -1.0));
            }
        }
        super::prefetch(&[]);
        super::prefetch(&[1; 300]);
    }
}
