//! Each operation and its gradients against the composition of Burn's operations, against finite differences, and in other types.

use burn::module::Param;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData, Tolerance};
use proptest::prelude::*;

use super::*;

/// Tensors that are tracked, with all of their dimensions.
type Inputs = Vec<Tensor<4>>;

pub(super) fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// The output and the gradients by all inputs of a sum of the output with weights.
pub(super) fn evaluate(
    inputs: &[Tensor<4>],
    device: &Device,
    operation: &dyn Fn(Inputs) -> Tensor<4>,
) -> (TensorData, Vec<TensorData>) {
    let dtype = inputs[0].dtype();
    let inputs: Inputs = inputs
        .iter()
        .map(|input| Tensor::from_data(input.to_data(), (device, dtype)).require_grad())
        .collect();
    let out = operation(inputs.clone());
    let weights = (0..out.shape().num_elements()).map(|at| ((at * 31 % 17) as f32 - 8.0) / 8.0);
    let weights = TensorData::new(weights.collect::<Vec<f32>>(), out.shape());
    let grads = (out.clone() * Tensor::from_data(weights, (device, dtype))).sum().backward();
    let gradients = inputs.iter().map(|input| input.grad(&grads).expect("a gradient").into_data());
    (out.into_data(), gradients.collect())
}

/// Fused and composed agree, with every strategy of autodiff, and without autodiff.
#[track_caller]
fn assert_agree(
    shapes: &[[usize; 4]],
    fused: &dyn Fn(Inputs) -> Tensor<4>,
    composed: &dyn Fn(Inputs) -> Tensor<4>,
) {
    let plain = Device::default();
    let inputs: Inputs = shapes.iter().map(|shape| random(*shape, &plain)).collect();
    let tolerance = Tolerance::<f32>::rel_abs(1e-4, 2e-5);
    let autodiff = plain.clone().autodiff();
    let (expected, gradients) = evaluate(&inputs, &autodiff, composed);
    for device in [autodiff.clone(), autodiff.gradient_checkpointing()] {
        let (out, found) = evaluate(&inputs, &device, fused);
        out.assert_approx_eq(&expected, tolerance);
        for (found, gradient) in found.iter().zip(&gradients) {
            found.assert_approx_eq(gradient, tolerance);
        }
    }
    fused(inputs).into_data().assert_approx_eq(&expected, tolerance);
}

fn norm(gamma: Tensor<4>) -> RmsNorm {
    let width = gamma.dims()[3];
    let mut norm = RmsNormConfig::new(width).with_epsilon(1e-3).init(&gamma.device());
    norm.gamma = Param::initialized(norm.gamma.id, gamma.reshape([width]));
    norm
}

fn attend(inputs: Inputs) -> Tensor<4> {
    let [query, key, value] = inputs.try_into().expect("three inputs");
    causal_attention(&query, &key, &value, 0.3).expect("flex has it")
}

/// The plain formula, with keys and values repeated.
fn attend_plainly(inputs: Inputs) -> Tensor<4> {
    let [query, key, value] = inputs.try_into().expect("three inputs");
    let ([batch, heads, time, dim], [_, kv_heads, seen, _]) = (query.dims(), key.dims());
    let repeat = |x: Tensor<4>| {
        let group = heads / kv_heads;
        x.reshape([batch, kv_heads, 1, seen * dim])
            .expand([batch, kv_heads, group, seen * dim])
            .reshape([batch, heads, seen, dim])
    };
    let scores = query.matmul(repeat(key).swap_dims(2, 3)).mul_scalar(0.3);
    let before = seen - time;
    let bias = (0..time * seen).map(|at| if at % seen > at / seen + before { -3e4f32 } else { 0.0 });
    let bias = TensorData::new(bias.collect::<Vec<f32>>(), [1, 1, time, seen]);
    let bias = Tensor::from_data(bias, (&scores.device(), scores.dtype()));
    softmax(scores + bias, 3).matmul(repeat(value)).swap_dims(1, 2)
}

fn angles(rows: usize, time: usize, half: usize, of: fn(f32) -> f32) -> Tensor<4> {
    let values = (0..rows * time * half).map(|at| of(at as f32 * 0.37)).collect::<Vec<f32>>();
    Tensor::from_data(TensorData::new(values, [rows, 1, time, half]), &Device::default())
}

fn rotate(rows: usize) -> impl Fn(Inputs) -> Tensor<4> {
    move |inputs| {
        let [heads] = inputs.try_into().expect("one input");
        let [_, time, _, dim] = heads.dims();
        rotary(heads, angles(rows, time, dim / 2, f32::cos), angles(rows, time, dim / 2, f32::sin))
    }
}

/// As complex numbers, whose product with `cos + i sin` is a rotation.
fn rotate_plainly(rows: usize) -> impl Fn(Inputs) -> Tensor<4> {
    move |inputs| {
        let [heads] = inputs.try_into().expect("one input");
        let [_, time, _, dim] = heads.dims();
        let of = |function| {
            let angles = angles(rows, time, dim / 2, function);
            Tensor::from_data(angles.into_data(), &heads.device())
        };
        let (cos, sin): (Tensor<4>, Tensor<4>) = (of(f32::cos), of(f32::sin));
        let mut parts = heads.clone().swap_dims(1, 2).chunk(2, 3).into_iter();
        let (re, im) = (parts.next().unwrap(), parts.next().unwrap());
        let rotated = [re.clone() * cos.clone() - im.clone() * sin.clone(), im * cos + re * sin];
        Tensor::cat(rotated.to_vec(), 3)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn norms_agree(batch in 1usize..3, rows in 1usize..40, width in 1usize..100) {
        assert_agree(
            &[[batch, 1, rows, width], [1, 1, 1, width]],
            &|inputs| rms_norm(&norm(inputs[1].clone()), inputs[0].clone()),
            &|inputs| norm(inputs[1].clone()).forward(inputs[0].clone()),
        );
    }

    #[test]
    fn gated_units_agree(rows in 1usize..60, width in 1usize..100) {
        let shape = [1, 1, rows, width];
        assert_agree(
            &[shape, shape],
            &|inputs| swiglu(inputs[0].clone(), inputs[1].clone()),
            &|inputs| silu(inputs[0].clone()) * inputs[1].clone(),
        );
    }

    #[test]
    fn rotations_agree(batch in 1usize..4, time in 1usize..30, heads in 1usize..5, half in 1usize..20) {
        for rows in [1, batch] {
            assert_agree(&[[batch, time, heads, 2 * half]], &rotate(rows), &rotate_plainly(rows));
        }
    }

    /// Blocks that divide the positions and that do not, continuations, and heads that are shared.
    #[test]
    fn attentions_agree(
        batch in 1usize..3, kv_heads in 1usize..3, group in 1usize..4, time in 1usize..300, before in 0usize..40,
        dim in 1usize..20,
    ) {
        let kv = [batch, kv_heads, before + time, dim];
        assert_agree(&[[batch, kv_heads * group, time, dim], kv, kv], &attend, &attend_plainly);
    }

    #[test]
    fn cross_entropies_agree(rows in 1usize..40, classes in 1usize..200) {
        let targets = |device: &Device| {
            let targets = (0..rows).map(|row| (row * 7 % classes) as i32).collect::<Vec<_>>();
            Tensor::<1, Int>::from_data(TensorData::new(targets, [rows]), device)
        };
        let logits = |inputs: Inputs| inputs[0].clone().reshape([rows, classes]);
        assert_agree(
            &[[1, 1, rows, classes]],
            &|inputs| {
                let logits = logits(inputs);
                let targets = targets(&logits.device());
                cross_entropy(logits, targets).reshape([1, 1, 1, 1])
            },
            &|inputs| {
                let logits = logits(inputs);
                let (targets, device) = (targets(&logits.device()), logits.device());
                CrossEntropyLossConfig::new().init(&device).forward(logits, targets).reshape([1, 1, 1, 1])
            },
        );
    }
}

/// Views, as a projection's rows are one of heads.
#[test]
fn what_is_not_contiguous_is_read_as_it_is_meant() {
    let swapped = |inputs: Inputs| -> Inputs { inputs.into_iter().map(|x| x.swap_dims(1, 2)).collect() };
    let shapes = [[2, 9, 4, 6], [2, 12, 2, 6], [2, 12, 2, 6]];
    assert_agree(&shapes, &|inputs| attend(swapped(inputs)), &|inputs| attend_plainly(swapped(inputs)));
    assert_agree(
        &[[2, 5, 3, 8], [2, 5, 3, 8]],
        &|inputs| {
            let inputs = swapped(inputs);
            swiglu(inputs[0].clone(), inputs[1].clone())
        },
        &|inputs| {
            let inputs = swapped(inputs);
            silu(inputs[0].clone()) * inputs[1].clone()
        },
    );
    assert_agree(&[[2, 5, 3, 8]], &|inputs| rotate(1)(swapped(inputs)), &|inputs| {
        rotate_plainly(1)(swapped(inputs))
    });
}

/// An operation on inputs of these shapes.
type Differentiated<'a> = (&'a [[usize; 4]], &'a dyn Fn(Inputs) -> Tensor<4>);

/// All operations, in the type of their inputs.
const OPERATIONS: [Differentiated; 7] = [
    (&[[1, 1, 3, 6], [1, 1, 1, 6]], &|inputs| rms_norm(&norm(inputs[1].clone()), inputs[0].clone())),
    (&[[1, 1, 3, 5], [1, 1, 3, 5]], &|inputs| swiglu(inputs[0].clone(), inputs[1].clone())),
    (&[[1, 4, 2, 6]], &|inputs| {
        let [cos, sin]: [fn(f32) -> f32; 2] = [f32::cos, f32::sin];
        let [cos, sin] = [cos, sin].map(|of| angles(1, 4, 3, of).cast(inputs[0].dtype()));
        rotary(inputs[0].clone(), cos, sin)
    }),
    (&[[1, 2, 3, 4], [1, 1, 4, 4], [1, 1, 4, 4]], &|inputs| {
        let [query, key, value] = [0, 1, 2].map(|at| &inputs[at]);
        // Where it is none, layers compose it.
        causal_attention(query, key, value, 0.3).unwrap_or_else(|| attend_plainly(inputs))
    }),
    (&[[1, 1, 3, 6], [1, 1, 6, 5]], &|inputs| {
        let [x, weights] = inputs.try_into().expect("two inputs");
        let mut layer = LinearConfig::new(6, 5).with_bias(false).init(&x.device());
        layer.weight = Param::initialized(layer.weight.id, weights.reshape([6, 5]));
        let [product] = linears([&layer], x.reshape([3, 6]));
        product.reshape([1, 1, 3, 5])
    }),
    (&[[1, 1, 3, 6], [1, 1, 5, 6]], &|inputs| {
        let [x, matrix] = inputs.try_into().expect("two inputs");
        products_of_rows(x.reshape([3, 6]), matrix.reshape([5, 6])).reshape([1, 1, 3, 5])
    }),
    (&[[1, 1, 3, 7]], &|inputs| {
        let logits = inputs[0].clone().reshape([3, 7]);
        let targets = Tensor::from_data([2, 0, 6], &logits.device());
        cross_entropy(logits, targets).reshape([1, 1, 1, 1])
    }),
];

/// The gradients are those of the functions themselves, whatever a composition does: to as many digits as the type has.
#[test]
fn gradients_are_finite_differences() {
    let device = Device::default();
    let autodiff = device.clone().autodiff();
    for (dtype, step, tolerance) in [(DType::F32, 1e-2, 2e-2), (DType::F64, 1e-5, 1e-7)] {
        for (number, (shapes, operation)) in OPERATIONS.into_iter().enumerate() {
            let inputs: Inputs = shapes.iter().map(|shape| random(*shape, &device).cast(dtype)).collect();
            let (out, gradients) = evaluate(&inputs, &autodiff, operation);
            assert_eq!(out.dtype(), dtype);
            let weigh = |out: TensorData| -> f64 {
                out.iter::<f64>()
                    .enumerate()
                    .map(|(at, value)| value * ((at * 31 % 17) as f64 - 8.0) / 8.0)
                    .sum()
            };
            assert!(weigh(out).is_finite());
            for (input, gradient) in gradients.iter().enumerate() {
                for (at, gradient) in gradient.iter::<f64>().enumerate() {
                    let moved = |step: f64| {
                        let mut moved = inputs.clone();
                        let mut values: Vec<f64> = moved[input].to_data().iter::<f64>().collect();
                        values[at] += step;
                        let data = TensorData::new(values, moved[input].shape()).convert_dtype(dtype);
                        moved[input] = Tensor::from_data(data, (&device, dtype));
                        weigh(operation(moved).into_data())
                    };
                    let slope = (moved(step) - moved(-step)) / (2.0 * step);
                    let bound = tolerance * (1.0 + slope.abs());
                    assert!(
                        (slope - gradient).abs() < bound,
                        "{dtype:?}, operation {number}: {slope} {gradient}"
                    );
                }
            }
        }
    }
}

/// Values and gradients are those of float64 to the digits of each type, for inputs that all types have: in half precision those
/// of a rounding or two where they are fused, and of the whole chain where they are composed.
#[test]
fn all_types_compute_the_same() {
    let device = Device::default();
    let autodiff = device.clone().autodiff();
    for (number, (shapes, operation)) in OPERATIONS.into_iter().enumerate() {
        let inputs: Inputs = shapes.iter().map(|shape| random(*shape, &device).cast(DType::BF16)).collect();
        let of = |dtype: DType| {
            let inputs: Inputs = inputs.iter().map(|input| input.clone().cast(dtype)).collect();
            evaluate(&inputs, &autodiff, operation)
        };
        let (expected, expected_gradients) = of(DType::F64);
        let composed = number == OPERATIONS.len() - 1;
        for (dtype, tolerance) in
            [(DType::F32, 1e-5), (DType::BF16, 2f64.powi(-7)), (DType::F16, 2f64.powi(-10))]
        {
            let tolerance = if composed && dtype != DType::F32 { 8.0 * tolerance } else { tolerance };
            let (found, gradients) = of(dtype);
            let pairs = std::iter::once((&found, &expected)).chain(gradients.iter().zip(&expected_gradients));
            for (found, expected) in pairs {
                assert_eq!((found.dtype(), found.shape()), (dtype, expected.shape()));
                let largest =
                    expected.iter::<f64>().fold(1.0, |largest: f64, value| largest.max(value.abs()));
                for (found, expected) in found.iter::<f64>().zip(expected.iter::<f64>()) {
                    let bound = tolerance * largest;
                    assert!(
                        (found - expected).abs() <= bound,
                        "{dtype:?}, operation {number}: {found} for {expected}"
                    );
                }
            }
        }
    }
}

/// What is not finite must reach the loss, where training finds it.
#[test]
fn what_is_not_finite_stays_so() {
    let device = Device::default();
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = vec![0.5; 12];
        values[5] = bad;
        let x = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 3, 4]), &device);
        let ones = Tensor::<4>::ones([1, 1, 3, 4], &device);
        let targets = || Tensor::<1, Int>::from_data([0, 1, 2], &device);
        let not_finite = [
            rms_norm(&norm(Tensor::ones([1, 1, 1, 4], &device)), x.clone()).sum(),
            swiglu(x.clone(), ones.clone()).sum(),
            swiglu(ones.clone(), x.clone()).sum(),
            attend(vec![x.clone(), ones.clone(), ones.clone()]).sum(),
            attend(vec![ones.clone(), x.clone(), ones.clone()]).sum(),
            attend(vec![ones.clone(), ones, x.clone()]).sum(),
            cross_entropy(x.reshape([3, 4]), targets()),
        ];
        for (number, sum) in not_finite.into_iter().enumerate() {
            assert!(!sum.into_scalar::<f32>().is_finite(), "operation {number} hides {bad}");
        }
    }
}

/// A kernel would read other rows than those that are meant.
#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::default();
    let ones = |shape: [usize; 4]| Tensor::<4>::ones(shape, &device);
    let logits = || Tensor::<2>::ones([2, 3], &device);
    let targets = |targets: &[i32]| Tensor::<1, Int>::from_data(targets, &device);
    let matrix = Tensor::<2>::ones([3, 4], &device.clone().autodiff()).require_grad();
    let tokens = |tokens: [[i32; 2]; 1]| Tensor::<2, Int>::from_data(tokens, &matrix.device());
    let calls: [&dyn Fn() -> f32; 11] = [
        &|| rms_norm(&norm(ones([1, 1, 1, 4])), ones([1, 1, 2, 8])).sum().into_scalar(),
        &|| swiglu(ones([1, 1, 2, 3]), ones([1, 1, 4, 3])).sum().into_scalar(),
        &|| rotary(ones([2, 3, 1, 4]), ones([1, 1, 2, 2]), ones([1, 1, 2, 2])).sum().into_scalar(),
        &|| rotary(ones([3, 3, 1, 4]), ones([2, 1, 3, 2]), ones([2, 1, 3, 2])).sum().into_scalar(),
        &|| attend(vec![ones([1, 3, 2, 4]), ones([1, 2, 2, 4]), ones([1, 2, 2, 4])]).sum().into_scalar(),
        &|| attend(vec![ones([1, 2, 2, 4]), ones([2, 2, 2, 4]), ones([2, 2, 2, 4])]).sum().into_scalar(),
        &|| cross_entropy(logits(), targets(&[0, 3])).into_scalar(),
        &|| cross_entropy(logits(), targets(&[3, 0])).into_scalar(),
        &|| cross_entropy(logits(), targets(&[0])).into_scalar(),
        &|| embedding(matrix.clone(), tokens([[0, 3]])).sum().into_scalar(),
        &|| embedding(matrix.clone(), tokens([[-1, 0]])).sum().into_scalar(),
    ];
    for (number, call) in calls.into_iter().enumerate() {
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        assert!(refused.is_err(), "call {number} was not refused: {refused:?}");
    }
}

/// Which types are computed with in one pass: attention tells.
#[test]
fn single_and_half_precision_are_fused() {
    let x = random([1, 1, 3, 4], &Device::default());
    for (dtype, is_fused) in
        [(DType::F32, true), (DType::BF16, true), (DType::F16, true), (DType::F64, false)]
    {
        let x = x.clone().cast(dtype);
        assert_eq!(swiglu(x.clone(), x.clone()).dtype(), dtype);
        assert_eq!(causal_attention(&x, &x, &x, 1.0).is_some(), is_fused, "{dtype:?}");
    }
}

/// Over several parts and of a view: the sum is that of float64 to a few roundings, the same each time, and as little finite as
/// what is summed; a factor changes no tensor that somebody else has.
#[test]
fn norms_and_factors_are_those_of_the_composition() {
    let device = Device::default();
    for shape in [[1, 1, 1, 1], [1, 1, 3, 5], [2, 3, 100, 257]] {
        let whole = random(shape, &device);
        for x in [whole.clone(), whole.clone().swap_dims(2, 3), whole.clone().narrow(2, 0, 1)] {
            let numbers: Vec<f32> = x.to_data().try_into_vec().unwrap();
            let exact: f64 = numbers.iter().map(|value| f64::from(*value).powi(2)).sum();
            let found = sum_of_squares(&x).into_data();
            let value = found.clone().try_into_vec::<f32>().unwrap()[0];
            assert!((f64::from(value) - exact).abs() <= 1e-6 * exact, "{value} {exact}");
            assert_eq!(found, sum_of_squares(&x).into_data());
            assert_eq!(scaled(x.clone(), 0.3).into_data(), x.clone().mul_scalar(0.3).into_data());
            assert_eq!(x.into_data().try_into_vec::<f32>().unwrap(), numbers);
        }
    }
    for bad in [f32::NAN, f32::INFINITY, 1e30] {
        let x = Tensor::<1>::from_floats([1.0, bad, 2.0], &device);
        assert!(!sum_of_squares(&x).into_scalar::<f32>().is_finite());
    }
    let half = Tensor::<1>::from_data(
        TensorData::from([300f32, 400.0]).convert_dtype(DType::F16),
        (&device, DType::F16),
    );
    assert_eq!(sum_of_squares(&half).into_scalar::<f32>(), 250_000.0);
}
