//! Products of few rows with matrices on flex, over threads: what decoding does with every weight.
//!
//! Such a product reads each number of the matrix for few multiplications, so it takes as long as the reading. Flex computes
//! those of small matrices on one thread (`get_parallelism` in `ops/matmul.rs` of burn-flex 0.22.1), which cannot read as fast
//! as the memory delivers.

use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, Tensor, bf16, f16};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Stored;
use super::kernel::{Numbers, dot, tensor};
use super::narrow::{rounded, widened};

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
pub(crate) enum Order {
    /// `[inputs, outputs]`, as those of a `Linear`.
    OfInputs,
    /// `[outputs, inputs]`, as those of an `Embedding`.
    OfOutputs,
}

impl Order {
    /// The dimension of the inputs.
    pub(crate) fn of_inputs(self) -> usize {
        match self {
            Self::OfInputs => 0,
            Self::OfOutputs => 1,
        }
    }

    /// Where outputs are inputs.
    pub(super) fn reversed(self) -> Self {
        match self {
            Self::OfInputs => Self::OfOutputs,
            Self::OfOutputs => Self::OfInputs,
        }
    }
}

/// The products of rows, `[rows, inputs]`, with each of the matrices; `None` where rows are many, or where not all tensors are
/// flex's, of one type in float32 or half precision, without autodiff, and the matrices in one piece.
pub(crate) fn products<const N: usize>(
    x: &Tensor<2>,
    matrices: [Tensor<2>; N],
    order: Order,
) -> Option<[Tensor<2>; N]> {
    let [rows, inputs] = x.dims();
    if rows == 0 || rows > FEW || inputs == 0 {
        return None;
    }
    let dtype = x.dtype();
    let of_flex =
        |tensor: Tensor<2>| tensor.try_into_primitive::<Flex>().ok().filter(|it| it.dtype() == dtype);
    let x = of_flex(x.clone())?;
    let matrices = matrices.into_iter().map(|matrix| of_flex(matrix).filter(FlexTensor::is_contiguous));
    let matrices: Vec<FlexTensor> = matrices.collect::<Option<_>>()?;
    let products: Vec<FlexTensor> = match dtype {
        DType::F32 => compute::<f32>(x, &matrices, order),
        DType::BF16 => in_half::<bf16>(x, &matrices, order),
        DType::F16 => in_half::<f16>(x, &matrices, order),
        _ => return None,
    };
    let products = products.into_iter().map(Tensor::from_primitive::<Flex>).collect::<Vec<_>>();
    Some(products.try_into().expect("an output for each matrix"))
}

fn in_half<E: Stored>(x: FlexTensor, matrices: &[FlexTensor], order: Order) -> Vec<FlexTensor> {
    compute::<E>(widened::<E>(x), matrices, order).into_iter().map(rounded::<E>).collect()
}

/// The products in float32, of rows in float32 and matrices of any type.
fn compute<E: Stored>(x: FlexTensor, matrices: &[FlexTensor], order: Order) -> Vec<FlexTensor> {
    let [rows, inputs] = x.shape().dims();
    let x = Numbers::new(x);
    let x = x.as_slice();
    let matrices =
        matrices.iter().map(|matrix| matrix.as_slice::<E>().expect("a contiguous tensor of its type"));
    let matrices: Vec<&[E]> = matrices.collect();
    let total: usize = matrices.iter().map(|matrix| matrix.len()).sum();
    let jobs: Vec<Part<E>> = matrices.iter().flat_map(|matrix| parts(x, inputs, matrix, order)).collect();
    let compute = |part: &Part<E>| Arch::new().dispatch(part);
    let computed: Vec<Vec<f32>> = match total < SERIAL {
        true => jobs.iter().map(compute).collect(),
        false => jobs.par_iter().with_max_len(1).map(compute).collect(),
    };
    let mut computed = computed.into_iter();
    let outputs = matrices.iter().map(|matrix| {
        let parts = computed.by_ref().take(parts(x, inputs, matrix, order).len());
        let product = match order {
            Order::OfInputs => Arch::new().dispatch(Sum(parts.collect())),
            Order::OfOutputs => side_by_side(&parts.collect::<Vec<_>>(), rows),
        };
        tensor(product, [rows, matrix.len() / inputs])
    });
    outputs.collect()
}

/// A matrix in parts that are each in one piece, as memory is read best. They are the same with any number of threads, so that
/// sums are.
fn parts<'a, E: Stored>(x: &'a [f32], inputs: usize, matrix: &'a [E], order: Order) -> Vec<Part<'a, E>> {
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
struct Part<'a, E> {
    x: &'a [f32],
    inputs: usize,
    first: usize,
    numbers: &'a [E],
    width: usize,
    order: Order,
}

impl<E: Stored> WithSimd for &Part<'_, E> {
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
                        out[row * columns + column] = dot::<LANES, _>(x, weights);
                    }
                }
                out
            }
        }
    }
}

/// Adds the inputs one after the other, each times its weights.
#[inline(always)]
fn add_together<E: Stored>(sums: &mut [f32], weights: &[E], x: &[f32; TOGETHER]) {
    let width = sums.len();
    let (a, rest) = weights.split_at(width);
    let (b, rest) = rest.split_at(width);
    let (c, d) = rest.split_at(width);
    for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let first = b.widen().mul_add(x[1], a.widen().mul_add(x[0], *sum));
        *sum = d.widen().mul_add(x[3], c.widen().mul_add(x[2], first));
    }
}

/// Adds `weights * x`.
#[inline(always)]
fn add<E: Stored>(sums: &mut [f32], weights: &[E], x: f32) {
    for (sum, weight) in sums.iter_mut().zip(weights) {
        *sum = weight.widen().mul_add(x, *sum);
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

    /// Matrices of half precision are read as they are, and products are rounded once.
    #[test]
    fn products_in_half_precision_are_those_of_float32_rounded_once() {
        for (rows, inputs, outputs) in [(1, 3, 5), (8, 37, 65), (2, 600, 513)] {
            for dtype in [DType::BF16, DType::F16] {
                let [x, matrix] = [[rows, inputs], [inputs, outputs]].map(|shape| random(shape).cast(dtype));
                let swapped = Tensor::from_data(matrix.clone().transpose().to_data(), (&flex(), dtype));
                for (matrix, order) in [(matrix, Order::OfInputs), (swapped, Order::OfOutputs)] {
                    let [found] = products(&x, [matrix.clone()], order).expect("flex has it");
                    let [x, matrix] = [x.clone(), matrix].map(|tensor| tensor.cast(DType::F32));
                    let [expected] = products(&x, [matrix], order).expect("flex has it");
                    found.into_data().assert_eq(&expected.cast(dtype).into_data(), true);
                }
            }
        }
    }

    /// A sequence is decoded to the same text whatever it shares a batch or a machine with.
    #[test]
    fn a_row_does_not_depend_on_other_rows_nor_on_threads() {
        let bits = |x: Tensor<2>| x.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>();
        for (order, shape) in [(Order::OfInputs, [301, 700]), (Order::OfOutputs, [700, 301])] {
            for dtype in [DType::F32, DType::BF16] {
                let (x, matrix) = (random([8, 301]).cast(dtype), random(shape).cast(dtype));
                let product = |x: Tensor<2>| {
                    let [product] = products(&x, [matrix.clone()], order).expect("flex has it");
                    product
                };
                let alone: Vec<_> =
                    (0..8).flat_map(|row| bits(product(x.clone().narrow(0, row, 1)))).collect();
                for rows in 2..=8 {
                    let some = bits(product(x.clone().narrow(0, 0, rows)));
                    assert_eq!(some, alone[..rows * 700], "{rows} rows, {order:?}, {dtype:?}");
                }
                for threads in [1, 3] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    assert_eq!(pool.install(|| bits(product(x.clone()))), alone, "{threads} threads");
                }
            }
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
