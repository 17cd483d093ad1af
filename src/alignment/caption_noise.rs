use std::collections::BTreeMap;

use crate::embedding::{EmbeddingTable, NonFinite};
use crate::{Error, Result};

/// The noise of CapDec (arXiv 2211.00575): the standard deviation, for each coordinate, that is added to texts so that a
/// decoder trained on them bears images. It is measured on texts alone, as the mean over pairs of captions of one picture of the
/// largest difference of a coordinate, `E ||y - y'||_inf` of unit rows.
///
/// `pictures` names the picture of each row. CapDec itself is [`WithNoise`](super::WithNoise) of
/// [`Identity`](super::Identity) with this.
///
/// ```
/// use burn_revision::alignment::{Identity, WithNoise, caption_noise};
/// use burn_revision::embedding::EmbeddingTable;
///
/// # fn main() -> burn_revision::Result<()> {
/// let captions = EmbeddingTable::numbered(vec![1.0, 0.0, 0.8, 0.6, 0.0, 1.0], 2)?;
/// let sigma = caption_noise(&captions, &["dog", "dog", "cat"])?;
/// assert!((sigma - 0.6).abs() < 1e-6);
/// let capdec = WithNoise::new(Identity::new(2), sigma);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Mismatch`] for another number of names than rows, [`Error::TooFewRows`] where no picture has two captions,
/// [`Error::NonFinite`] or [`Error::ZeroRow`] for rows without direction.
pub fn caption_noise(texts: &EmbeddingTable, pictures: &[impl AsRef<str>]) -> Result<f64> {
    if pictures.len() != texts.len() {
        return Err(Error::mismatch("pictures of the captions", texts.len(), pictures.len()));
    }
    let (unit, _) = texts.normalized(NonFinite::Error, "captions")?;
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, picture) in pictures.iter().enumerate() {
        groups.entry(picture.as_ref()).or_default().push(row);
    }
    let largest = |a: usize, b: usize| {
        let pairs = unit.row(a).iter().zip(unit.row(b));
        pairs.map(|(a, b)| f64::from(a - b).abs()).fold(0.0, f64::max)
    };
    let (mut sum, mut pairs) = (0.0, 0_usize);
    for rows in groups.values() {
        for (at, &a) in rows.iter().enumerate() {
            for &b in &rows[at + 1..] {
                sum += largest(a, b);
                pairs += 1;
            }
        }
    }
    match pairs {
        0 => {
            let what = "captions of one picture".to_string();
            Err(Error::TooFewRows { what, needed: 2, actual: usize::from(!texts.is_empty()) })
        }
        _ => Ok(sum / pairs as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_those_within_a_picture() {
        let rows = vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8, -1.0, 0.0];
        let texts = EmbeddingTable::numbered(rows, 2).unwrap();
        // 0 and 1 differ by 1, 0 and 2 by 0.8, 1 and 2 by 0.6.
        let sigma = caption_noise(&texts, &["a", "a", "a", "b"]).unwrap();
        assert!((sigma - 0.8).abs() < 1e-6, "{sigma}");
        assert!(matches!(caption_noise(&texts, &["a", "b", "c", "d"]), Err(Error::TooFewRows { .. })));
        assert!(matches!(caption_noise(&texts, &["a"]), Err(Error::Mismatch { expected: 4, actual: 1, .. })));
    }
}
