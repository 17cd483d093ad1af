use burn::tensor::Device;
use rand::RngExt;
use serde_json::json;

use super::*;
use crate::Error;
use crate::embedding::{EmbeddingTable, Record, Store, write_table_with_records};
use crate::encoder::{GapTrackerConfig, LogitScaleConfig};
use crate::random::seeded_rng;
use crate::training::StopRequest;

const CONCEPTS: usize = 60;

/// Two views of concepts, in spaces of their own: what both say of one has eight numbers, mixed by random matrices, and noise.
fn tables(seed: u64, noise: f32) -> (EmbeddingTable, EmbeddingTable) {
    let mut rng = seeded_rng(7, &[]);
    let mut matrix =
        |columns: usize| -> Vec<f32> { (0..8 * columns).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let (for_images, for_texts) = (matrix(20), matrix(12));
    let mut rng = seeded_rng(seed, &[]);
    let concepts: Vec<f32> = (0..CONCEPTS * 8).map(|_| rng.random_range(-1.0..1.0)).collect();
    let mut view = |concept: usize, matrix: &[f32]| -> Vec<f32> {
        let columns = matrix.len() / 8;
        (0..columns)
            .map(|column| {
                let sum: f32 =
                    (0..8).map(|at| concepts[concept * 8 + at] * matrix[at * columns + column]).sum();
                3.0 + sum + noise * rng.random_range(-1.0..1.0)
            })
            .collect()
    };
    // Two pictures a concept.
    let images: Vec<f32> = (0..2 * CONCEPTS).flat_map(|row| view(row / 2, &for_images)).collect();
    let texts: Vec<f32> = (0..CONCEPTS).flat_map(|row| view(row, &for_texts)).collect();
    let ids = |name: &str, count: usize| (0..count).map(|row| format!("{name}{row}")).collect();
    let images = EmbeddingTable::new(ids("image", 2 * CONCEPTS), images, 20).unwrap();
    (images, EmbeddingTable::new(ids("text", CONCEPTS), texts, 12).unwrap())
}

fn pairs() -> FeaturePairs {
    let (images, texts) = tables(1, 0.05);
    let pairs: Vec<(usize, usize)> = (0..2 * CONCEPTS).map(|row| (row, row / 2)).collect();
    FeaturePairs::new(images, texts, pairs, (0..2 * CONCEPTS).map(|row| row / 2).collect()).unwrap()
}

fn heads(pairs: &FeaturePairs, scale: LogitScaleConfig) -> ContrastiveHeads {
    let device = Device::default();
    device.seed(3);
    let head = |input| HeadConfig::new(input, 8).with_hidden_dim(32).with_dropout(0.0);
    let [image, text] = pairs.columns();
    ContrastiveHeadsConfig::new(head(20), head(12))
        .with_logit_scale(scale)
        .init(&image, &text, &device)
        .unwrap()
}

fn training() -> ContrastTraining {
    ContrastTraining::new().with_epochs(30).with_batch_size(32).with_learning_rate(1e-2)
}

fn fit(training: &ContrastTraining, watch: ContrastWatch) -> crate::Result<Contrasted> {
    let (train, valid) = pairs().split(0.25, 5).unwrap();
    let heads = heads(&train, LogitScaleConfig::Fixed(20.0));
    training.fit(heads, &train, &valid, watch, &Device::default())
}

#[test]
fn held_out_pictures_find_their_captions_and_a_training_repeats_itself() {
    let tracker = GapTrackerConfig::new().with_every(10).with_freeze_at(20).with_batch_size(16);
    let watch = ContrastWatch { tracker: Some(tracker.without_probe().unwrap()), ..ContrastWatch::default() };
    // Tests beside this one draw from the same generator of the device.
    let (train, valid) = pairs().split(0.25, 5).unwrap();
    let heads = heads(&train, LogitScaleConfig::Fixed(20.0));
    let fit = |training: &ContrastTraining, watch| {
        training.fit(heads.clone(), &train, &valid, watch, &Device::default())
    };
    let trained = fit(&training(), watch).unwrap();
    let (first, last) = (&trained.epochs[0], trained.epochs.last().unwrap());
    assert!(last.loss < 0.5 * first.loss, "{first:?} to {last:?}");
    // By chance one of fifteen captions.
    assert!(last.image_to_text[0] > 0.5 && last.text_to_image[0] > 0.5, "{last:?}");
    assert_eq!((trained.best, trained.epochs.len(), trained.skipped), (30, 30, 0));
    let tracker = trained.tracker.unwrap();
    assert_eq!(tracker.records().first().unwrap().step, 0);
    let end = tracker.records().last().unwrap();
    assert!((end.gap - last.gap).abs() < 1e-4 || end.step != last.steps);

    let again = fit(&training(), ContrastWatch::default()).unwrap();
    assert_eq!(again.epochs, trained.epochs);
    let other = fit(&training().with_seed(1), ContrastWatch::default()).unwrap();
    assert_ne!(other.epochs, trained.epochs);
}

#[test]
fn patience_goes_back_to_the_best_epoch() {
    let trained = fit(&training().with_epochs(60).with_patience(Some(3)), ContrastWatch::default()).unwrap();
    let recalls: Vec<f64> = trained.epochs.iter().map(EpochRecord::mean_recall).collect();
    let best = recalls.iter().cloned().fold(0.0, f64::max);
    assert_eq!(recalls[trained.best - 1], best);
    assert!(trained.epochs.len() == 60 || trained.epochs.len() == trained.best + 3, "{recalls:?}");
    let (_, valid) = pairs().split(0.25, 5).unwrap();
    let all: Vec<usize> = (0..valid.len()).collect();
    let (image, text, groups) = valid.batch(&all, &Device::default());
    let found = crate::encoder::recall_at_k(
        trained.heads.embed_images(image),
        trained.heads.embed_texts(text),
        &groups,
        &[1],
    );
    assert_eq!(found[0].image_to_text, trained.epochs[trained.best - 1].image_to_text[0]);
}

#[test]
fn no_caption_is_in_both_parts_of_a_split() {
    let all = pairs();
    let (train, valid) = all.split(0.25, 5).unwrap();
    assert_eq!((train.len(), valid.len()), (90, 30));
    assert!(!train.groups().iter().any(|group| valid.groups().contains(group)));
    let (other, _) = all.split(0.25, 6).unwrap();
    assert_ne!(other.groups(), train.groups());
    assert!(all.split(1.0, 0).is_err());
    assert!(all.split(0.001, 0).unwrap_err().to_string().contains("validation"));
    assert_eq!(all.split(0.0, 0).unwrap().1.len(), 0);
}

#[test]
fn columns_are_those_of_the_pictures_that_are_paired() {
    let (images, texts) = tables(1, 0.05);
    let alone =
        FeaturePairs::new(images.clone(), texts, vec![(3, 0), (3, 1), (5, 0)], vec![0, 1, 0]).unwrap();
    let [columns, _] = alone.columns();
    for (column, (mean, deviation)) in columns.iter().enumerate() {
        let (a, b) = (f64::from(images.row(3)[column]), f64::from(images.row(5)[column]));
        assert!((mean - (a + b) / 2.0).abs() < 1e-9 && (deviation - (a - b).abs() / 2.0).abs() < 1e-9);
    }
    assert_eq!(alone.is_unit(), [false, false]);
}

#[test]
fn stores_are_paired_by_field_by_id_and_by_list() {
    let folder = tempfile::tempdir().unwrap();
    let (images, texts) = tables(2, 0.05);
    let record = |value: serde_json::Value| -> Record { value.as_object().unwrap().clone() };
    let image_records: Vec<Record> = (0..images.len())
        .map(|row| {
            let text = if row == 0 { json!(["text0", "text7"]) } else { json!(format!("text{}", row / 2)) };
            record(json!({"id": format!("image{row}"), "text_id": text, "split": row % 4}))
        })
        .collect();
    let text_records: Vec<Record> = (0..texts.len())
        .map(|row| record(json!({"id": format!("text{row}"), "text": format!("caption {}", row / 2)})))
        .collect();
    write_table_with_records(&images, &image_records, folder.path().join("images.npy")).unwrap();
    let part = texts.select(&(0..50).collect::<Vec<_>>()).unwrap();
    write_table_with_records(&part, &text_records[..50], folder.path().join("texts.npy")).unwrap();
    let open = |name: &str| Store::open(folder.path().join(name)).unwrap();
    let (images, texts) = (open("images.npy"), open("texts.npy"));
    let pairs = FeaturePairs::of_stores(&images, &texts, Some("text_id"), None).unwrap();
    // One picture has two texts, and the texts of twenty are not there.
    assert_eq!((pairs.len(), pairs.unpaired()), (101, 20));
    // Texts 0 and 1 say the same.
    assert_eq!(pairs.groups()[0], pairs.groups()[3]);
    assert_ne!(pairs.groups()[0], pairs.groups()[6]);
    let some = FeaturePairs::of_stores(&images, &texts, Some("text_id"), Some(("split", "1"))).unwrap();
    assert_eq!((some.len(), some.unpaired()), (25, 5));
    let none = FeaturePairs::of_stores(&images, &texts, None, None).unwrap_err();
    assert!(matches!(none, Error::TooFewRows { actual: 0, .. }), "{none}");

    let list =
        |image: &str| vec![(image.to_string(), "text3".to_string()), ("image9".into(), "text4".into())];
    assert_eq!(FeaturePairs::of_list(&images, &texts, &list("image8")).unwrap().len(), 2);
    let missing = FeaturePairs::of_list(&images, &texts, &list("image999")).unwrap_err().to_string();
    assert!(missing.contains("image999") && missing.contains("images.npy"), "{missing}");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let error =
        |training: ContrastTraining| fit(&training, ContrastWatch::default()).unwrap_err().to_string();
    assert!(error(training().with_epochs(0)).contains("epochs"));
    assert!(error(training().with_batch_size(1)).contains("found 1"));
    assert!(error(training().with_patience(Some(0))).contains("patience"));
    assert!(error(training().with_learning_rate(f64::NAN)).contains("learning_rate"));
    let stop = StopRequest::new();
    stop.request();
    let stopped = fit(&training(), ContrastWatch { stop, ..ContrastWatch::default() });
    assert!(matches!(stopped, Err(Error::Interrupted)));

    let (images, texts) = tables(1, 0.0);
    let mut rows = images.rows().to_vec();
    rows[43] = f32::NAN;
    let spoiled = EmbeddingTable::new(images.ids().to_vec(), rows, 20).unwrap();
    let error = FeaturePairs::new(spoiled, texts.clone(), vec![(0, 0)], vec![0]).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 2, column: 3, .. }), "{error}");
    let error = FeaturePairs::new(images, texts, vec![(0, 99)], vec![0]).unwrap_err().to_string();
    assert!(error.contains("texts") && error.contains("60"), "{error}");
}

/// Finite features whose squares overflow.
#[test]
fn gradients_that_are_not_finite_end_the_training_and_reach_no_weight() {
    let (images, texts) = tables(1, 0.05);
    let pairs =
        FeaturePairs::new(images, texts, (0..60).map(|row| (row, row / 2)).collect(), (0..60).collect())
            .unwrap();
    let head = |input| HeadConfig::new(input, 8).with_hidden_dim(32);
    let device = Device::default();
    let config = ContrastiveHeadsConfig::new(head(20), head(12));
    // A mean that is no number makes every embedding none, and so the gradients.
    let heads = config.init(&[(f64::NAN, 1.0); 20], &[(0.0, 1.0); 12], &device).unwrap();
    let (train, none) = pairs.split(0.0, 0).unwrap();
    let error = training().fit(heads, &train, &none, ContrastWatch::default(), &device).unwrap_err();
    assert!(matches!(error, Error::Training { step: 10, .. }), "{error}");
}
