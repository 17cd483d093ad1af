//! `serve`: a page to ask on, and OpenAI's protocol.
//!
//! Connections are `hyper`'s, on a few threads; the model has a thread of its own, which answers a few requests side by
//! side. A request takes a place in the queue, its picture is decoded, and its answer comes back piece by piece.

mod app;
mod args;
mod body;
mod chat;
mod connections;
mod engine;
mod error;
mod host;
mod http;
mod metrics;
mod request;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::{Semaphore, watch};

use crate::args::OutputOptions;
use crate::ask;
use crate::outcome::Outcome;
use app::App;
use burn_revision::training::keep_freed_memory;
use burn_revision::{Error, Result};
use engine::Engine;
use host::Hosts;
use metrics::Metrics;
use request::Defaults;

pub use args::{HELP, ServeCommand};

/// Pictures that are decoded at once.
const DECODERS: usize = 2;

/// `serve`: until somebody ends it.
pub fn serve(command: &ServeCommand, output: &OutputOptions) -> Result<Outcome> {
    keep_freed_memory();
    let writing = command.answer.config()?;
    for (name, value) in [
        ("max-new-tokens", command.answer.max_new_tokens),
        ("max-body", command.max_body),
        ("batch-size", command.batch_size),
    ] {
        if value == 0 {
            return Err(Error::config(name, "must be at least 1, found 0"));
        }
    }
    // The address before the model: one that is taken is found at once.
    let (listener, address) = bind(command)?;
    let metrics = Arc::new(Metrics::new());
    let options = command.model.clone();
    let (engine, model) =
        Engine::start(move || ask::open(&options), command.batch_size, Arc::clone(&metrics))?;

    let (stopper, stop) = watch::channel(false);
    let handler = move || {
        // The second one does not wait.
        if stopper.send_replace(true) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Error::config("signals", error.to_string()))?;
    let app = Arc::new(App {
        engine,
        metrics,
        defaults: Defaults {
            name: command.name.clone(),
            writing,
            stops: command.answer.stop.clone(),
            token_limit: command.token_limit.max(command.answer.max_new_tokens),
        },
        places: Arc::new(Semaphore::new(command.queue + command.batch_size)),
        queue: command.queue,
        decoders: Arc::new(Semaphore::new(DECODERS)),
        max_body: command.max_body << 20,
        max_pixels: command.max_pixels,
        timeout: Duration::from_secs(command.timeout),
        api_key: command.api_key.clone(),
        hosts: Hosts::new(command, address.ip()),
        stop: stop.clone(),
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        answers: AtomicU64::new(0),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|source| Error::io("the threads of the server", source))?;
    let router = http::router(&app);
    let grace = app.timeout;
    drop(app);
    announce(address, output);
    let served = runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        connections::serve(listener, router, stop, grace).await;
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.map_err(|source| Error::io(address.to_string(), source))?;
    // It ends when nobody can send it anything.
    let _ = model.join();
    Ok(Outcome::default())
}

fn announce(address: SocketAddr, output: &OutputOptions) {
    use std::io::Write;
    let url = format!("http://{address}");
    let line = match (output.json, output.quiet) {
        (true, _) => json!({ "url": url }).to_string(),
        (false, false) => format!("asking is at {url} (Ctrl-C ends it)"),
        (false, true) => return,
    };
    // Who reads it may have gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The address, and who listens at it.
fn bind(command: &ServeCommand) -> Result<(TcpListener, SocketAddr)> {
    let name = format!("{}:{}", command.host, command.port);
    let io = |source| Error::io(&name, source);
    let addresses = (command.host.as_str(), command.port).to_socket_addrs().map_err(io)?;
    let listener =
        TcpListener::bind(&addresses.collect::<Vec<_>>()[..]).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                let detail = format!("{name} is taken by another program: name another with --port");
                Error::config("port", detail)
            }
            std::io::ErrorKind::PermissionDenied => {
                let detail = format!("{name} may not be listened at ({error}): name a port above 1023");
                Error::config("port", detail)
            }
            _ => io(error),
        })?;
    listener.set_nonblocking(true).map_err(io)?;
    let address = listener.local_addr().map_err(io)?;
    Ok((listener, address))
}
