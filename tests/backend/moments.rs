//! Statistics are float64 on the host: the device on which the rows lie must not show in them at all.

use burn::tensor::{DType, Tensor};
use burn_revision::embedding::EmbeddingTable;
use burn_revision::geometry::{Cloud, KnnConfig, KnnMixing, Moments, modality_gap};

use crate::agreement::{device, float_types, numbers, random, reference};

fn gathered(rows: &Tensor<2>) -> Moments {
    let mut moments = Moments::with_covariance(rows.dims()[1]);
    moments.update(rows).unwrap();
    moments
}

#[test]
fn moments_are_those_of_the_reference_to_the_bit() {
    for dtype in float_types() {
        let rows = random(700, 24, 1, &reference()).cast(dtype);
        let here = Tensor::from_data(rows.to_data(), (&device(), dtype));
        assert_eq!(gathered(&here), gathered(&rows), "{dtype:?}");
    }
}

#[test]
fn moments_of_parts_merge_to_those_of_the_whole() {
    let rows = random(700, 24, 2, &device());
    let whole = gathered(&rows);
    let mut parts = gathered(&rows.clone().slice_dim(0, 0..200));
    parts.merge(&gathered(&rows.slice_dim(0, 200..700))).unwrap();
    assert_eq!(parts.count(), whole.count());
    assert!((parts.trace() - whole.trace()).abs() < 1e-12 * whole.trace());
    assert!(modality_gap(&parts, &whole).unwrap() < 1e-14);
}

/// Products are float32 on the device; what rounding could hide is settled on the host, so that the sets are exact.
#[test]
fn neighbours_and_mixing_are_those_of_the_reference() {
    let table = |seed| EmbeddingTable::numbered(numbers(300, 16, seed), 16).unwrap();
    let (text, image) = (table(3), table(4));
    let config = KnnConfig::new().with_k(7).with_block_size(128);
    let unit = |table| Cloud::unit(table, "rows").unwrap();
    let union = Cloud::union(&unit(&text), &unit(&image)).unwrap();
    assert_eq!(config.find(&union, &device()).unwrap(), config.find(&union, &reference()).unwrap());
    let mixing = |device| KnnMixing::measure(&text, &image, &config, device).unwrap();
    assert_eq!(mixing(&device()), mixing(&reference()));
}

/// A device that has no such type must say so, rather than compute something else.
#[test]
fn types_are_kept_on_the_way_to_the_device_and_back() {
    for dtype in float_types() {
        let rows = random(3, 5, 5, &device()).cast(dtype);
        assert_eq!(rows.dtype(), dtype);
        assert_eq!(rows.to_data().dtype(), dtype);
        let expected = random(3, 5, 5, &reference()).cast(dtype).cast(DType::F64).into_data();
        let wide = rows.into_data().try_into_vec_as::<f64>().unwrap();
        assert_eq!(wide, expected.try_into_vec::<f64>().unwrap(), "{dtype:?} rounds to nearest");
    }
}
