//! Decoders with the weights of a file.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::gguf::{LlamaGguf, Weight};
use super::{LlamaConfig, LlamaDecoder};
use crate::{Error, Result};

impl LlamaGguf {
    /// The configuration of the model.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for what [`LlamaDecoder`] does not have: scaled rotary frequencies, attention within a window, a
    /// bias of the output projection.
    pub fn config(&self) -> Result<LlamaConfig> {
        let parameters = self.parameters();
        let refused = [
            ("rotary frequencies that are scaled", parameters.rope_scaling.is_some()),
            ("factors of rotary frequencies", self.frequency_factors()?.is_some()),
            ("attention within a window", parameters.sliding_window.is_some()),
            ("a bias of the attention's output", parameters.output_bias),
        ];
        if let Some((what, _)) = refused.iter().find(|(_, refused)| *refused) {
            return Err(Error::format(self.file().path(), format!("the model has {what}: not supported")));
        }
        Ok(LlamaConfig::new(
            parameters.vocab_size,
            parameters.hidden_size,
            parameters.intermediate_size,
            parameters.num_hidden_layers,
            parameters.num_attention_heads,
        )
        .with_num_key_value_heads(Some(parameters.num_key_value_heads))
        .with_head_dim(Some(parameters.head_dim))
        .with_rms_norm_eps(parameters.rms_norm_eps)
        .with_rope_theta(parameters.rope_theta)
        .with_max_position_embeddings(parameters.max_position_embeddings)
        .with_tie_word_embeddings(parameters.tie_word_embeddings)
        .with_attention_bias(parameters.attention_bias))
    }

    /// The model with its weights in float32, tensor by tensor from the file.
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use burn_revision::language::gguf::LlamaGguf;
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let file = LlamaGguf::open("SmolLM2-135M-Instruct.Q4_1.gguf")?;
    /// let (model, tokenizer) = (file.init(&Device::default())?, file.tokenizer()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`LlamaGguf::config`] and [`LlamaGguf::read`], and [`Error::Format`] where a weight of the file has no place
    /// in the model, or the other way round.
    pub fn init(&self, device: &Device) -> Result<LlamaDecoder> {
        let mut fill = Fill {
            file: self,
            device,
            path: Vec::new(),
            used: vec![false; self.weights().len()],
            failed: None,
        };
        let model = self.config()?.init(device)?.map(&mut fill);
        let wrong = |detail: String| Err(Error::format(self.file().path(), detail));
        if let Some(error) = fill.failed {
            return Err(error);
        }
        match fill.used.iter().position(|used| !used) {
            Some(unused) => wrong(format!("the model has no place for {:?}", self.weights()[unused].name())),
            None => Ok(model),
        }
    }
}

/// Puts the weights of a file in the place of those of a module.
struct Fill<'a> {
    file: &'a LlamaGguf,
    device: &'a Device,
    path: Vec<String>,
    used: Vec<bool>,
    failed: Option<Error>,
}

impl Fill<'_> {
    /// The Hugging Face name of the parameter at the path.
    fn name(&self) -> String {
        // A norm's gain is called gamma here.
        let path = self.path.join(".").replace("norm.gamma", "norm.weight");
        if self.path[0] == "lm_head" { path } else { format!("model.{path}") }
    }

    fn weight(&mut self) -> Result<&Weight> {
        let name = self.name();
        let missing = || Error::format(self.file.file().path(), format!("no weight {name:?}"));
        let place =
            self.file.weights().iter().position(|weight| weight.name() == name).ok_or_else(missing)?;
        self.used[place] = true;
        Ok(&self.file.weights()[place])
    }

    fn tensor<const D: usize>(&mut self) -> Result<Tensor<D>> {
        // Hugging Face keeps linear layers as [out, in], Burn as [in, out].
        let is_linear = self.path.len() > 1 && self.path[self.path.len() - 2] != "embed_tokens";
        let file = self.file;
        let weight = self.weight()?.clone();
        let values = file.read(&weight)?;
        let data = match *weight.shape() {
            [rows, columns] if is_linear => {
                TensorData::new(transposed(&values, rows, columns), [columns, rows])
            }
            _ => TensorData::new(values, weight.shape().to_vec()),
        };
        Ok(Tensor::from_data(data, (self.device, DType::F32)))
    }
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut turned = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(columns).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            turned[column * rows + row] = value;
        }
    }
    turned
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.failed.is_some() {
            return param;
        }
        match self.tensor::<D>() {
            // The fresh value is never drawn: parameters are made when they are first used.
            Ok(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }
}
