//! A fit that was broken off in either stage goes on to the bits of an unbroken one.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use burn::tensor::Device;
use rand::RngExt;

use super::{AnisoAlign, AnisoAlignConfig, FitCheckpoint};
use crate::alignment::record::{self, Parameters};
use crate::embedding::Progress;
use crate::geometry::Moments;
use crate::random::seeded_rng;
use crate::{Error, Result};

const DIM: usize = 8;
const STEPS: usize = 30;

fn rows(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = seeded_rng(seed, &[]);
    let centre: Vec<f32> = (0..DIM).map(|_| rng.random::<f32>() - 0.5).collect();
    let row = |_| -> Vec<f32> {
        let row: Vec<f32> = centre.iter().map(|centre| centre + rng.random::<f32>() - 0.5).collect();
        let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.into_iter().map(|value| value / norm).collect()
    };
    (0..n).flat_map(row).collect()
}

fn moments(rows: &[f32]) -> Moments {
    let mut moments = Moments::with_covariance(DIM);
    moments.update_rows(rows).unwrap();
    moments
}

fn quick() -> AnisoAlignConfig {
    let config = AnisoAlignConfig::new().with_rank(Some(4)).with_batch(32).with_learning_rate(1e-2);
    let config = config.with_score_width(8).with_refiner_width(8).with_patience(100);
    config.with_score_steps(STEPS).with_refiner_steps(STEPS)
}

fn fit(
    config: &AnisoAlignConfig,
    sets: &[Vec<f32>; 2],
    checkpoint: Option<&FitCheckpoint>,
    progress: &dyn Progress,
) -> Result<AnisoAlign> {
    let [text, image] = sets;
    let (text_moments, image_moments) = (moments(text), moments(image));
    let device = Device::default();
    config.fit_networks((&text_moments, text), (&image_moments, image), &device, progress, checkpoint)
}

fn weights(fitted: &AnisoAlign) -> Parameters {
    record::parameters(fitted)
}

/// Counts steps, keeps copies of the file of the state as a kill after some of them would leave it, and may end the fit.
struct Watch<'a> {
    file: &'a Path,
    /// Stage and steps of it.
    at: Mutex<(usize, usize)>,
    keep: &'a [(usize, usize)],
    end: Option<(usize, usize)>,
}

impl<'a> Watch<'a> {
    fn new(file: &'a Path, keep: &'a [(usize, usize)], end: Option<(usize, usize)>) -> Self {
        Self { file, at: Mutex::new((0, 0)), keep, end }
    }

    fn copy(file: &Path, at: (usize, usize)) -> PathBuf {
        file.with_file_name(format!("killed-{}-{}", at.0, at.1))
    }

    fn steps(&self) -> (usize, usize) {
        *self.at.lock().unwrap()
    }
}

impl Progress for Watch<'_> {
    fn begin(&self, stage: &str, _rows: usize) {
        let mut at = self.at.lock().unwrap();
        *at = match stage {
            "anisoalign: score network" => (1, 0),
            "anisoalign: refinement" => (2, 0),
            _ => *at,
        };
    }

    fn advance(&self, rows: usize) {
        let mut at = self.at.lock().unwrap();
        at.1 += rows;
        if self.keep.contains(&at) {
            std::fs::copy(self.file, Self::copy(self.file, *at)).unwrap();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.end.is_some_and(|end| self.steps() == end)
    }
}

#[test]
fn a_fit_that_was_killed_in_either_stage_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let sets = [rows(300, 1), rows(250, 2)];
    let unbroken = weights(&fit(&quick(), &sets, None, &()).unwrap());
    let file = FitCheckpoint { every: Duration::ZERO, ..FitCheckpoint::new(folder.path().join("fit")) };
    // Within a stage, before and after an evaluation, and where the first stage has just ended.
    let kills = [(1, 1), (1, 13), (1, STEPS), (2, 1), (2, 20), (2, STEPS)];
    let watch = Watch::new(&file.path, &kills, None);
    assert_eq!(weights(&fit(&quick(), &sets, Some(&file), &watch).unwrap()), unbroken, "saving changes it");
    for kill in kills {
        let path = Watch::copy(&file.path, kill);
        let resumed = FitCheckpoint { path, resume: true, every: Duration::ZERO };
        let again = Watch::new(&file.path, &[], None);
        assert_eq!(weights(&fit(&quick(), &sets, Some(&resumed), &again).unwrap()), unbroken, "{kill:?}");
    }
    // What has ended is read, and nothing is trained.
    let ended = FitCheckpoint { resume: true, ..file.clone() };
    let watch = Watch::new(&file.path, &[], None);
    assert_eq!(weights(&fit(&quick(), &sets, Some(&ended), &watch).unwrap()), unbroken);
    assert_eq!(watch.steps(), (0, 0));
}

#[test]
fn a_fit_that_is_ended_by_its_observer_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let sets = [rows(300, 3), rows(250, 4)];
    let unbroken = weights(&fit(&quick(), &sets, None, &()).unwrap());
    let file = FitCheckpoint::new(folder.path().join("fit"));
    let resumed = FitCheckpoint { resume: true, ..file.clone() };
    for (file, end) in [(&file, (1, 7)), (&resumed, (1, 19)), (&resumed, (2, 11))] {
        let watch = Watch::new(&file.path, &[], Some(end));
        let ended = fit(&quick(), &sets, Some(file), &watch);
        assert!(matches!(ended, Err(Error::Interrupted)) && watch.steps() == end);
    }
    let watch = Watch::new(&file.path, &[(2, 11)], None);
    assert_eq!(weights(&fit(&quick(), &sets, Some(&resumed), &watch).unwrap()), unbroken);
    assert!(Watch::copy(&file.path, (2, 11)).exists(), "the eleven steps are counted as done");
}

#[test]
fn another_fit_is_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let sets = [rows(120, 5), rows(130, 6)];
    let file = FitCheckpoint::new(folder.path().join("state.fit"));
    let end = || Watch::new(&file.path, &[], Some((1, 5)));
    assert!(fit(&quick(), &sets, Some(&file), &end()).is_err());
    let resumed = FitCheckpoint { resume: true, ..file.clone() };
    let refused = |config: AnisoAlignConfig, sets: &[Vec<f32>; 2], words: &[&str]| {
        let error = fit(&config, sets, Some(&resumed), &()).unwrap_err().to_string();
        assert!(words.iter().chain(&["state.fit"]).all(|word| error.contains(word)), "{error}");
    };
    refused(quick().with_seed(7), &sets, &["seed was 0, and is 7 now"]);
    refused(quick().with_rank(Some(6)), &sets, &["rank was 4, and is 6 now"]);
    refused(quick().with_score_steps(31), &sets, &["score_steps was 30, and is 31 now"]);
    let [text, image] = &sets;
    refused(quick(), &[text.clone(), rows(130, 8)], &["image rows was \"", "and is \""]);
    refused(quick(), &[rows(121, 5), image.clone()], &["text rows was \"", "and is \""]);
    // Without `resume` it is replaced.
    let other = quick().with_seed(7);
    let fitted = fit(&other, &sets, Some(&file), &()).unwrap();
    assert_eq!(weights(&fitted), weights(&fit(&other, &sets, None, &()).unwrap()));
    std::fs::write(&file.path, b"no state").unwrap();
    refused(quick(), &sets, &[]);
}
