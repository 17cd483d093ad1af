//! Dense linear algebra over row-major slices: symmetric eigenproblems, products, Gram matrices, principal angles and
//! ridge solves, by `faer`.

mod angles;
mod eigen;
mod error;
mod gram;
mod parallelism;
mod products;
mod solve;
#[cfg(test)]
mod testing;

pub(crate) use angles::{principal_angles, spectral_norm};
pub(crate) use eigen::{symmetric_eigen, symmetric_eigenvalues};
pub(crate) use gram::{add_gram_double, add_gram_single, mirror_upper};
pub(crate) use products::{
    matmul, matmul_sequential, matmul_single, matmul_transposed_a, matmul_transposed_b, square_product,
};
pub(crate) use solve::ridge_solve;
