//! Products of matrices in float32 on flex, as they lie. Burn's lays zeros out twice for each product (`FlexTensor::empty` in
//! burn-flex 0.22.1, whose bytes are copied to where they are aligned), which takes a tenth to a third of the time of those
//! of a language model, and as much memory again.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::Stored;
use super::kernel::tensor;
use super::parts::over_threads;

/// Rows of the output for which a thread lays out the other factor for itself: with fewer the threads share that.
const ROWS: usize = 128;

/// Multiplications below which threads take longer to start than to compute.
const SERIAL: usize = 1 << 18;

/// `[rows, columns]` of `[rows, depth]` and `[depth, columns]`, none of them zero.
pub(super) fn product(left: FlexTensor, right: FlexTensor) -> FlexTensor {
    let [left, right] = [left, right].map(in_lines);
    let [left, right] = [&left, &right].map(|matrix| {
        let Lines { numbers, shape: [rows, columns], strides } = Lines::<f32>::new(matrix);
        match strides {
            [stride, 1] => MatRef::from_row_major_slice_with_stride(numbers, rows, columns, stride),
            [_, stride] => MatRef::from_column_major_slice_with_stride(numbers, rows, columns, stride),
        }
    });
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
pub(super) fn in_lines(matrix: FlexTensor) -> FlexTensor {
    let [rows, columns]: [usize; 2] = matrix.shape().dims();
    match *matrix.layout().strides() {
        [stride, 1] if stride >= columns as isize => matrix,
        [1, stride] if stride >= rows as isize => matrix,
        _ => matrix.to_contiguous(),
    }
}

/// The numbers of a matrix whose rows or columns lie one after the other.
pub(super) struct Lines<'a, E> {
    pub(super) numbers: &'a [E],
    pub(super) shape: [usize; 2],
    /// From row to row, and from column to column: one of them is 1.
    pub(super) strides: [usize; 2],
}

impl<'a, E: Stored> Lines<'a, E> {
    /// Of a matrix by [`in_lines`], neither side of which is zero.
    pub(super) fn new(matrix: &'a FlexTensor) -> Self {
        let shape: [usize; 2] = matrix.shape().dims();
        let strides = [0, 1].map(|dim| matrix.layout().strides()[dim] as usize);
        let len = (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1] + 1;
        let numbers = &matrix.storage::<E>()[matrix.layout().start_offset()..][..len];
        Self { numbers, shape, strides }
    }
}
