use burn::tensor::{DType, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use crate::embedding::parallel;
use crate::random::seeded_rng;

/// `rows + sigma N(0, I)`, where the noise of a row depends on the seed and the row's number only.
///
/// # Panics
///
/// If there is not one number a row.
pub(super) fn add(rows: Tensor<2>, sigma: f64, seed: u64, numbers: &[u64]) -> Tensor<2> {
    let [n, dim] = rows.dims();
    assert_eq!(numbers.len(), n, "noise: numbers of the rows");
    if sigma == 0.0 || n == 0 {
        return rows;
    }
    let mut noise = vec![0.0_f32; n * dim];
    parallel::map(noise.chunks_mut(64 * dim).zip(numbers.chunks(64)), |(values, numbers)| {
        for (row, &number) in values.chunks_exact_mut(dim).zip(numbers) {
            let mut rng = seeded_rng(seed, &[number]);
            for value in row {
                let normal: f64 = StandardNormal.sample(&mut rng);
                *value = (sigma * normal) as f32;
            }
        }
    });
    let (device, dtype) = (rows.device(), rows.dtype());
    let noise =
        Tensor::<2>::from_data(TensorData::new(noise, [n, dim]), (&device.without_autodiff(), DType::F32));
    rows + noise.cast(dtype)
}
