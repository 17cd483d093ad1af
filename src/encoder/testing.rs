//! What the tests of the encoder share.

use burn::tensor::{Tensor, Tolerance};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::geometry::Cloud;

/// Asserts that each embedding of a batch, `[n, embed_dim]`, equals that of its input alone, `[1, embed_dim]`.
pub fn assert_independent_rows(together: Tensor<2>, alone: impl Fn(usize) -> Tensor<2>) {
    for row in 0..together.dims()[0] {
        let found = together.clone().narrow(0, row, 1).into_data();
        found.assert_approx_eq::<f32>(&alone(row).into_data(), Tolerance::absolute(1e-5));
    }
}

/// Random unit rows.
pub fn unit_cloud(n: usize, dim: usize, seed: u64) -> Cloud {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let values = (0..n * dim).map(|_| rng.random::<f64>() - 0.4).collect();
    Cloud::new(values, dim).unwrap().into_unit("rows").unwrap()
}
