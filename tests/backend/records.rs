//! What is saved on one device is the same, to the bit, on another.

use burn::module::Module;
use burn::tensor::{DType, Device};
use burn_revision::alignment::{Embeddings, ReAlign, ReAlignConfig};
use burn_revision::embedding::EmbeddingTable;
use burn_revision::revision::*;

use crate::agreement::{assert_close, assert_products_close, device, numbers, random, reference};
use crate::tiny::after::After;
use crate::tiny::{assert_same, dataset, learner, model, stage, weights};

#[test]
fn models_travel_between_devices() {
    for (from, to) in [(device(), reference()), (reference(), device()), (device(), device())] {
        let folder = tempfile::tempdir().unwrap();
        let saved = model().to_device(&from);
        saved.save(folder.path()).unwrap();
        let loaded = ReVision::load(folder.path(), &to).unwrap();
        assert_same(&saved, &loaded);
    }
}

#[test]
fn projectors_travel_in_files_of_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mm_projector.bin", "projector.safetensors"] {
        let path = folder.path().join(name);
        let saved = model().projector.to_device(&device());
        saved.write(&path, burn_revision::embedding::FloatType::F32).unwrap();
        assert_same(&saved, &Projector::read(&path, &reference()).unwrap());
        assert_same(&saved, &Projector::read(&path, &device()).unwrap());
    }
}

#[test]
fn fitted_statistics_travel_between_devices() {
    let table = |seed| EmbeddingTable::numbered(numbers(200, 12, seed), 12).unwrap();
    let fit = |device: &Device| {
        ReAlignConfig::new().fit(Embeddings::from(&table(1)).with_device(device), &table(2)).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [(device(), reference()), (reference(), device())] {
        let path = folder.path().join("realign.safetensors");
        let saved = fit(&from);
        saved.save(&path).unwrap();
        let loaded = ReAlign::load(&path, &to).unwrap();
        let statistics = |realign: &ReAlign| {
            (realign.scale(), realign.text_mean(), realign.image_mean(), realign.centroids())
        };
        assert_eq!(statistics(&saved), statistics(&loaded));
        let aligned = loaded.forward(random(5, 12, 3, &to)).into_data();
        assert_close(aligned, saved.forward(random(5, 12, 3, &from)).into_data(), DType::F32, "aligned rows");
    }
}

/// Backends that choose their kernels at run time may round otherwise after a resumption, so that "the same" is the
/// tolerance of float32 here; on flex another test asks for the same bits.
#[test]
fn a_run_that_was_broken_off_ends_where_an_unbroken_one_does() {
    let stage = || stage().with_max_steps(Some(12));
    let whole = tempfile::tempdir().unwrap();
    let whole = learner(stage(), whole.path()).fit(model(), dataset(0.1), None).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let interrupter = burn::train::Interrupter::new();
    let handle = interrupter.clone();
    let broken = ReVisionLearner::new(stage(), folder.path())
        .with_interrupter(interrupter)
        .with_renderer(After::steps(5, move || handle.stop(Some("the test stops here"))))
        .fit(model(), dataset(0.1), None);
    assert!(broken.unwrap_err().to_string().contains("the test stops here"));
    let resumed = learner(stage(), folder.path()).resume().fit(model(), dataset(0.1), None).unwrap();
    assert!(resumed.first_step > 0 && resumed.first_step < 12, "resumed at {}", resumed.first_step);
    for ((path, found), (_, expected)) in weights(&resumed.model).into_iter().zip(weights(&whole.model)) {
        assert_products_close(found, expected, &path);
    }
}
