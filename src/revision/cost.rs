use burn::config::Config;

use crate::{Error, Result};

/// What a language model takes for its tokens, in dollars a million: what training data costs that it writes.
///
/// The default is that of arXiv 2602.07026, App. H.4 (GPT-5: 1.25 to read, 10 to write).
///
/// # Example
///
/// A million captions written from text, beside a million written from pictures (Table 2 of the paper):
///
/// ```
/// use burn_revision::revision::{TokenCount, TokenPrices};
///
/// let prices = TokenPrices::new();
/// let text = prices.cost(TokenCount::CAPTION_FROM_TEXT.times(1e6))?;
/// let pairs = prices.cost(TokenCount::CAPTION_OF_PICTURE.times(1e6))?;
/// assert_eq!((format!("{text:.2}"), format!("{pairs:.2}")), ("176.05".into(), "476.05".into()));
/// assert_eq!(format!("{:.2}", text / pairs), "0.37");
/// # Ok::<(), burn_revision::Error>(())
/// ```
#[derive(Config, Debug)]
pub struct TokenPrices {
    /// For a million tokens that it reads.
    #[config(default = 1.25)]
    pub input: f64,
    /// For a million tokens that it writes.
    #[config(default = 10.0)]
    pub output: f64,
}

impl TokenPrices {
    /// The cost in dollars: `P_in T_in + P_out T_out`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a price or a number of tokens that is negative or not finite.
    pub fn cost(&self, tokens: TokenCount) -> Result<f64> {
        let values = [
            ("price of input tokens", self.input),
            ("price of output tokens", self.output),
            ("input tokens", tokens.input),
            ("output tokens", tokens.output),
        ];
        match values.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            Some((what, value)) => {
                Err(Error::config(what, format!("must be finite and at least 0, found {value}")))
            }
            None => Ok((self.input * tokens.input + self.output * tokens.output) / 1e6),
        }
    }
}

/// Tokens that a language model reads and writes.
///
/// The constants are tokens a sample, on average: the counts of arXiv 2602.07026, App. H.4, for a million samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenCount {
    /// Tokens that it reads.
    pub input: f64,
    /// Tokens that it writes.
    pub output: f64,
}

impl TokenCount {
    /// A caption that is written without a picture: the data of stage 1. The paper gives 11.64 million tokens read and 16.15
    /// written, and a cost of $176.10; these tokens cost $176.05.
    pub const CAPTION_FROM_TEXT: Self = Self { input: 11.64, output: 16.15 };

    /// A caption of a picture, whose tokens are read as well: a pair.
    ///
    /// The paper gives 221.64 million tokens read for a million pairs, and a cost of $476.05, which all of its ratios (0.37,
    /// 0.74 and 3.98) are taken of. 221.64 million tokens cost $438.55; at 251.64 million it is $476.05 to the cent, and 240
    /// tokens a picture more than without. So the printed count is a typing error, and this one has 251.64.
    pub const CAPTION_OF_PICTURE: Self = Self { input: 251.64, output: 16.15 };

    /// The tokens of `samples` such samples.
    pub fn times(self, samples: f64) -> Self {
        Self { input: self.input * samples, output: self.output * samples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    fn cost(tokens: TokenCount) -> f64 {
        TokenPrices::new().cost(tokens).unwrap()
    }

    /// arXiv 2602.07026, Table 2 and App. H.4. Token counts are printed to 10,000, which is ten cents of output.
    #[test]
    fn the_costs_are_the_printed_ones() {
        let printed = 0.1 + 0.0125;
        let text = cost(TokenCount::CAPTION_FROM_TEXT.times(1e6));
        let pairs = cost(TokenCount::CAPTION_OF_PICTURE.times(1e6));
        let unicorn = cost(TokenCount { input: 17.50e6, output: 187.14e6 });
        for (found, expected) in [(text, 176.10), (2.0 * text, 352.20), (pairs, 476.05), (unicorn, 1893.27)] {
            assert_abs_diff_eq!(found, expected, epsilon = printed);
        }
        assert_eq!(cost(TokenCount::CAPTION_FROM_TEXT.times(2e6)), 2.0 * text);
        for (found, expected) in [(text, 0.37), (2.0 * text, 0.74), (unicorn, 3.98)] {
            assert_abs_diff_eq!(found / pairs, expected, epsilon = 0.005);
        }
    }

    /// With the count that is printed for pairs, neither their cost nor a ratio is the printed one.
    #[test]
    fn the_printed_count_of_pairs_is_not_that_of_their_cost() {
        let pairs = cost(TokenCount { input: 221.64e6, output: 16.15e6 });
        assert_abs_diff_eq!(pairs, 438.55, epsilon = 0.005);
        assert!(cost(TokenCount::CAPTION_FROM_TEXT.times(1e6)) / pairs > 0.395);
    }

    #[test]
    fn prices_and_counts_below_zero_are_refused() {
        for (prices, tokens) in [
            (TokenPrices::new().with_input(-1.0), TokenCount::CAPTION_FROM_TEXT),
            (TokenPrices::new().with_output(f64::NAN), TokenCount::CAPTION_FROM_TEXT),
            (TokenPrices::new(), TokenCount::CAPTION_FROM_TEXT.times(-1.0)),
        ] {
            assert!(matches!(prices.cost(tokens), Err(Error::Config { .. })));
        }
    }
}
