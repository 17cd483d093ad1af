//! Rows that do not lie as they are wanted: matrices stored by columns, views of wider ones, whole numbers.

use std::fs::File;
use std::io::Result;
use std::ops::Range;

use super::matrix::{Element, Matrix};
use super::positioned;

/// Reads rows into `bytes`, row after row, as values of [`Element::float`].
pub(super) fn read(
    file: &File,
    matrix: &Matrix,
    scale: f64,
    rows: Range<usize>,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let mut stored = Vec::new();
    gather(file, matrix, rows, &mut stored)?;
    bytes.clear();
    let step = |value: f64| ((value * scale) as f32).to_le_bytes();
    match matrix.element {
        Element::Float(_) => *bytes = stored,
        Element::Int8 => bytes.extend(stored.iter().flat_map(|&value| step(f64::from(value.cast_signed())))),
        Element::UInt8 => bytes.extend(stored.iter().flat_map(|&value| step(f64::from(value)))),
    }
    Ok(())
}

/// The stored values of rows, row after row.
fn gather(file: &File, matrix: &Matrix, rows: Range<usize>, stored: &mut Vec<u8>) -> Result<()> {
    let (size, dim, count) = (matrix.element.size(), matrix.dim, rows.len());
    stored.resize(count * dim * size, 0);
    let at = |value: u64| matrix.offset + value * size as u64;
    match matrix.steps {
        None => positioned::read_at(file, stored, at((rows.start * dim) as u64)),
        Some([row_step, 1]) => {
            let places = rows.map(|row| at(row as u64 * row_step));
            places
                .zip(stored.chunks_exact_mut(dim * size))
                .try_for_each(|(place, row)| positioned::read_at(file, row, place))
        }
        Some([row_step, column_step]) => {
            // One read for a column of these rows: `row_step` is 1 where matrices are stored by columns.
            let span = count.saturating_sub(1) * row_step as usize + usize::from(count > 0);
            let mut column = vec![0; span * size];
            for j in 0..dim {
                positioned::read_at(
                    file,
                    &mut column,
                    at(rows.start as u64 * row_step + j as u64 * column_step),
                )?;
                for (i, row) in stored.chunks_exact_mut(dim * size).enumerate() {
                    let from = i * row_step as usize * size;
                    row[j * size..(j + 1) * size].copy_from_slice(&column[from..from + size]);
                }
            }
            Ok(())
        }
    }
}
