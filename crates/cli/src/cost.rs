use clap::Args;
use serde_json::json;

use super::outcome::Outcome;
use burn_revision::Result;
use burn_revision::revision::{TokenCount, TokenPrices};

/// The section of `cost --help` on its figures.
pub const HELP: &str = "Examples:\n  burn-revision cost                                # a million of each, with the counts and prices of the paper\n  \
    burn-revision cost --texts 2M --pairs 1M\n  burn-revision cost --texts 500k --pairs 500k --price-in 0.15 --price-out 0.60 --pair-in 1100\n\n\
    Prices and tokens a sample are those of arXiv 2602.07026, App. H.4, unless they are given. The paper prints 221.64 million \
    tokens read for a million pairs, but its cost and all its ratios are those of 251.64 million, which is what is computed with.";

#[derive(Args)]
pub struct CostCommand {
    /// Captions that are written without a picture, for stage 1
    #[arg(long, value_name = "N", default_value = "1M", value_parser = number)]
    pub texts: f64,
    /// Pairs: captions that are written of pictures
    #[arg(long, value_name = "N", default_value = "1M", value_parser = number)]
    pub pairs: f64,
    /// Dollars for a million tokens read
    #[arg(long, value_name = "DOLLARS", default_value_t = TokenPrices::new().input)]
    pub price_in: f64,
    /// Dollars for a million tokens written
    #[arg(long, value_name = "DOLLARS", default_value_t = TokenPrices::new().output)]
    pub price_out: f64,
    /// Tokens read for a caption without a picture
    #[arg(long, value_name = "TOKENS", default_value_t = TokenCount::CAPTION_FROM_TEXT.input)]
    pub text_in: f64,
    /// Tokens written for a caption without a picture
    #[arg(long, value_name = "TOKENS", default_value_t = TokenCount::CAPTION_FROM_TEXT.output)]
    pub text_out: f64,
    /// Tokens read for a pair, those of the picture among them
    #[arg(long, value_name = "TOKENS", default_value_t = TokenCount::CAPTION_OF_PICTURE.input)]
    pub pair_in: f64,
    /// Tokens written for a pair
    #[arg(long, value_name = "TOKENS", default_value_t = TokenCount::CAPTION_OF_PICTURE.output)]
    pub pair_out: f64,
}

/// `cost`: what texts cost that stand in for pairs.
pub fn cost(command: &CostCommand) -> Result<Outcome> {
    let prices = TokenPrices::new().with_input(command.price_in).with_output(command.price_out);
    let text = TokenCount { input: command.text_in, output: command.text_out }.times(command.texts);
    let pair = TokenCount { input: command.pair_in, output: command.pair_out }.times(command.pairs);
    let of_pairs = prices.cost(pair)?;
    let mut outcome = Outcome::default();
    for (name, samples, tokens) in [("texts", command.texts, text), ("pairs", command.pairs, pair)] {
        let cost = prices.cost(tokens)?;
        let share = (of_pairs > 0.0).then_some(cost / of_pairs);
        let shown = share
            .filter(|_| name == "texts")
            .map_or(String::new(), |share| format!(", {share:.2} of the pairs"));
        outcome.line(format!(
            "{name}: {samples:.0}, {:.2}M tokens read and {:.2}M written, ${cost:.2}{shown}",
            tokens.input / 1e6,
            tokens.output / 1e6,
        ));
        let (input, output) = (tokens.input, tokens.output);
        outcome.entry(
            name,
            json!({ "samples": samples, "input": input, "output": output, "dollars": cost, "share": share }),
        );
    }
    Ok(outcome)
}

/// A number, perhaps in thousands (k) or millions (M).
fn number(text: &str) -> std::result::Result<f64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value * factor),
        _ => Err("expected a number of at least 0, such as 1500, 500k or 2M".into()),
    }
}
