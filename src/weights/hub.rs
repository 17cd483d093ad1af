use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};

use crate::{Error, Result};

/// The name `owner/model` on the Hugging Face Hub that a path stands for, where no file or folder is called that.
pub(crate) fn name(path: &Path) -> Option<&str> {
    let name = path.to_str()?;
    let (owner, model) = name.split_once('/')?;
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    (!path.exists() && is_part(owner) && is_part(model) && !name.ends_with(".gguf")).then_some(name)
}

/// Downloads a model of the Hugging Face Hub by its name, `owner/model`, with a progress bar, and returns the folder.
///
/// What is in the Hub's cache already is not downloaded again; `HF_HOME` and `HF_ENDPOINT` are respected, and so is the
/// token of `huggingface-cli login`.
///
/// # Errors
///
/// [`Error::Format`] naming the model and the file where the Hub does not answer, or has no `config.json` of that name.
pub(crate) fn download(name: &str) -> Result<PathBuf> {
    let failed = |what: &str, error: ApiError| Error::format(name, format!("{what}: {error}"));
    let api = ApiBuilder::from_env().with_progress(true).build().map_err(|error| failed("the Hub", error))?;
    let repository = api.model(name.to_string());
    let files = repository.info().map_err(|error| failed("the Hub's list of files", error))?.siblings;
    let is_wanted = |file: &str| {
        !file.contains('/')
            && (file.ends_with(".json")
                || file.starts_with("model") && file.ends_with(".safetensors")
                || file == "chat_template.jinja")
    };
    let mut folder = None;
    for file in files.iter().map(|file| file.rfilename.as_str()).filter(|file| is_wanted(file)) {
        let path = repository.get(file).map_err(|error| failed(file, error))?;
        if file == "config.json" {
            folder = path.parent().map(PathBuf::from);
        }
    }
    folder.ok_or_else(|| {
        Error::format(name, "expected a config.json, found none: not a model that can be read")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        assert_eq!(name(Path::new("owner/model-1.5_b")), Some("owner/model-1.5_b"));
        for path in ["model", "./model", "../model", "a/b/c", "/model", "folder/model.gguf", "src/lib.rs"] {
            assert_eq!(name(Path::new(path)), None, "{path}");
        }
    }
}
