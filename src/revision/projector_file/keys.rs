//! The names of a projector's arrays.
//!
//! | from | names |
//! |---|---|
//! | LLaVA, Bunny | `model.mm_projector.weight`, or `model.mm_projector.0.weight` and `.2.weight` |
//! | `transformers` | `model.multi_modal_projector.linear_1.weight` and `.linear_2.weight`, or without `model.` |
//! | llama.cpp | `mm.0.weight` and `mm.2.weight` |
//!
//! The first and the last have the numbers of a `Sequential` of Linear, GELU, Linear and so on. Wrappers for training add
//! prefixes: `module.` (data parallel), `_orig_mod.` (`torch.compile`), `base_model.model.` (LoRA); in some models of
//! Bunny and LLaVA-MPT, the language model is `transformer`.

use std::fmt;
use std::path::Path;

use crate::{Error, Result};

/// What the names of a projector in a larger model contain.
const MARK: &str = "mm_projector.";
/// That of `transformers`, before `linear_1.` and `linear_2.`.
const LINEAR_MARK: &str = "multi_modal_projector.";
/// How those of llama.cpp begin.
const GGUF_MARK: &str = "mm.";

/// The prefixes that may precede a mark, once or several times.
const PREFIXES: [&str; 5] = ["module.", "_orig_mod.", "base_model.model.", "model.", "transformer."];
/// Those of them that may precede the name in a projector alone: they are put around any module.
const WRAPPERS: usize = 2;

/// In a `Sequential` every second module is an activation, which has no weights.
const STEP: usize = 2;

/// Weight or bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Weight,
    Bias,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
        })
    }
}

/// The place of an array in a projector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The layer, counted from zero; `None` for the only one of a linear projector.
    pub(super) layer: Option<usize>,
    pub(super) part: Part,
}

impl Place {
    /// The place that a name means, with or without a mark and prefixes.
    ///
    /// # Errors
    ///
    /// What was expected, where the name is none of a projector.
    pub(super) fn of(key: &str) -> Result<Self, String> {
        let inside = |mark: &str| Some((&key[..key.rfind(mark)?], &key[key.rfind(mark)? + mark.len()..]));
        let (mark, (before, rest)) = match (inside(LINEAR_MARK), inside(MARK)) {
            (Some(found), _) => (LINEAR_MARK, found),
            (None, Some(found)) => (MARK, found),
            (None, None) => match without(key, &PREFIXES[..WRAPPERS]) {
                bare if bare.starts_with(GGUF_MARK) => (GGUF_MARK, ("", &bare[GGUF_MARK.len()..])),
                bare => ("", ("", bare)),
            },
        };
        let before = without(before, &PREFIXES);
        if !before.is_empty() {
            return Err(format!("expected `model.{mark}` at its start, found {before:?}"));
        }
        let (number, part) =
            rest.rsplit_once('.').map_or((None, rest), |(number, part)| (Some(number), part));
        let part = match part {
            "weight" => Part::Weight,
            "bias" => Part::Bias,
            _ => return Err(format!("expected `weight` or `bias` at its end, found {part:?}")),
        };
        let layer = match (mark, number) {
            (LINEAR_MARK, Some("linear_1")) => Some(0),
            (LINEAR_MARK, Some("linear_2")) => Some(1),
            (LINEAR_MARK, found) => {
                let found = found.unwrap_or_default();
                return Err(format!("expected linear_1 or linear_2 as the layer, found {found:?}"));
            }
            (_, None) => None,
            // Digits alone: `+2` and `02` are other names.
            (_, Some(number)) => match number.parse::<usize>() {
                Ok(module) if module.is_multiple_of(STEP) && module.to_string() == number => {
                    Some(module / STEP)
                }
                _ => return Err(format!("expected 0, 2, 4, ... as the number of a layer, found {number:?}")),
            },
        };
        Ok(Self { layer, part })
    }

    /// The name without prefixes, as `2.weight`.
    pub(super) fn bare(self) -> String {
        match self.layer {
            None => self.part.to_string(),
            Some(layer) => format!("{}.{}", layer * STEP, self.part),
        }
    }

    /// The name that LLaVA gives the array.
    pub(super) fn key(self) -> String {
        format!("model.{MARK}{}", self.bare())
    }

    /// The name that llama.cpp gives the array. There, a linear projector is the first of two layers.
    pub(super) fn gguf_key(self) -> String {
        let layer = self.layer.unwrap_or(0);
        format!("{GGUF_MARK}{}.{}", layer * STEP, self.part)
    }
}

/// What is left of a name behind all of `prefixes`.
fn without<'a>(mut name: &'a str, prefixes: &[&str]) -> &'a str {
    while let Some(rest) = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest;
    }
    name
}

/// Whether a name is that of a projector in a larger model.
fn is_marked(key: &str) -> bool {
    key.contains(MARK)
        || key.contains(LINEAR_MARK)
        || without(key, &PREFIXES[..WRAPPERS]).starts_with(GGUF_MARK)
}

/// Which of the names in a file are the projector's; places in `keys`.
///
/// # Errors
///
/// [`Error::Format`] where none of them can be.
pub(super) fn select<'a>(path: &Path, keys: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<usize>> {
    let marked: Vec<usize> =
        keys.clone().enumerate().filter(|(_, key)| is_marked(key)).map(|(at, _)| at).collect();
    if !marked.is_empty() {
        return Ok(marked);
    }
    // Without the mark this may be any model, whose arrays would be read for nothing.
    if let Some(key) = keys.clone().find(|key| Place::of(key).is_err()) {
        let detail = format!(
            "expected names with `{MARK}`, `{LINEAR_MARK}` or `{GGUF_MARK}`, or `0.weight` and the like alone; \
             found {key:?}"
        );
        return Err(Error::format(path, detail));
    }
    let all: Vec<usize> = (0..keys.count()).collect();
    if all.is_empty() {
        return Err(Error::format(path, "expected the arrays of a projector, found none"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_usual_names_mean_their_place() {
        let second = Place { layer: Some(1), part: Part::Bias };
        for prefix in ["", "mm_projector.", "model.mm_projector.", "module.model.mm_projector."] {
            assert_eq!(Place::of(&format!("{prefix}2.bias")), Ok(second));
        }
        for prefix in ["base_model.model.model.", "module.base_model.model.model.", "base_model.model."] {
            assert_eq!(Place::of(&format!("{prefix}mm_projector.2.bias")), Ok(second));
        }
        for name in ["module.2.bias", "_orig_mod.2.bias", "module._orig_mod.2.bias", "mm.2.bias"] {
            assert_eq!(Place::of(name), Ok(second), "{name}");
        }
        for prefix in ["transformer.", "_orig_mod.model.", "module._orig_mod.model.", "_orig_mod.module."] {
            assert_eq!(Place::of(&format!("{prefix}mm_projector.2.bias")), Ok(second), "{prefix}");
        }
        for prefix in ["", "model.", "module.model.", "_orig_mod.model."] {
            let name = |layer: &str| format!("{prefix}multi_modal_projector.{layer}.bias");
            assert_eq!(Place::of(&name("linear_2")), Ok(second), "{prefix}");
            assert_eq!(
                Place::of(&name("linear_1")),
                Ok(Place { layer: Some(0), part: Part::Bias }),
                "{prefix}"
            );
        }
        assert_eq!(
            (second.key().as_str(), second.gguf_key().as_str()),
            ("model.mm_projector.2.bias", "mm.2.bias")
        );
        let linear = Place { layer: None, part: Part::Weight };
        assert_eq!(Place::of("weight"), Ok(linear));
        assert_eq!(Place::of(&linear.key()), Ok(linear));
    }

    #[test]
    fn other_names_are_refused_with_what_is_wrong() {
        for (key, expected) in [
            ("model.mm_projector.1.weight", "number of a layer, found \"1\""),
            ("mm_projector.02.weight", "found \"02\""),
            ("mm_projector.+2.weight", "found \"+2\""),
            ("mm_projector.99999999999999999999999.weight", "found \"99999999999999999999999\""),
            ("mm_projector.0.scale", "at its end, found \"scale\""),
            ("mm_projector.0.0.weight", "found \"0.0\""),
            ("ema.mm_projector.0.weight", "at its start, found \"ema.\""),
            (
                "multi_modal_projector.linear_3.weight",
                "linear_1 or linear_2 as the layer, found \"linear_3\"",
            ),
            ("multi_modal_projector.weight", "linear_1 or linear_2 as the layer, found \"\""),
            ("multi_modal_projector.layer_norm.bias", "found \"layer_norm\""),
            ("ema.multi_modal_projector.linear_1.weight", "`model.multi_modal_projector.` at its start"),
            ("mm.1.weight", "number of a layer, found \"1\""),
            ("mm.model.fc.weight", "found \"model.fc\""),
            ("model.2.bias", "found \"model.2\""),
            ("lm_head.weight", "found \"lm_head\""),
            ("", "at its end, found \"\""),
        ] {
            let error = Place::of(key).unwrap_err();
            assert!(error.contains(expected), "{key}: {error}");
        }
    }

    #[test]
    fn a_checkpoint_gives_the_projectors_names_and_no_others() {
        let path = Path::new("model.bin");
        let selected = |keys: &[&str]| select(path, keys.iter().copied()).map_err(|error| error.to_string());
        assert_eq!(selected(&["lm_head.weight", "model.mm_projector.0.bias", "step"]), Ok(vec![1]));
        let names =
            ["v.blk.0.ln1.bias", "mm.0.weight", "model.multi_modal_projector.linear_1.bias", "gmm.0.weight"];
        assert_eq!(selected(&names), Ok(vec![1, 2]));
        assert_eq!(selected(&["0.weight", "0.bias"]), Ok(vec![0, 1]));
        let error = selected(&["0.weight", "lm_head.weight"]).unwrap_err();
        assert!(error.contains("model.bin: ") && error.ends_with("found \"lm_head.weight\""), "{error}");
        assert!(selected(&[]).unwrap_err().contains("found none"));
    }
}
