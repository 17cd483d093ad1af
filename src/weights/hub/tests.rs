use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use hf_hub::Cache;
use tempfile::TempDir;

use super::Hub;
use super::server::{COMMIT, Faults, Server};

const NAME: &str = "owner/model";

/// A model in shards, with files beside it that are not read.
fn files() -> BTreeMap<String, Vec<u8>> {
    let weights = |length: u32| (0..length).map(|i| (i * 7) as u8).collect::<Vec<u8>>();
    BTreeMap::from([
        ("config.json".into(), b"{}".to_vec()),
        ("model-00001-of-00002.safetensors".into(), weights(40_000)),
        ("model-00002-of-00002.safetensors".into(), weights(70_000)),
        ("model.safetensors.index.json".into(), b"{\"weight_map\": {}}".to_vec()),
        ("pytorch_model.bin".into(), weights(90_000)),
        ("README.md".into(), b"# Model".to_vec()),
    ])
}

fn hub(server: &Server, cache: &TempDir) -> Hub {
    Hub {
        endpoint: Some(server.endpoint()),
        cache: Cache::new(cache.path().join("hub")),
        token: None,
        offline: false,
        pause: Duration::ZERO,
    }
}

fn cache() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Whether the folder holds what is read of the model, and no more.
fn assert_complete(folder: &std::path::Path) {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected: Vec<_> =
        files().into_iter().filter(|(name, _)| !name.ends_with("bin") && name != "README.md").collect();
    assert_eq!(names, expected.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    for (name, content) in expected {
        assert!(fs::read(folder.join(&name)).unwrap() == content, "content of {name}");
    }
}

#[test]
fn a_sharded_model_is_downloaded_once() {
    let (server, cache) = (Server::start(NAME, files(), Faults::default()), cache());
    let folder = hub(&server, &cache).folder(NAME).unwrap();
    assert_complete(&folder);
    let requests = server.requests().len();
    assert_eq!(hub(&server, &cache).folder(NAME).unwrap(), folder);
    assert_eq!(server.requests().len(), requests + 1, "the list of files alone");
}

#[test]
fn a_download_that_was_broken_off_goes_on_where_it_ended() {
    let file = "model-00002-of-00002.safetensors";
    let faults = Faults { broken: Some((file.into(), 30_000)), ..Faults::default() };
    let (server, cache) = (Server::start(NAME, files(), faults), cache());
    assert_complete(&hub(&server, &cache).folder(NAME).unwrap());
    let rest = format!("/{NAME}/resolve/{COMMIT}/{file} bytes=30000-");
    assert!(server.requests().contains(&rest), "{:?}", server.requests());
}

#[test]
fn whole_files_in_place_of_their_rests_do_no_harm() {
    let faults = Faults {
        broken: Some(("model-00001-of-00002.safetensors".into(), 1000)),
        ignores_ranges: true,
        ..Faults::default()
    };
    let (server, cache) = (Server::start(NAME, files(), faults), cache());
    assert_complete(&hub(&server, &cache).folder(NAME).unwrap());
}

#[test]
fn what_is_longer_than_the_file_is_not_gone_on_with() {
    let (server, cache) = (Server::start(NAME, files(), Faults::default()), cache());
    let blobs = cache.path().join("hub/models--owner--model/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join("model-00001-of-00002-safetensors.part"), vec![1; 50_000]).unwrap();
    assert_complete(&hub(&server, &cache).folder(NAME).unwrap());
}

#[test]
fn a_file_of_another_size_than_listed_is_named_with_both() {
    let faults = Faults { size: Some(("config.json".into(), 17)), ..Faults::default() };
    let (server, cache) = (Server::start(NAME, files(), faults), cache());
    let error = hub(&server, &cache).folder(NAME).unwrap_err().to_string();
    for part in [NAME, "config.json", "17 bytes", "found 2"] {
        assert!(error.contains(part), "{error}");
    }
    // Nothing of a download that failed is taken for a model later.
    drop(server);
    let offline = Hub {
        offline: true,
        endpoint: None,
        ..hub(&Server::start(NAME, files(), Faults::default()), &cache)
    };
    assert!(offline.folder(NAME).unwrap_err().to_string().contains("no copy"));
}

#[test]
fn a_damaged_file_of_the_cache_is_downloaded_anew() {
    let (server, cache) = (Server::start(NAME, files(), Faults::default()), cache());
    let folder = hub(&server, &cache).folder(NAME).unwrap();
    fs::write(folder.join("config.json"), "{\"longer\": 1}").unwrap();
    assert_complete(&hub(&server, &cache).folder(NAME).unwrap());
}

#[test]
fn refusals_say_what_to_do() {
    for (status, part) in [(401, "HF_TOKEN"), (403, "gated"), (404, "no such model"), (503, "status 503")] {
        let (server, cache) =
            (Server::start(NAME, files(), Faults { status: Some(status), ..Faults::default() }), cache());
        let error = hub(&server, &cache).folder(NAME).unwrap_err().to_string();
        assert!(error.contains(NAME) && error.contains(part), "{error}");
    }
    let (server, cache) = (Server::start(NAME, files(), Faults::default()), cache());
    assert!(hub(&server, &cache).folder("owner/other").unwrap_err().to_string().contains("no such model"));
}

#[test]
fn a_token_opens_what_is_private() {
    let faults = Faults { token: Some("secret".into()), ..Faults::default() };
    let (server, cache) = (Server::start(NAME, files(), faults), cache());
    let error = hub(&server, &cache).folder(NAME).unwrap_err().to_string();
    assert!(error.contains("401"), "{error}");
    let hub = Hub { token: Some("secret".into()), ..hub(&server, &cache) };
    assert_complete(&hub.folder(NAME).unwrap());
}

#[test]
fn without_the_hub_the_cache_serves() {
    let (server, cache) = (Server::start(NAME, files(), Faults::default()), cache());
    let there = hub(&server, &cache);
    let folder = there.folder(NAME).unwrap();
    drop(server);
    assert_eq!(there.folder(NAME).unwrap(), folder);
    assert_eq!(Hub { offline: true, ..there }.folder(NAME).unwrap(), folder);
    let broken = Server::start(NAME, files(), Faults { status: Some(502), ..Faults::default() });
    assert_eq!(hub(&broken, &cache).folder(NAME).unwrap(), folder);
    let empty = tempfile::tempdir().unwrap();
    let error = hub(&broken, &empty).folder(NAME).unwrap_err().to_string();
    assert!(error.contains("502") && error.contains("no copy"), "{error}");
}

#[test]
fn what_is_no_model_is_said() {
    let files = BTreeMap::from([("README.md".to_string(), b"# Data".to_vec())]);
    let (server, cache) = (Server::start(NAME, files, Faults::default()), cache());
    let error = hub(&server, &cache).folder(NAME).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}
