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
    let mut folder = None;
    for file in wanted(&files.iter().map(|file| file.rfilename.as_str()).collect::<Vec<_>>()) {
        let path = repository.get(file).map_err(|error| failed(file, error))?;
        if file == "config.json" {
            folder = path.parent().map(PathBuf::from);
        }
    }
    folder.ok_or_else(|| {
        Error::format(name, "expected a config.json, found none: not a model that can be read")
    })
}

/// The files of a repository that are read: weights that PyTorch saved only where there are no others, and the same of a
/// vocabulary of SentencePiece.
fn wanted<'a>(files: &[&'a str]) -> Vec<&'a str> {
    let is_safetensors = |file: &str| file.starts_with("model") && file.ends_with(".safetensors");
    let is_torch = |file: &str| file.starts_with("pytorch_model") && file.ends_with(".bin");
    let top: Vec<&str> = files.iter().copied().filter(|file| !file.contains('/')).collect();
    let has_safetensors = top.iter().any(|file| is_safetensors(file));
    let has_tokenizer = top.contains(&"tokenizer.json");
    let is_wanted = |file: &&str| {
        file.ends_with(".json")
            || is_safetensors(file)
            || !has_safetensors && is_torch(file)
            || !has_tokenizer && *file == "tokenizer.model"
            || *file == "chat_template.jinja"
    };
    top.into_iter().filter(is_wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_downloaded_once() {
        let both = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "pytorch_model.bin",
            "tokenizer.model",
            "README.md",
        ];
        assert_eq!(wanted(&both), ["config.json", "model-00001-of-00002.safetensors", "tokenizer.model"]);
        let old = [
            "config.json",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model.bin.index.json",
            "optimizer.bin",
        ];
        assert_eq!(wanted(&old), old[..3]);
        let new = [
            "tokenizer.json",
            "tokenizer.model",
            "chat_template.jinja",
            "onnx/model.safetensors",
            "training_args.bin",
        ];
        assert_eq!(wanted(&new), ["tokenizer.json", "chat_template.jinja"]);
    }

    #[test]
    fn names_are_told_from_paths() {
        assert_eq!(name(Path::new("owner/model-1.5_b")), Some("owner/model-1.5_b"));
        for path in ["model", "./model", "../model", "a/b/c", "/model", "folder/model.gguf", "src/lib.rs"] {
            assert_eq!(name(Path::new(path)), None, "{path}");
        }
    }
}
