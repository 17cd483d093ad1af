//! A synthetic report that looks like a real one.

use burn_revision::embedding::NonFinite;
use burn_revision::geometry::*;
use burn_revision::report::sections::*;
use burn_revision::report::{GapReport, ReportConfig};

/// The dimensions of the synthetic space.
const DIM: usize = 512;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A synthetic method: name, gap, fit-half gap, mixing, likeness to the images, whether it moves them, noise.
type Made = (&'static str, f64, f64, f64, f64, bool, f64);

const METHODS: [Made; 9] = [
    ("identity", 0.4381, 0.4375, 0.0032, 0.0, false, 0.0),
    ("mean-shift", 0.0307, 0.0121, 0.0391, 0.85, false, 0.0),
    ("realign", 0.0214, 0.000264, 0.0435, 0.97, false, 0.0),
    ("c3", 0.0262, 0.0097, 0.0131, 0.6, false, 0.02),
    ("c3-zero-mean", 0.2760, 0.2761, 0.0204, 0.4, false, 0.126),
    ("gr-clip", 0.0219, 3.1e-9, 0.0402, 0.8, true, 0.0),
    ("coral", 0.0221, 0.0042, 0.1630, 0.99, false, 0.0),
    ("blockwise-covariance", 0.0225, 0.0051, 0.1210, 0.7, false, 0.0),
    ("aniso-align", 0.0216, 0.00031, 0.0873, 0.98, false, 0.0),
];

fn condition(retained: f64) -> Condition {
    Condition { retained, retained_rank: DIM - 1, leading: retained / 40.0, leading_rank: 96 }
}

fn spectrum(alpha: f64, trace: f64, wobble: f64) -> SpectrumReport {
    let raw: Vec<f64> = (1..=DIM)
        .map(|k| {
            let k = k as f64;
            (k + 4.0).powf(-alpha) * (1.0 + wobble * (k * 0.21).sin()) * (-(k / 420.0).powi(4)).exp()
        })
        .collect();
    let sum: f64 = raw.iter().sum();
    let mut eigenvalues: Vec<f64> = raw.iter().map(|v| v / sum * trace).collect();
    eigenvalues[DIM - 1] = -1e-18;
    SpectrumReport {
        rank: DIM - 1,
        power_law: Some(PowerLaw { exponent: alpha * 0.96, first: 4, last: 200, r_squared: 0.991 }),
        effective_rank: 180.0 / alpha,
        participation_ratio: 61.0 / alpha,
        condition: condition(eigenvalues[0] / eigenvalues[DIM - 2]),
        energy: [0.5, 0.9, 0.95, 0.99]
            .map(|share| {
                let mut sum = 0.0;
                let rank = eigenvalues.iter().take_while(|v| {
                    sum += **v;
                    sum < share * trace
                });
                EnergyRank { share, rank: rank.count() + 1 }
            })
            .into(),
        eigenvalues,
    }
}

fn set(place: &str, stored: usize, half: usize) -> SetReport {
    let (place, probe) = (place.into(), half.min(2000));
    SetReport { place, stored, read: half * 2, left_out: 3, fit: half, held_out: half - 3, probe }
}

fn residual() -> ResidualSection {
    ResidualSection {
        pairs: 3461,
        paired_cosine: 0.291,
        geometry: ResidualGeometry {
            gap_energy: 0.192,
            residual_energy: 1.226,
            energy_ratio: 0.8646,
            distance_ratio: 0.931,
            anisotropy: 28.6,
            effective_dim: 145.4,
        },
        spectrum: spectrum(0.9, 1.226, 0.02),
        beta: 0.31,
        gamma: 0.22,
        delta_trace: 1.11,
        zeta_trace: 0.116,
        kappa_u: condition(3.1e3),
        kappa_v: condition(2.2e5),
        gamma_angle: Some(83.7),
        coupling: Coupling { ridge: 1e-3, norm: 0.081, r_squared: 0.142, r_squared_of_chance: 0.041 },
    }
}

fn method(index: usize) -> MethodReport {
    let (name, gap, fit_gap, mixing, likeness, moves_images, noise) = METHODS[index];
    let kept = if index == 0 { 1.0 } else { 0.99 - 0.013 * index as f64 };
    let spectrum = spectrum(1.25 - 0.3 * noise + 0.15 * likeness, 0.79 + 0.05 * likeness, 0.03);
    MethodReport {
        name: name.into(),
        source: if index == 0 { "the text as it is".into() } else { "arXiv 2602.07026, Sec. 4".into() },
        moves_images,
        noise,
        fit_gap,
        gap,
        sampling_floor: 0.0206,
        expected_gap: 0.0291,
        trace: 0.79 + 0.05 * likeness,
        effective_rank: 120.0 + 14.0 * likeness,
        power_law: spectrum.power_law,
        covariance_gap: 0.31 - 0.25 * likeness,
        eigenvalues: spectrum.eigenvalues.iter().map(|v| v.max(0.0) + noise * noise).collect(),
        mixing: KnnMixing { text_to_image: mixing * 1.3, image_to_text: mixing * 0.7, pooled: mixing },
        support: SupportScore {
            score: 0.02 + mixing * 5.0,
            penetration: 0.03 + mixing * 6.0,
            coverage: 0.01 + mixing * 4.0,
            normalizer: 0.963,
        },
        omega: kept.powi(3),
        phi: kept,
        psi: kept * kept,
        js_within: 0.22 * (1.0 - likeness) + 0.003,
        js_across: 0.81 * (1.0 - likeness) + 0.02,
        pairs: Some(MethodPairs {
            cosine: 0.291 + 0.08 * likeness,
            distribution_gap: Some(1.1 - 0.04 * likeness),
            anisotropy: 77.0 - 48.0 * likeness,
            recall_at_1: 0.31 + 0.02 * likeness,
            recall_at_10: 0.68 + 0.03 * likeness,
        }),
    }
}

fn bell(grid: &[f64], mean: f64, deviation: f64) -> Vec<f64> {
    let height = 1.0 / (deviation * std::f64::consts::TAU.sqrt());
    grid.iter().map(|x| height * (-0.5 * ((x - mean) / deviation).powi(2)).exp()).collect()
}

fn cosines() -> CosineSection {
    let grid: Vec<f64> = (0..512).map(|i| -1.0 + i as f64 / 255.5).collect();
    let density = |(index, m): (usize, &Made)| CosineDensity {
        method: m.0.into(),
        within: bell(&grid, 0.16 + 0.22 * (1.0 - m.4), 0.085 + 0.004 * index as f64),
        across: bell(&grid, 0.15 - 0.16 * (1.0 - m.4), 0.07 + 0.004 * index as f64),
        prior: None,
    };
    CosineSection {
        pairs: 200_000,
        bandwidth: 0.0087,
        image: bell(&grid, 0.157, 0.094),
        methods: METHODS.iter().enumerate().map(density).collect(),
        grid,
    }
}

fn cloud(dice: &mut Dice, center: (f64, f64), spread: (f64, f64), points: usize) -> Vec<[f32; 2]> {
    (0..points)
        .map(|_| [center.0 + spread.0 * dice.normal(), center.1 + spread.1 * dice.normal()].map(|v| v as f32))
        .collect()
}

fn projection(dice: &mut Dice) -> Projection {
    Projection {
        explained: [0.183, 0.094],
        image: cloud(dice, (0.41, -0.02), (0.07, 0.13), 1500),
        methods: METHODS
            .iter()
            .map(|m| ProjectedMethod {
                method: m.0.into(),
                text: cloud(dice, (0.41 - m.1, 0.05 * (1.0 - m.4)), (0.05 + 0.02 * m.4, 0.16), 1500),
                image: m.5.then(|| cloud(dice, (0.39, 0.0), (0.07, 0.13), 1500)),
            })
            .collect(),
    }
}

fn efficiency(dice: &mut Dice) -> Vec<EfficiencyCurve> {
    let mut curve = |name: &str, factor: f64, floor: f64| EfficiencyCurve {
        method: name.into(),
        points: [20, 50, 100, 200, 500, 1000, 2013]
            .map(|rows| {
                let predicted = (2.0 * 0.83 / rows as f64 + 0.0206f64.powi(2)).sqrt();
                let gaps =
                    (0..5).map(|_| (predicted * factor + floor) * (1.0 + 0.12 * dice.normal())).collect();
                EfficiencyPoint { rows, gaps, predicted }
            })
            .into(),
    };
    vec![curve("mean-shift", 1.05, 0.01), curve("realign", 0.98, 0.0), curve("c3-zero-mean", 0.2, 0.26)]
}

fn domains() -> DomainMatrix {
    DomainMatrix {
        field: "domain".into(),
        method: "realign".into(),
        names: ["photos", "charts and documents", "medical"].map(String::from).into(),
        fit_rows: vec![[1204, 2110], [511, 892], [301, 462]],
        held_out_rows: vec![[1201, 2108], [512, 890], [300, 463]],
        raw: vec![0.431, 0.472, 0.518],
        gap: vec![vec![0.024, 0.183, 0.291], vec![0.201, 0.033, 0.247], vec![0.302, 0.251, 0.046]],
    }
}

fn lengths() -> LengthSection {
    let slice = |(i, (shortest, longest)): (usize, (usize, usize))| LengthSlice {
        shortest,
        longest,
        captions: 420 - 31 * i,
        rows: 265,
        raw_gap: 0.39 + 0.022 * i as f64,
        gap: 0.061 + 0.004 * (i as f64 - 2.0).powi(2),
        effective_rank: 41.0 + 2.1 * i as f64,
        trace: 0.842 - 0.013 * i as f64,
        paired_cosine: Some(0.27 + 0.006 * i as f64),
    };
    let bounds = [(3, 8), (9, 10), (11, 13), (14, 19), (20, 41), (42, 118)];
    LengthSection {
        field: "caption".into(),
        method: "realign".into(),
        slices: bounds.into_iter().enumerate().map(slice).collect(),
    }
}

/// A report with all of its parts.
pub fn full() -> GapReport {
    let mut dice = Dice(7);
    let modality = |rows, mean_norm: f64, alpha, wobble| {
        let trace = 1.0 - mean_norm * mean_norm;
        ModalityGeometry { rows, mean_norm, trace, spectrum: spectrum(alpha, trace, wobble) }
    };
    GapReport {
        version: 1,
        created_by: "burn-revision 0.4.0".into(),
        settings: ReportConfig {
            seed: 17,
            paired: true,
            pair_by: Some("text_id".into()),
            only: Some(("split".into(), "test".into())),
            methods: ReportConfig::default().methods,
            k: 20,
            energy: 0.95,
            rows: 100_000,
            probe: 2000,
            ridge: 1e-6,
            sigma: 0.1265,
            cosine_pairs: 200_000,
            draws: 5,
            domain: Some("source".into()),
            caption: None,
            non_finite: NonFinite::Skip,
        },
        data: Data {
            dim: DIM,
            text: set("/data/embeddings/coco/text/*.safetensors", 4035, 2016),
            image: set("/data/embeddings/coco/images/part-0000-of-0004.safetensors", 6928, 3464),
            pairs: Some(PairCounts { fit: 3464, held_out: 3461 }),
        },
        notes: vec![
            "The fit half has 2,016 texts for 512 dimensions: small eigenvalues are biased low.".into(),
            "3 text rows without direction were left out.".into(),
        ],
        geometry: Geometry {
            text: modality(2016, 0.458, 1.33, 0.0),
            image: modality(3464, 0.401, 1.21, 0.04),
            mean_gap: 0.4375,
            covariance_gap: 0.312,
            spectral_correlation: Some(0.991),
            overlap: Overlap { q: 64, value: 0.441, random: 0.125 },
            frame: FrameReport {
                rank: 180,
                energy: 0.9504,
                angles: (0..180).map(|i| (i as f64 / 180.0).powi(5) * 1.35 + 0.04).collect(),
                sin_theta: Some(0.983),
            },
        },
        gap: GapSection {
            norm: 0.4381,
            beta: 0.391,
            gamma: 0.1976,
            residual: Some(residual()),
            phantom_drift: Some(PhantomDrift {
                rows: 2016,
                radius: 0.401,
                spread: 2.28,
                from_direction: DriftComparison { measured: 0.599, predicted: 2.31, relative_error: 2.86 },
                from_centroid: DriftComparison {
                    measured: 2.88e-3,
                    predicted: 2.91e-3,
                    relative_error: 0.0104,
                },
            }),
        },
        methods: (0..METHODS.len()).map(method).collect(),
        cosines: cosines(),
        projection: projection(&mut dice),
        sample_efficiency: efficiency(&mut dice),
        domains: Some(domains()),
        lengths: Some(lengths()),
        seconds: [("reading", 0.41), ("geometry", 2.93), ("methods", 11.2), ("sample efficiency", 3.07)]
            .map(|(part, seconds)| (part.to_owned(), seconds))
            .into(),
    }
}
