use std::path::Path;

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

/// The files of which a model has one at least.
pub(super) const CONFIGURATIONS: [&str; 2] = ["config.json", "open_clip_config.json"];

/// The files of a repository that are read: weights that PyTorch saved only where there are no others, open_clip's only
/// without those of Hugging Face, and vocabularies of another kind only without a `tokenizer.json`.
pub(super) fn wanted<'a>(files: &[&'a str]) -> Vec<&'a str> {
    let is_safetensors = |file: &str| file.starts_with("model") && file.ends_with(".safetensors");
    let is_torch = |file: &str| file.starts_with("pytorch_model") && file.ends_with(".bin");
    let top: Vec<&str> = files.iter().copied().filter(|file| !file.contains('/')).collect();
    let has_safetensors = top.iter().any(|file| is_safetensors(file));
    let has_tokenizer = top.contains(&"tokenizer.json");
    let has_config = top.contains(&"config.json");
    // Sentence encoders say in a folder how they pool.
    let is_wanted = |file: &&str| {
        if file.contains('/') {
            return file.ends_with("_Pooling/config.json");
        }
        file.ends_with(".json")
            || is_safetensors(file)
            || !has_safetensors && is_torch(file)
            || !has_config && *file == "open_clip_model.safetensors"
            || !has_tokenizer && ["tokenizer.model", "merges.txt", "vocab.txt"].contains(file)
            || *file == "chat_template.jinja"
    };
    files.iter().copied().filter(is_wanted).collect()
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
        let clip =
            ["config.json", "merges.txt", "vocab.json", "open_clip_model.safetensors", "pytorch_model.bin"];
        assert_eq!(wanted(&clip), ["config.json", "merges.txt", "vocab.json", "pytorch_model.bin"]);
        let open_clip =
            ["open_clip_config.json", "open_clip_model.safetensors", "merges.txt", "tokenizer.json"];
        let read = ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"];
        assert_eq!(wanted(&open_clip), read);
        let sentences = ["config.json", "1_Pooling/config.json", "onnx/config.json"];
        assert_eq!(wanted(&sentences), sentences[..2]);
    }

    #[test]
    fn names_are_told_from_paths() {
        assert_eq!(name(Path::new("owner/model-1.5_b")), Some("owner/model-1.5_b"));
        for path in ["model", "./model", "../model", "a/b/c", "/model", "folder/model.gguf", "src/lib.rs"] {
            assert_eq!(name(Path::new(path)), None, "{path}");
        }
    }
}
