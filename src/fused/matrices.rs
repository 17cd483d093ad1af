//! Products of matrices in float32 on flex, as they lie. Burn's lays zeros out twice for each product (`FlexTensor::empty` in
//! burn-flex 0.22.1, whose bytes are copied to where they are aligned), which takes a tenth to a third of the time of those
//! of a language model, and as much memory again.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::kernel::tensor;
use super::parts::over_threads;

/// Rows of the output for which a thread lays out the other factor for itself: with fewer the threads share that.
const ROWS: usize = 128;

/// Multiplications below which threads take longer to start than to compute.
const SERIAL: usize = 1 << 18;

/// `[rows, columns]` of `[rows, depth]` and `[depth, columns]`, none of them zero.
pub(super) fn product(left: FlexTensor, right: FlexTensor) -> FlexTensor {
    let [left, right] = [left, right].map(in_lines);
    let [left, right] = [&left, &right].map(view);
    let (rows, depth, columns) = (left.nrows(), left.ncols(), right.ncols());
    let threads = rayon::current_num_threads();
    let share = rows.div_ceil(threads);
    let is_small = rows * depth * columns < SERIAL;
    let values = if is_small || share < ROWS {
        let mut values = vec![0.0; rows * columns];
        let out = MatMut::from_row_major_slice_mut(&mut values, rows, columns);
        let threads = if is_small { Par::Seq } else { Par::rayon(threads) };
        matmul(out, Accum::Replace, left, right, 1.0, threads);
        values
    } else {
        let [values] = over_threads([(rows * columns, share * columns)], |part, [out]| {
            let rows = out.len() / columns;
            let out = MatMut::from_row_major_slice_mut(out, rows, columns);
            matmul(out, Accum::Replace, left.subrows(part * share, rows), right, 1.0, Par::Seq);
        });
        values
    };
    tensor(values, [rows, columns])
}

/// A matrix whose rows or columns lie one after the other without overlapping; copied only where neither do.
fn in_lines(matrix: FlexTensor) -> FlexTensor {
    let [rows, columns]: [usize; 2] = matrix.shape().dims();
    match *matrix.layout().strides() {
        [stride, 1] if stride >= columns as isize => matrix,
        [1, stride] if stride >= rows as isize => matrix,
        _ => matrix.to_contiguous(),
    }
}

fn view(matrix: &FlexTensor) -> MatRef<'_, f32> {
    let [rows, columns]: [usize; 2] = matrix.shape().dims();
    let values = &matrix.storage::<f32>()[matrix.layout().start_offset()..];
    let numbers = |lines: usize, line: usize, stride: isize| &values[..(lines - 1) * stride as usize + line];
    match *matrix.layout().strides() {
        [stride, 1] => {
            let values = numbers(rows, columns, stride);
            MatRef::from_row_major_slice_with_stride(values, rows, columns, stride as usize)
        }
        [1, stride] => {
            let values = numbers(columns, rows, stride);
            MatRef::from_column_major_slice_with_stride(values, rows, columns, stride as usize)
        }
        ref strides => unreachable!("{strides:?} are not those of lines"),
    }
}
