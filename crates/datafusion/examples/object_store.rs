//! Tables on an object store: a store is registered under the address that its tables have, here a folder of this machine.
//!
//! ```console
//! $ cargo run -p burn-revision-datafusion --example object_store
//! ```

use std::sync::Arc;

use burn_revision_datafusion::{AlignOptions, align, register};
use datafusion::object_store::local::LocalFileSystem;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use url::Url;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let ctx = SessionContext::new();
    register(&ctx);

    // An S3 bucket takes the same line: `AmazonS3Builder::from_env().with_bucket_name("embeddings").build()?` at `s3://embeddings`.
    let store = LocalFileSystem::new_with_prefix(folder.path())?;
    ctx.register_object_store(&Url::parse("shelf://embeddings")?, Arc::new(store));

    // Captions and pictures, about different points.
    for (name, shift) in [("captions", 0.0), ("pictures", 0.7)] {
        let rows = format!(
            "SELECT value AS id, arrow_cast(make_array(sin(value), cos(value) + {shift}, sin(2 * value)), 'List(Float32)') AS embedding
             FROM range(10000)"
        );
        let place = format!("shelf://embeddings/{name}/");
        ctx.sql(&rows).await?.write_parquet(&place, Default::default(), None).await?;
    }

    let captions = ctx.read_parquet("shelf://embeddings/captions/", ParquetReadOptions::default()).await?;
    let pictures = ctx.read_parquet("shelf://embeddings/pictures/", ParquetReadOptions::default()).await?;
    let report = align(captions, pictures, "shelf://embeddings/aligned/", &AlignOptions::default()).await?;
    let (text, image) = (report.statistics.text(), report.statistics.image());
    println!("{} captions moved", report.written);
    println!("spread of captions {:.6}, of pictures {:.6}", text.trace(), image.trace());
    report.statistics.save(folder.path().join("statistics.safetensors"))?;
    Ok(())
}
