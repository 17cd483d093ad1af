use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Connections that are held at once; more wait to be accepted.
const CONNECTIONS: usize = 1024;

/// How long the head of a request may take, and a connection without a request may stay.
const HEAD: Duration = Duration::from_secs(30);

/// Serves connections until `stop` says so; those with a request on its way then have `grace` to end.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>, grace: Duration) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            (listener.accept().await, place)
        };
        let (stream, place) = tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => (stream, place),
                Err(error) => {
                    // As where there are no file descriptors left: they come back when clients go.
                    eprintln!("error: a connection could not be accepted: {error}");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            _ = stop.wait_for(|stop| *stop) => break,
        };
        // Pieces of an answer are small, and each is sent at once.
        let _ = stream.set_nodelay(true);
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is no error of the server.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if timeout(grace, graceful.shutdown()).await.is_err() {
        eprintln!("note: answers that were not complete after {} s are left", grace.as_secs());
    }
}
