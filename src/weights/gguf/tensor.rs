use super::cursor::Cursor;
use crate::Result;

/// ggml knows no tensors of more dimensions.
pub(super) const MAX_DIMENSIONS: u32 = 4;

/// How the values of a tensor are stored: the number that ggml gives the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorType(pub(super) u32);

impl TensorType {
    /// 32-bit floating point.
    pub(crate) const F32: Self = Self(0);
    /// 16-bit floating point.
    pub(crate) const F16: Self = Self(1);
    /// Blocks of 32 values `d * (q - 8)` with 4 bits `q`.
    pub(crate) const Q4_0: Self = Self(2);
    /// Blocks of 32 values `d * q + m` with 4 bits `q`.
    pub(crate) const Q4_1: Self = Self(3);
    /// Blocks of 32 values `d * (q - 16)` with 5 bits `q`.
    pub(crate) const Q5_0: Self = Self(6);
    /// Blocks of 32 values `d * q + m` with 5 bits `q`.
    pub(crate) const Q5_1: Self = Self(7);
    /// Blocks of 32 values `d * q` with 8 bits `q`.
    pub(crate) const Q8_0: Self = Self(8);
    /// Blocks of 256 values with 2 bits each, in 16 parts with scale and minimum of 4 bits.
    pub(crate) const Q2_K: Self = Self(10);
    /// Blocks of 256 values with 3 bits each, in 16 parts with a scale of 6 bits.
    pub(crate) const Q3_K: Self = Self(11);
    /// Blocks of 256 values with 4 bits each, in 8 parts with scale and minimum of 6 bits.
    pub(crate) const Q4_K: Self = Self(12);
    /// Blocks of 256 values with 5 bits each, in 8 parts with scale and minimum of 6 bits.
    pub(crate) const Q5_K: Self = Self(13);
    /// Blocks of 256 values with 6 bits each, in 16 parts with a scale of 8 bits.
    pub(crate) const Q6_K: Self = Self(14);
    /// Blocks of 32 values, each one of 16 levels.
    pub(crate) const IQ4_NL: Self = Self(20);
    /// Blocks of 256 values, each one of 16 levels, in 8 parts with a scale of 6 bits.
    pub(crate) const IQ4_XS: Self = Self(23);
    /// 64-bit floating point.
    pub(crate) const F64: Self = Self(28);
    /// The upper half of 32-bit floating point.
    pub(crate) const BF16: Self = Self(30);

    /// The name that ggml gives the type.
    pub(crate) fn name(self) -> &'static str {
        self.layout().map_or("unknown", |(name, _, _)| name)
    }

    /// The number of values and the number of bytes of a block.
    pub(super) fn block(self) -> Option<(u64, u64)> {
        self.layout().map(|(_, values, bytes)| (values, bytes))
    }

    /// Types that are not read are known too, so that the extent of their tensors can be checked.
    fn layout(self) -> Option<(&'static str, u64, u64)> {
        Some(match self.0 {
            0 => ("F32", 1, 4),
            1 => ("F16", 1, 2),
            2 => ("Q4_0", 32, 18),
            3 => ("Q4_1", 32, 20),
            6 => ("Q5_0", 32, 22),
            7 => ("Q5_1", 32, 24),
            8 => ("Q8_0", 32, 34),
            9 => ("Q8_1", 32, 36),
            10 => ("Q2_K", 256, 84),
            11 => ("Q3_K", 256, 110),
            12 => ("Q4_K", 256, 144),
            13 => ("Q5_K", 256, 176),
            14 => ("Q6_K", 256, 210),
            15 => ("Q8_K", 256, 292),
            16 => ("IQ2_XXS", 256, 66),
            17 => ("IQ2_XS", 256, 74),
            18 => ("IQ3_XXS", 256, 98),
            19 => ("IQ1_S", 256, 50),
            20 => ("IQ4_NL", 32, 18),
            21 => ("IQ3_S", 256, 110),
            22 => ("IQ2_S", 256, 82),
            23 => ("IQ4_XS", 256, 136),
            24 => ("I8", 1, 1),
            25 => ("I16", 1, 2),
            26 => ("I32", 1, 4),
            27 => ("I64", 1, 8),
            28 => ("F64", 1, 8),
            29 => ("IQ1_M", 256, 56),
            30 => ("BF16", 1, 2),
            34 => ("TQ1_0", 256, 54),
            35 => ("TQ2_0", 256, 66),
            39 => ("MXFP4", 32, 17),
            _ => return None,
        })
    }
}

/// The name, shape, type and place of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorInfo {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: TensorType,
    /// In bytes, from the beginning of the tensors.
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// The file that holds it, where a model is split.
    pub(super) part: usize,
}

impl TensorInfo {
    /// The smallest entry of a file: a length, a number of dimensions, a type and an offset.
    pub(super) const MIN_ENTRY_BYTES: u64 = 8 + 4 + 4 + 8;

    /// The name in the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether its values are stored in blocks of several.
    pub(crate) fn is_quantised(&self) -> bool {
        self.dtype.block().is_some_and(|(values, _)| values > 1)
    }

    /// The sizes, the one along which values follow each other last (the file lists it first).
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The size of a row: the last of the sizes, and one for a single value.
    pub(super) fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Reads an entry, and checks that a tensor of such a size is possible; its place is checked later.
    pub(super) fn read(cursor: &mut Cursor<'_>, index: usize) -> Result<Self> {
        let name = cursor.string(format_args!("the name of tensor {index}"))?;
        let what = format_args!("tensor {name:?}").to_string();
        let dimensions = cursor.u32(format_args!("the number of dimensions of {what}"))?;
        if dimensions > MAX_DIMENSIONS {
            return Err(cursor
                .wrong(format!("{what}: expected at most {MAX_DIMENSIONS} dimensions, found {dimensions}")));
        }
        let mut sizes = Vec::new();
        for dimension in 0..dimensions {
            sizes.push(cursor.u64(format_args!("dimension {dimension} of {what}"))?);
        }
        let dtype = TensorType(cursor.u32(format_args!("the type of {what}"))?);
        let offset = cursor.u64(format_args!("the offset of {what}"))?;
        let Some((block, size)) = dtype.block() else {
            return Err(cursor.wrong(format!("{what}: expected a type of ggml, found number {}", dtype.0)));
        };
        if sizes.contains(&0) {
            return Err(cursor.wrong(format!("{what}: expected sizes above 0, found {sizes:?}")));
        }
        let width = sizes.first().copied().unwrap_or(1);
        if !width.is_multiple_of(block) {
            return Err(cursor.wrong(format!(
                "{what}: expected rows of a multiple of {block} values for type {}, found {width}",
                dtype.name()
            )));
        }
        let values = sizes.iter().try_fold(1u64, |values, size| values.checked_mul(*size));
        let bytes = values
            .filter(|values| usize::try_from(*values).is_ok())
            .and_then(|values| (values / block).checked_mul(size))
            .ok_or_else(|| cursor.wrong(format!("{what}: sizes {sizes:?} are larger than any file")))?;
        let shape = sizes.iter().rev().map(|size| *size as usize).collect();
        Ok(Self { name, shape, dtype, offset, bytes, part: 0 })
    }
}
