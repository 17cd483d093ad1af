use rand::{Rng, RngExt};

use super::GenerationConfig;

/// Why no token can be chosen by these scores. Some may be `-inf`, which excludes a token.
pub(super) fn not_finite(scores: &[f32]) -> Option<String> {
    let usable = |score: f32| score.is_finite() || score == f32::NEG_INFINITY;
    if let Some(token) = scores.iter().position(|score| !usable(*score)) {
        return Some(format!("the logit of token {token} is {}", scores[token]));
    }
    scores
        .iter()
        .all(|score| *score == f32::NEG_INFINITY)
        .then(|| format!("all {} logits are -inf", scores.len()))
}

/// The index of the next token, from the scores of all.
pub(super) fn pick(scores: &[f32], config: &GenerationConfig, rng: &mut impl Rng) -> usize {
    let best = |scores: &[f32]| {
        scores.iter().enumerate().fold(0, |best, (i, score)| if *score > scores[best] { i } else { best })
    };
    if config.temperature <= 0.0 {
        return best(scores);
    }
    let top = scores[best(scores)] as f64;
    let mut weights: Vec<(usize, f64)> = scores
        .iter()
        .enumerate()
        .map(|(i, score)| (i, ((*score as f64 - top) / config.temperature).exp()))
        .collect();
    weights.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut mass = 0.0;
    let nucleus = weights.iter().take_while(|(_, weight)| {
        let inside = mass < config.top_p * total;
        mass += weight;
        inside
    });
    // Even a mass of zero leaves the best token.
    let nucleus = nucleus.count().max(1);
    let mass: f64 = weights[..nucleus].iter().map(|(_, weight)| weight).sum();
    let mut draw = rng.random::<f64>() * mass;
    for (token, weight) in &weights[..nucleus] {
        draw -= weight;
        if draw < 0.0 {
            return *token;
        }
    }
    weights[nucleus - 1].0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::seeded_rng;
    use approx::assert_abs_diff_eq;

    #[test]
    fn samples_follow_the_softmax_within_the_nucleus() {
        let scores = [2.0f32, 1.0, 0.0, -9.0];
        let share = |config: &GenerationConfig| {
            let mut rng = seeded_rng(1, &[]);
            let mut counts = [0usize; 4];
            (0..20_000).for_each(|_| counts[pick(&scores, config, &mut rng)] += 1);
            counts.map(|count| count as f64 / 20_000.0)
        };
        let sampled = share(&GenerationConfig::new().with_temperature(1.0));
        let total: f64 = scores.iter().map(|s| (*s as f64).exp()).sum();
        for (share, score) in sampled.iter().zip(scores) {
            assert_abs_diff_eq!(*share, (score as f64).exp() / total, epsilon = 0.02);
        }
        let nucleus = share(&GenerationConfig::new().with_temperature(1.0).with_top_p(0.8));
        assert_eq!(nucleus[2..], [0.0, 0.0]);
        assert_eq!(share(&GenerationConfig::new().with_temperature(1.0).with_top_p(0.0))[0], 1.0);
    }
}
