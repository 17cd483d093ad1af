use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_revision::alignment::{
    Aligner, AnisoAlign, Embeddings, Method, ReAlignConfig, align_table, transport_table,
};
use burn_revision::device::is_cpu;
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::geometry::Moments;

use crate::agreement::{
    assert_within, device, float_types, numbers, reference, tolerance, tolerance_of_products,
};

const DIM: usize = 24;

/// Two clouds apart from each other, of which the first is wider in some directions.
fn clouds() -> [EmbeddingTable; 2] {
    [(400, 0.3, 11), (300, -0.2, 12)].map(|(rows, centre, seed)| {
        let values = numbers(rows, DIM, seed);
        let values = values.iter().enumerate().map(|(i, value)| {
            let column = i % DIM;
            centre * (column % 3) as f32 + value / (1.0 + column as f32 * 0.1)
        });
        EmbeddingTable::numbered(values.collect(), DIM).unwrap()
    })
}

fn fitted(name: &str, device: &Device) -> Box<dyn Aligner + Sync> {
    let [text, image] = clouds();
    let method: Method = name.parse().unwrap();
    if let Method::AnisoAlign(config) = method {
        // Its networks are trained once: rounding grows in a training, and is another on every device.
        let config = config.with_score_steps(30).with_refiner_steps(30).with_batch(64);
        let fitted = config.fit(Embeddings::from(&text).with_device(&reference()), &image).unwrap();
        let path = tempfile::NamedTempFile::new().unwrap();
        fitted.save(path.path()).unwrap();
        return Box::new(AnisoAlign::load(path.path(), device).unwrap());
    }
    method.fit(Embeddings::from(&text).with_device(device), &image).unwrap()
}

/// The rows of the text, rounded to a type.
fn rows(dtype: DType, device: &Device) -> Tensor<2> {
    let [text, _] = clouds();
    let rounded = Tensor::<2>::from_data(
        TensorData::new(text.rows().to_vec(), [text.len(), DIM]),
        (&reference(), DType::F32),
    );
    Tensor::from_data(rounded.cast(dtype).into_data(), (device, dtype))
}

/// How far a method may be off: functions beyond a square root are no wider than float32 on a device that is no processor.
fn tolerance_for(name: &str, dtype: DType) -> f64 {
    let has_functions = ["anisoalign", "memory", "decap"].contains(&name);
    let dtype = if has_functions && dtype == DType::F64 && !is_cpu(&device()) { DType::F32 } else { dtype };
    let moves_alone =
        ["realign", "mean-shift", "c3", "c3-zero-mean", "unicorn", "gr-clip", "capdec", "identity"];
    if moves_alone.contains(&name) { tolerance(dtype) } else { tolerance_of_products(dtype) }
}

#[test]
fn every_method_agrees_with_float64_in_every_type() {
    for name in Method::NAMES {
        let expected = fitted(name, &reference());
        let found = fitted(name, &device());
        for dtype in float_types() {
            let aligned = found.align(rows(dtype, &device()), 5);
            assert_eq!(aligned.dtype(), dtype, "{name}");
            let what = format!("{name} in {dtype:?}");
            let exact = expected.align(rows(dtype, &reference()).cast(DType::F64), 5);
            assert_within(tolerance_for(name, dtype), aligned.into_data(), exact.into_data(), &what);

            let image = found.align_image(rows(dtype, &device()));
            let exact = expected.align_image(rows(dtype, &reference()).cast(DType::F64));
            let what = format!("{what}, images");
            assert_within(tolerance_for(name, dtype), image.into_data(), exact.into_data(), &what);
        }
    }
}

#[test]
fn tables_agree_with_the_reference_and_keep_their_ids() {
    let [text, _] = clouds();
    for name in Method::NAMES {
        let aligned = |device: &Device| {
            align_table(&*fitted(name, device), &text, NonFinite::Error, 5, device).unwrap().0
        };
        let (found, expected) = (aligned(&device()), aligned(&reference()));
        assert_eq!(found.ids(), text.ids());
        let data = |table: &EmbeddingTable| TensorData::new(table.rows().to_vec(), [table.len(), DIM]);
        assert_within(tolerance_for(name, DType::F32), data(&found), data(&expected), name);
    }
}

/// The identity that defines ReAlign: before the last normalisation the mean is that of the images.
#[test]
fn realign_meets_the_mean_of_the_images() {
    let [text, image] = clouds();
    let rows = Embeddings::from(&text).with_device(&device());
    let realign = ReAlignConfig::new().fit(rows, &image).unwrap();
    let (moved, _) = transport_table(&realign, &text, NonFinite::Error, &device()).unwrap();
    let mut moments = Moments::new(DIM);
    moments.update_rows(moved.rows()).unwrap();
    let mut target = Moments::new(DIM);
    target.update_unit_rows(image.rows(), NonFinite::Error, "image").unwrap();
    for (found, expected) in moments.mean().iter().zip(target.mean()) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

/// Fitted on tensors of the device, statistics are those of the reference to the bit, as they are gathered on the host.
#[test]
fn a_fit_on_tensors_does_not_depend_on_the_device() {
    let image = |device: &Device| {
        let [_, image] = clouds();
        let data = TensorData::new(image.rows().to_vec(), [image.len(), DIM]);
        Tensor::<2>::from_data(data, (device, DType::F32))
    };
    let fit = |device: &Device| {
        let realign = ReAlignConfig::new().fit(rows(DType::F32, device), image(device)).unwrap();
        (realign.scale(), realign.text_mean(), realign.image_mean(), realign.centroids())
    };
    assert_eq!(fit(&device()), fit(&reference()));
}
