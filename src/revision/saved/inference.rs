use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::SavedReVision;
use super::description::Description;
use crate::language::{InferenceDecoder, LlamaDecoder, Pretrained, WeightStorage};
use crate::revision::ReVision;
use crate::revision::tuned::Tuned;
use crate::{Error, Result};

impl SavedReVision<InferenceDecoder> {
    /// Reads the model in `folder` to be asked and not trained, the weights of its language model as `storage` says.
    ///
    /// Weights that training changed are floats: adapters are merged into them once, and not at every token.
    ///
    /// # Errors
    ///
    /// Those of [`load`](SavedReVision::load), and of [`Pretrained::load_for_inference`]; [`Error::Config`] with
    /// [`WeightStorage::Quantized`] where training changed the language model.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use burn_revision::language::WeightStorage;
    /// use burn_revision::revision::SavedReVision;
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let folder = "runs/stage1/model".as_ref();
    /// let saved = SavedReVision::load_for_inference(folder, WeightStorage::Auto, &Device::default())?;
    /// println!("quantised: {}", saved.model.language.is_quantized());
    /// # Ok(())
    /// # }
    /// ```
    pub fn load_for_inference(folder: &Path, storage: WeightStorage, device: &Device) -> Result<Self> {
        let description = Description::read(folder)?;
        let changed = match &description.tuned {
            Tuned::Nothing => {
                let (path, precision) = (&description.language_model, description.precision);
                let language = Pretrained::load_for_inference(path, precision, storage, device)?;
                return Self::assembled(description, folder, language, device);
            }
            Tuned::Lora(_) => "has adapters, which are merged into its weights",
            Tuned::Everything => "has weights of its own",
        };
        if storage == WeightStorage::Quantized {
            let detail = format!(
                "the language model was trained and {changed}: these are floats, and cannot be as the file of the published \
                 model has them"
            );
            return Err(Error::config("weights", detail));
        }
        Ok(SavedReVision::<LlamaDecoder>::load(folder, device)?.into())
    }
}

/// For inference: adapters are merged into the weights.
impl From<SavedReVision<LlamaDecoder>> for SavedReVision<InferenceDecoder> {
    fn from(saved: SavedReVision<LlamaDecoder>) -> Self {
        let SavedReVision {
            model,
            tokenizer,
            template,
            language_model,
            precision,
            tuned,
            alignment,
            encoder,
        } = saved;
        let ReVision { projector, language, num_visual_tokens } = model.materialize();
        let model = ReVision { projector, language: language.into(), num_visual_tokens };
        Self { model, tokenizer, template, language_model, precision, tuned, alignment, encoder }
    }
}
