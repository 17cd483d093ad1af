//! ReAlign (arXiv 2602.07026, Sec. 4) as functions of Apache DataFusion: embeddings that lie in Parquet files, on disks or on
//! object stores, are measured and moved by queries, on one machine or by the workers of an engine that stands on DataFusion.
//!
//! | function | kind | value |
//! |---|---|---|
//! | `modality_moments(embedding [, policy])` | aggregate | mean and spread of the unit rows, and how many there are |
//! | `modality_covariance(embedding [, policy])` | aggregate | the same with the covariance, for methods that need it |
//! | `merge_moments(moments)` | aggregate | the moments of all rows together: of days, of domains, of machines |
//! | `alignment_statistics(text, image [, method])` | scalar | the statistics of a method, from the moments of both sets |
//! | `realign_centroid(embedding, statistics)` | aggregate | the statistics after one centroid pass over the texts |
//! | `realign(embedding, statistics)` | scalar | the embedding among the images: a unit row of float32 |
//!
//! `embedding` is a list, large list or list of fixed size of float16, float32 or float64. `policy` says what becomes of rows that
//! are not finite or have no direction, as in [`NonFinite`](burn_revision::embedding::NonFinite): `error` (the default), `skip` or
//! `zero`. Values are opaque: what `alignment_statistics` and `realign_centroid` return is a file of statistics, byte for byte, which
//! the program and [`Statistics`](burn_revision::alignment::Statistics) read.
//!
//! What the aggregates gather is float64, and merges exactly to float64 however rows are cut into partitions.
//!
//! ```
//! use burn_revision_datafusion::register;
//! use datafusion::prelude::{ParquetReadOptions, SessionContext};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::common::Result<()> {
//! let ctx = SessionContext::new();
//! register(&ctx);
//! ctx.sql("CREATE VIEW captions AS SELECT * FROM (VALUES
//!     (1, arrow_cast([3.0, 4.0], 'List(Float32)')), (2, arrow_cast([1.0, 0.1], 'List(Float32)'))) AS t (id, embedding)").await?;
//! ctx.sql("CREATE VIEW pictures AS SELECT * FROM (VALUES
//!     (1, arrow_cast([0.0, 2.0], 'List(Float32)')), (2, arrow_cast([0.5, 1.0], 'List(Float32)'))) AS t (id, embedding)").await?;
//!
//! ctx.sql("CREATE TABLE begun AS SELECT alignment_statistics(
//!     (SELECT modality_moments(embedding) FROM captions),
//!     (SELECT modality_moments(embedding) FROM pictures)) AS statistics").await?;
//! ctx.sql("CREATE TABLE fitted AS
//!     SELECT realign_centroid(embedding, (SELECT statistics FROM begun)) AS statistics FROM captions").await?;
//! let aligned = ctx.sql("SELECT id, realign(embedding, (SELECT statistics FROM fitted)) FROM captions").await?;
//! assert_eq!(aligned.count().await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! [`align`] does the three passes and writes Parquet.

mod argument;
mod border;
mod centroid;
mod combine;
mod embedding;
mod functions;
mod moments;
mod pipeline;
mod realign;

pub use functions::{
    aggregates, alignment_statistics, merge_moments, modality_covariance, modality_moments, realign,
    realign_centroid, register, scalars,
};
pub use pipeline::{AlignOptions, AlignReport, align, apply, fit};
