//! The names of a projector's arrays.
//!
//! LLaVA's projector is `mm_projector`, a `Linear` or a `Sequential` of Linear, GELU, Linear and so on, in `model`:
//! `model.mm_projector.weight`, or `model.mm_projector.0.weight` and `.2.weight`. Wrappers for training put their own
//! names in front: `module.` (data parallel), `base_model.model.` (LoRA).

use std::fmt;
use std::path::Path;

use crate::{Error, Result};

/// What the names of a projector in a larger model contain.
const MARK: &str = "mm_projector.";

/// The prefixes of that, which may be repeated.
const PREFIXES: [&str; 3] = ["module.", "base_model.model.", "model."];

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
    /// The place of a name, with or without `mm_projector.` and its prefixes.
    ///
    /// # Errors
    ///
    /// What was expected, where the name is none of a projector.
    pub(super) fn of(key: &str) -> Result<Self, String> {
        let rest = match key.rfind(MARK) {
            None => key,
            Some(at) => {
                let mut before = &key[..at];
                while let Some(rest) = PREFIXES.iter().find_map(|prefix| before.strip_prefix(prefix)) {
                    before = rest;
                }
                if !before.is_empty() {
                    return Err(format!("expected `model.mm_projector.` at its start, found {before:?}"));
                }
                &key[at + MARK.len()..]
            }
        };
        let (number, part) =
            rest.rsplit_once('.').map_or((None, rest), |(number, part)| (Some(number), part));
        let part = match part {
            "weight" => Part::Weight,
            "bias" => Part::Bias,
            _ => return Err(format!("expected `weight` or `bias` at its end, found {part:?}")),
        };
        let Some(number) = number else { return Ok(Self { layer: None, part }) };
        // Digits alone: `+2` and `02` are other names.
        match number.parse::<usize>() {
            Ok(module) if module.is_multiple_of(STEP) && module.to_string() == number => {
                Ok(Self { layer: Some(module / STEP), part })
            }
            _ => Err(format!("expected 0, 2, 4, ... as the number of a layer, found {number:?}")),
        }
    }

    /// The name without any prefix, as `2.weight`.
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
}

/// Which of the names in a file are the projector's; places in `keys`.
///
/// # Errors
///
/// [`Error::Format`] where none of them can be.
pub(super) fn select<'a>(path: &Path, keys: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<usize>> {
    let marked: Vec<usize> =
        keys.clone().enumerate().filter(|(_, key)| key.contains(MARK)).map(|(at, _)| at).collect();
    if !marked.is_empty() {
        return Ok(marked);
    }
    // Without the mark this may be any model: its arrays are not read for nothing.
    if let Some(key) = keys.clone().find(|key| Place::of(key).is_err()) {
        let detail = format!("expected names with `{MARK}`, or `0.weight` and the like alone; found {key:?}");
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
        assert_eq!(second.key(), "model.mm_projector.2.bias");
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
        assert_eq!(selected(&["0.weight", "0.bias"]), Ok(vec![0, 1]));
        let error = selected(&["0.weight", "lm_head.weight"]).unwrap_err();
        assert!(error.contains("model.bin: ") && error.ends_with("found \"lm_head.weight\""), "{error}");
        assert!(selected(&[]).unwrap_err().contains("found none"));
    }
}
