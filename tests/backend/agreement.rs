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

/// Fails with the largest difference where it is more than `tolerance`, relative to the largest value of `expected`.
#[track_caller]
pub fn assert_within(tolerance: f64, found: TensorData, expected: TensorData, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let wide = |data: TensorData| data.try_into_vec_as::<f64>().expect("float types widen");
    let (found, expected) = (wide(found), wide(expected));
    let scale = expected.iter().fold(0.0, |scale, value| f64::max(scale, value.abs()));
    assert!(
        scale.is_finite() && scale > 0.0,
        "{what}: the reference says nothing, its largest value is {scale}"
    );
    let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    // NaN must not pass for small.
    let largest = difference.fold(0.0, |a: f64, b| if b <= a { a } else { b });
    let allowed = tolerance * scale;
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
