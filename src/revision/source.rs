use rand_distr::{Distribution, StandardNormal};

use crate::Result;
use crate::embedding::{EmbeddingTable, NonFinite, RowReport, clean_rows, normalize_rows};
use crate::random::seeded_rng;

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
    /// What `policy` refuses: rows that are not finite or have no direction.
    pub fn new(table: EmbeddingTable, noise: f64, policy: NonFinite) -> Result<Self> {
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

    /// The row of the embedding with this id.
    ///
    /// # Errors
    ///
    /// [`Error::MissingId`](crate::Error::MissingId).
    pub fn position(&self, id: &str) -> Result<usize> {
        self.table.get(id)?;
        Ok(self.table.position(id).expect("the id was found"))
    }

    /// The embeddings at `rows`, unit and row-major; noise depends on `seed` and the place in `rows` alone.
    pub fn show(&self, rows: &[usize], seed: u64) -> Vec<f32> {
        let mut shown: Vec<f32> = rows.iter().flat_map(|row| self.table.row(*row)).copied().collect();
        if self.noise > 0.0 {
            let mut rng = seeded_rng(seed, &[]);
            for value in &mut shown {
                let normal: f64 = StandardNormal.sample(&mut rng);
                *value += (self.noise * normal) as f32;
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
        assert_eq!(source(0.0).show(&[1, 0], 0), [0.0, 1.0, 0.6, 0.8]);
    }

    #[test]
    fn noise_is_fresh_for_every_seed_and_repeats_with_it() {
        let source = source(0.3);
        assert_eq!(source.show(&[0, 1], 1), source.show(&[0, 1], 1));
        assert_ne!(source.show(&[0, 1], 1), source.show(&[0, 1], 2));
        let shown = source.show(&[0], 1);
        assert!((shown.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
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
