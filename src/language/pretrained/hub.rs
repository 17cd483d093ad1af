use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError};

use crate::{Error, Result};

/// Downloads a language model of the Hugging Face Hub by its name, `owner/model`, with a progress bar, and returns the
/// folder. What is in the Hub's cache already is not downloaded again; `HF_HOME` and `HF_ENDPOINT` are respected, and so
/// is the token of `huggingface-cli login`.
///
/// ```no_run
/// use burn::tensor::{Device, FloatDType};
/// use burn_revision::language::{Pretrained, download};
///
/// # fn main() -> burn_revision::Result<()> {
/// let folder = download("HuggingFaceTB/SmolLM2-135M-Instruct")?;
/// let Pretrained { model, tokenizer } = Pretrained::load(folder, FloatDType::F32, &Device::default())?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Format`] naming the model and the file where the Hub does not answer or has none of the files that
/// [`HuggingFaceFolder`](crate::language::HuggingFaceFolder) reads.
pub fn download(name: &str) -> Result<PathBuf> {
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
    folder.ok_or_else(|| Error::format(name, "no config.json: not a model that can be read"))
}
