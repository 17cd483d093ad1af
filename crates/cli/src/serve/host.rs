use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::args::ServeCommand;
use super::body::drain;
use super::error::ApiError;

/// The names under which the server answers.
///
/// A browser lets a page talk to the server that the page came from. The owner of a page can have its name resolve to
/// 127.0.0.1 once the page is loaded (DNS rebinding), and the browser then takes a server of this machine for that of the
/// page; but it says by which name it asks.
#[derive(Clone, Debug)]
pub enum Hosts {
    /// Any: the server is reached from elsewhere anyway, or by those who have the key.
    Any,
    /// This machine's own, and these.
    Own(Vec<String>),
}

impl Hosts {
    /// The names that a server has to check which listens at `address`.
    pub fn new(command: &ServeCommand, address: IpAddr) -> Self {
        let is_guarded = !address.is_loopback() || command.api_key.is_some();
        if is_guarded && command.allowed_host.is_empty() {
            return Self::Any;
        }
        Self::Own(command.allowed_host.iter().chain([&command.host]).map(|host| bare(host)).collect())
    }

    /// Whether a request for this host, with a port or without, is answered.
    fn allow(&self, host: &str) -> bool {
        let Self::Own(names) = self else { return true };
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = bare(authority.host());
        let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        // RFC 6761: names below `localhost` are of this machine.
        is_loopback || name == "localhost" || name.ends_with(".localhost") || names.contains(&name)
    }
}

/// A name as it is compared: without the brackets of addresses, the dot at the end, and capitals.
fn bare(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Refuses requests for other hosts.
pub async fn check_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let mut asked: Vec<String> = request
        .headers()
        .get_all(header::HOST)
        .iter()
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())
        .collect();
    asked.extend(request.uri().authority().map(|authority| authority.to_string()));
    // What has no name at all is no page of a browser, but is no request of HTTP/1.1 either.
    let refused = match asked.is_empty() {
        true => (!hosts.allow("")).then(String::new),
        false => asked.into_iter().find(|host| !hosts.allow(host)),
    };
    match refused {
        None => next.run(request).await,
        Some(host) => {
            drain(request.into_body()).await;
            ApiError::host(&host).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeCommand,
    }

    fn hosts(address: &str, options: &str) -> Hosts {
        let line = format!("serve --model m --host {address} {options}");
        Hosts::new(&Line::parse_from(line.split_whitespace()).serve, address.parse().unwrap())
    }

    #[test]
    fn a_local_server_answers_to_names_of_this_machine() {
        for hosts in [hosts("127.0.0.1", ""), hosts("::1", "")] {
            for host in [
                "localhost",
                "LocalHost:8080",
                "a.localhost",
                "127.0.0.1:80",
                "127.8.0.1",
                "[::1]:8080",
                "localhost.",
            ] {
                assert!(hosts.allow(host), "{host}");
            }
            for host in [
                "evil.example",
                "localhost.evil.example",
                "evil.example:8080",
                "",
                "10.0.0.1",
                "notlocalhost",
                "a b",
            ] {
                assert!(!hosts.allow(host), "{host}");
            }
        }
        let named = hosts("127.0.0.1", "--allowed-host Model.Example --allowed-host 10.0.0.1");
        assert!(named.allow("model.example:443") && named.allow("10.0.0.1") && named.allow("localhost"));
        assert!(!named.allow("evil.example"));
    }

    #[test]
    fn elsewhere_and_with_a_key_names_matter_only_where_they_are_given() {
        for (address, options) in [("0.0.0.0", ""), ("127.0.0.1", "--api-key secret")] {
            assert!(hosts(address, options).allow("evil.example"));
            let named = hosts(address, &format!("{options} --allowed-host model.example"));
            assert!(named.allow("model.example") && named.allow("127.0.0.1") && !named.allow("evil.example"));
        }
    }
}
