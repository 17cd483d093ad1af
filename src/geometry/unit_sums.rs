//! The sums of one block of unit rows, in one pass over it.

use super::Moments;
use crate::Result;
use crate::embedding::kernel::{Kernel, Lane, add_four, add_one, vectorized};
use crate::embedding::{ForLane, RawRows, RowReport, Terms, for_lane, load};

/// The moments of the unit rows `x / ||x||` of a block, and what became of its rows.
///
/// Unit rows need no second pass for their spread: `sum ||u - mean||^2 = sum ||u||^2 - n ||mean||^2`, where the first
/// term is the number of rows (but for rows without direction). Where next to nothing is left of it, because the rows
/// are almost the same, a second pass about the mean keeps the digits that the difference has lost.
pub(crate) fn unit_moments(rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Moments, RowReport)> {
    for_lane(rows.float(), Block { rows, terms })
}

struct Block<'a> {
    rows: RawRows<'a>,
    terms: Terms<'a>,
}

impl ForLane for Block<'_> {
    type Output = Result<(Moments, RowReport)>;

    fn call<T: Lane>(self) -> Self::Output {
        let dim = self.rows.dim();
        let (mut sums, mut room) = (vec![0.0; dim], vec![T::default(); 4 * dim]);
        let block = Block { ..self };
        let (report, squares) = vectorized(Sum { block: self, sums: &mut sums, room: &mut room })?;
        let mut moments = Moments::from_sums(report.kept, sums, squares);
        if moments.trace() < ALMOST_NONE {
            let squares = block.squares_about::<T>(moments.mean(), &mut room[..dim])?;
            moments.set_squares(squares);
        }
        Ok((moments, report))
    }
}

/// A spread of unit rows of which a difference of numbers near 1 leaves fewer than eight digits.
const ALMOST_NONE: f64 = 1e-8;

impl Block<'_> {
    #[cold]
    fn squares_about<T: Lane>(&self, mean: &[f64], room: &mut [T]) -> Result<f64> {
        let (mut squares, mut report) = (0.0, RowReport::default());
        for index in 0..self.rows.len() {
            let row = load::<false, 0, T>(&self.rows, index, room, [], self.terms, &mut report)?;
            let Some(row) = row else { continue };
            let offsets = room.iter().zip(mean).map(|(&value, mean)| value.into() * row.inverse_norm - mean);
            squares += offsets.map(|offset| offset * offset).sum::<f64>();
        }
        Ok(squares)
    }
}

struct Sum<'a, 'b, T> {
    block: Block<'a>,
    sums: &'b mut [f64],
    room: &'b mut [T],
}

impl<T: Lane> Kernel for Sum<'_, '_, T> {
    type Output = Result<(RowReport, f64)>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let Self { block: Block { rows, terms }, sums, room } = self;
        let dim = rows.dim();
        let (mut report, mut squares) = (RowReport::default(), 0.0);
        let (mut weights, mut waiting) = ([0.0; 4], 0);
        for index in 0..rows.len() {
            let slot = &mut room[waiting * dim..(waiting + 1) * dim];
            let Some(row) = load::<FMA, 0, T>(&rows, index, slot, [], terms, &mut report)? else { continue };
            weights[waiting] = row.inverse_norm;
            squares += row.square * row.inverse_norm * row.inverse_norm;
            waiting += 1;
            if waiting == 4 {
                add_four::<FMA, T>(room, weights, sums);
                waiting = 0;
            }
        }
        for (row, &weight) in room.chunks_exact(dim).zip(&weights[..waiting]) {
            add_one::<FMA, T>(row, weight, sums);
        }
        Ok((report, squares))
    }
}
