//! A language model in half precision behind a projector in single precision, where the device has the type; and a refusal
//! that says what to do where it has not.

use burn::module::Module;
use burn::tensor::{DType, Device, FloatDType};
use burn_revision::Error;
use burn_revision::language::{LlamaDecoder, Pretrained};
use burn_revision::revision::{Batch, ReVision, ReVisionConfig, Sample, Trainable};

use crate::agreement::{assert_close, device, numbers, reference};
use crate::generation::folders;
use crate::tiny::{drawn, weights};
use crate::training::gradients;

const HALVES: [(FloatDType, DType); 2] = [(FloatDType::F16, DType::F16), (FloatDType::BF16, DType::BF16)];

fn load(precision: FloatDType, device: &Device) -> burn_revision::Result<LlamaDecoder> {
    Pretrained::load_model(&folders()[0], precision, device)
}

/// A model in training on a device: the same projector each time, and the language model in `precision`.
fn behind_a_projector(precision: FloatDType, device: &Device) -> ReVision<LlamaDecoder> {
    let language = load(precision, device).unwrap();
    let mut model = ReVisionConfig::new(6).with_num_visual_tokens(3).init(language, device).unwrap();
    model.projector = drawn(model.projector, 0.4);
    Trainable::Projector.apply(model.fork(&device.clone().autodiff()).train()).unwrap()
}

fn batch(device: &Device) -> Batch {
    let mut sample = Sample::text("s", vec![4, 5, 6, 7]);
    (sample.image_at, sample.embedding) = (Some(0), Some(numbers(1, 6, 3)));
    Batch::new(&[sample], 3, &device.clone().autodiff())
}

#[test]
fn half_precision_is_near_or_refused() {
    for (precision, dtype) in HALVES {
        if !device().supports_dtype(dtype) {
            let error = load(precision, &device()).unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&format!("{dtype:?}").to_lowercase()) && text.contains("f32"), "{text}");
            println!("{dtype:?} is refused: {text}");
            continue;
        }
        let half = behind_a_projector(precision, &device());
        assert!(weights(&half.language).iter().all(|(_, data)| data.dtype() == dtype));
        let before = weights(&half.language);

        // The same projector in front of the same weights, rounded to half precision and computed in float32.
        let single = behind_a_projector(FloatDType::F32, &reference());
        let loss = half.loss(&batch(&device()));
        assert_eq!(loss.dtype(), DType::F32);
        let expected = single.loss(&batch(&reference()));
        assert_close(loss.to_data(), expected.to_data(), dtype, "loss");

        let found = gradients(&half, &loss.backward());
        let expected = gradients(&single, &expected.backward());
        assert_eq!(found.len(), 4, "two layers of the projector, each with weight and bias");
        for ((path, found), (_, expected)) in found.into_iter().zip(expected) {
            assert_eq!(found.dtype(), DType::F32, "{path}");
            assert!(cosine(&found, &expected) > 0.99, "{path} in {dtype:?}: {}", cosine(&found, &expected));
        }
        assert_eq!(before, weights(&half.language));
    }
}

fn cosine(a: &burn::tensor::TensorData, b: &burn::tensor::TensorData) -> f64 {
    let wide = |data: &burn::tensor::TensorData| data.clone().try_into_vec_as::<f64>().unwrap();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (a, b) = (wide(a), wide(b));
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}
