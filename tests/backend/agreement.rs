use std::collections::HashMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

/// The device under test.
pub fn device() -> Device {
    burn_revision::device::from_environment().expect("BURN_DEVICE names a backend that is compiled in")
}

/// The device that results are held against.
pub fn reference() -> Device {
    Device::flex()
}

/// The float types that the device under test computes in.
pub fn float_types() -> Vec<DType> {
    let all = [DType::F64, DType::F32, DType::F16, DType::BF16];
    let found: Vec<DType> = all.into_iter().filter(|dtype| device().supports_dtype(*dtype)).collect();
    assert!(found.contains(&DType::F32), "every backend has float32");
    found
}

/// How far a result in a type may lie from the reference, relative to the reference's largest value.
///
/// Some tens of roundings in float32 and float64, whose sums run in another order on every backend. Half precision is what
/// values are stored in; the arithmetic is float32, so these are two roundings of 11 and of 8 bits.
pub fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-13,
        DType::F32 => 5e-6,
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        other => panic!("no result is {other:?}"),
    }
}

/// [`tolerance`] for what went through products of matrices.
///
/// On NVIDIA cards Burn's CUDA backend rounds the factors of float32 to TF32, 11 significant bits, to multiply them on tensor
/// cores, and what is stored in float16 is computed in float32. Some sixteen such roundings are as many as stand one behind the
/// other in the decoders of these tests.
pub fn tolerance_of_products(dtype: DType) -> f64 {
    let in_float32 = matches!(dtype, DType::F32 | DType::F16);
    let in_tf32 = in_float32 && format!("{:?}", device()).to_lowercase().contains("cuda");
    if in_tf32 { 8e-3 } else { tolerance(dtype) }
}

/// Fails with the largest difference where `found` is further from `expected` than [`tolerance`] allows.
#[track_caller]
pub fn assert_close(found: TensorData, expected: TensorData, dtype: DType, what: &str) {
    assert_within(tolerance(dtype), found, expected, what);
}

/// Fails with the largest difference where what products of float32 gave is further off than [`tolerance_of_products`] allows.
#[track_caller]
pub fn assert_products_close(found: TensorData, expected: TensorData, what: &str) {
    assert_within(tolerance_of_products(DType::F32), found, expected, what);
}

/// [`assert_products_close`] for the gradients by the weights of a model, by path.
///
/// Behind softmax stands, for each score, a product less the mean of those of its row. What is subtracted has the size of the
/// values' gradient, whatever is left of it, and so have the roundings in the gradients of queries and keys: those are held to
/// the larger of both.
#[track_caller]
pub fn assert_gradients_close(found: Vec<(String, TensorData)>, expected: Vec<(String, TensorData)>) {
    let paths = |grads: &[(String, TensorData)]| -> Vec<String> {
        grads.iter().map(|(path, _)| path.clone()).collect()
    };
    assert_eq!(paths(&found), paths(&expected));
    let of_values: HashMap<String, f64> = expected
        .iter()
        .filter(|(path, _)| path.contains(".v_proj."))
        .map(|(path, grad)| (path.clone(), largest(&wide(grad.clone()))))
        .collect();
    for ((path, found), (_, expected)) in found.into_iter().zip(expected) {
        let values = path.replace(".q_proj.", ".v_proj.").replace(".k_proj.", ".v_proj.");
        let scale =
            f64::max(largest(&wide(expected.clone())), of_values.get(&values).copied().unwrap_or(0.0));
        assert_at_most(tolerance_of_products(DType::F32) * scale, found, expected, &path);
    }
}

/// Fails with the largest difference where it is more than `tolerance`, relative to the largest value of `expected`.
#[track_caller]
pub fn assert_within(tolerance: f64, found: TensorData, expected: TensorData, what: &str) {
    let scale = largest(&wide(expected.clone()));
    assert_at_most(tolerance * scale, found, expected, what);
}

fn wide(data: TensorData) -> Vec<f64> {
    data.try_into_vec_as().expect("float types widen")
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| f64::max(largest, value.abs()))
}

#[track_caller]
fn assert_at_most(allowed: f64, found: TensorData, expected: TensorData, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let (found, expected) = (wide(found), wide(expected));
    let scale = largest(&expected);
    assert!(
        scale.is_finite() && scale > 0.0,
        "{what}: the reference says nothing, its largest value is {scale}"
    );
    let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    // NaN must not pass for small.
    let largest = difference.fold(0.0, |a: f64, b| if b <= a { a } else { b });
    assert!(largest <= allowed, "{what}: {largest:e} apart, {allowed:e} allowed");
}

/// `[rows, dim]` of fixed numbers between -1 and 1.
pub fn numbers(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..rows * dim).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// [`numbers`] as a tensor of float32.
pub fn random(rows: usize, dim: usize, seed: u64, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers(rows, dim, seed), [rows, dim]), (device, DType::F32))
}
