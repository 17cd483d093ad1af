//! Tables on an object store: a store is registered under the address that its tables have. Without an argument that is a
//! folder of this machine; a bucket of S3 must be there and empty, and its credentials in the environment.
//!
//! ```console
//! $ cargo run -p burn-revision-datafusion --example object_store
//! $ cargo run -p burn-revision-datafusion --example object_store -- s3://embeddings
//! ```

use std::sync::Arc;

use burn_revision_datafusion::{AlignOptions, align, register};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use url::Url;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let place = std::env::args().nth(1);
    let address = Url::parse(place.as_deref().unwrap_or("shelf://embeddings"))?;
    let store: Arc<dyn ObjectStore> = match address.scheme() {
        "s3" => Arc::new(AmazonS3Builder::from_env().with_url(address.as_str()).build()?),
        "shelf" => Arc::new(LocalFileSystem::new_with_prefix(folder.path())?),
        other => return Err(format!("{address}: expected an address s3://BUCKET, found {other}").into()),
    };
    let ctx = SessionContext::new();
    register(&ctx);
    ctx.register_object_store(&address, store);

    // Captions and pictures, about different points.
    let table = |name: &str| format!("{}/{name}/", address.as_str().trim_end_matches('/'));
    for (name, shift) in [("captions", 0.0), ("pictures", 0.7)] {
        let rows = format!(
            "SELECT value AS id, arrow_cast(make_array(sin(value), cos(value) + {shift}, sin(2 * value)), 'List(Float32)') AS embedding
             FROM range(10000)"
        );
        ctx.sql(&rows).await?.write_parquet(&table(name), Default::default(), None).await?;
    }

    let captions = ctx.read_parquet(table("captions"), ParquetReadOptions::default()).await?;
    let pictures = ctx.read_parquet(table("pictures"), ParquetReadOptions::default()).await?;
    let report = align(captions, pictures, &table("aligned"), &AlignOptions::default()).await?;
    let (text, image) = (report.statistics.text(), report.statistics.image());
    println!("{} captions moved", report.written);
    println!("spread of captions {:.6}, of pictures {:.6}", text.trace(), image.trace());
    report.statistics.save(folder.path().join("statistics.safetensors"))?;
    Ok(())
}
