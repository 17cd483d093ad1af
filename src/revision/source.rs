use std::sync::OnceLock;

use burn::tensor::Device;
use rand_distr::{Distribution, StandardNormal};

use super::id_match::{IdMatch, Stems};
use super::shown_alignment::ShownAlignment;
use crate::alignment::Aligner;
use crate::embedding::{
    EmbeddingTable, NonFinite, RowReport, Store, StoreLookup, clean_rows, normalize_rows,
};
use crate::fingerprint::Fingerprint;
use crate::random::seeded_rng;
use crate::{Error, Result};

/// Embeddings for a model, at unit length, looked up by the id in a conversation.
///
/// In stage 1 these are *aligned text*: captions moved into the image distribution. Where an aligner asks for noise, it
/// is drawn anew every time a caption is used. In stage 2 and at inference they are those of real pictures.
///
/// The rows are those of a table in memory, or of a store, read when they are used.
#[derive(Debug)]
pub struct VisualSource {
    rows: Rows,
    alignment: Option<ShownAlignment>,
    noise: f64,
    report: RowReport,
    id_match: IdMatch,
    /// By stems, made when it is asked for; `None` where they are not different.
    stems: OnceLock<Option<Stems>>,
}

#[derive(Debug)]
enum Rows {
    Table(EmbeddingTable),
    Store(Box<StoreLookup>),
}

impl Rows {
    fn stems(&self) -> Result<Stems> {
        match self {
            Self::Table(table) => Stems::of_table(table),
            Self::Store(store) => Stems::of_store(store),
        }
    }
}

impl VisualSource {
    /// The rows of `table` plus Gaussian noise of standard deviation `noise` a coordinate (0 for none), scaled to unit
    /// length after that.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] or [`Error::ZeroRow`] for a row that `policy` refuses; [`Error::Config`] for noise that is
    /// negative or not finite.
    pub fn new(table: EmbeddingTable, noise: f64, policy: NonFinite) -> Result<Self> {
        check_noise(noise)?;
        // Not to unit length yet: noise comes first.
        let (rows, kept, report) = clean_rows(table.rows(), table.dim(), policy, "embeddings to show", 0)?;
        Ok(Self::of_rows(Rows::Table(table.with_rows(rows, &kept)?), noise, report))
    }

    /// The rows of a store of any size, with noise as in [`new`](Self::new). Only the ids are read now; a row that is not
    /// finite or has no direction is an error when it is used.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] for a store without readable ids, [`Error::MissingId`] for a row without id,
    /// [`Error::DuplicateId`] for an id of two rows;
    /// [`Error::Config`] for noise that is negative or not finite.
    pub fn open(store: &Store, noise: f64) -> Result<Self> {
        check_noise(noise)?;
        Ok(Self::of_rows(Rows::Store(Box::new(StoreLookup::open(store)?)), noise, RowReport::default()))
    }

    fn of_rows(rows: Rows, noise: f64, report: RowReport) -> Self {
        Self { rows, alignment: None, noise, report, id_match: IdMatch::Exact, stems: OnceLock::new() }
    }

    /// Compares pictures with the ids of the embeddings in this way; by default, exactly.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names both, where the ids of two embeddings have the same stem and these are to be compared;
    /// for a store, those of [`open`](Self::open) as well.
    pub fn with_id_match(mut self, id_match: IdMatch) -> Result<Self> {
        if id_match == IdMatch::Stem {
            self.stems = OnceLock::from(Some(self.rows.stems()?));
        }
        self.id_match = id_match;
        Ok(self)
    }

    /// How pictures are compared with the ids of the embeddings.
    pub fn id_match(&self) -> IdMatch {
        self.id_match
    }

    /// The same rows with other noise, as in [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for noise that is negative or not finite.
    pub fn with_noise(self, noise: f64) -> Result<Self> {
        check_noise(noise)?;
        Ok(Self { noise, ..self })
    }

    /// Lets the rows be texts that `aligner` moves when they are used, as [`Aligner::align_rows`] does with the seed 0 and
    /// their numbers here: of a store of any size, only rows that are shown are aligned.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for an aligner of another number of dimensions.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_revision::alignment::MeanShiftConfig;
    /// use burn_revision::embedding::{EmbeddingTable, NonFinite};
    /// use burn_revision::revision::VisualSource;
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let texts = EmbeddingTable::numbered(vec![1.0, 0.0, 0.6, 0.8], 2)?;
    /// let pictures = EmbeddingTable::numbered(vec![-1.0, 0.0, -0.6, 0.8], 2)?;
    /// let method = MeanShiftConfig::new().fit(&texts, &pictures)?;
    /// let source = VisualSource::new(texts, 0.0, NonFinite::Error)?.with_texts_aligned(method, &Device::default())?;
    /// assert!(source.show(&[0], 0, 0)?[0] < 0.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_texts_aligned(
        self,
        aligner: impl Aligner + Send + Sync + 'static,
        device: &Device,
    ) -> Result<Self> {
        let alignment = ShownAlignment::new(aligner, device, false, self.dim())?;
        Ok(Self { alignment: Some(alignment), ..self })
    }

    /// Lets the rows be pictures that `aligner` moves when they are used, where it does so at inference: see
    /// [`Aligner::align_image`].
    ///
    /// # Errors
    ///
    /// Those of [`with_texts_aligned`](Self::with_texts_aligned).
    pub fn with_pictures_aligned(
        self,
        aligner: impl Aligner + Send + Sync + 'static,
        device: &Device,
    ) -> Result<Self> {
        let moves_images = aligner.moves_images();
        let alignment = ShownAlignment::new(aligner, device, true, self.dim())?;
        Ok(Self { alignment: moves_images.then_some(alignment), ..self })
    }

    /// The number of rows of a table that were kept, left out or zeroed by the policy.
    pub fn report(&self) -> RowReport {
        self.report
    }

    /// The dimension of the embeddings.
    pub fn dim(&self) -> usize {
        match &self.rows {
            Rows::Table(table) => table.dim(),
            Rows::Store(store) => store.dim(),
        }
    }

    /// The standard deviation of the noise, a coordinate.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// The row of the embedding with this id, where there is one.
    pub fn position(&self, id: &str) -> Option<usize> {
        match (self.id_match, &self.rows) {
            (IdMatch::Stem, _) => self.position_of_stem(id),
            (IdMatch::Exact, Rows::Table(table)) => table.position(id),
            (IdMatch::Exact, Rows::Store(store)) => store.position(id),
        }
    }

    /// The row of the embedding whose id has the same stem. Where stems are not compared otherwise, it is for a hint: all
    /// ids are read once, and there is none where two have the same stem.
    pub(super) fn position_of_stem(&self, id: &str) -> Option<usize> {
        self.stems.get_or_init(|| self.rows.stems().ok()).as_ref()?.position(id)
    }

    /// A number that changes with the embeddings and the noise. For a store, it is computed from names, sizes and both ends
    /// of its files.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = Fingerprint::new();
        hash.add(&self.noise.to_le_bytes());
        match &self.rows {
            Rows::Table(table) => table.rows().iter().for_each(|value| hash.add(&value.to_le_bytes())),
            Rows::Store(store) => hash.add(store.fingerprint().as_bytes()),
        }
        if let Some(alignment) = &self.alignment {
            // What it makes of a row that is never zero and has no symmetry.
            let probe = (0..self.dim()).map(|column| 1.0 + column as f32 * 0.7).collect();
            alignment.apply(probe, &[0]).iter().for_each(|value| hash.add(&value.to_le_bytes()));
        }
        hash.finish()
    }

    /// The embeddings at `rows`, unit and row-major. The noise of a row is a function of `seed`, `step` and the row.
    ///
    /// # Errors
    ///
    /// For a store, [`Error::Io`] or [`Error::Format`] where a row cannot be read, and [`Error::NonFinite`] or
    /// [`Error::ZeroRow`] for a row that cannot be scaled to unit length.
    pub fn show(&self, rows: &[usize], seed: u64, step: usize) -> Result<Vec<f32>> {
        let mut shown: Vec<f32> = match &self.rows {
            Rows::Table(table) => rows.iter().flat_map(|row| table.row(*row)).copied().collect(),
            Rows::Store(store) => {
                let mut shown = vec![0.0; rows.len() * store.dim()];
                store.read(rows, &mut shown)?;
                for (row, values) in rows.iter().zip(shown.chunks(store.dim())) {
                    let (file, row) = store.locate(*row);
                    let what = file.to_string_lossy();
                    inspect_row(values, &what).map_err(|error| at_row(error, row))?;
                }
                shown
            }
        };
        if let Some(alignment) = &self.alignment
            && !rows.is_empty()
        {
            shown = alignment.apply(shown, rows);
        }
        if self.noise > 0.0 {
            for (row, values) in rows.iter().zip(shown.chunks_mut(self.dim())) {
                let mut rng = seeded_rng(seed, &[step as u64, *row as u64]);
                for value in values {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    *value += (self.noise * normal) as f32;
                }
            }
        }
        // The policy has refused rows without direction, or admitted them.
        Ok(normalize_rows(&shown, self.dim(), NonFinite::Zero, "embeddings to show")?.0)
    }
}

fn check_noise(noise: f64) -> Result<()> {
    if noise.is_finite() && noise >= 0.0 {
        return Ok(());
    }
    Err(Error::config("noise", format!("must be finite and at least 0, found {noise}")))
}

/// Refuses a row that is not finite or has no direction.
fn inspect_row(values: &[f32], what: &str) -> Result<()> {
    normalize_rows(values, values.len(), NonFinite::Error, what).map(drop)
}

/// The error of a single row, with its index in the file.
fn at_row(error: Error, row: usize) -> Error {
    match error {
        Error::NonFinite { what, column, value, .. } => Error::NonFinite { what, row, column, value },
        Error::ZeroRow { what, norm, .. } => Error::ZeroRow { what, row, norm },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    fn source(noise: f64) -> VisualSource {
        let table = EmbeddingTable::numbered(vec![3.0, 4.0, 0.0, 2.0, 1.0, 0.0], 2).unwrap();
        VisualSource::new(table, noise, NonFinite::Error).unwrap()
    }

    #[test]
    fn rows_are_shown_at_unit_length() {
        assert_eq!(source(0.0).show(&[1, 0], 0, 0).unwrap(), [0.0, 1.0, 0.6, 0.8]);
    }

    #[test]
    fn noise_is_new_at_every_step_and_does_not_depend_on_other_rows() {
        let source = source(0.3);
        let show = |rows: &[usize], seed, step| source.show(rows, seed, step).unwrap();
        let shown = show(&[0, 1], 1, 5);
        assert_eq!(shown, [show(&[0], 1, 5), show(&[1], 1, 5)].concat());
        assert_ne!(shown, show(&[0, 1], 1, 6));
        assert_ne!(shown, show(&[0, 1], 2, 5));
        assert_abs_diff_eq!(shown[..2].iter().map(|x| x * x).sum::<f32>(), 1.0, epsilon = 1e-6);
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
        assert!(source.position("0").is_none() && source.position("1").is_some());
    }

    #[test]
    fn stems_are_compared_where_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let sources = |ids: [&str; 3]| {
            let rows = vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
            let table = EmbeddingTable::new(ids.map(String::from).to_vec(), rows, 2).unwrap();
            let path = folder.path().join("rows.npy");
            crate::embedding::write_table(&table, &path).unwrap();
            let store = VisualSource::open(&Store::open(&path).unwrap(), 0.0).unwrap();
            [VisualSource::new(table, 0.0, NonFinite::Error).unwrap(), store]
        };
        for source in sources(["coco/1.jpg", "000002", "b/v1.5"]) {
            assert_eq!((source.position("coco/1.jpg"), source.position("1")), (Some(0), None));
            assert_eq!(source.position_of_stem("1"), Some(0));
            let source = source.with_id_match(IdMatch::Stem).unwrap();
            let found = ["1", "x/y/000002.jpg", "v1.5.png", "2", "coco"].map(|id| source.position(id));
            assert_eq!(found, [Some(0), Some(1), Some(2), None, None]);
            let source = source.with_id_match(IdMatch::Exact).unwrap();
            assert_eq!(source.position("1"), None);
        }
        for source in sources(["coco/1.jpg", "2", "vg/1.png"]) {
            assert_eq!((source.position("vg/1.png"), source.position_of_stem("1")), (Some(2), None));
            let error = source.with_id_match(IdMatch::Stem).unwrap_err().to_string();
            for part in ["id_match", "\"coco/1.jpg\"", "\"vg/1.png\"", "stem, \"1\""] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn a_store_shows_what_its_table_shows() {
        let folder = tempfile::tempdir().unwrap();
        let ids = ["a", "b", "c"].map(String::from).to_vec();
        let table = EmbeddingTable::new(ids, vec![3.0, 4.0, 0.0, 2.0, f32::NAN, 1.0], 2).unwrap();
        let path = folder.path().join("rows.npy");
        crate::embedding::write_table(&table, &path).unwrap();
        let lazy = VisualSource::open(&Store::open(&path).unwrap(), 0.2).unwrap();
        let eager = VisualSource::new(table, 0.2, NonFinite::Zero).unwrap();
        assert_eq!((lazy.position("b"), lazy.position("x")), (Some(1), None));
        assert_eq!(lazy.show(&[1, 0], 3, 4).unwrap(), eager.show(&[1, 0], 3, 4).unwrap());
        let error = lazy.show(&[0, 2], 3, 4).unwrap_err();
        assert!(matches!(error, Error::NonFinite { row: 2, column: 0, .. }), "{error}");
    }
}
