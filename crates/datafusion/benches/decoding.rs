//! What the aggregates cost beside reading the column that they are over: medians of interleaved runs, and their ratio.
//!
//! ```console
//! $ cargo bench -p burn-revision-datafusion --bench decoding --profile dev
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use burn_revision_datafusion::{AlignOptions, fit, register};
use datafusion::arrow::array::{ArrayRef, Float16Array, Float32Array, GenericListArray, RecordBatch};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

const ROWS: usize = 200_000;
const DIM: usize = 256;
const RUNS: usize = 9;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("{ROWS} rows of {DIM} dimensions, medians of {RUNS} runs\n");
    println!(
        "| values | partitions | decoding | modality_moments | ratio | realign_centroid | ratio | realign | ratio |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    let folder = tempfile::tempdir()?;
    for half in [false, true] {
        let path = folder.path().join(format!("{half}.parquet"));
        write(&path, half)?;
        let cores = std::thread::available_parallelism()?.get();
        for partitions in [1, cores] {
            let config = SessionConfig::new().with_target_partitions(partitions);
            let ctx = SessionContext::new_with_config(config);
            register(&ctx);
            let place = path.display().to_string();
            ctx.register_parquet("rows", &place, ParquetReadOptions::default()).await?;
            let table = ctx.table("rows").await?;
            let statistics = fit(table.clone(), table, &AlignOptions::default()).await?.to_bytes()?;
            let begun =
                "SELECT alignment_statistics(m, m) FROM (SELECT modality_moments(embedding) AS m FROM rows)";
            ctx.sql(&format!("CREATE TABLE begun AS {begun}")).await?;
            let hex: String = statistics.iter().map(|byte| format!("{byte:02x}")).collect();
            let queries = [
                "SELECT count(*), avg(array_length(embedding)) FROM rows".to_string(),
                "SELECT modality_moments(embedding) FROM rows".to_string(),
                "SELECT realign_centroid(embedding, (SELECT * FROM begun)) FROM rows".to_string(),
                format!("SELECT count(*), avg(array_length(realign(embedding, X'{hex}'))) FROM rows"),
            ];
            let mut times = vec![Vec::new(); queries.len()];
            for run in 0..=RUNS {
                for (query, times) in queries.iter().zip(&mut times) {
                    let begun = Instant::now();
                    ctx.sql(query).await?.collect().await?;
                    // The first run fills the caches.
                    if run > 0 {
                        times.push(begun.elapsed().as_secs_f64());
                    }
                }
            }
            let [decoding, moments, centroid, map] = [0, 1, 2, 3].map(|query| median(&mut times[query]));
            println!(
                "| {} | {partitions} | {:.0} ms | {:.0} ms | {:.2} | {:.0} ms | {:.2} | {:.0} ms | {:.2} |",
                if half { "f16" } else { "f32" },
                decoding * 1e3,
                moments * 1e3,
                moments / decoding,
                centroid * 1e3,
                centroid / decoding,
                map * 1e3,
                map / decoding
            );
        }
    }
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn write(path: &std::path::Path, half: bool) -> Result<(), Box<dyn Error>> {
    let item =
        Arc::new(Field::new_list_field(if half { DataType::Float16 } else { DataType::Float32 }, true));
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(20_000))
        .build();
    let mut writer = None;
    for start in (0..ROWS).step_by(10_000) {
        let values =
            (start * DIM..(start + 10_000) * DIM).map(|at| (at * 7919 % 10_007) as f32 / 5003.5 - 0.8);
        let values: ArrayRef = match half {
            true => Arc::new(Float16Array::from_iter_values(values.map(half::f16::from_f32))),
            false => Arc::new(Float32Array::from_iter_values(values)),
        };
        let lengths = OffsetBuffer::from_lengths(std::iter::repeat_n(DIM, 10_000));
        let rows: ArrayRef = Arc::new(GenericListArray::<i32>::new(Arc::clone(&item), lengths, values, None));
        let batch = RecordBatch::try_from_iter([("embedding", rows)])?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(
                std::fs::File::create(path)?,
                batch.schema(),
                Some(properties.clone()),
            )?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(())
}
