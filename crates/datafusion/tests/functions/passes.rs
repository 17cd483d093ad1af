//! The three passes give what the library gives, however rows are cut and stored.

use crate::common;
use crate::common::{DIM, Float, List, Sets, assert_same, bytes, session, values};
use burn_revision::alignment::{Method, SetMoments, Statistics};
use burn_revision_datafusion::{AlignOptions, align, apply, fit};
use datafusion::common::ScalarValue;
use datafusion::prelude::ParquetReadOptions;

#[tokio::test]
async fn statistics_and_aligned_rows_are_those_of_the_library() {
    let cases = [
        (Float::Single, List::Small, 1, 1),
        (Float::Single, List::Fixed, 4, 3),
        (Float::Single, List::Large, 2, 7),
        (Float::Half, List::Small, 3, 2),
        (Float::Half, List::Fixed, 1, 4),
        (Float::Double, List::Small, 3, 3),
        (Float::Double, List::Large, 1, 2),
    ];
    for (float, list, files, partitions) in cases {
        let sets = Sets::new(1001, 703, files, float, list);
        let ctx = session(partitions);
        let (captions, pictures) = (sets.table(&ctx, "captions").await, sets.table(&ctx, "pictures").await);
        let output = sets.place("aligned");
        let report = align(captions, pictures, &output, &AlignOptions::default()).await.unwrap();
        assert_eq!((report.written, report.rows.text.kept), (1001, 1001));
        assert_same(&report.statistics, &sets.fitted());

        let written = ctx.read_parquet(output, ParquetReadOptions::default()).await.unwrap();
        let written = written.sort_by(vec![datafusion::prelude::col("id")]).unwrap().collect().await.unwrap();
        assert_eq!(values(&written, "embedding"), sets.aligned(&report.statistics), "{float:?} {list:?}");
    }
}

#[tokio::test]
async fn sql_does_the_passes_with_nothing_but_subqueries() {
    let sets = Sets::new(500, 400, 3, Float::Single, List::Small);
    let ctx = session(3);
    sets.register(&ctx).await;
    ctx.sql(
        "CREATE TABLE begun AS SELECT alignment_statistics(
             (SELECT modality_moments(embedding) FROM captions),
             (SELECT modality_moments(embedding) FROM pictures)) AS statistics",
    )
    .await
    .unwrap();
    let fitted =
        "SELECT realign_centroid(embedding, (SELECT statistics FROM begun)) AS statistics FROM captions";
    ctx.sql(&format!("CREATE TABLE fitted AS {fitted}")).await.unwrap();
    let statistics =
        Statistics::from_bytes(&bytes(&ctx, "SELECT statistics FROM fitted").await, "fitted").unwrap();
    assert_same(&statistics, &sets.fitted());

    let query = "SELECT id, realign(embedding, (SELECT statistics FROM fitted)) AS embedding FROM captions ORDER BY id";
    let aligned = ctx.sql(query).await.unwrap().collect().await.unwrap();
    let expected = sets.aligned(&statistics);
    assert_eq!(values(&aligned, "embedding"), expected);

    // As a parameter, and as a column that a join brings.
    let parameter =
        ctx.sql("SELECT id, realign(embedding, $1) AS embedding FROM captions ORDER BY id").await.unwrap();
    let parameter =
        parameter.with_param_values(vec![ScalarValue::Binary(Some(statistics.to_bytes().unwrap()))]);
    assert_eq!(values(&parameter.unwrap().collect().await.unwrap(), "embedding"), expected);
    let join =
        "SELECT id, realign(embedding, statistics) AS embedding FROM captions CROSS JOIN fitted ORDER BY id";
    assert_eq!(values(&ctx.sql(join).await.unwrap().collect().await.unwrap(), "embedding"), expected);
}

#[tokio::test]
async fn groups_have_statistics_of_their_own_and_merge_to_those_of_all() {
    let sets = Sets::new(900, 100, 2, Float::Single, List::Small);
    let ctx = session(3);
    sets.register(&ctx).await;
    let parts =
        "SELECT id % 3 AS domain, modality_moments(embedding) AS moments FROM captions GROUP BY id % 3";
    ctx.sql(&format!("CREATE TABLE parts AS {parts}")).await.unwrap();
    let merged = bytes(&ctx, "SELECT merge_moments(moments) FROM parts").await;
    let merged = SetMoments::from_bytes(&merged, "merged").unwrap();
    let whole = bytes(&ctx, "SELECT modality_moments(embedding) FROM captions").await;
    let whole = SetMoments::from_bytes(&whole, "whole").unwrap();
    assert_eq!((merged.rows(), merged.moments().count()), (whole.rows(), 900));
    for (found, expected) in merged.moments().mean().iter().zip(whole.moments().mean()) {
        assert!((found - expected).abs() < 1e-14);
    }
    assert!((merged.moments().trace() - whole.moments().trace()).abs() < 1e-14);

    // Each domain is fitted and moved by its own statistics, in one query.
    let fitted = "SELECT domain, realign_centroid(embedding, begun.statistics) AS statistics
        FROM captions JOIN (SELECT domain, alignment_statistics(parts.moments, pictures.moments) AS statistics FROM parts
            CROSS JOIN (SELECT modality_moments(embedding) AS moments FROM pictures) AS pictures) AS begun
        ON id % 3 = domain GROUP BY domain";
    ctx.sql(&format!("CREATE TABLE fitted AS {fitted}")).await.unwrap();
    let query = "SELECT id, realign(embedding, statistics) AS embedding FROM captions JOIN fitted ON id % 3 = domain ORDER BY id";
    let all = values(&ctx.sql(query).await.unwrap().collect().await.unwrap(), "embedding");
    for domain in 0..3 {
        let own = ctx.sql(&format!("SELECT * FROM captions WHERE id % 3 = {domain}")).await.unwrap();
        let pictures = sets.table(&ctx, "pictures").await;
        let statistics = fit(own, pictures, &AlignOptions::default()).await.unwrap();
        let of_group = bytes(&ctx, &format!("SELECT statistics FROM fitted WHERE domain = {domain}")).await;
        assert_same(&Statistics::from_bytes(&of_group, "group").unwrap(), &statistics);
        let expected = sets.aligned(&Statistics::from_bytes(&of_group, "group").unwrap());
        for (found, expected) in all.chunks(DIM).zip(expected.chunks(DIM)).skip(domain).step_by(3) {
            assert_eq!(found, expected);
        }
    }
}

#[tokio::test]
async fn several_centroid_passes_and_covariances_are_gathered_too() {
    let sets = Sets::new(600, 500, 2, Float::Double, List::Fixed);
    let ctx = session(2);
    sets.register(&ctx).await;
    let options = AlignOptions {
        method: Method::ReAlign { eps: 1e-10, centroid_passes: 2 },
        ..AlignOptions::default()
    };
    let (captions, pictures) = (sets.table(&ctx, "captions").await, sets.table(&ctx, "pictures").await);
    let statistics = fit(captions.clone(), pictures, &options).await.unwrap();
    assert_eq!(statistics.centroids().len(), 2);
    let written = apply(captions, &statistics, &sets.place("twice"), &options).await.unwrap();
    assert_eq!(written, 600);

    let covariance = "SELECT alignment_statistics((SELECT modality_covariance(embedding) FROM captions),
        (SELECT modality_covariance(embedding) FROM pictures), 'whitening')";
    let whitening = Statistics::from_bytes(&bytes(&ctx, covariance).await, "whitening").unwrap();
    let store = |name: &str| burn_revision::embedding::Store::open(sets.path(name)).unwrap();
    let stores = (store("captions.npy"), store("pictures.npy"));
    let options = burn_revision::alignment::stream::FitOptions::default();
    let (whole, _) =
        burn_revision::alignment::stream::fit(&whitening.method(), &stores.0, &stores.1, &options).unwrap();
    assert_same(&whitening, &whole);
    let pairs = [&whitening, &whole].map(|one| one.text().covariance().unwrap());
    assert!(pairs[0].iter().zip(&pairs[1]).all(|(found, expected)| (found - expected).abs() < 1e-14));
}

/// Partitions of which some have no row, and a session that reads a folder with an empty file.
#[tokio::test]
async fn partitions_without_rows_change_nothing() {
    let sets = Sets::new(300, 200, 2, Float::Single, List::Small);
    let none = common::batch(common::lists(&[], DIM, Float::Single, List::Small), 0);
    common::write_parquet(&none, &sets.path("captions").join("empty.parquet"));
    let ctx = session(8);
    let (captions, pictures) = (sets.table(&ctx, "captions").await, sets.table(&ctx, "pictures").await);
    let statistics = fit(captions, pictures, &AlignOptions::default()).await.unwrap();
    assert_same(&statistics, &sets.fitted());
}
