use rand_distr::{Distribution, StandardNormal};

use crate::embedding::{EmbeddingTable, NonFinite, RowReport, clean_rows, normalize_rows};
use crate::random::seeded_rng;
use crate::{Error, Result};

/// What a model is shown: unit embeddings, looked up by the id that a conversation names.
///
/// Stage 1 shows *aligned text*: captions moved into the image distribution. Where an aligner asks for noise, it is
/// drawn afresh every time a caption is shown. Stage 2 and inference show real pictures.
#[derive(Clone, Debug)]
pub struct VisualSource {
    table: EmbeddingTable,
    noise: f64,
    report: RowReport,
}

impl VisualSource {
    /// Shows the rows of `table` plus Gaussian noise of standard deviation `noise` a coordinate (0 for none), scaled
    /// to unit length after that.
    ///
    /// # Errors
    ///
    /// What `policy` refuses: rows that are not finite or have no direction; [`Error::Config`] for noise that is
    /// negative or not finite.
    pub fn new(table: EmbeddingTable, noise: f64, policy: NonFinite) -> Result<Self> {
        if !noise.is_finite() || noise < 0.0 {
            return Err(Error::config("noise", format!("must be finite and at least 0, found {noise}")));
        }
        // Not to unit length yet: noise comes first.
        let (rows, kept, report) = clean_rows(table.rows(), table.dim(), policy, "embeddings to show", 0)?;
        Ok(Self { table: table.with_rows(rows, &kept)?, noise, report })
    }

    /// What became of the rows under the policy.
    pub fn report(&self) -> RowReport {
        self.report
    }

    /// The dimension of the embeddings.
    pub fn dim(&self) -> usize {
        self.table.dim()
    }

    /// The standard deviation of the noise, a coordinate.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// The embeddings before noise.
    pub fn table(&self) -> &EmbeddingTable {
        &self.table
    }

    /// The row of the embedding with this id.
    ///
    /// # Errors
    ///
    /// [`Error::MissingId`].
    pub fn position(&self, id: &str) -> Result<usize> {
        self.table.get(id)?;
        Ok(self.table.position(id).expect("the id was found"))
    }

    /// The embeddings at `rows`, unit and row-major. The noise of a row is a function of `seed`, `step` and the row.
    pub fn show(&self, rows: &[usize], seed: u64, step: usize) -> Vec<f32> {
        let mut shown: Vec<f32> = rows.iter().flat_map(|row| self.table.row(*row)).copied().collect();
        if self.noise > 0.0 {
            for (row, values) in rows.iter().zip(shown.chunks_mut(self.dim())) {
                let mut rng = seeded_rng(seed, &[step as u64, *row as u64]);
                for value in values {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    *value += (self.noise * normal) as f32;
                }
            }
        }
        // Rows without direction were let in by the policy or not at all.
        let normalized = normalize_rows(&shown, self.dim(), NonFinite::Zero, "embeddings to show");
        normalized.expect("whole rows").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(noise: f64) -> VisualSource {
        let table = EmbeddingTable::numbered(vec![3.0, 4.0, 0.0, 2.0, 1.0, 0.0], 2).unwrap();
        VisualSource::new(table, noise, NonFinite::Error).unwrap()
    }

    #[test]
    fn rows_are_shown_at_unit_length() {
        assert_eq!(source(0.0).show(&[1, 0], 0, 0), [0.0, 1.0, 0.6, 0.8]);
    }

    #[test]
    fn noise_is_fresh_at_every_step_and_does_not_depend_on_the_company() {
        let source = source(0.3);
        let shown = source.show(&[0, 1], 1, 5);
        assert_eq!(shown, [source.show(&[0], 1, 5), source.show(&[1], 1, 5)].concat());
        assert_ne!(shown, source.show(&[0, 1], 1, 6));
        assert_ne!(shown, source.show(&[0, 1], 2, 5));
        assert!((shown[..2].iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn impossible_noise_is_refused() {
        let table = EmbeddingTable::numbered(vec![3.0, 4.0], 2).unwrap();
        for noise in [-0.1, f64::NAN] {
            assert!(VisualSource::new(table.clone(), noise, NonFinite::Error).is_err());
        }
    }

    #[test]
    fn bad_rows_are_refused_or_counted() {
        let table = EmbeddingTable::numbered(vec![f32::NAN, 4.0, 0.0, 2.0], 2).unwrap();
        assert!(VisualSource::new(table.clone(), 0.0, NonFinite::Error).is_err());
        let source = VisualSource::new(table, 0.0, NonFinite::Skip).unwrap();
        assert_eq!((source.report().kept, source.report().skipped), (1, 1));
        assert!(source.position("0").is_err() && source.position("1").is_ok());
    }

    #[test]
    fn unknown_ids_are_named() {
        assert!(source(0.0).position("7").unwrap_err().to_string().contains("\"7\""));
    }
}
