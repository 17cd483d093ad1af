//! The weights of a folder under the names that the decoder knows.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use super::family::Family;
use super::multimodal::{Layout, is_other};
use crate::language::LlamaConfig;
use crate::weights::{PublishedNames, Shards, WeightSource, is_derived};
use crate::{Error, Result};

const OUTER: &str = "language_model.";

/// The weights of a language model: its shards, in which some names and values differ from those of LLaMA.
pub(super) struct Weights<'a> {
    shards: Shards,
    config: &'a LlamaConfig,
    family: Family,
    /// Where the checkpoint holds more than a language model.
    multimodal: Option<Layout>,
    /// Whether names begin as transformers saves them, where the layout is nested.
    has_outer_names: bool,
    /// What was read last of weights that are parts of one.
    last: RefCell<Option<(String, Vec<f32>)>>,
}

impl<'a> Weights<'a> {
    pub(super) fn new(
        shards: Shards,
        config: &'a LlamaConfig,
        family: Family,
        multimodal: Option<Layout>,
    ) -> Self {
        let has_outer_names = shards.names().iter().any(|name| name.starts_with(OUTER));
        Self { shards, config, family, multimodal, has_outer_names, last: RefCell::new(None) }
    }

    /// What is left out, for those who load the model.
    pub(super) fn notices(&self) -> Vec<String> {
        let names = self.shards.names();
        let count = |is_left_out: &dyn Fn(&str) -> bool| {
            let mut left_out: Vec<&str> =
                names.iter().map(String::as_str).filter(|name| is_left_out(name)).collect();
            left_out.sort_unstable();
            left_out.first().map(|first| format!("{} weights ({first:?} and the like)", left_out.len()))
        };
        let mut notices = Vec::new();
        if self.multimodal.is_some() {
            let others = count(&|name| is_other(name)).unwrap_or("no weights".into());
            notices.push(format!(
                "the checkpoint is multimodal and its language model alone is read: {others} are left out"
            ));
        }
        if let Some(derived) = count(&|name| is_derived(name)) {
            notices.push(format!("{derived} follow from the configuration and are left out"));
        }
        notices
    }

    /// The weight that holds one of a decoder's, the rows of it there, and the number of all its rows.
    fn fused(&self, name: &str) -> Option<(String, Range<usize>, usize)> {
        if self.family != Family::Phi3 {
            return None;
        }
        let heads = self.config.num_attention_heads;
        let head_dim = self.config.head_dim.unwrap_or(self.config.hidden_size / heads.max(1));
        let (query, key) = (heads * head_dim, self.config.kv_heads() * head_dim);
        let inner = self.config.intermediate_size;
        let (at, part) = name.strip_suffix(".weight")?.rsplit_once('.')?;
        let (whole, rows, all) = match part {
            "q_proj" => ("qkv_proj", 0..query, query + 2 * key),
            "k_proj" => ("qkv_proj", query..query + key, query + 2 * key),
            "v_proj" => ("qkv_proj", query + key..query + 2 * key, query + 2 * key),
            "gate_proj" => ("gate_up_proj", 0..inner, 2 * inner),
            "up_proj" => ("gate_up_proj", inner..2 * inner, 2 * inner),
            _ => return None,
        };
        Some((format!("{at}.{whole}.weight"), rows, all))
    }

    fn part(&self, name: &str, rows: Range<usize>, all: usize, shape: &[usize]) -> Result<Vec<f32>> {
        let &[height, width] = shape else {
            let detail = format!("{name:?}: expected a matrix, found shape {shape:?}");
            return Err(Error::format(self.path(), detail));
        };
        assert_eq!(rows.len(), height, "rows of a part of {name}");
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_none_or(|(read, _)| read != name) {
            *last = Some((name.to_string(), self.shards.read(name, &[all, width])?));
        }
        let values = last.as_ref().map(|(_, values)| values[rows.start * width..rows.end * width].to_vec());
        Ok(values.unwrap_or_default())
    }
}

/// The parts that a fused weight stands for.
fn parts(name: String) -> Vec<String> {
    for (whole, parts) in [
        (".self_attn.qkv_proj.weight", &["q_proj", "k_proj", "v_proj"][..]),
        (".mlp.gate_up_proj.weight", &["gate_proj", "up_proj"]),
    ] {
        if let Some(at) = name.strip_suffix(whole) {
            let module = &whole[..whole[1..].find('.').map_or(0, |dot| dot + 1)];
            return parts.iter().map(|part| format!("{at}{module}.{part}.weight")).collect();
        }
    }
    vec![name]
}

impl WeightSource for Weights<'_> {
    fn path(&self) -> &Path {
        self.shards.path()
    }

    fn names(&self) -> Vec<String> {
        let names = self.shards.names();
        match self.family {
            Family::Phi3 => names.into_iter().flat_map(parts).collect(),
            _ => names,
        }
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        if let Some((whole, rows, all)) = self.fused(name) {
            return self.part(&whole, rows, all, shape);
        }
        let mut values = self.shards.read(name, shape)?;
        if self.family.is_gemma() && name.contains("norm") {
            // Gemma multiplies by one plus the weight.
            values.iter_mut().for_each(|value| *value += 1.0);
        }
        Ok(values)
    }
}

impl PublishedNames for Weights<'_> {
    fn published(&self, path: &str) -> String {
        let name = self.config.published(path);
        match self.multimodal {
            None | Some(Layout::Flat) => name,
            Some(Layout::Nested) => match name.strip_prefix("model.") {
                _ if self.has_outer_names => format!("{OUTER}{name}"),
                Some(rest) => format!("model.language_model.{rest}"),
                None => name,
            },
        }
    }

    fn is_optional(&self, name: &str) -> bool {
        let plain = name.strip_prefix(OUTER).unwrap_or(name);
        is_derived(name) || self.multimodal.is_some() && is_other(name) || self.config.is_optional(plain)
    }
}
