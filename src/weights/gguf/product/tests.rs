use super::*;
use crate::random::seeded_rng;
use approx::assert_abs_diff_eq;
use rand::RngExt;

/// Random blocks of a type, whose scales are finite.
fn matrix(dtype: TensorType, rows: usize, width: usize) -> BlockMatrix {
    let (values, size) = dtype.block().unwrap();
    let row_bytes = width / values as usize * size as usize;
    let mut rng = seeded_rng(dtype.0.into(), &[]);
    let mut bytes: Vec<u8> = (0..rows * row_bytes).map(|_| rng.random()).collect();
    // Any half below 2 has one of these upper bytes; for types without halves at these places it is as good as another.
    for block in bytes.chunks_mut(size as usize) {
        let halves: &[usize] = match dtype {
            TensorType::Q4_0 | TensorType::Q8_0 => &[1],
            TensorType::Q4_1 | TensorType::Q4_K => &[1, 3],
            TensorType::Q6_K => &[209],
            TensorType::F32 => &[3],
            _ => &[],
        };
        halves.iter().for_each(|at| block[*at] &= 0xBB);
    }
    BlockMatrix { dtype, width, row_bytes, bytes }
}

#[test]
fn products_are_those_of_the_values() {
    for dtype in [
        TensorType::Q4_0,
        TensorType::Q4_1,
        TensorType::Q8_0,
        TensorType::Q4_K,
        TensorType::Q6_K,
        TensorType::F32,
    ] {
        let (rows, width) = (ROWS + 5, 512);
        let matrix = matrix(dtype, rows, width);
        let values = matrix.dequantised();
        // What is multiplied in integers: a value without its minimum.
        let mut minima = matrix.clone();
        if dtype == TensorType::Q4_1 {
            minima.bytes.chunks_mut(20).for_each(|block| block[4..].fill(0));
        } else {
            minima.bytes.fill(0);
        }
        let minima = minima.dequantised();
        let mut rng = seeded_rng(3, &[]);
        for count in [1, 3] {
            let vectors: Vec<f32> = (0..count * width).map(|_| rng.random_range(-1.0..1.0)).collect();
            let products = matrix.products(&Vectors::new(&vectors, width));
            assert_eq!(products.len(), count * rows);
            for (at, product) in products.iter().enumerate() {
                let (vector, row) =
                    (&vectors[at / rows * width..][..width], &values[at % rows * width..][..width]);
                let lowest = &minima[at % rows * width..][..width];
                let terms = || vector.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b));
                let size: f64 = terms().map(f64::abs).sum();
                assert!(size.is_finite());
                // A single vector is rounded to 16 bits, block by block: half a step for each value.
                let in_integers =
                    count == 1 && [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0].contains(&dtype);
                let steps = vector.chunks(BLOCK).flat_map(|block| {
                    let largest = block.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                    [f64::from(largest) / f64::from(i16::MAX); BLOCK]
                });
                let of_steps: f64 = steps
                    .zip(row.iter().zip(lowest))
                    .map(|(step, (value, lowest))| step / 2.0 * f64::from(value - lowest).abs())
                    .sum();
                let rounding = if in_integers { of_steps } else { 0.0 };
                // And single precision, with sums of minima apart.
                assert_abs_diff_eq!(
                    f64::from(*product),
                    terms().sum::<f64>(),
                    epsilon = rounding + 4e-6 * size + 1e-30
                );
            }
        }
    }
}

#[test]
fn rows_are_joined_and_reordered() {
    let (first, second) = (matrix(TensorType::Q4_1, 3, 64), matrix(TensorType::Q4_1, 2, 64));
    let expected = [second.dequantised(), first.dequantised()].concat();
    let joined = second.clone().join(first.clone()).unwrap();
    assert_eq!((joined.dims(), joined.dequantised()), ([5, 64], expected));
    let turned = joined.with_rows([4, 0].into_iter());
    let rows = [first.dequantised()[128..].to_vec(), second.dequantised()[..64].to_vec()].concat();
    assert_eq!(turned.dequantised(), rows);
    assert!(joined.join(matrix(TensorType::Q8_0, 1, 64)).is_err());
}

#[test]
fn what_is_not_finite_shows_in_every_product() {
    for dtype in [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0, TensorType::Q4_K] {
        for value in [f32::NAN, f32::INFINITY] {
            let mut vector = vec![0.5; 512];
            vector[77] = value;
            let products = matrix(dtype, 3, 512).products(&Vectors::new(&vector, 512));
            assert!(products.iter().all(|product| !product.is_finite()), "{dtype:?}: {products:?}");
        }
    }
}

/// What the processor's instructions compute is what is computed without them, for rows of even and odd numbers of blocks.
#[test]
fn products_are_the_same_on_every_processor() {
    let mut rng = seeded_rng(5, &[]);
    for width in [32, 64, 96, 576] {
        let vector: Vec<f32> = (0..width).map(|_| rng.random_range(-1.0..1.0)).collect();
        let vectors = Vectors::new(&vector, width);
        type Kernel = fn(&[u8], &[Block]) -> f32;
        for (dtype, portable) in [
            (TensorType::Q4_0, portable::q4_0 as Kernel),
            (TensorType::Q4_1, portable::q4_1),
            (TensorType::Q8_0, portable::q8_0),
        ] {
            let matrix = matrix(dtype, 7, width);
            for (row, product) in matrix.products(&vectors).into_iter().enumerate() {
                let size: f32 = {
                    let mut values = Vec::new();
                    matrix.dequantise_row(row, &mut values);
                    values.iter().zip(&vector).map(|(a, b)| (a * b).abs()).sum()
                };
                let expected = portable(matrix.row(row), &vectors.blocks);
                assert_abs_diff_eq!(product, expected, epsilon = 4e-6 * size + 1e-30);
            }
        }
    }
}
