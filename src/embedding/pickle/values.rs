//! What the stack and the memo hold.

use crate::embedding::FloatType;

/// A number of 56 bits, which leaves one of eight bytes for a tag: a place in a file, or a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits56([u8; 7]);

impl Bits56 {
    /// The largest place that can be held.
    pub(super) const MAX_PLACE: u64 = (1 << 56) - 1;

    /// A place of at most [`Bits56::MAX_PLACE`]; the length of the file is checked once.
    #[inline]
    pub(super) fn from_place(place: u64) -> Self {
        debug_assert!(place <= Self::MAX_PLACE);
        let [a, b, c, d, e, f, g, _] = place.to_le_bytes();
        Self([a, b, c, d, e, f, g])
    }

    #[inline]
    pub(super) fn place(self) -> u64 {
        let [a, b, c, d, e, f, g] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, 0])
    }

    /// The number, where seven bytes are enough for it.
    #[inline]
    pub(super) fn from_int(value: i64) -> Option<Self> {
        let [a, b, c, d, e, f, g, _] = value.to_le_bytes();
        let seven = Self([a, b, c, d, e, f, g]);
        (seven.int() == value).then_some(seven)
    }

    #[inline]
    pub(super) fn int(self) -> i64 {
        // Shifting down again spreads the sign over the eighth byte.
        (self.place() << 8) as i64 >> 8
    }
}

/// The only functions and classes that a file may name; none is ever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `numpy.core.multiarray._reconstruct`: an empty array, which BUILD fills.
    Reconstruct,
    /// `numpy.ndarray`, an argument of `_reconstruct`.
    NdArray,
    /// `numpy.dtype`.
    Dtype,
    /// `numpy.core.numeric._frombuffer`: a whole array, from protocol 5 on.
    FromBuffer,
    /// `_codecs.encode`: how protocol 2 writes bytes.
    Encode,
}

impl Global {
    /// The global of this name; NumPy 2 has moved the private modules.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Some(Self::Reconstruct),
            ("numpy", "ndarray") => Some(Self::NdArray),
            ("numpy", "dtype") => Some(Self::Dtype),
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Some(Self::FromBuffer),
            ("_codecs", "encode") => Some(Self::Encode),
            _ => None,
        }
    }

    /// The name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reconstruct => "numpy _reconstruct",
            Self::NdArray => "numpy.ndarray",
            Self::Dtype => "numpy.dtype",
            Self::FromBuffer => "numpy _frombuffer",
            Self::Encode => "_codecs.encode",
        }
    }
}

/// A value on the stack, in eight bytes so that the memo of a large file stays small.
///
/// A tuple never is a value of its own: those that belong to an array are recognised as they are made, and
/// the rest is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number.
    Int(Bits56),
    /// A whole number that needs all of 64 bits: where its opcode stands.
    Long(Bits56),
    /// A floating-point number: where its opcode stands.
    Float(Bits56),
    /// Text that need not be read: where its opcode stands.
    Text(Bits56),
    /// Text that was read, as a number of [`Names`](super::names::Names).
    Name(u16),
    /// Bytes, as a number of [`Arrays`](super::arrays::Arrays).
    Bytes(u32),
    /// The list of rows; there is only one.
    List,
    /// A dict, as a number of [`Rows`](super::rows::Rows).
    Dict(u32),
    /// An array, as a number of [`Arrays`](super::arrays::Arrays).
    Array(u32),
    /// One of the few known functions and classes.
    Global(Global),
    /// A float type, always little-endian.
    Dtype(FloatType),
    /// The tuple `(length,)`.
    Length(u32),
    /// The tuple `(rows, columns)`.
    Pair { rows: u16, columns: u32 },
    /// The arguments of `_reconstruct`, which are always the same.
    ReconstructArgs,
    /// The arguments of `dtype`.
    DtypeArgs(FloatType),
    /// What BUILD tells a dtype: that it is little-endian and has no fields.
    DtypeState,
    /// What BUILD tells an array: the bytes, which are known to fit shape and type.
    ArrayState(u32),
    /// The arguments of `_frombuffer`: the bytes, which are known to fit shape and type.
    BufferArgs(u32),
    /// The arguments of `_codecs.encode`.
    EncodeArgs,
    /// Bytes that protocol 2 has written as text.
    Encoded,
}

/// The memo holds up to ten of these a row.
const _: () = assert!(size_of::<Option<Value>>() == 8);

impl Value {
    /// The number, where it is one that fits seven bytes.
    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value.int()),
            _ => None,
        }
    }

    /// What this is, for messages.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Long(_) => "a whole number",
            Self::Float(_) => "a floating-point number",
            Self::Text(_) | Self::Name(_) => "text",
            Self::Bytes(_) | Self::Encoded => "bytes",
            Self::List => "a list",
            Self::Dict(_) => "a dict",
            Self::Array(_) => "an array",
            Self::Global(global) => global.name(),
            Self::Dtype(_) => "a dtype",
            Self::Length(_)
            | Self::Pair { .. }
            | Self::ReconstructArgs
            | Self::DtypeArgs(_)
            | Self::DtypeState
            | Self::ArrayState(_)
            | Self::BufferArgs(_)
            | Self::EncodeArgs => "a tuple",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_bytes_hold_places_and_signed_numbers() {
        for place in [0, 1, 255, 1 << 40, Bits56::MAX_PLACE] {
            assert_eq!(Bits56::from_place(place).place(), place);
        }
        let limit = 1_i64 << 55;
        for value in [0, 1, -1, 1 << 40, -(1 << 40), limit - 1, -limit] {
            assert_eq!(Bits56::from_int(value).map(Bits56::int), Some(value));
        }
        for value in [limit, -limit - 1, i64::MAX, i64::MIN] {
            assert_eq!(Bits56::from_int(value), None);
        }
    }
}
