use burn::tensor::{DType, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use super::{Aligner, ClosedForm};
use crate::embedding::parallel;
use crate::random::seeded_rng;

/// Any alignment with isotropic Gaussian noise before its last normalisation.
///
/// ```
/// use burn_revision::alignment::{Aligner, Identity, WithNoise};
///
/// let noisy = WithNoise::new(Identity::new(8), 0.1);
/// assert_eq!(noisy.noise(), 0.1);
/// ```
#[derive(Clone, Debug)]
pub struct WithNoise<A> {
    aligner: A,
    sigma: f64,
}

impl<A: Aligner> WithNoise<A> {
    /// Adds noise of standard deviation `sigma` for each coordinate; where the method has noise of its own the
    /// variances add up.
    ///
    /// # Panics
    ///
    /// If `sigma` is negative or not finite.
    pub fn new(aligner: A, sigma: f64) -> Self {
        assert!(
            sigma.is_finite() && sigma >= 0.0,
            "noise: expected a finite sigma of at least 0, found {sigma}"
        );
        Self { aligner, sigma }
    }
}

impl<A: Aligner> Aligner for WithNoise<A> {
    fn name(&self) -> &'static str {
        self.aligner.name()
    }

    fn dim(&self) -> usize {
        self.aligner.dim()
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        self.aligner.transport(text)
    }

    fn noise(&self) -> f64 {
        self.aligner.noise().hypot(self.sigma)
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        self.aligner.closed_form().map(|form| form.with_noise(self.noise()))
    }

    fn moves_images(&self) -> bool {
        self.aligner.moves_images()
    }

    fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
        self.aligner.align_image(image)
    }
}

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
