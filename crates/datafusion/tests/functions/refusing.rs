//! Bad input: errors that name the column and what was expected and found, and rows that a policy leaves out.

use std::sync::Arc;

use crate::common;
use crate::common::{DIM, Float, List, Sets, batch, bytes, cloud, lists, refused, session, values};
use burn_revision::alignment::{Method, SetMoments, Statistics};
use burn_revision::embedding::NonFinite;
use burn_revision_datafusion::{AlignOptions, align, fit};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float32Builder, ListBuilder};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;

/// A column of lists, of which a row or a value may be missing.
fn ragged(rows: Vec<Option<Vec<Option<f32>>>>) -> ArrayRef {
    let mut built = ListBuilder::new(Float32Builder::new());
    rows.into_iter().for_each(|row| built.append_option(row));
    Arc::new(built.finish())
}

fn row(values: &[f32]) -> Option<Vec<Option<f32>>> {
    Some(values.iter().map(|&value| Some(value)).collect())
}

/// Tables of a session, of several partitions each.
fn tables(tables: Vec<(&str, Vec<ArrayRef>)>) -> SessionContext {
    let ctx = session(2);
    for (name, parts) in tables {
        let parts: Vec<_> = parts.into_iter().map(|part| vec![batch(part, 0)]).collect();
        let table = MemTable::try_new(parts[0][0].schema(), parts).unwrap();
        ctx.register_table(name, Arc::new(table)).unwrap();
    }
    ctx
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[tokio::test]
async fn other_types_than_lists_of_floats_are_refused_when_a_query_is_planned() {
    let ctx = session(1);
    ctx.sql("CREATE TABLE texts AS SELECT '[1.0, 2.0]' AS embedding, X'00' AS statistics, [1, 2] AS numbers")
        .await
        .unwrap();
    for query in [
        "SELECT modality_moments(embedding) FROM texts",
        "SELECT modality_covariance(embedding) FROM texts",
        "SELECT realign_centroid(embedding, statistics) FROM texts",
        "SELECT realign(embedding, statistics) FROM texts",
    ] {
        let message = refused(&ctx, query).await;
        assert_names(&message, &["\"embedding\"", "expected a list", "found Utf8"]);
    }
    assert_names(
        &refused(&ctx, "SELECT modality_moments(numbers) FROM texts").await,
        &["\"numbers\"", "Int64"],
    );
    let swapped = refused(&ctx, "SELECT realign(statistics, numbers) FROM texts").await;
    assert_names(&swapped, &["realign: expected statistics as a binary value", "List"]);
    let policy = refused(&ctx, "SELECT modality_moments([1.0, 2.0], 'drop')").await;
    assert_names(&policy, &["expected error, skip or zero", "\"drop\""]);
    assert_names(
        &refused(&ctx, "SELECT modality_moments(DISTINCT [1.0])").await,
        &["DISTINCT is not supported"],
    );
}

#[tokio::test]
async fn rows_of_different_lengths_are_refused_within_and_over_partitions() {
    let within = ragged(vec![row(&[1.0, 2.0]), row(&[1.0, 2.0, 3.0])]);
    let apart = vec![ragged(vec![row(&[1.0, 2.0])]), ragged(vec![row(&[1.0, 2.0, 3.0])])];
    let empty = ragged(vec![row(&[])]);
    let ctx = tables(vec![("within", vec![within]), ("apart", apart), ("empty", vec![empty])]);
    for function in ["modality_moments", "modality_covariance"] {
        let message = refused(&ctx, &format!("SELECT {function}(embedding) FROM within")).await;
        assert_names(&message, &["column \"embedding\"", "row 1", "expected 2 dimensions, found 3"]);
        let message = refused(&ctx, &format!("SELECT {function}(embedding) FROM apart")).await;
        assert_names(&message, &["column \"embedding\"", "2", "3"]);
        let message = refused(&ctx, &format!("SELECT {function}(embedding) FROM empty")).await;
        assert_names(&message, &["column \"embedding\"", "expected 1 dimensions, found 0"]);
    }
}

#[tokio::test]
async fn nulls_are_errors_that_a_policy_can_overrule() {
    let missing_row = ragged(vec![row(&[3.0, 4.0]), None, row(&[1.0, 0.0])]);
    let missing_value = ragged(vec![row(&[3.0, 4.0]), Some(vec![Some(1.0), None]), row(&[1.0, 0.0])]);
    let nothing = ragged(vec![None, None]);
    let ctx =
        tables(vec![("rows", vec![missing_row]), ("vals", vec![missing_value]), ("nothing", vec![nothing])]);
    let message = refused(&ctx, "SELECT modality_moments(embedding) FROM rows").await;
    assert_names(&message, &["column \"embedding\"", "row 1", "null in place of an embedding", "skip"]);
    let message = refused(&ctx, "SELECT modality_moments(embedding) FROM vals").await;
    assert_names(&message, &["column \"embedding\"", "value 1 in row 1", "null"]);

    let gathered = async |table: &str, policy: &str| {
        let query = format!("SELECT modality_moments(embedding, '{policy}') FROM {table}");
        SetMoments::from_bytes(&bytes(&ctx, &query).await, table).unwrap()
    };
    let expected = {
        let mut expected = SetMoments::new(NonFinite::Skip, 2);
        let rows = burn_revision::embedding::RawRows::single(&[3.0, 4.0, 1.0, 0.0], 2).unwrap();
        expected.update(rows, "rows").unwrap();
        expected
    };
    assert_eq!(gathered("rows", "skip").await, expected);
    let values = gathered("vals", "skip").await;
    assert_eq!((values.moments(), values.rows().skipped), (expected.moments(), 1));
    let zeroed = gathered("vals", "zero").await;
    assert_eq!((zeroed.rows().kept, zeroed.rows().zeroed), (3, 1));
    let message = refused(&ctx, "SELECT modality_moments(embedding, 'zero') FROM rows").await;
    assert_names(&message, &["column \"embedding\"", "null in place of an embedding"]);
    let found =
        ctx.sql("SELECT modality_moments(embedding, 'skip') FROM nothing").await.unwrap().collect().await;
    assert!(found.unwrap()[0].column(0).is_null(0), "no row, no moments");
}

#[tokio::test]
async fn rows_that_are_not_finite_are_named_or_left_out_as_by_the_library() {
    let mut values_of = cloud(120, 1);
    values_of[DIM * 70 + 3] = f32::NAN;
    values_of[DIM * 90..DIM * 91].fill(0.0);
    for list in [List::Small, List::Fixed, List::Large] {
        let sets = Sets::new(0, 80, 1, Float::Single, list);
        let captions = lists(&values_of, DIM, Float::Single, list);
        common::write_parquet(&batch(captions, 0), &sets.path("captions").join("part-0.parquet"));
        let ctx = session(1);
        sets.register(&ctx).await;
        let message = refused(&ctx, "SELECT modality_moments(embedding) FROM captions").await;
        assert_names(&message, &["column \"embedding\"", "row 70, column 3 is NaN"]);

        let (captions, pictures) = (sets.table(&ctx, "captions").await, sets.table(&ctx, "pictures").await);
        let options = AlignOptions { policy: NonFinite::Skip, ..AlignOptions::default() };
        let report = align(captions, pictures, &sets.place("aligned"), &options).await.unwrap();
        assert_eq!((report.written, report.rows.text.rows, report.rows.text.skipped), (118, 120, 2));

        // Without the filter the rows stay, and are null.
        let aligned = burn_revision_datafusion::realign(
            datafusion::prelude::col("embedding"),
            Expr::Literal(ScalarValue::BinaryView(Some(report.statistics.to_bytes().unwrap())), None),
        );
        let captions = sets.table(&ctx, "captions").await.select(vec![aligned.alias("embedding")]).unwrap();
        let captions = captions.collect().await.unwrap();
        let nulls: Vec<usize> = captions.iter().map(|batch| batch.column(0).null_count()).collect();
        assert_eq!(nulls.iter().sum::<usize>(), 2);
        common::write_npy(&values_of, DIM, Float::Single, &sets.path("captions.npy"));
        assert_eq!(values(&captions, "embedding"), sets.aligned(&report.statistics));
    }
}

#[tokio::test]
async fn statistics_that_do_not_fit_are_refused_with_both_values() {
    let sets = Sets::new(60, 50, 1, Float::Single, List::Small);
    let ctx = session(2);
    sets.register(&ctx).await;
    ctx.sql(
        "CREATE TABLE begun AS SELECT alignment_statistics((SELECT modality_moments(embedding) FROM captions),
            (SELECT modality_moments(embedding) FROM pictures)) AS statistics",
    )
    .await
    .unwrap();
    // Before the centroid pass.
    let message =
        refused(&ctx, "SELECT realign(embedding, (SELECT statistics FROM begun)) FROM captions").await;
    assert_names(&message, &["realign", "the centroid pass has read 0 of 60 text rows"]);
    // Of other dimensions.
    let fitted = two_dimensions(&ctx).await;
    let begun = "SELECT alignment_statistics(m, m) FROM (SELECT modality_moments(embedding) AS m FROM two)";
    let message =
        refused(&ctx, &format!("SELECT realign_centroid(embedding, ({begun})) FROM captions")).await;
    assert_names(&message, &["column \"embedding\"", "expected 2 dimensions, found 12"]);
    let message = refused(&ctx, &format!("SELECT realign(embedding, {}) FROM captions", hex(&fitted))).await;
    assert_names(&message, &["column \"embedding\"", "expected 2 dimensions, found 12"]);
    // After the centroid pass.
    let message =
        refused(&ctx, &format!("SELECT realign_centroid(embedding, {}) FROM captions", hex(&fitted))).await;
    assert_names(&message, &["no centroid pass is missing"]);
    // Of another method, of something else, and of none.
    let shift = Statistics::new(Method::MeanShift, NonFinite::Error, DIM).to_bytes().unwrap();
    for function in ["realign_centroid", "realign"] {
        let query = format!("SELECT {function}(embedding, {}) FROM captions", hex(&shift));
        let message = refused(&ctx, &query).await;
        assert_names(&message, &[function, "expected statistics of realign, found those of mean-shift"]);
    }
    let message = refused(&ctx, "SELECT realign(embedding, X'0102') FROM captions").await;
    assert_names(&message, &["realign, statistics"]);
    let message = refused(&ctx, "SELECT realign(embedding, NULL) FROM captions").await;
    assert_names(&message, &["expected statistics, found null"]);
    let message = refused(&ctx, "SELECT alignment_statistics(NULL, NULL)").await;
    assert_names(&message, &["found null for both"]);
    let message = refused(&ctx, "SELECT alignment_statistics(X'00', NULL)").await;
    assert_names(&message, &["text"]);
    let whitening =
        "SELECT alignment_statistics((SELECT modality_moments(embedding) FROM captions), NULL, 'whitening')";
    assert_names(&refused(&ctx, whitening).await, &["whitening needs covariances"]);
    // Of more rows than the moments.
    let twice = "SELECT realign_centroid(embedding, (SELECT statistics FROM begun)) FROM
        (SELECT embedding FROM captions UNION ALL SELECT embedding FROM captions)";
    let message = refused(&ctx, twice).await;
    assert_names(&message, &["column \"embedding\""]);
    // Of fewer: the pass stays open, and the map says so.
    let half = "SELECT realign_centroid(embedding, (SELECT statistics FROM begun)) AS statistics
        FROM captions WHERE id < 40";
    ctx.sql(&format!("CREATE TABLE half AS {half}")).await.unwrap();
    let message =
        refused(&ctx, "SELECT realign(embedding, (SELECT statistics FROM half)) FROM captions").await;
    assert_names(&message, &["the centroid pass has read 40 of 60 text rows"]);
}

/// Statistics of a table `two`, which it makes.
async fn two_dimensions(ctx: &SessionContext) -> Vec<u8> {
    ctx.sql("CREATE TABLE two AS SELECT * FROM (VALUES ([1.0, 2.0]), ([2.0, 0.5])) AS t (embedding)")
        .await
        .unwrap();
    let begun =
        "SELECT alignment_statistics(m, m) AS s FROM (SELECT modality_moments(embedding) AS m FROM two)";
    bytes(ctx, &format!("SELECT realign_centroid(embedding, s) FROM two CROSS JOIN ({begun})")).await
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("X'{digits}'")
}

#[tokio::test]
async fn moments_that_do_not_belong_together_are_refused_with_both_values() {
    let sets = Sets::new(60, 50, 1, Float::Single, List::Small);
    let ctx = session(2);
    sets.register(&ctx).await;
    two_dimensions(&ctx).await;
    let of = |table: &str, policy: &str| {
        format!("(SELECT modality_moments(embedding, '{policy}') AS m FROM {table})")
    };
    let (captions, two, skipping) = (of("captions", "error"), of("two", "error"), of("captions", "skip"));
    let merged = |other: &str| {
        format!("SELECT merge_moments(m) FROM (SELECT m FROM {captions} UNION ALL SELECT m FROM {other})")
    };
    assert_names(&refused(&ctx, &merged(&two)).await, &["column \"m\"", "12", "2"]);
    assert_names(&refused(&ctx, &merged(&skipping)).await, &["column \"m\"", "error", "skip"]);
    let message = refused(&ctx, &format!("SELECT alignment_statistics({captions}, {two})")).await;
    assert_names(&message, &["image", "12", "2"]);
    let message = refused(&ctx, &format!("SELECT alignment_statistics({captions}, {skipping})")).await;
    assert_names(&message, &["image", "error", "skip"]);
}

#[tokio::test]
async fn the_planner_names_what_is_missing_and_writes_nothing_over() {
    let sets = Sets::new(60, 50, 1, Float::Single, List::Small);
    let ctx = session(2);
    let table = async |name: &str| sets.table(&ctx, name).await;
    let none = table("captions").await.limit(0, Some(0)).unwrap();
    let message = fit(none, table("pictures").await, &AlignOptions::default()).await.unwrap_err().to_string();
    assert_names(&message, &["column \"embedding\" of text", "expected at least 2 rows, found none"]);
    let one = table("captions").await.limit(0, Some(1)).unwrap();
    let message = fit(one, table("pictures").await, &AlignOptions::default()).await.unwrap_err().to_string();
    assert_names(&message, &["text", "at least 2 rows, found 1"]);
    let options = AlignOptions { text_column: "vector".into(), ..AlignOptions::default() };
    let message =
        fit(table("captions").await, table("pictures").await, &options).await.unwrap_err().to_string();
    assert_names(&message, &["vector", "embedding"]);
    let options = AlignOptions { method: Method::MeanShift, ..AlignOptions::default() };
    let message =
        fit(table("captions").await, table("pictures").await, &options).await.unwrap_err().to_string();
    assert_names(&message, &["expected realign, found mean-shift"]);

    let occupied = sets.place("captions");
    let done =
        align(table("captions").await, table("pictures").await, &occupied, &AlignOptions::default()).await;
    assert_names(&done.unwrap_err().to_string(), &["expected nothing there", "part-0.parquet"]);
    assert_eq!(std::fs::read_dir(sets.path("captions")).unwrap().count(), 1);

    let other = table("pictures").await.collect().await.unwrap();
    let lists = other[0].column_by_name("embedding").unwrap().as_list::<i32>();
    assert_eq!(lists.value_length(0) as usize, DIM, "texts of two dimensions are no match");
    let two = ctx.sql("SELECT [1.0, 2.0] AS embedding FROM range(3)").await.unwrap();
    let message = fit(two, table("pictures").await, &AlignOptions::default()).await.unwrap_err().to_string();
    assert_names(&message, &["\"embedding\"", "12", "2"]);
}
