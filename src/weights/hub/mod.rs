//! Folders of the Hugging Face Hub by their names.

mod files;
#[cfg(test)]
#[path = "../../../tests/hub/mod.rs"]
mod server;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use serde::Deserialize;

use crate::{Error, Result};

pub(crate) use files::name;

/// How often a file is asked for before its download is given up.
const ATTEMPTS: u32 = 5;

/// Downloads a model of the Hugging Face Hub by its name, `owner/model`, with a progress bar, and returns the folder.
///
/// What is in the Hub's cache already is not downloaded again, and a download that was broken off goes on where it ended.
/// `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are respected, and so are `HF_TOKEN` and the token of
/// `huggingface-cli login`. Where the Hub cannot be reached, the copy in the cache serves, with a warning in the log.
///
/// # Errors
///
/// [`Error::Format`] naming the model, and the file and both sizes where one has not the size that the Hub lists; where the
/// Hub cannot be reached and nothing is cached; where the Hub knows no such model, wants a token, or the model has no
/// configuration.
pub(crate) fn download(name: &str) -> Result<PathBuf> {
    Hub::from_env().folder(name)
}

/// A hub and the cache of what was downloaded from it.
struct Hub {
    endpoint: Option<String>,
    cache: Cache,
    token: Option<String>,
    offline: bool,
    /// What the first repetition of a broken download waits; each further one waits twice as long.
    pause: Duration,
}

/// A state of a repository.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    rfilename: String,
    /// In bytes; mirrors may leave it out.
    size: Option<u64>,
}

/// A repository at one state, and where its files are kept.
struct PinnedRepository {
    files: ApiRepo,
    api: Api,
    cache: CacheRepo,
}

impl Hub {
    fn from_env() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = match set("HF_HUB_CACHE") {
            Some(path) => Cache::new(path.into()),
            None => Cache::from_env(),
        };
        let offline = set("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "on", "true", "yes"].contains(&value.to_lowercase().as_str()));
        Self {
            endpoint: set("HF_ENDPOINT").map(|endpoint| endpoint.trim_end_matches('/').to_string()),
            token: set("HF_TOKEN").or_else(|| cache.token()),
            cache,
            offline,
            pause: Duration::from_secs(1),
        }
    }

    /// The folder of a model with all files that are read.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let nothing_cached = || format!("the cache {} has no copy of it", self.cache.path().display());
        if self.offline {
            let missing = || Error::format(name, format!("HF_HUB_OFFLINE is set, and {}", nothing_cached()));
            return self.cached(name).ok_or_else(missing);
        }
        let api = self.api().map_err(|error| Error::format(name, format!("the Hub: {error}")))?;
        let listing = match list(&api.model(name.to_string())) {
            Ok(listing) => listing,
            Err(error) => {
                let unreachable = status(&error).is_none_or(|status| status >= 500);
                return match self.cached(name).filter(|_| unreachable) {
                    Some(folder) => {
                        log::warn!("{name}: {}; its copy in the cache is used", explain(&error));
                        Ok(folder)
                    }
                    None if unreachable => {
                        Err(Error::format(name, format!("{}; {}", explain(&error), nothing_cached())))
                    }
                    None => Err(Error::format(name, explain(&error))),
                };
            }
        };
        let names: Vec<&str> = listing.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let wanted = files::wanted(&names);
        if !wanted.iter().any(|file| files::CONFIGURATIONS.contains(file)) {
            let expected = files::CONFIGURATIONS.join(" or ");
            return Err(Error::format(
                name,
                format!("expected a {expected}, found none: not a model that can be read"),
            ));
        }
        // All files are of one state of the repository, whatever is committed there meanwhile.
        let pinned = Repo::with_revision(name.to_string(), RepoType::Model, listing.sha.clone());
        let cache = self.cache.model(name.to_string());
        let snapshot = cache.pointer_path(&listing.sha);
        let repository = PinnedRepository { files: api.repo(pinned), api, cache };
        for file in &listing.siblings {
            if wanted.contains(&file.rfilename.as_str()) {
                self.fetch(&repository, file, &snapshot.join(&file.rfilename))
                    .map_err(|detail| Error::format(name, format!("{}: {detail}", file.rfilename)))?;
            }
        }
        // Named last, so that what is found without the Hub is complete.
        repository.cache.create_ref(&listing.sha).map_err(|error| Error::io(&snapshot, error))?;
        Ok(snapshot)
    }

    fn api(&self) -> std::result::Result<Api, ApiError> {
        let builder = ApiBuilder::from_cache(self.cache.clone()).with_progress(true);
        let builder = builder.with_token(self.token.clone());
        match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.clone()),
            None => builder,
        }
        .build()
    }

    /// The folder of the last complete download.
    fn cached(&self, name: &str) -> Option<PathBuf> {
        let repository = self.cache.model(name.to_string());
        let configuration = files::CONFIGURATIONS.into_iter().find_map(|file| repository.get(file))?;
        configuration.parent().map(PathBuf::from)
    }

    /// Brings a file to its place in the cache, unless it is there in its size.
    fn fetch(
        &self,
        repository: &PinnedRepository,
        file: &ListedFile,
        path: &Path,
    ) -> std::result::Result<(), String> {
        let mut problem = String::new();
        let mut misfits = 0;
        for attempt in 0..=ATTEMPTS {
            if let Ok(found) = path.metadata() {
                match file.size {
                    Some(size) if size != found.len() => {
                        problem = format!("the Hub lists {size} bytes, found {}", found.len());
                        remove_with_target(path).map_err(|error| format!("{}: {error}", path.display()))?;
                        misfits += 1;
                    }
                    _ => return Ok(()),
                }
            }
            // A first misfit may be what an earlier download left; a third is the server's.
            if attempt == ATTEMPTS || misfits > 2 {
                break;
            }
            if attempt > 0 {
                std::thread::sleep(self.pause * 2u32.pow(attempt - 1));
            }
            match repository.files.download(&file.rfilename) {
                Ok(_) => {}
                Err(ApiError::InvalidResume) => {
                    problem = "what was there of it is longer than the file".into();
                    let url = repository.files.url(&file.rfilename);
                    let metadata = repository.api.metadata(&url).map_err(|error| explain(&error))?;
                    let part = repository.cache.blob_path(metadata.etag()).with_extension("part");
                    std::fs::remove_file(&part).map_err(|error| format!("{}: {error}", part.display()))?;
                }
                Err(error) if status(&error).is_some_and(|status| (400..500).contains(&status)) => {
                    return Err(explain(&error));
                }
                Err(error) => problem = explain(&error),
            }
        }
        Err(format!("{problem}, after {ATTEMPTS} attempts; the same command goes on from what is there"))
    }
}

fn list(repository: &ApiRepo) -> std::result::Result<Listing, ApiError> {
    let mut response = repository.info_request().query("blobs", "true").call().map_err(Box::new)?;
    Ok(response.body_mut().read_json().map_err(Box::new)?)
}

/// The status with which the Hub refused.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

/// What went wrong, and what to do.
fn explain(error: &ApiError) -> String {
    match status(error) {
        Some(status @ (401 | 403)) => format!(
            "the Hub refuses it (status {status}): the name may be misspelt, or the model private or gated; a token is \
             taken from HF_TOKEN or `huggingface-cli login`"
        ),
        Some(404) => "the Hub has no such model or file (status 404)".into(),
        Some(status) => format!("the Hub answers with status {status}"),
        None => format!("the Hub cannot be reached: {error}"),
    }
}

/// Removes a link of the cache and the file that it leads to.
fn remove_with_target(path: &Path) -> std::io::Result<()> {
    let target = path.canonicalize()?;
    std::fs::remove_file(path)?;
    if target.exists() { std::fs::remove_file(target) } else { Ok(()) }
}
