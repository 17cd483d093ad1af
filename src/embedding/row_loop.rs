//! The one loop over rows as they are stored: decoding, norms and dot products, the policy for rows without direction,
//! and weighted sums.
//!
//! A computation is a [`RowLoop`], which says what is done with a row. [`for_each_row`] compiles it for each type that
//! rows are decoded to and for each set of vector instructions.

use super::cache::prefetch;
use super::kernel::{Kernel, Lane, add_four, add_one, dots, vectorized};
use super::policy::{MIN_NORM, RowReport, Terms, clean};
use super::{FloatType, RawRows};
use crate::Result;

/// The norm of a row and its dot products with `K` vectors.
pub(crate) struct Loaded<const K: usize> {
    /// The factor that makes it a unit row; 1 for a row without direction that the policy lets through.
    pub inverse_norm: f64,
    /// `||row||^2`.
    pub square: f64,
    /// Its dot products with the vectors asked for.
    pub products: [f64; K],
}

/// A row that takes part.
pub(crate) struct DecodedRow<'a, T, const K: usize> {
    /// Its number in the block.
    pub index: usize,
    pub values: &'a [T],
    pub loaded: Loaded<K>,
    /// The vectors that its dot products were taken with.
    pub vectors: [&'a [f64]; K],
}

/// What is done with each row of a block; `K` dot products of it are asked for.
pub(crate) trait RowLoop<const K: usize> {
    /// Takes a row, and returns the weight with which it is to be added to `sums`; `None` where it is not to be.
    ///
    /// `FMA`: whether the processor multiplies and adds in one instruction. Implementations are `#[inline(always)]`.
    fn row<const FMA: bool, T: Lane>(&mut self, row: &DecodedRow<'_, T, K>, sums: &mut [f64]) -> Option<f64>;

    /// A row that the policy leaves out.
    fn skipped(&mut self, _index: usize) {}
}

/// Goes over rows with the widest vector instructions of this processor; see [`RowLoop`].
///
/// `sums`, `[d]`, gets the weighted rows; it is empty where none are added up.
pub(crate) fn for_each_row<L: RowLoop<K>, const K: usize>(
    rows: RawRows<'_>,
    terms: Terms<'_>,
    vectors: [&[f64]; K],
    sums: &mut [f64],
    work: &mut L,
) -> Result<RowReport> {
    dispatch::<L, K, true>(rows, terms, vectors, sums, work)
}

/// As [`for_each_row`], without vector instructions: for loops that run once in a while.
pub(crate) fn for_each_row_scalar<L: RowLoop<K>, const K: usize>(
    rows: RawRows<'_>,
    terms: Terms<'_>,
    vectors: [&[f64]; K],
    sums: &mut [f64],
    work: &mut L,
) -> Result<RowReport> {
    dispatch::<L, K, false>(rows, terms, vectors, sums, work)
}

fn dispatch<L: RowLoop<K>, const K: usize, const VECTORS: bool>(
    rows: RawRows<'_>,
    terms: Terms<'_>,
    vectors: [&[f64]; K],
    sums: &mut [f64],
    work: &mut L,
) -> Result<RowReport> {
    match rows.float() {
        FloatType::F64 => decoded_to::<f64, L, K, VECTORS>(rows, terms, vectors, sums, work),
        FloatType::F16 | FloatType::BF16 | FloatType::F32 => {
            decoded_to::<f32, L, K, VECTORS>(rows, terms, vectors, sums, work)
        }
    }
}

fn decoded_to<T: Lane, L: RowLoop<K>, const K: usize, const VECTORS: bool>(
    rows: RawRows<'_>,
    terms: Terms<'_>,
    vectors: [&[f64]; K],
    sums: &mut [f64],
    work: &mut L,
) -> Result<RowReport> {
    // Four rows are added up at once.
    let waiting = if sums.is_empty() { 1 } else { 4 };
    let slots = &mut vec![T::default(); waiting * rows.dim()];
    let rows = Rows { rows, terms, vectors, sums, slots, work };
    if VECTORS { vectorized(rows) } else { rows.run::<false>() }
}

struct Rows<'a, T, L, const K: usize> {
    rows: RawRows<'a>,
    terms: Terms<'a>,
    vectors: [&'a [f64]; K],
    sums: &'a mut [f64],
    /// Decoded rows that wait to be added up.
    slots: &'a mut [T],
    work: &'a mut L,
}

impl<T: Lane, L: RowLoop<K>, const K: usize> Kernel for Rows<'_, T, L, K> {
    type Output = Result<RowReport>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let Self { rows, terms, vectors, sums, slots, work } = self;
        let dim = rows.dim();
        let mut report = RowReport::default();
        let (mut weights, mut waiting) = ([0.0; 4], 0);
        for index in 0..rows.len() {
            let slot = &mut slots[waiting * dim..(waiting + 1) * dim];
            let loaded = load::<FMA, K, T>(&rows, index, slot, vectors, terms, &mut report)?;
            let Some(loaded) = loaded else {
                work.skipped(index);
                continue;
            };
            let row = DecodedRow { index, values: slot, loaded, vectors };
            let Some(weight) = work.row::<FMA, T>(&row, sums) else { continue };
            weights[waiting] = weight;
            waiting += 1;
            if waiting == 4 {
                add_four::<FMA, T>(slots, weights, sums);
                waiting = 0;
            }
        }
        for (row, &weight) in slots.chunks_exact(dim).zip(&weights[..waiting]) {
            add_one::<FMA, T>(row, weight, sums);
        }
        Ok(report)
    }
}

/// How many rows ahead of the one that is decoded the next ones are fetched from memory.
const AHEAD: usize = 2;

/// Decodes row `index` of `rows` into `slot` and computes its norm and dot products; nothing where the policy leaves
/// the row out. Counts it in `report`.
#[inline(always)]
fn load<const FMA: bool, const K: usize, T: Lane>(
    rows: &RawRows<'_>,
    index: usize,
    slot: &mut [T],
    vectors: [&[f64]; K],
    terms: Terms<'_>,
    report: &mut RowReport,
) -> Result<Option<Loaded<K>>> {
    // Rows in mapped memory come a page at a time, and a processor does not look beyond a page by itself.
    if index + AHEAD < rows.len() {
        prefetch(rows.row(index + AHEAD));
    }
    T::decode(rows.row(index), rows.float(), slot);
    report.rows += 1;
    let (square, products) = dots::<FMA, K, T>(slot, vectors);
    if square.is_finite() && square >= MIN_NORM * MIN_NORM {
        report.kept += 1;
        return Ok(Some(Loaded { inverse_norm: 1.0 / square.sqrt(), square, products }));
    }
    let Some(inverse_norm) = clean(slot, terms, index, report)? else { return Ok(None) };
    let (square, products) = dots::<FMA, K, T>(slot, vectors);
    Ok(Some(Loaded { inverse_norm, square, products }))
}
