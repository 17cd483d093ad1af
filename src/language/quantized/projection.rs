use burn::tensor::{Device, Tensor, TensorData};

use crate::weights::gguf::{BlockMatrix, Vectors};

/// Rows that are multiplied with the blocks themselves. For more, the matrix is widened to floats first: that takes as
/// long as some of these products, and the product of many rows with floats is faster.
const FEW: usize = 8;

/// A linear map of matrices in blocks, whose outputs follow each other.
#[derive(Clone)]
pub(in crate::language) struct Projection {
    matrices: Vec<BlockMatrix>,
    bias: Option<Vec<f32>>,
}

impl Projection {
    /// Matrices of one input. Those of one type become one, so that threads are started once for them.
    pub(in crate::language) fn new(matrices: Vec<BlockMatrix>, bias: Option<Vec<f32>>) -> Self {
        let mut joined: Vec<BlockMatrix> = Vec::new();
        for matrix in matrices {
            match joined.pop() {
                None => joined.push(matrix),
                Some(last) => match last.join(matrix) {
                    Ok(both) => joined.push(both),
                    Err((last, matrix)) => joined.extend([last, matrix]),
                },
            }
        }
        Self { matrices: joined, bias }
    }

    /// The numbers of outputs and inputs.
    pub(super) fn dims(&self) -> [usize; 2] {
        let rows = self.matrices.iter().map(|matrix| matrix.dims()[0]).sum();
        [rows, self.matrices.first().map_or(0, |matrix| matrix.dims()[1])]
    }

    /// The size of the matrices in memory.
    pub(super) fn bytes(&self) -> usize {
        self.matrices.iter().map(BlockMatrix::bytes).sum()
    }

    /// The values of a row.
    pub(super) fn row(&self, row: usize, values: &mut Vec<f32>) {
        self.matrices[0].dequantise_row(row, values);
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub(super) fn forward(&self, rows: &[f32], device: &Device) -> Vec<f32> {
        let [outputs, inputs] = self.dims();
        let count = rows.len() / inputs;
        let parts: Vec<Vec<f32>> = if count <= FEW {
            let vectors = Vectors::new(rows, inputs);
            self.matrices.iter().map(|matrix| matrix.products(&vectors)).collect()
        } else {
            let rows = tensor(rows.to_vec(), [count, inputs], device);
            let product = |matrix: &BlockMatrix| {
                let weights = tensor(matrix.dequantised(), matrix.dims(), device);
                values(rows.clone().matmul(weights.transpose()))
            };
            self.matrices.iter().map(product).collect()
        };
        let mut joined = match <[_; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) => {
                let mut joined = Vec::with_capacity(count * outputs);
                for row in 0..count {
                    for part in &parts {
                        let width = part.len() / count;
                        joined.extend_from_slice(&part[row * width..(row + 1) * width]);
                    }
                }
                joined
            }
        };
        if let Some(bias) = &self.bias {
            for row in joined.chunks_mut(outputs) {
                row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
            }
        }
        joined
    }
}

/// Values on a device. On a CPU they stay where they are.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, burn::tensor::DType::F32))
}

/// The values of a tensor in float32.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.cast(burn::tensor::DType::F32).into_data();
    data.try_into_vec::<f32>().expect("values were cast to f32")
}
