//! The rivals of ReAlign: what each of them promises, on random clouds.

mod alignment_clouds;

use alignment_clouds::{cloud, covariance, distance, double, mean, values};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_revision::Error;
use burn_revision::alignment::{
    Aligner, Blockwise, BlockwiseConfig, C3Config, C3Variant, Centring, CentringConfig, CentringVariant,
    CovarianceMap, Method, Whitening, WhiteningConfig, align_table,
};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::geometry::Cloud;
use proptest::prelude::*;

fn whitening(map: CovarianceMap, ridge: f64, text: &EmbeddingTable, image: &EmbeddingTable) -> Whitening {
    let config = WhiteningConfig::new().with_map(map).with_ridge(ridge);
    config.fit(text, image).unwrap()
}

const MAPS: [CovarianceMap; 2] = [CovarianceMap::WhiteningColouring, CovarianceMap::GaussianTransport];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whitening_matches_mean_and_covariance(dim in 2_usize..12, seed: u64) {
        let (text, image) = (cloud(60 + 4 * dim, dim, seed), cloud(80 + 4 * dim, dim, !seed));
        for map in MAPS {
            let moved = whitening(map, 0.0, &text, &image).transport(double(&text));
            prop_assert!(distance(&mean(moved.clone()), &mean(double(&image))) < 1e-6);
            let (found, expected) = (covariance(&moved), covariance(&double(&image)));
            let scale = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
            // The map is kept in float32.
            prop_assert!(distance(&found, &expected) <= 2e-5 * scale + 1e-12, "{map:?}");
        }
    }

    #[test]
    fn optimal_transport_moves_rows_no_further_than_whitening(dim in 2_usize..12, seed: u64) {
        let (text, image) = (cloud(100, dim, seed), cloud(100, dim, !seed));
        let moved = MAPS.map(|map| {
            let rows = values(whitening(map, 0.0, &text, &image).transport(double(&text)));
            rows.iter().zip(text.rows()).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>()
        });
        prop_assert!(moved[1] <= moved[0] * (1.0 + 1e-5), "{moved:?}");
    }

    #[test]
    fn centring_takes_both_means_off(n in 3_usize..80, dim in 2_usize..30, seed: u64) {
        let (text, image) = (cloud(n, dim, seed), cloud(n + 5, dim, !seed));
        let centring = CentringConfig::new().fit(&text, &image).unwrap();
        prop_assert!(distance(&mean(centring.transport(double(&text))), &vec![0.0; dim]) < 1e-7);
        let unicorn = CentringConfig::new().with_variant(CentringVariant::Unicorn).fit(&text, &image).unwrap();
        prop_assert!(distance(&mean(unicorn.align_image(double(&image))), &vec![0.0; dim]) < 1e-7);
        // C3 about zero without its noise is the same arithmetic.
        let c3 = C3Config::new().with_variant(C3Variant::ZeroMean).with_sigma(0.0);
        let c3 = c3.fit(&text, &image).unwrap();
        let rows = |method: &dyn Aligner| values(method.align(double(&text), 0));
        prop_assert!(distance(&rows(&centring), &rows(&c3)) < 1e-12);
        prop_assert!(distance(&rows(&unicorn), &rows(&c3)) < 1e-12);
        let images = |method: &dyn Aligner| values(method.align_image(double(&image)));
        prop_assert!(distance(&images(&centring), &images(&c3)) < 1e-12);
    }
}

#[test]
fn the_map_of_optimal_transport_is_symmetric_and_that_of_equal_clouds_is_none() {
    let (text, image) = (cloud(400, 8, 1), cloud(400, 8, 2));
    let device = Device::default();
    let unit = |k: usize| (0..8).map(|j| if j == k { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
    let mapped = |method: &Whitening| {
        // Differences of moved rows are rows times the map.
        let basis: Vec<f64> = (0..8).flat_map(unit).collect();
        let rows = |values: Vec<f64>| {
            let tensor = Tensor::<2>::from_data(TensorData::new(values, [8, 8]), (&device, DType::F64));
            values_of(method.transport(tensor))
        };
        let (plus, minus) = (rows(basis.clone()), rows(basis.iter().map(|v| -v).collect()));
        plus.iter().zip(&minus).map(|(p, m)| (p - m) / 2.0).collect::<Vec<f64>>()
    };
    fn values_of(rows: Tensor<2>) -> Vec<f64> {
        values(rows)
    }
    let map = mapped(&whitening(CovarianceMap::GaussianTransport, 0.0, &text, &image));
    let transposed: Vec<f64> = (0..64).map(|at| map[at % 8 * 8 + at / 8]).collect();
    assert!(distance(&map, &transposed) < 1e-5, "{}", distance(&map, &transposed));
    for kind in MAPS {
        let same = mapped(&whitening(kind, 0.0, &text, &text));
        let identity: Vec<f64> = (0..8).flat_map(unit).collect();
        assert!(distance(&same, &identity) < 1e-5);
    }
}

#[test]
fn fewer_rows_than_dimensions_are_aligned_without_nan() {
    let (text, image) = (cloud(9, 24, 1), cloud(11, 24, 2));
    let device = Device::default();
    for name in Method::NAMES {
        for ridge in [0.0, 1e-3] {
            let method = name.parse::<Method>().unwrap().with_ridge(ridge);
            let aligner = method.fit(&text, &image).unwrap();
            let (aligned, _) = align_table(aligner.as_ref(), &text, NonFinite::Error, 0, &device).unwrap();
            let unit = Cloud::unit(&aligned, name).unwrap();
            assert!(unit.values().iter().all(|value| value.is_finite()), "{name}, ridge {ridge}");
        }
    }
}

#[test]
fn statistics_come_back_from_files() {
    let (text, image) = (cloud(50, 6, 1), cloud(60, 6, 2));
    let folder = tempfile::tempdir().unwrap();
    let device = Device::default();
    let same = |a: &dyn Aligner, b: &dyn Aligner| {
        assert_eq!(a.name(), b.name());
        assert_eq!(values(a.align(double(&text), 3)), values(b.align(double(&text), 3)));
        assert_eq!(values(a.align_image(double(&image))), values(b.align_image(double(&image))));
    };
    // As a Burn record too, which earlier versions wrote.
    for extension in ["safetensors", "bpk"] {
        let path = folder.path().join("statistics").with_extension(extension);
        macro_rules! round_trip {
            ($method:expr, $kind:ident) => {
                let method = $method;
                match extension {
                    "bpk" => method.clone().save_file(&path).unwrap(),
                    _ => method.save(&path).unwrap(),
                }
                same(&method, &$kind::load(&path, &device).unwrap());
                same(&method.clone().unfreeze(), &method);
            };
        }
        for map in MAPS {
            round_trip!(whitening(map, 1e-3, &text, &image), Whitening);
        }
        round_trip!(BlockwiseConfig::new().fit(&text, &image).unwrap(), Blockwise);
        for variant in [CentringVariant::GrClip, CentringVariant::Unicorn] {
            let config = CentringConfig::new().with_variant(variant);
            round_trip!(config.fit(text.tensor(&device), image.tensor(&device)).unwrap(), Centring);
            assert_eq!(Centring::load(&path, &device).unwrap().variant(), variant);
        }
        assert!(matches!(Whitening::load(&path, &device), Err(Error::Format { .. })));
    }
}

#[test]
fn settings_and_sets_that_cannot_work_are_refused() {
    let (text, image) = (cloud(50, 6, 1), cloud(60, 6, 2));
    let ridge = WhiteningConfig::new().with_ridge(-1.0).fit(&text, &image);
    assert!(matches!(ridge, Err(Error::Config { .. })));
    let energy = BlockwiseConfig::new().with_energy(1.5).fit(&text, &image);
    assert!(matches!(energy, Err(Error::Config { .. })));
    let other = cloud(50, 7, 1);
    for name in Method::NAMES.iter().filter(|name| **name != "identity") {
        let method: Method = name.parse().unwrap();
        let refused = method.fit(&text, &other).map(|_| ()).unwrap_err();
        assert!(matches!(refused, Error::Mismatch { .. }), "{name}: {refused}");
    }
}
