//! Heads of queries, keys and values where they are in storage, and blocks of their rows.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use faer::MatRef;

/// Heads in the storage of a tensor `[batch, heads, time, dim]`, whose coordinates follow each other.
pub(super) struct Heads {
    tensor: FlexTensor,
    pub(super) dims: [usize; 4],
    strides: [usize; 4],
}

impl Heads {
    pub(super) fn new(tensor: FlexTensor) -> Self {
        let strides = tensor.layout().strides();
        // Views that repeat or reverse positions are copied.
        let is_plain =
            strides[3] == 1 && strides[..3].iter().all(|stride| *stride >= tensor.shape()[3] as isize);
        let tensor = if is_plain { tensor } else { tensor.to_contiguous() };
        let strides = std::array::from_fn(|dim| tensor.layout().strides()[dim] as usize);
        Self { dims: tensor.shape().dims(), strides, tensor }
    }

    /// The storage from a position of a head on.
    fn from(&self, sequence: usize, head: usize, position: usize) -> &[f32] {
        let [of_sequence, of_head, of_row, _] = self.strides;
        let start = sequence * of_sequence + head * of_head + position * of_row;
        &self.tensor.storage::<f32>()[self.tensor.layout().start_offset() + start..]
    }

    /// A position of a head.
    #[inline(always)]
    fn row(&self, sequence: usize, head: usize, position: usize) -> &[f32] {
        &self.from(sequence, head, position)[..self.dims[3]]
    }

    /// Positions of a head as the rows of a matrix.
    pub(super) fn rows(&self, sequence: usize, head: usize, start: usize, count: usize) -> MatRef<'_, f32> {
        let (dim, of_row) = (self.dims[3], self.strides[2]);
        let storage = self.from(sequence, head, start);
        if count == 1 {
            // Of a single position, the distance to the next may be anything.
            return MatRef::from_row_major_slice(&storage[..dim], 1, dim);
        }
        let len = (count - 1) * of_row + dim;
        MatRef::from_row_major_slice_with_stride(&storage[..len], count, dim, of_row)
    }

    /// The rows of a block as those of a matrix: where they are, or copied.
    pub(super) fn block<'a>(&'a self, block: Block, copies: &'a mut Vec<f32>) -> MatRef<'a, f32> {
        let Block { sequence, head, heads, start, count, .. } = block;
        let [_, of_head, of_row, _] = self.strides;
        if heads == 1 || count > 1 && of_head == count * of_row {
            return self.rows(sequence, head, start, heads * count);
        }
        let dim = self.dims[3];
        let copies = room(copies, heads * count * dim);
        for (row, copy) in copies.chunks_exact_mut(dim).enumerate() {
            copy.copy_from_slice(self.row_of(block, row));
        }
        MatRef::from_row_major_slice(copies, heads * count, dim)
    }

    /// A row of a block.
    #[inline(always)]
    pub(super) fn row_of(&self, block: Block, row: usize) -> &[f32] {
        self.row(block.sequence, block.head + row / block.count, block.start + row % block.count)
    }
}

/// A block of queries of a head, or of heads that follow each other.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) sequence: usize,
    pub(super) head: usize,
    pub(super) heads: usize,
    pub(super) start: usize,
    pub(super) count: usize,
    /// The keys that the last of them sees.
    pub(super) seen: usize,
}

impl Block {
    /// The rows of its scores, head by head.
    pub(super) fn rows(self) -> usize {
        self.heads * self.count
    }

    /// How many keys a row sees.
    #[inline(always)]
    pub(super) fn visible(self, row: usize) -> usize {
        self.seen - self.count + row % self.count + 1
    }
}

/// Room for so many numbers.
pub(super) fn room(numbers: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if numbers.len() < len {
        numbers.resize(len, 0.0);
    }
    &mut numbers[..len]
}
