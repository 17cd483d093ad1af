//! Half precision by integer operations, which loops over many numbers compile to vector instructions of every processor:
//! the conversions of the types themselves branch, or call what a processor has for single numbers.

use burn::tensor::{Element, bf16, f16};

/// A type of numbers in memory that are computed with in float32.
#[cfg_attr(not(feature = "flex"), expect(dead_code, reason = "other backends only widen"))]
pub(crate) trait Stored: Element + bytemuck::Pod + Default + Send + Sync {
    /// The value, exactly.
    fn widen(self) -> f32;

    /// The nearest number, of two the one whose last bit is zero; infinity beyond the largest, NaN for NaN.
    fn narrow(value: f32) -> Self;

    /// The numbers themselves, where the type is float32.
    fn as_single(_numbers: &[Self]) -> Option<&[f32]> {
        None
    }
}

impl Stored for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn as_single(numbers: &[Self]) -> Option<&[f32]> {
        Some(numbers)
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        // The upper half of a NaN may be that of infinity.
        let nearest = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
        let rounded = if value.is_nan() { bits | 0x0040_0000 } else { nearest };
        Self::from_bits((rounded >> 16) as u16)
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        const TWO_TO_THE_112: f32 = f32::from_bits(0x7780_0000);
        let bits = u32::from(self.to_bits());
        let magnitude = (bits & 0x7FFF) << 13;
        let sign = (bits & 0x8000) << 16;
        let value = f32::from_bits(magnitude) * TWO_TO_THE_112;
        let special = if magnitude >= 0x0F80_0000 { 0x7F80_0000 } else { 0 };
        f32::from_bits(value.to_bits() | special | sign)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        /// 2^-14, below which numbers are multiples of 2^-24.
        const NORMAL: u32 = 0x3880_0000;
        /// 2^16, which is infinity.
        const INFINITE: u32 = 0x4780_0000;
        let sign = value.to_bits() >> 16 & 0x8000;
        let magnitude = value.to_bits() & 0x7FFF_FFFF;
        // In the sum with 0.5 the last bit is worth 2^-24.
        let small = (f32::from_bits(magnitude.min(NORMAL)) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
        // Other exponents, and the rounding of 13 bits, which may carry into the exponent.
        let odd = magnitude >> 13 & 1;
        let normal = magnitude.max(NORMAL).wrapping_sub(0x3800_0000 - 0xFFF).wrapping_add(odd) >> 13;
        let finite = if magnitude < NORMAL { small } else { normal };
        let special = if magnitude > 0x7F80_0000 { 0x7E00 } else { 0x7C00 };
        let bits = if magnitude < INFINITE { finite } else { special };
        Self::from_bits((bits | sign) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All numbers of a type, and between each two of them what is rounded to one or to the other.
    fn check<E: Stored>(
        from_bits: fn(u16) -> E,
        to_bits: fn(E) -> u16,
        to: fn(E) -> f32,
        from: fn(f32) -> E,
    ) {
        for bits in 0..=u16::MAX {
            let (found, expected) = (from_bits(bits).widen(), to(from_bits(bits)));
            assert!(
                found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                "{bits:#x}"
            );
            let next = to(from_bits(bits.wrapping_add(1)));
            let middle = (f64::from(expected) + f64::from(next)) / 2.0;
            let middle = middle as f32;
            for value in [expected, middle, middle.next_up(), middle.next_down()] {
                let (found, expected) = (E::narrow(value), from(value));
                let is_nan = to(found).is_nan() && to(expected).is_nan();
                assert!(is_nan || to_bits(found) == to_bits(expected), "{value:e} of {bits:#x}");
            }
        }
        for value in [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-40, -1e-45, 65519.996, 65520.0, 3.3961775e38]
        {
            assert_eq!(to_bits(E::narrow(value)), to_bits(from(value)), "{value:e}");
        }
        let nan = f32::from_bits(0x7F80_0001);
        assert!(nan.is_nan() && E::narrow(nan).widen().is_nan() && E::narrow(-nan).widen().is_nan());
    }

    #[test]
    fn conversions_are_those_of_the_types() {
        check(bf16::from_bits, bf16::to_bits, bf16::to_f32, bf16::from_f32);
        check(f16::from_bits, f16::to_bits, f16::to_f32, f16::from_f32);
        assert_eq!((f32::narrow(0.1), 0.1f32.widen()), (0.1, 0.1));
        assert_eq!(f32::as_single(&[0.1]), Some(&[0.1][..]));
        assert_eq!((bf16::as_single(&[bf16::ONE]), f16::as_single(&[f16::ONE])), (None, None));
    }
}
