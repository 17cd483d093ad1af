use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::seq::SliceRandom;
use serde_json::Value;

use crate::embedding::{EmbeddingTable, Record, Store, record_id};
use crate::random::seeded_rng;
use crate::{Error, Result};

/// Features of pictures and of texts, and which belong together. Clones share the features.
///
/// Pairs of one *group* have the same caption: none of them is a negative of another.
///
/// # Example
///
/// ```
/// use burn_revision::embedding::EmbeddingTable;
/// use burn_revision::encoder::FeaturePairs;
///
/// # fn main() -> burn_revision::Result<()> {
/// let images = EmbeddingTable::new(vec!["a".into(), "b".into()], vec![1.0, 0.0, 0.0, 1.0], 2)?;
/// let texts = EmbeddingTable::new(vec!["cat".into()], vec![0.5, 0.5, 0.5], 3)?;
/// let pairs = FeaturePairs::new(images, texts, vec![(0, 0), (1, 0)], vec![0, 0])?;
/// assert_eq!((pairs.len(), pairs.image_dim(), pairs.text_dim()), (2, 2, 3));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FeaturePairs {
    images: Arc<EmbeddingTable>,
    texts: Arc<EmbeddingTable>,
    /// Rows of both.
    pairs: Vec<(usize, usize)>,
    groups: Vec<usize>,
    unpaired: usize,
}

impl FeaturePairs {
    /// Pairs of a row of `images` and a row of `texts`, each with its group.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of groups than pairs, and for a row that is not there;
    /// [`Error::NonFinite`] for a feature that is NaN or infinite.
    pub fn new(
        images: EmbeddingTable,
        texts: EmbeddingTable,
        pairs: Vec<(usize, usize)>,
        groups: Vec<usize>,
    ) -> Result<Self> {
        if pairs.len() != groups.len() {
            return Err(Error::mismatch("groups of the pairs", pairs.len(), groups.len()));
        }
        for (what, table) in [("features of pictures", &images), ("features of texts", &texts)] {
            if let Some(at) = table.rows().iter().position(|value| !value.is_finite()) {
                let (row, column) = (at / table.dim(), at % table.dim());
                return Err(Error::NonFinite {
                    what: what.to_string(),
                    row,
                    column,
                    value: table.rows()[at],
                });
            }
        }
        for (image, text) in &pairs {
            for (what, row, rows) in [("pictures", *image, images.len()), ("texts", *text, texts.len())] {
                if row >= rows {
                    return Err(Error::mismatch(
                        format!("rows of {what}, for row {row} of a pair"),
                        row + 1,
                        rows,
                    ));
                }
            }
        }
        Ok(Self { images: Arc::new(images), texts: Arc::new(texts), pairs, groups, unpaired: 0 })
    }

    /// Pairs of two stores. A picture belongs to the text that the field `pair_by` of its record names (or to several, where that
    /// is a list), and without such a field to the text of its own id. Groups are captions: the field `text` or `caption` of a
    /// text's record, or else its id. Where `only` is a field and a value, pictures without them are left out.
    ///
    /// Pictures whose text is not in the store are counted, see [`unpaired`](Self::unpaired).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] for stores that cannot be read; those of [`new`](Self::new);
    /// [`Error::TooFewRows`] where nothing is paired.
    pub fn of_stores(
        images: &Store,
        texts: &Store,
        pair_by: Option<&str>,
        only: Option<(&str, &str)>,
    ) -> Result<Self> {
        let mut named = Vec::new();
        for (row, record) in images.records().enumerate() {
            let record = record?;
            if only.is_some_and(|(field, value)| text_of(record.get(field)).as_deref() != Some(value)) {
                continue;
            }
            match pair_by {
                None => named.extend(record_id(&record).map(|id| (row, id))),
                Some(field) => match record.get(field) {
                    Some(Value::Array(ids)) => {
                        named.extend(ids.iter().filter_map(|id| Some((row, text_of(Some(id))?))));
                    }
                    value => named.extend(text_of(value).map(|id| (row, id))),
                },
            }
        }
        let records: Vec<Record> = texts.records().collect::<Result<_>>()?;
        Self::named(images.read_table()?, texts.read_table()?, &records, named)
    }

    /// Pairs by the ids of a list of pictures and texts; see [`of_stores`](Self::of_stores).
    ///
    /// # Errors
    ///
    /// Those of [`of_stores`](Self::of_stores); [`Error::MissingId`] for a picture that is not in the store.
    pub fn of_list(images: &Store, texts: &Store, list: &[(String, String)]) -> Result<Self> {
        let table = images.read_table()?;
        let named = list.iter().map(|(image, text)| match table.position(image) {
            Some(row) => Ok((row, text.clone())),
            None => Err(Error::MissingId { what: images.place().display().to_string(), id: image.clone() }),
        });
        let named = named.collect::<Result<_>>()?;
        let records: Vec<Record> = texts.records().collect::<Result<_>>()?;
        Self::named(table, texts.read_table()?, &records, named)
    }

    fn named(
        images: EmbeddingTable,
        texts: EmbeddingTable,
        records: &[Record],
        named: Vec<(usize, String)>,
    ) -> Result<Self> {
        let caption = |row: usize| {
            let record = records.get(row);
            let field = |name| record.and_then(|record| text_of(record.get(name)));
            field("text").or_else(|| field("caption")).unwrap_or_else(|| texts.ids()[row].clone())
        };
        let mut numbers = HashMap::new();
        let (mut pairs, mut groups) = (Vec::new(), Vec::new());
        for (image, id) in &named {
            let Some(text) = texts.position(id) else { continue };
            let next = numbers.len();
            groups.push(*numbers.entry(caption(text)).or_insert(next));
            pairs.push((*image, text));
        }
        let unpaired = named.len() - pairs.len();
        if pairs.len() < 2 {
            let what = format!("pairs (of {} pictures and {} texts)", images.len(), texts.len());
            return Err(Error::TooFewRows { what, needed: 2, actual: pairs.len() });
        }
        Ok(Self { unpaired, ..Self::new(images, texts, pairs, groups)? })
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Pictures whose text was not there.
    pub fn unpaired(&self) -> usize {
        self.unpaired
    }

    /// The width of the features of pictures.
    pub fn image_dim(&self) -> usize {
        self.images.dim()
    }

    /// The width of the features of texts.
    pub fn text_dim(&self) -> usize {
        self.texts.dim()
    }

    /// The group of each pair.
    pub fn groups(&self) -> &[usize] {
        &self.groups
    }

    /// Two parts, by groups: no caption is in both. The second one has about this share of the groups.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a share outside `[0, 1)`; [`Error::TooFewRows`] where a part has fewer than two pairs although it
    /// should have some.
    pub fn split(&self, share: f64, seed: u64) -> Result<(Self, Self)> {
        if !(0.0..1.0).contains(&share) {
            return Err(Error::config("validation", format!("expected a share in [0, 1), found {share}")));
        }
        let mut groups = self.groups.clone();
        groups.sort_unstable();
        groups.dedup();
        groups.shuffle(&mut seeded_rng(seed, &[2]));
        let held: std::collections::HashSet<usize> =
            groups[..(share * groups.len() as f64).round() as usize].iter().copied().collect();
        let part = |is_held: bool| {
            let rows = (0..self.len()).filter(|row| held.contains(&self.groups[*row]) == is_held);
            let rows: Vec<usize> = rows.collect();
            Self {
                pairs: rows.iter().map(|row| self.pairs[*row]).collect(),
                groups: rows.iter().map(|row| self.groups[*row]).collect(),
                unpaired: 0,
                ..self.clone()
            }
        };
        let (train, valid) = (part(false), part(true));
        for (what, part, needed) in [("training", &train, true), ("validation", &valid, share > 0.0)] {
            if needed && part.len() < 2 {
                let what = format!("pairs for {what}");
                return Err(Error::TooFewRows { what, needed: 2, actual: part.len() });
            }
        }
        Ok((train, valid))
    }

    /// Mean and standard deviation of each column, over the pictures and over the texts that are in a pair.
    pub fn columns(&self) -> [Vec<(f64, f64)>; 2] {
        let distinct = |rows: Vec<usize>| {
            let mut rows = rows;
            rows.sort_unstable();
            rows.dedup();
            rows
        };
        let images = distinct(self.pairs.iter().map(|pair| pair.0).collect());
        let texts = distinct(self.pairs.iter().map(|pair| pair.1).collect());
        [columns(&self.images, &images), columns(&self.texts, &texts)]
    }

    /// Whether features of pictures, and of texts, have unit length (to the rounding of half precision): then those that heads are
    /// given later must have it too.
    pub fn is_unit(&self) -> [bool; 2] {
        let is_unit = |table: &EmbeddingTable| {
            table.rows().chunks(table.dim()).all(|row| {
                let square: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
                (square.sqrt() - 1.0).abs() < 2e-3
            })
        };
        [is_unit(&self.images), is_unit(&self.texts)]
    }

    /// The features of some pairs on a device: `[n, image_dim]` and `[n, text_dim]`, and their groups.
    pub fn batch(&self, pairs: &[usize], device: &Device) -> (Tensor<2>, Tensor<2>, Vec<usize>) {
        let gather = |table: &EmbeddingTable, row: &dyn Fn(usize) -> usize| {
            let mut values = Vec::with_capacity(pairs.len() * table.dim());
            pairs.iter().for_each(|pair| values.extend_from_slice(table.row(row(*pair))));
            Tensor::from_data(TensorData::new(values, [pairs.len(), table.dim()]), (device, DType::F32))
        };
        let image = gather(&self.images, &|pair| self.pairs[pair].0);
        let text = gather(&self.texts, &|pair| self.pairs[pair].1);
        (image, text, pairs.iter().map(|pair| self.groups[*pair]).collect())
    }
}

/// Text, or a whole number as text.
fn text_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

fn columns(table: &EmbeddingTable, rows: &[usize]) -> Vec<(f64, f64)> {
    let (dim, count) = (table.dim(), rows.len() as f64);
    let mut means = vec![0.0; dim];
    for row in rows {
        table.row(*row).iter().zip(&mut means).for_each(|(value, sum)| *sum += f64::from(*value) / count);
    }
    let mut squares = vec![0.0; dim];
    for row in rows {
        let values = table.row(*row).iter().zip(&means);
        values
            .zip(&mut squares)
            .for_each(|((value, mean), sum)| *sum += (f64::from(*value) - mean).powi(2) / count);
    }
    means.into_iter().zip(squares).map(|(mean, square)| (mean, square.sqrt())).collect()
}
