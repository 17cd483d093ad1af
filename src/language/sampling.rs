use std::cmp::Ordering;

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

/// The index of the next token, from the scores of all. The vocabulary is not sorted: only the candidates are.
pub(super) fn pick(scores: &[f32], config: &GenerationConfig, rng: &mut impl Rng) -> usize {
    let best = best(scores);
    if config.temperature <= 0.0 {
        return best;
    }
    let top = f64::from(scores[best]);
    let weight = |score: &f32| ((f64::from(*score) - top) / config.temperature).exp();
    let weights = scores.iter().map(weight).enumerate().filter(|(_, weight)| *weight > 0.0);
    let mut weights: Vec<(usize, f64)> = weights.collect();
    if let Some(k) = config.top_k {
        let k = k.min(weights.len());
        move_to_front(&mut weights, k);
        weights.truncate(k);
    }
    let total = mass(&weights);
    if config.top_p < 1.0 {
        let wanted = config.top_p * total;
        let candidates = candidates(&mut weights, wanted);
        let mut sum = 0.0;
        let nucleus = weights[..candidates].iter().take_while(|(_, weight)| {
            let inside = sum < wanted;
            sum += weight;
            inside
        });
        // Even a mass of zero leaves the best token.
        let nucleus = nucleus.count().max(1);
        weights.truncate(nucleus);
    }
    let mut draw = rng.random::<f64>() * mass(&weights);
    for (token, weight) in &weights {
        draw -= weight;
        if draw < 0.0 {
            return *token;
        }
    }
    weights.last().map_or(best, |(token, _)| *token)
}

/// The first of the tokens with the highest score.
fn best(scores: &[f32]) -> usize {
    scores.iter().enumerate().fold(0, |best, (i, score)| if *score > scores[best] { i } else { best })
}

fn mass(weights: &[(usize, f64)]) -> f64 {
    weights.iter().map(|(_, weight)| weight).sum()
}

/// Heavier tokens first, and of equal ones that with the smaller number.
fn heavier(a: &(usize, f64), b: &(usize, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Moves the `count` heaviest tokens to the front, in any order.
fn move_to_front(weights: &mut [(usize, f64)], count: usize) {
    if count > 0 && count < weights.len() {
        weights.select_nth_unstable_by(count - 1, heavier);
    }
}

/// Sorts the heaviest tokens at the front, until these have the mass that is wanted, and returns their number.
fn candidates(weights: &mut [(usize, f64)], wanted: f64) -> usize {
    let mut count = 64.min(weights.len());
    loop {
        move_to_front(weights, count);
        if count == weights.len() || mass(&weights[..count]) >= wanted {
            break;
        }
        count = (4 * count).min(weights.len());
    }
    weights[..count].sort_unstable_by(heavier);
    count
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

    /// The probabilities of a sampler that sorts the whole vocabulary.
    fn sorted_shares(scores: &[f32], config: &GenerationConfig) -> Vec<f64> {
        let weight = |score: &f32| (f64::from(*score) / config.temperature).exp();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        order.truncate(config.top_k.unwrap_or(scores.len()));
        let total: f64 = order.iter().map(|token| weight(&scores[*token])).sum();
        let mut sum = 0.0;
        let inside = order.iter().position(|token| {
            sum += weight(&scores[*token]);
            sum >= config.top_p * total
        });
        order.truncate(inside.map_or(order.len(), |last| last + 1));
        let total: f64 = order.iter().map(|token| weight(&scores[*token])).sum();
        let mut shares = vec![0.0; scores.len()];
        order.iter().for_each(|token| shares[*token] = weight(&scores[*token]) / total);
        shares
    }

    /// Over more tokens than one selection takes, with equal scores and such as are excluded.
    #[test]
    fn the_best_tokens_and_the_nucleus_are_those_of_a_sorted_vocabulary() {
        let mut rng = seeded_rng(5, &[]);
        let mut scores: Vec<f32> = (0..300).map(|_| (rng.random::<f32>() * 20.0).round() / 10.0).collect();
        scores[7] = f32::NEG_INFINITY;
        for (top_k, top_p) in
            [(None, 1.0), (None, 0.9), (None, 0.3), (Some(5), 1.0), (Some(100), 0.5), (Some(1), 1.0)]
        {
            let config = GenerationConfig::new().with_temperature(1.0).with_top_k(top_k).with_top_p(top_p);
            let expected = sorted_shares(&scores, &config);
            let draws = 40_000;
            let mut counts = vec![0usize; scores.len()];
            (0..draws).for_each(|_| counts[pick(&scores, &config, &mut rng)] += 1);
            let mut chi_squared = 0.0;
            let mut kinds = 0;
            for (token, (count, share)) in counts.iter().zip(&expected).enumerate() {
                assert!(
                    *share > 0.0 || *count == 0,
                    "token {token} is outside, with top_k {top_k:?}, top_p {top_p}"
                );
                if *share > 0.0 {
                    let mean = share * draws as f64;
                    chi_squared += (*count as f64 - mean).powi(2) / mean;
                    kinds += 1;
                }
            }
            // Six standard deviations above its mean.
            let freedom = (kinds - 1) as f64;
            assert!(
                chi_squared <= freedom + 6.0 * (2.0 * freedom).sqrt(),
                "{chi_squared} for {kinds} tokens"
            );
        }
    }
}
