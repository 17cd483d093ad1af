//! Two worker processes and a coordinator on the loopback interface.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common;
use crate::common::{Float, List, Sets, assert_same, bytes, values};
use burn_revision::alignment::SetMoments;
use burn_revision_datafusion::{AlignOptions, aggregates, align, scalars};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use datafusion_distributed::{
    DistributedExt, SessionStateBuilderExt, Worker, WorkerQueryContext, WorkerResolver, display_plan_ascii,
};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use url::Url;

/// Set for a worker that does not know the functions.
const WITHOUT_FUNCTIONS: &str = "WORKER_WITHOUT_FUNCTIONS";

/// What a worker process runs.
#[test]
#[ignore = "a process that the other tests start"]
fn worker() {
    let build = async |ctx: WorkerQueryContext| -> Result<SessionState> {
        Ok(functions(ctx.builder, std::env::var_os(WITHOUT_FUNCTIONS).is_none()).build())
    };
    let build = move |ctx: WorkerQueryContext| build(ctx);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on {}", listener.local_addr().unwrap());
        let worker = Worker::from_session_builder(build).into_worker_server();
        Server::builder().add_service(worker).serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    });
}

fn functions(mut builder: SessionStateBuilder, known: bool) -> SessionStateBuilder {
    if known {
        builder.aggregate_functions().get_or_insert_default().extend(aggregates());
        builder.scalar_functions().get_or_insert_default().extend(scalars());
    }
    let slowly = ScalarUDF::new_from_impl(Slowly(Signature::any(1, Volatility::Volatile)));
    builder.scalar_functions().get_or_insert_default().push(Arc::new(slowly));
    builder
}

/// A function that gives back its argument after a while, so that there is a middle of a query.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Slowly(Signature);

impl ScalarUDFImpl for Slowly {
    fn name(&self) -> &str {
        "slowly"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        std::thread::sleep(Duration::from_millis(100));
        Ok(args.args.remove(0))
    }
}

/// A worker process, which ends with the test.
struct Process {
    child: Child,
    url: Url,
}

impl Process {
    fn start(with_functions: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "cluster::worker", "--nocapture"]).stdout(Stdio::piped());
        if !with_functions {
            command.env(WITHOUT_FUNCTIONS, "1");
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
        let url = lines.find_map(|line| {
            line.split_once("listening on ").map(|(_, address)| format!("http://{address}"))
        });
        Self { child, url: Url::parse(&url.expect("a worker says where it listens")).unwrap() }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone)]
struct Workers(Arc<Mutex<Vec<Url>>>);

impl WorkerResolver for Workers {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

fn coordinator(workers: &[Process]) -> (SessionContext, Workers) {
    let workers = Workers(Arc::new(Mutex::new(workers.iter().map(|worker| worker.url.clone()).collect())));
    let config =
        SessionConfig::new().with_target_partitions(2).with_batch_size(64).with_repartition_file_min_size(0);
    let builder = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_distributed_worker_resolver(workers.clone())
        .with_distributed_planner()
        // As small as the tests' files are, each is worth a worker of its own.
        .with_distributed_file_scan_config_bytes_per_partition(1)
        .unwrap();
    (SessionContext::new_with_state(functions(builder, true).build()), workers)
}

async fn plan(ctx: &SessionContext, query: &str) -> String {
    let plan = ctx.sql(query).await.unwrap().create_physical_plan().await.unwrap();
    display_plan_ascii(plan.as_ref(), false)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_give_what_one_pass_of_the_library_gives() {
    let sets = Sets::new(2000, 1500, 5, Float::Half, List::Small);
    let workers = [Process::start(true), Process::start(true)];
    let (ctx, _) = coordinator(&workers);
    sets.register(&ctx).await;
    let plan = plan(&ctx, "SELECT modality_moments(embedding) FROM captions").await;
    assert!(plan.contains("tasks=2"), "the work is not shared: {plan}");

    let (captions, pictures) = (sets.table(&ctx, "captions").await, sets.table(&ctx, "pictures").await);
    let report = align(captions, pictures, &sets.place("aligned"), &AlignOptions::default()).await.unwrap();
    assert_same(&report.statistics, &sets.fitted());
    let written = ctx.read_parquet(sets.place("aligned"), ParquetReadOptions::default()).await.unwrap();
    let written = written.sort_by(vec![datafusion::prelude::col("id")]).unwrap().collect().await.unwrap();
    assert_eq!(values(&written, "embedding"), sets.aligned(&report.statistics));

    // Grouped, so that the states go from worker to worker.
    let parts =
        "SELECT id % 4 AS domain, modality_moments(embedding) AS moments FROM captions GROUP BY id % 4";
    let merged = bytes(&ctx, &format!("SELECT merge_moments(moments) FROM ({parts})")).await;
    assert_eq!(SetMoments::from_bytes(&merged, "merged").unwrap().moments().count(), 2000);
}

/// Whatever a query is doing when a worker dies, it ends with an error or with the right number.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_leaves_an_error_and_no_wrong_number() {
    let sets = Sets::new(4000, 100, 6, Float::Single, List::Small);
    let query = "SELECT modality_moments(slowly(embedding)) FROM captions";
    let mut failures = 0;
    for delay in [0, 300, 900] {
        let mut workers = [Process::start(true), Process::start(true)];
        let (ctx, resolver) = coordinator(&workers);
        sets.register(&ctx).await;
        let frame = ctx.sql(query).await.unwrap();
        let running = tokio::spawn(frame.collect());
        tokio::time::sleep(Duration::from_millis(delay)).await;
        assert!(!running.is_finished(), "there is no middle of the query after {delay} ms");
        workers[1].kill();
        match running.await.unwrap() {
            Err(error) => {
                failures += 1;
                assert!(!error.to_string().is_empty());
            }
            Ok(batches) => {
                let value = datafusion::common::ScalarValue::try_from_array(batches[0].column(0), 0).unwrap();
                let datafusion::common::ScalarValue::BinaryView(Some(value)) = value else {
                    panic!("{value:?}")
                };
                assert_eq!(SetMoments::from_bytes(&value, "moments").unwrap().moments().count(), 4000);
            }
        }
        // The one that is left does the work alone.
        resolver.0.lock().unwrap().pop();
        let moments = bytes(&ctx, "SELECT modality_moments(embedding) FROM captions").await;
        assert_eq!(SetMoments::from_bytes(&moments, "moments").unwrap().moments().count(), 4000);
    }
    assert!(failures > 0, "no query was cut off, so nothing was shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_the_functions_is_an_error_that_names_them() {
    let sets = Sets::new(400, 100, 3, Float::Single, List::Small);
    let workers = [Process::start(false), Process::start(false)];
    let (ctx, _) = coordinator(&workers);
    sets.register(&ctx).await;
    let error = ctx
        .sql("SELECT modality_moments(embedding) FROM captions")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("modality_moments"), "{error}");
}

/// What goes wrong on a worker is said where the query was asked.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_rows_come_from_workers_with_their_column() {
    let sets = Sets::new(400, 100, 3, Float::Single, List::Small);
    let odd = common::batch(common::lists(&[1.0; 15], 5, Float::Single, List::Small), 400);
    common::write_parquet(&odd, &sets.path("captions").join("odd.parquet"));
    let workers = [Process::start(true), Process::start(true)];
    let (ctx, _) = coordinator(&workers);
    sets.register(&ctx).await;
    let error = ctx
        .sql("SELECT modality_moments(embedding) FROM captions")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("embedding") && message.contains("12") && message.contains('5'), "{message}");
}
