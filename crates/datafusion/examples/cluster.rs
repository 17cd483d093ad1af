//! Aligns tables of embeddings by several processes, with `datafusion-distributed`: workers, and a coordinator that asks them.
//!
//! ```console
//! $ cargo run -p burn-revision-datafusion --example cluster -- worker --listen 127.0.0.1:50051 &
//! $ cargo run -p burn-revision-datafusion --example cluster -- worker --listen 127.0.0.1:50052 &
//! $ cargo run -p burn-revision-datafusion --example cluster -- align --workers http://127.0.0.1:50051,http://127.0.0.1:50052 \
//!       --text captions/ --image pictures/ --output aligned/
//! ```
//!
//! Workers read the files themselves, so all processes must reach them under the same names. `synthetic` makes such tables.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn_revision_datafusion::{AlignOptions, aggregates, apply, fit, scalars};
use clap::Parser;
use datafusion::arrow::array::{
    ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Int64Array, RecordBatch,
};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use datafusion_distributed::{
    DistributedExt, SessionStateBuilderExt, Worker, WorkerQueryContext, WorkerResolver,
};
use tonic::transport::Server;
use url::Url;

#[derive(Parser)]
enum Command {
    /// Do what a coordinator asks for, until the process is ended
    Worker {
        /// The address to listen at
        #[arg(long)]
        listen: SocketAddr,
        /// Threads; as many as there are cores by default
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Fit on two tables and write the texts, aligned
    Align {
        /// The workers' addresses; none to do everything in this process
        #[arg(long, value_delimiter = ',')]
        workers: Vec<Url>,
        /// A file or folder of Parquet, or its place on an object store
        #[arg(long)]
        text: String,
        #[arg(long)]
        image: String,
        /// Where the aligned texts go; without it only statistics are fitted
        #[arg(long)]
        output: Option<String>,
        /// Where the statistics go
        #[arg(long)]
        statistics: Option<PathBuf>,
        /// Partitions of a worker
        #[arg(long, default_value_t = 2)]
        partitions: usize,
    },
    /// Write a table of rows about a point, as Parquet in several files
    Synthetic {
        #[arg(long)]
        output: PathBuf,
        #[arg(long)]
        rows: usize,
        #[arg(long, default_value_t = 256)]
        dim: usize,
        #[arg(long, default_value_t = 8)]
        files: usize,
        /// In half precision
        #[arg(long)]
        half: bool,
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse() {
        Command::Worker { listen, threads } => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            threads.map(|threads| runtime.worker_threads(threads));
            runtime.enable_all().build()?.block_on(async {
                let worker = Worker::from_session_builder(worker_session).into_worker_server();
                Server::builder().add_service(worker).serve(listen).await
            })?;
            Ok(())
        }
        Command::Align { workers, text, image, output, statistics, partitions } => {
            let run = run(workers, [text, image], output, statistics, partitions);
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run)
        }
        Command::Synthetic { output, rows, dim, files, half, seed } => {
            synthetic(output, rows, dim, files, half, seed)
        }
    }
}

/// The session of a worker knows the functions by their names.
async fn worker_session(ctx: WorkerQueryContext) -> datafusion::common::Result<SessionState> {
    Ok(with_functions(ctx.builder).build())
}

fn with_functions(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder.aggregate_functions().get_or_insert_default().extend(aggregates());
    builder.scalar_functions().get_or_insert_default().extend(scalars());
    builder
}

struct Workers(Vec<Url>);

impl WorkerResolver for Workers {
    fn get_urls(&self) -> datafusion::common::Result<Vec<Url>> {
        Ok(self.0.clone())
    }
}

fn session(workers: Vec<Url>, partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions);
    let mut builder = SessionStateBuilder::new_with_default_features().with_config(config);
    if !workers.is_empty() {
        builder = builder.with_distributed_worker_resolver(Workers(workers)).with_distributed_planner();
    }
    SessionContext::new_with_state(with_functions(builder).build())
}

async fn run(
    workers: Vec<Url>,
    [text, image]: [String; 2],
    output: Option<String>,
    path: Option<PathBuf>,
    partitions: usize,
) -> Result<(), Box<dyn Error>> {
    let ctx = session(workers, partitions);
    let text = ctx.read_parquet(text, ParquetReadOptions::default()).await?;
    let image = ctx.read_parquet(image, ParquetReadOptions::default()).await?;
    let options = AlignOptions::default();
    let begun = Instant::now();
    let statistics = fit(text.clone(), image, &options).await?;
    let report = statistics.report();
    println!(
        "fitted on {} texts and {} images of {} dimensions in {:.2} s",
        report.text.kept,
        report.image.kept,
        statistics.dim(),
        begun.elapsed().as_secs_f64()
    );
    if let Some(path) = path {
        statistics.save(path)?;
    }
    if let Some(output) = output {
        let begun = Instant::now();
        let written = apply(text, &statistics, &output, &options).await?;
        println!("{written} aligned rows in {output} in {:.2} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Rows whose coordinates are a point of the seed and noise of a small linear congruential generator.
fn synthetic(
    output: PathBuf,
    rows: usize,
    dim: usize,
    files: usize,
    half: bool,
    seed: u64,
) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&output)?;
    let item =
        Arc::new(Field::new_list_field(if half { DataType::Float16 } else { DataType::Float32 }, true));
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_compression(Compression::UNCOMPRESSED)
        .set_max_row_group_row_count(Some(100_000))
        .build();
    let centre: Vec<f32> = (0..dim).map(|column| ((column as u64 + 97 * seed) as f32).sin() / 2.0).collect();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut first = 0;
    for file in 0..files {
        let share = rows * (file + 1) / files - rows * file / files;
        let mut writer = None;
        for start in (0..share).step_by(10_000) {
            let count = 10_000.min(share - start);
            let mut values = Vec::with_capacity(count * dim);
            for _ in 0..count {
                for centre in &centre {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    values.push(centre + (state >> 40) as f32 / (1 << 23) as f32 - 1.0);
                }
            }
            let values: ArrayRef = match half {
                true => Arc::new(
                    values.iter().map(|&value| Some(half::f16::from_f32(value))).collect::<Float16Array>(),
                ),
                false => Arc::new(Float32Array::from(values)),
            };
            let ids = Int64Array::from_iter_values((first..first + count).map(|id| id as i64));
            let embedding = FixedSizeListArray::new(Arc::clone(&item), dim as i32, values, None);
            let batch = RecordBatch::try_from_iter([
                ("id", Arc::new(ids) as ArrayRef),
                ("embedding", Arc::new(embedding)),
            ])?;
            if writer.is_none() {
                let file = std::fs::File::create(output.join(format!("part-{file:03}.parquet")))?;
                writer = Some(ArrowWriter::try_new(file, batch.schema(), Some(properties.clone()))?);
            }
            if let Some(writer) = &mut writer {
                writer.write(&batch)?;
            }
            first += count;
        }
        if let Some(writer) = writer {
            writer.close()?;
        }
    }
    println!("{rows} rows of {dim} dimensions in {}", output.display());
    Ok(())
}
