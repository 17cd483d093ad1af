//! The three passes as one call: moments of both sets, centroid, and the aligned rows in Parquet files.

use burn_revision::alignment::{FitReport, Method, Provenance, SetMoments, Statistics};
use burn_revision::embedding::NonFinite;
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::common::config::{ParquetColumnOptions, TableParquetOptions};
use datafusion::common::{Column, Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::dataframe::{DataFrame, DataFrameWriteOptions};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{ident, lit};
use futures_util::StreamExt;

use crate::functions::{modality_moments, realign, realign_centroid};
use crate::{argument, border};

/// How [`align`] runs.
///
/// ```
/// use burn_revision::embedding::NonFinite;
/// use burn_revision_datafusion::AlignOptions;
///
/// let options = AlignOptions { text_column: "text_emb".into(), policy: NonFinite::Skip, ..AlignOptions::default() };
/// assert_eq!(options.image_column, "embedding");
/// ```
#[derive(Clone, Debug)]
pub struct AlignOptions {
    /// The column of embeddings among the texts.
    pub text_column: String,
    /// The column of embeddings among the images.
    pub image_column: String,
    /// What becomes of rows without direction.
    pub policy: NonFinite,
    /// How ReAlign is fitted; another method is refused.
    pub method: Method,
    /// How Parquet is written. By default embeddings are written plainly, since floats hardly compress, and the other columns as
    /// DataFusion does by itself.
    pub parquet: Option<TableParquetOptions>,
}

impl Default for AlignOptions {
    fn default() -> Self {
        Self {
            text_column: "embedding".into(),
            image_column: "embedding".into(),
            policy: NonFinite::default(),
            method: Method::ReAlign { eps: 1e-10, centroid_passes: 1 },
            parquet: None,
        }
    }
}

/// What [`align`] did.
#[derive(Clone, Debug, PartialEq)]
pub struct AlignReport {
    /// The fitted statistics.
    pub statistics: Statistics,
    /// What became of the rows of both sets.
    pub rows: FitReport,
    /// The rows written.
    pub written: u64,
}

/// Fits ReAlign on two tables and writes the texts, moved among the images, with all their other columns as Parquet to `output`: a
/// folder of an object store that the session knows, or of a disk. Each table may be any query; texts are read three times, images
/// once.
///
/// Aligned rows are those of [`apply`](burn_revision::alignment::stream::apply) with the same statistics, to the bit.
///
/// # Errors
///
/// Where a column is missing or holds no lists of floats, rows differ in length or are not finite, a set has fewer than 2 rows,
/// `output` is there already, or a file cannot be read or written. After an error in the last pass, files of some partitions may
/// stand in `output`: it is not written to again before they are removed.
///
/// # Example
///
/// ```
/// use burn_revision_datafusion::{AlignOptions, align};
/// use datafusion::prelude::{ParquetReadOptions, SessionContext};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> datafusion::common::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let place = |name: &str| folder.path().join(name).display().to_string();
/// let ctx = SessionContext::new();
/// # for (name, shift) in [("captions", "0.0"), ("pictures", "1.0")] {
/// #     let rows = format!("SELECT value AS id, arrow_cast(make_array(sin(value), cos(value) + {shift}), 'List(Float32)') AS embedding FROM range(100)");
/// #     ctx.sql(&rows).await?.write_parquet(&place(name), Default::default(), None).await?;
/// # }
/// let captions = ctx.read_parquet(place("captions"), ParquetReadOptions::default()).await?;
/// let pictures = ctx.read_parquet(place("pictures"), ParquetReadOptions::default()).await?;
/// let report = align(captions, pictures, &place("aligned"), &AlignOptions::default()).await?;
/// assert_eq!(report.written, 100);
/// # Ok(())
/// # }
/// ```
pub async fn align(
    text: DataFrame,
    image: DataFrame,
    output: &str,
    options: &AlignOptions,
) -> Result<AlignReport> {
    // Before the work, not after the half of it.
    check_free(&text, output).await?;
    let statistics = fit(text.clone(), image, options).await?;
    let written = apply(text, &statistics, output, options).await?;
    Ok(AlignReport { rows: statistics.report(), statistics, written })
}

/// The first two passes: the statistics of ReAlign, ready for [`apply`].
///
/// # Errors
///
/// Those of [`align`].
pub async fn fit(text: DataFrame, image: DataFrame, options: &AlignOptions) -> Result<Statistics> {
    if !matches!(options.method, Method::ReAlign { .. }) {
        return plan_err!("method: expected realign, found {}", options.method);
    }
    let sets = [("image", image, &options.image_column), ("text", text.clone(), &options.text_column)];
    let mut statistics: Option<Statistics> = None;
    for (set, frame, column) in sets {
        let wrong = border::of_column(column);
        let moments = modality_moments(ident(column), lit(options.policy.to_string()));
        let Some(bytes) = one_value(frame, moments).await? else {
            return exec_err!("column {column:?} of {set}: expected at least 2 rows, found none");
        };
        let moments = SetMoments::from_bytes(&bytes, &border::name(column)).map_err(&wrong)?;
        let statistics =
            statistics.get_or_insert_with(|| Statistics::new(options.method, options.policy, moments.dim()));
        let source =
            Provenance { set: set.into(), place: "a query".into(), files: 0, rows: moments.rows().rows };
        statistics.add_set(source, &moments).map_err(&wrong)?;
    }
    let column = &options.text_column;
    let wrong = border::of_column(column);
    let mut statistics = statistics.ok_or_else(|| exec_datafusion_err!("no set"))?;
    while let Some((read, rows)) = statistics.missing_centroid() {
        if read > 0 {
            return exec_err!(
                "column {column:?} of text: the centroid pass has read {read} of {rows} rows: the table has changed"
            );
        }
        let begun = literal(&statistics)?;
        let Some(bytes) = one_value(text.clone(), realign_centroid(ident(column), begun)).await? else {
            return exec_err!(
                "column {column:?} of text: expected {rows} rows in the centroid pass, found none"
            );
        };
        statistics = Statistics::from_bytes(&bytes, "statistics").map_err(&wrong)?;
    }
    // Too small a set is known here, and not first on a worker.
    statistics.closed_form().map_err(&wrong)?;
    Ok(statistics)
}

/// The last pass: writes a table with its embeddings moved, as [`align`] does; how many rows.
///
/// An engine that gathers results on one machine writes them there. Where that is too slow, each machine calls this on its own share
/// of the files, with the same statistics.
///
/// # Errors
///
/// Those of [`align`].
pub async fn apply(
    text: DataFrame,
    statistics: &Statistics,
    output: &str,
    options: &AlignOptions,
) -> Result<u64> {
    check_free(&text, output).await?;
    let column = &options.text_column;
    let map = literal(statistics)?;
    let fields = text.schema().iter();
    let columns: Vec<Expr> = fields
        .map(|(relation, field)| match field.name() == column {
            true => realign(ident(column), map.clone()).alias(column),
            false => Expr::Column(Column::new(relation.cloned(), field.name())),
        })
        .collect();
    if !text.schema().fields().iter().any(|field| field.name() == column) {
        let names: Vec<&str> = text.schema().fields().iter().map(|field| field.name().as_str()).collect();
        return plan_err!("column {column:?}: expected one of {}", names.join(", "));
    }
    let mut aligned = text.select(columns)?;
    if statistics.policy() == NonFinite::Skip {
        aligned = aligned.filter(ident(column).is_not_null())?;
    }
    let parquet = options.parquet.clone().unwrap_or_else(|| plain(column));
    let counts = aligned.write_parquet(output, DataFrameWriteOptions::new(), Some(parquet)).await?;
    let counts = counts.iter().flat_map(|batch| batch.column(0).as_primitive::<UInt64Type>().values());
    Ok(counts.sum())
}

/// Floats without dictionary, statistics and compression, which take time and save next to nothing.
fn plain(column: &str) -> TableParquetOptions {
    let mut options = TableParquetOptions::default();
    let values = ParquetColumnOptions {
        dictionary_enabled: Some(false),
        statistics_enabled: Some("none".into()),
        compression: Some("uncompressed".into()),
        ..ParquetColumnOptions::default()
    };
    options.column_specific_options.insert(format!("{column}.list.item"), values);
    options
}

fn literal(statistics: &Statistics) -> Result<Expr> {
    let bytes = statistics.to_bytes().map_err(border::of("statistics"))?;
    Ok(Expr::Literal(argument::value(Some(bytes)), None))
}

/// The value of an aggregate function over a whole table.
async fn one_value(frame: DataFrame, function: Expr) -> Result<Option<Vec<u8>>> {
    let batches = frame.aggregate(Vec::new(), vec![function])?.collect().await?;
    let values: Vec<&ArrayRef> =
        batches.iter().filter(|batch| batch.num_rows() > 0).map(|batch| batch.column(0)).collect();
    let &[value] = values.as_slice() else {
        return exec_err!("expected one value of an aggregate function, found {} batches", values.len());
    };
    match ScalarValue::try_from_array(value, 0)? {
        ScalarValue::BinaryView(bytes) | ScalarValue::Binary(bytes) => Ok(bytes),
        other => exec_err!("expected a binary value, found {other:?}"),
    }
}

/// Refuses to write where something is.
async fn check_free(frame: &DataFrame, output: &str) -> Result<()> {
    let url = ListingTableUrl::parse(output)?;
    let store = frame.task_ctx().runtime_env().object_store(&url)?;
    match store.list(Some(url.prefix())).next().await {
        None => Ok(()),
        Some(Ok(found)) => exec_err!("{output}: expected nothing there, found {}", found.location),
        Some(Err(datafusion::object_store::Error::NotFound { .. })) => Ok(()),
        Some(Err(error)) => Err(error.into()),
    }
}
