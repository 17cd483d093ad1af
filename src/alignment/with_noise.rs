use burn::tensor::Tensor;

use super::aligner::align_rows;
use super::{Aligner, ClosedForm};

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
    /// If `sigma` is negative or not finite, or above 0 for a method whose own noise is not isotropic.
    pub fn new(aligner: A, sigma: f64) -> Self {
        assert!(
            sigma.is_finite() && sigma >= 0.0,
            "noise: expected a finite sigma of at least 0, found {sigma}"
        );
        assert!(
            sigma == 0.0 || !aligner.has_shaped_noise(),
            "noise: {} has noise of a shape of its own",
            aligner.name()
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

    fn has_shaped_noise(&self) -> bool {
        self.aligner.has_shaped_noise()
    }

    fn align_rows(&self, text: Tensor<2>, seed: u64, numbers: &[u64]) -> Tensor<2> {
        if self.has_shaped_noise() {
            return self.aligner.align_rows(text, seed, numbers);
        }
        align_rows(self, text, seed, numbers)
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
