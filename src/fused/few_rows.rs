//! Products of few rows with matrices on flex, over threads: what decoding does with every weight.
//!
//! Such a product reads each number of the matrix for few multiplications, so it takes as long as the reading. Flex computes
//! those of small matrices on one thread (`get_parallelism` in `ops/matmul.rs` of burn-flex 0.22.1), which cannot read as fast
//! as the memory delivers.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::kernel::{Numbers, tensor};

/// Rows for which the reading of the matrix is what counts.
const FEW: usize = 8;

/// Numbers of a matrix below which threads take longer to start than to compute.
const SERIAL: usize = 1 << 15;

/// Parts of a matrix whose products are added up, at most.
const PARTS: usize = 16;

/// Numbers of a part at most where nothing is added up: at the end of a product one thread may have another left.
const PART: usize = 1 << 19;

/// Sums of a row that do not wait for each other.
const LANES: usize = 64;

/// Inputs that are added at once.
const TOGETHER: usize = 4;

/// How the numbers of a matrix lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    /// `[inputs, outputs]`, as those of a `Linear`.
    OfInputs,
    /// `[outputs, inputs]`, as those of an `Embedding`.
    OfOutputs,
}

/// The products of rows, `[rows, inputs]`, with each of the matrices; `None` where rows are many, or where not all tensors are
/// flex's, in float32, without autodiff, and the matrices in one piece.
pub(super) fn products<const N: usize>(
    x: &Tensor<2>,
    matrices: [Tensor<2>; N],
    order: Order,
) -> Option<[Tensor<2>; N]> {
    let [rows, inputs] = x.dims();
    if rows == 0 || rows > FEW || inputs == 0 {
        return None;
    }
    let is_float = |tensor: &FlexTensor| tensor.dtype() == DType::F32;
    let x = x.clone().try_into_primitive::<Flex>().ok().filter(is_float).map(Numbers::new)?;
    let of_flex = matrices.into_iter().map(|matrix| {
        let matrix = matrix.try_into_primitive::<Flex>().ok().filter(is_float)?;
        matrix.is_contiguous().then(|| Numbers::new(matrix))
    });
    let matrices: Vec<Numbers> = of_flex.collect::<Option<_>>()?;
    let total: usize = matrices.iter().map(|matrix| matrix.as_slice().len()).sum();
    let x = x.as_slice();
    let jobs: Vec<Part> =
        matrices.iter().flat_map(|matrix| parts(x, inputs, matrix.as_slice(), order)).collect();
    let compute = |part: &Part| Arch::new().dispatch(part);
    let computed: Vec<Vec<f32>> = match total < SERIAL {
        true => jobs.iter().map(compute).collect(),
        false => jobs.par_iter().with_max_len(1).map(compute).collect(),
    };
    let mut computed = computed.into_iter();
    let outputs = matrices.iter().map(|matrix| {
        let matrix = matrix.as_slice();
        let parts = computed.by_ref().take(parts(x, inputs, matrix, order).len());
        let product = match order {
            Order::OfInputs => Arch::new().dispatch(Sum(parts.collect())),
            Order::OfOutputs => side_by_side(&parts.collect::<Vec<_>>(), rows),
        };
        Tensor::from_primitive::<Flex>(tensor(product, [rows, matrix.len() / inputs]))
    });
    Some(outputs.collect::<Vec<_>>().try_into().expect("an output for each matrix"))
}

/// A matrix in parts that are each in one piece, as memory is read best. They are the same with any number of threads, so that
/// sums are.
fn parts<'a>(x: &'a [f32], inputs: usize, matrix: &'a [f32], order: Order) -> Vec<Part<'a>> {
    let outputs = matrix.len() / inputs;
    let (count, width) = match order {
        Order::OfInputs => (inputs, outputs),
        Order::OfOutputs => (outputs, inputs),
    };
    let mut parts = (matrix.len() / SERIAL).clamp(1, PARTS);
    if order == Order::OfOutputs {
        parts = parts.max(matrix.len().div_ceil(PART));
    }
    let len = count.div_ceil(parts).max(1);
    let numbers = matrix.chunks(len * width.max(1)).enumerate();
    numbers.map(|(part, numbers)| Part { x, inputs, first: part * len, numbers, width, order }).collect()
}

/// The sum of vectors, in their order.
struct Sum(Vec<Vec<f32>>);

impl WithSimd for Sum {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let mut vectors = self.0.into_iter();
        let mut sums = vectors.next().unwrap_or_default();
        for vector in vectors {
            for (sum, number) in sums.iter_mut().zip(&vector) {
                *sum += number;
            }
        }
        sums
    }
}

/// `[rows, columns]` of parts `[rows, columns of the part]`.
fn side_by_side(parts: &[Vec<f32>], rows: usize) -> Vec<f32> {
    let mut joined = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    for row in 0..rows {
        for part in parts {
            let width = part.len() / rows;
            joined.extend_from_slice(&part[row * width..(row + 1) * width]);
        }
    }
    joined
}

/// A part of a matrix, of all columns of some inputs or of all inputs of some columns.
struct Part<'a> {
    x: &'a [f32],
    inputs: usize,
    first: usize,
    numbers: &'a [f32],
    width: usize,
    order: Order,
}

impl WithSimd for &Part<'_> {
    type Output = Vec<f32>;

    /// What the part adds to the product, `[rows, outputs]`, or its columns of it.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let rows = self.x.len() / self.inputs;
        match self.order {
            Order::OfInputs => {
                let mut out = vec![0.0; rows * self.width];
                // Several inputs for each time that sums are read and written.
                let together = self.numbers.chunks(TOGETHER * self.width);
                for (group, weights) in together.enumerate() {
                    let input = self.first + group * TOGETHER;
                    for (x, out) in self.x.chunks_exact(self.inputs).zip(out.chunks_exact_mut(self.width)) {
                        let x = &x[input..input + weights.len() / self.width];
                        if let Ok(x) = <&[f32; TOGETHER]>::try_from(x) {
                            add_together(out, weights, x);
                        } else {
                            for (weights, x) in weights.chunks_exact(self.width).zip(x) {
                                add(out, weights, *x);
                            }
                        }
                    }
                }
                out
            }
            Order::OfOutputs => {
                let columns = self.numbers.len() / self.width;
                let mut out = vec![0.0; rows * columns];
                for (column, weights) in self.numbers.chunks_exact(self.width).enumerate() {
                    for (row, x) in self.x.chunks_exact(self.inputs).enumerate() {
                        out[row * columns + column] = dot(x, weights);
                    }
                }
                out
            }
        }
    }
}

/// The sum of products, a tree of sums at the end.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0] + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Adds the inputs one after the other, each times its weights.
#[inline(always)]
fn add_together(sums: &mut [f32], weights: &[f32], x: &[f32; TOGETHER]) {
    let width = sums.len();
    let (a, rest) = weights.split_at(width);
    let (b, rest) = rest.split_at(width);
    let (c, d) = rest.split_at(width);
    for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *sum = d.mul_add(x[3], c.mul_add(x[2], b.mul_add(x[1], a.mul_add(x[0], *sum))));
    }
}

/// Adds `weights * x`.
#[inline(always)]
fn add(sums: &mut [f32], weights: &[f32], x: f32) {
    for (sum, weight) in sums.iter_mut().zip(weights) {
        *sum = weight.mul_add(x, *sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};

    fn flex() -> Device {
        Device::flex()
    }

    fn random(shape: [usize; 2]) -> Tensor<2> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &flex())
    }

    /// Few and single inputs and outputs, remainders of blocks, matrices for one thread and for all.
    #[test]
    fn products_are_those_of_burn() {
        for rows in [1, 2, 7, 8] {
            for (inputs, outputs) in [(1, 1), (3, 5), (4, 64), (37, 65), (64, 130), (129, 1000), (600, 513)] {
                let (x, matrices) = (random([rows, inputs]), [(); 3].map(|()| random([inputs, outputs])));
                let found = products(&x, matrices.clone(), Order::OfInputs).expect("flex has it");
                let transposed = matrices.clone().map(|matrix| {
                    let values = matrix.transpose().to_data();
                    Tensor::from_data(values, &flex())
                });
                let of_outputs = products(&x, transposed, Order::OfOutputs).expect("flex has it");
                for ((matrix, found), of_outputs) in matrices.into_iter().zip(found).zip(of_outputs) {
                    let expected = x.clone().matmul(matrix).into_data();
                    let tolerance = Tolerance::<f32>::rel_abs(1e-4, 1e-4);
                    found.into_data().assert_approx_eq(&expected, tolerance);
                    of_outputs.into_data().assert_approx_eq(&expected, tolerance);
                }
            }
        }
    }

    /// A sequence is decoded to the same text whatever it shares a batch or a machine with.
    #[test]
    fn a_row_does_not_depend_on_other_rows_nor_on_threads() {
        let (x, matrix) = (random([8, 300]), random([300, 700]));
        let bits = |x: Tensor<2>| x.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>();
        let product = |x: &Tensor<2>| {
            let [product] = products(x, [matrix.clone()], Order::OfInputs).expect("flex has it");
            product
        };
        let together = bits(product(&x));
        let alone: Vec<_> = (0..8).flat_map(|row| bits(product(&x.clone().narrow(0, row, 1)))).collect();
        assert_eq!(alone, together);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| bits(product(&x))), together, "{threads} threads");
        }
    }

    #[test]
    fn what_is_not_finite_shows() {
        for wrong in [f32::NAN, f32::INFINITY] {
            let x = Tensor::from_data([[0.0, 1.0, wrong]], &flex());
            for order in [Order::OfInputs, Order::OfOutputs] {
                let [product] = products(&x, [Tensor::zeros([3, 3], &flex())], order).expect("flex has it");
                assert!(product.into_data().iter::<f32>().all(f32::is_nan), "{wrong} {order:?}");
            }
        }
    }

    #[test]
    fn whatever_else_is_left_to_burn() {
        let matrix = || random([6, 4]);
        let is_computed = |x: Tensor<2>, matrix| products(&x, [matrix], Order::OfInputs).is_some();
        assert!(is_computed(random([8, 6]), matrix()));
        assert!(!is_computed(random([9, 6]), matrix()));
        assert!(!is_computed(random([0, 6]), matrix()));
        assert!(!is_computed(random([2, 0]), random([0, 4])));
        assert!(!is_computed(random([2, 6]), random([4, 6]).transpose()));
        assert!(!is_computed(random([2, 6]), matrix().cast(DType::BF16)));
        assert!(!is_computed(random([2, 6]).cast(DType::F64), matrix()));
        let tracked = Tensor::from_data(random([2, 6]).into_data(), &flex().autodiff());
        assert!(!is_computed(tracked, matrix()));
        let tracked = Tensor::from_data(matrix().into_data(), &flex().autodiff());
        assert!(!is_computed(random([2, 6]), tracked));
        // Rows that lie in another order are put in order, being few.
        let x = random([6, 2]).transpose();
        let [found] = products(&x, [matrix()], Order::OfInputs).expect("flex has it");
        assert_eq!(found.dims(), [2, 4]);
    }
}
