//! The parallelism arguments handed to faer.

use faer::Par;

/// Parts into which the decompositions split their work.
const PARTS: usize = 8;

/// Every thread of the current pool, for kernels whose result does not depend on the split.
pub(crate) fn all_threads() -> Par {
    Par::rayon(0)
}

/// A fixed number of parts, whatever the pool: the decompositions add partial sums of each part, so
/// a split that followed the thread count would change the last bits of the result.
pub(crate) fn fixed_parts() -> Par {
    Par::rayon(PARTS)
}

#[cfg(test)]
mod tests {
    use super::super::angles::{principal_angles, singular_values};
    use super::super::eigen::{symmetric_eigen, symmetric_eigenvalues};
    use super::super::gram::{add_gram_double, add_gram_single};
    use super::super::products::{matmul, matmul_transposed_b};
    use super::super::solve::{ridge_solve, symmetric_function};
    use super::super::testing::{gaussian, planted, random_frame};

    /// The results of every kernel, one after the other.
    fn all_kernels(dim: usize, n: usize) -> Vec<Vec<f64>> {
        let values: Vec<f64> = (0..dim).map(|k| (1.0 + k as f64).recip()).collect();
        let matrix = planted(&values, 1);
        let rows = matmul(&gaussian(n * dim, 2), [n, dim], &matrix, [dim, dim]);
        let narrow: Vec<f32> = rows.iter().map(|&value| value as f32).collect();
        let (mut single, mut double) = (vec![0.0; dim * dim], vec![0.0; dim * dim]);
        add_gram_single(&mut single, &narrow, dim);
        add_gram_double(&mut double, &rows, dim);
        let eigen = symmetric_eigen(&matrix, dim).unwrap();
        let frames = [4, 5].map(|seed| random_frame(dim / 2, dim, seed));
        vec![
            matmul_transposed_b(&rows, [n, dim], &matrix, [dim, dim]),
            symmetric_eigenvalues(&matrix, dim).unwrap(),
            singular_values(&rows, [n, dim]).unwrap(),
            principal_angles(&frames[0], &frames[1], dim).unwrap(),
            ridge_solve(&matrix, &rows, dim, 0.1).unwrap(),
            symmetric_function(&eigen, dim, f64::sqrt),
            single,
            double,
            eigen.values,
            eigen.vectors,
        ]
    }

    #[test]
    fn results_do_not_depend_on_the_thread_count() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| all_kernels(420, 1100))
        };
        let expected = run(1);
        for threads in [2, 3, 7] {
            for (index, (found, expected)) in run(threads).iter().zip(&expected).enumerate() {
                assert!(found == expected, "kernel {index} differs on {threads} threads");
            }
        }
    }
}
