use burn::tensor::{DType, Device, Int, Tensor, TensorData, Tolerance};

use super::flex::Order;
use super::tests::{evaluate, random};
use super::{embedding, products};

type Product<'a> = &'a dyn Fn(Tensor<2>, Tensor<2>) -> Tensor<2>;

/// With remainders of blocks and of parts, for one thread and for all, matrices of either order: products and gradients are those
/// of float64, rounded once, up to the roundings of their sums.
#[test]
fn products_are_rounded_once() {
    let device = Device::default();
    let autodiff = device.clone().autodiff();
    for (rows, inputs, outputs) in [
        (1, 1, 1),
        (9, 3, 1),
        (9, 1, 3),
        (9, 3, 5),
        (20, 600, 300),
        (12, 1030, 70),
        (8, 1030, 70),
        (10, 64, 1000),
        (513, 40, 270),
    ] {
        // In float32 the roundings of a thousand sums walk some thirty units of 2^-24 far.
        let types =
            [(DType::F32, 2f64.powi(-19)), (DType::BF16, 2f64.powi(-8)), (DType::F16, 2f64.powi(-11))];
        for (dtype, digits) in types {
            for of_outputs in [false, true] {
                let shape = if of_outputs { [1, 1, outputs, inputs] } else { [1, 1, inputs, outputs] };
                let tensors = [[1, 1, rows, inputs], shape].map(|shape| random(shape, &device).cast(dtype));
                let plainly = |x: Tensor<2>, matrix: Tensor<2>| {
                    x.matmul(if of_outputs { matrix.transpose() } else { matrix })
                };
                let of = |dtype, product: &dyn Fn(Tensor<2>, Tensor<2>) -> Tensor<2>| {
                    let inputs = tensors.clone().map(|tensor| tensor.cast(dtype));
                    evaluate(&inputs, &autodiff, &|inputs| {
                        let [x, matrix] = inputs.try_into().expect("two inputs");
                        product(x.squeeze_dims(&[0, 1]), matrix.squeeze_dims(&[0, 1])).unsqueeze()
                    })
                };
                let (expected, expected_gradients) = of(DType::F64, &plainly);
                let (found, gradients) = of(dtype, &|x, matrix| {
                    let order = if of_outputs { Order::OfOutputs } else { Order::OfInputs };
                    let [product] = products(&x, [matrix], order).expect("flex has it");
                    product
                });
                let pairs =
                    std::iter::once((&found, &expected)).chain(gradients.iter().zip(&expected_gradients));
                for (found, expected) in pairs {
                    assert_eq!((found.dtype(), found.shape()), (dtype, expected.shape()));
                    for (found, expected) in found.iter::<f64>().zip(expected.iter::<f64>()) {
                        let bound = digits * expected.abs() + 1e-4;
                        assert!((found - expected).abs() <= bound, "{dtype:?}: {found} for {expected}");
                    }
                }
            }
        }
    }
}

/// Views by rows, by columns, of some rows or columns, and of the same ones again are those of Burn, with a frozen matrix and a
/// trained one.
#[test]
fn products_of_views_are_those_of_burn() {
    let device = Device::default();
    let drawn = [(); 2].map(|()| random([1, 1, 40, 50], &device).into_data());
    let views: [fn(Tensor<2>) -> Tensor<2>; 5] = [
        |x| x.narrow(0, 2, 30).narrow(1, 3, 20),
        |x| x.narrow(0, 3, 20).narrow(1, 2, 30).transpose(),
        |x| x.slice([2..3, 0..20]).expand([30, 20]),
        |x| x.slice([0..30, 4..5]).expand([30, 20]),
        |x| x.slice([0..40, 0..30]).reshape([20, 60]).transpose().slice([0..30, 0..20]),
    ];
    let evaluate = |[of_x, of_matrix]: [fn(Tensor<2>) -> Tensor<2>; 2], is_trained, product: Product| {
        let device = device.clone().autodiff();
        let leaf =
            |data: &TensorData| Tensor::<4>::from_data(data.clone(), &device).squeeze_dims::<2>(&[0, 1]);
        let (x, matrix) = (leaf(&drawn[0]).detach().require_grad(), leaf(&drawn[1]).detach());
        let matrix = if is_trained { matrix.require_grad() } else { matrix };
        let output = product(of_x(x.clone()), of_matrix(matrix.clone()));
        let grads = output.clone().powi_scalar(2).sum().backward();
        let gradients = [&x, &matrix].map(|input| input.grad(&grads));
        assert_eq!(gradients[1].is_some(), is_trained);
        let all = std::iter::once(output.inner()).chain(gradients.into_iter().flatten());
        all.map(Tensor::into_data).collect::<Vec<_>>()
    };
    let of_burn: Product = &|x, matrix| x.matmul(matrix.transpose());
    let of_outputs: Product =
        &|x, matrix| products(&x, [matrix], Order::OfOutputs).map(|[product]| product).expect("flex has it");
    let of_inputs: Product = &|x, matrix| {
        products(&x, [matrix.transpose()], Order::OfInputs).map(|[product]| product).expect("flex has it")
    };
    for of_x in views {
        for of_matrix in views {
            for is_trained in [false, true] {
                let expected = evaluate([of_x, of_matrix], is_trained, of_burn);
                for product in [of_outputs, of_inputs] {
                    let found = evaluate([of_x, of_matrix], is_trained, product);
                    for (found, expected) in found.into_iter().zip(&expected) {
                        found.assert_approx_eq(expected, Tolerance::<f32>::rel_abs(1e-4, 1e-4));
                    }
                }
            }
        }
    }
}

/// A training repeats itself on one machine: the sums of a product are the same ones each time.
#[test]
fn products_repeat_themselves() {
    let device = Device::default();
    for (rows, inputs, outputs) in [(513, 600, 270), (70, 300, 1000), (40, 5000, 33)] {
        let [x, matrix] = [[1, 1, rows, inputs], [1, 1, outputs, inputs]]
            .map(|shape| random(shape, &device).squeeze_dims::<2>(&[0, 1]));
        let product = || {
            let [product] = products(&x, [matrix.clone()], Order::OfOutputs).expect("flex has it");
            product.into_data()
        };
        let first = product();
        for _ in 0..5 {
            product().assert_eq(&first, true);
        }
    }
}

/// Nothing to compute, and types that do not fit, are left to Burn.
#[test]
fn other_products_are_not_computed() {
    let device = Device::default();
    let tensor = |shape, dtype| Tensor::<2>::zeros(shape, &device).cast(dtype);
    let is_computed = |x, matrix| products(&x, [matrix], Order::OfInputs).is_some();
    let half = DType::BF16;
    for dtype in [half, DType::F16, DType::F32] {
        assert!(is_computed(tensor([9, 3], dtype), tensor([3, 2], dtype)), "{dtype:?}");
    }
    assert!(!is_computed(tensor([0, 3], half), tensor([3, 2], half)));
    assert!(!is_computed(tensor([9, 0], half), tensor([0, 2], half)));
    assert!(!is_computed(tensor([9, 3], half), tensor([3, 0], half)));
    for (x, matrix) in [(half, DType::F32), (DType::F16, half), (DType::F64, DType::F64)] {
        assert!(!is_computed(tensor([9, 3], x), tensor([3, 2], matrix)), "{x:?} {matrix:?}");
    }
}

/// Tokens that occur again, none, and the same matrix in a product, as where a vocabulary is tied.
#[test]
fn embeddings_are_those_of_burn() {
    let device = Device::default();
    let (drawn, weights) = (random([1, 1, 9, 5], &device).into_data(), random([1, 2, 4, 5], &device));
    let device = device.autodiff();
    for tokens in [[[3i32, 0, 3, 8], [3, 1, 0, 7]], [[0; 4]; 2], [[1, 2, 3, 4], [5, 6, 7, 8]]] {
        let evaluate = |embed: &dyn Fn(Tensor<2>, Tensor<2, Int>) -> Tensor<3>| {
            let matrix = Tensor::<4>::from_data(drawn.clone(), &device).squeeze_dims::<2>(&[0, 1]);
            let matrix = matrix.detach().require_grad();
            let rows = embed(matrix.clone(), Tensor::from_data(tokens, &device));
            let weighted = rows.clone() * Tensor::from_inner(weights.clone()).squeeze_dims::<3>(&[0]);
            let product = rows.clone().reshape([8, 5]).matmul(matrix.clone().transpose());
            let grads = (weighted.sum() + product.sum()).backward();
            (rows.into_data(), matrix.grad(&grads).expect("the matrix is trained").into_data())
        };
        let (found, found_gradient) = evaluate(&embedding);
        let (expected, gradient) = evaluate(&burn::tensor::module::embedding);
        found.assert_eq(&expected, true);
        found_gradient.assert_approx_eq(&gradient, Tolerance::<f32>::rel_abs(1e-5, 1e-5));
    }
}
