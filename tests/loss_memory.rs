//! Training takes less memory than one copy of the logits of its labels would. In a file of its own, as other tests would
//! be measured with it.

#[cfg(target_os = "linux")]
#[test]
fn a_training_step_does_not_hold_all_logits() {
    use burn::module::Module;
    use burn::tensor::{Device, Distribution, Tensor};
    use burn_revision::language::{LanguageModel, LlamaConfig};
    use burn_revision::revision::{Batch, ReVisionConfig, Sample, Trainable};

    const SAMPLES: usize = 8;
    const LABELS: usize = 250;
    const VOCABULARY: usize = 120_000;

    /// The memory of this process in bytes: `VmRSS` is now, `VmHWM` the most so far.
    fn memory(key: &str) -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap() << 10
    }

    let plain = Device::default();
    let language = LlamaConfig::new(VOCABULARY, 16, 16, 1, 2).init(&plain).unwrap();
    let model = ReVisionConfig::new(8).with_num_visual_tokens(2).init(language, &plain).unwrap();
    let device = plain.clone().autodiff();
    let model = Trainable::Projector.apply(model.train()).unwrap().fork(&device);
    let samples: Vec<Sample> = (0..SAMPLES)
        .map(|sample| {
            let tokens = (0..LABELS).map(|at| ((sample * 7919 + at * 104_729) % VOCABULARY) as u32).collect();
            let mut sample = Sample::text(sample.to_string(), tokens);
            (sample.image, sample.image_at, sample.embedding) =
                (Some("picture".into()), Some(0), Some(vec![0.5; 8]));
            sample
        })
        .collect();
    let batch = Batch::new(&samples, 2, &device);
    assert_eq!(batch.num_labels(), SAMPLES * LABELS);
    // Weights are drawn when they are first read.
    let _ = model.language.forward(Tensor::random([1, 2, 16], Distribution::Default, &device), None);

    let before = memory("VmRSS:");
    let gradients = model.loss(&batch).backward();
    let taken = memory("VmHWM:").saturating_sub(before);
    drop(gradients);
    let logits = SAMPLES * LABELS * VOCABULARY * size_of::<f32>();
    assert!(taken < logits / 2, "{} MB, of logits {} MB", taken >> 20, logits >> 20);
}
