use serde::Deserialize;
use serde_json::Value;

use crate::language::RopeScaling;

/// The keys about rotary positions, in the style of transformers 4 (`rope_theta`, `rope_scaling`) or 5
/// (`rope_parameters`).
#[derive(Deserialize)]
pub(super) struct Rope {
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    /// Gemma 3's layers with a window.
    rope_local_base_freq: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];

impl Rope {
    /// The base of the frequencies and how they are scaled, in layers without a window.
    ///
    /// # Errors
    ///
    /// For a scaling that is not known, by its key.
    pub(super) fn global(
        &self,
        default_theta: f64,
        max_positions: usize,
    ) -> Result<(f64, Option<RopeScaling>), String> {
        let theta = self.rope_theta.unwrap_or(default_theta);
        check_partial("partial_rotary_factor", self.partial_rotary_factor)?;
        match (&self.rope_parameters, &self.rope_scaling) {
            // Where both are there, transformers takes the older.
            (_, Some(scaling)) if scaling.as_object().is_some_and(|scaling| !scaling.is_empty()) => {
                read("rope_scaling", scaling, theta, max_positions)
            }
            (Some(parameters), _) if has_kinds(parameters) => {
                read("rope_parameters.full_attention", &parameters[KINDS[0]], theta, max_positions)
            }
            (Some(parameters), _) => read("rope_parameters", parameters, theta, max_positions),
            (None, _) => Ok((theta, None)),
        }
    }

    /// The base of the frequencies in Gemma 3's layers with a window.
    ///
    /// # Errors
    ///
    /// For a scaling, which those layers do not have.
    pub(super) fn local(&self) -> Result<f64, String> {
        let theta = self.rope_local_base_freq.unwrap_or(10_000.0);
        match &self.rope_parameters {
            Some(parameters) if has_kinds(parameters) => {
                let key = "rope_parameters.sliding_attention";
                match read(key, &parameters[KINDS[1]], theta, 0)? {
                    (theta, None) => Ok(theta),
                    (_, Some(scaling)) => Err(format!("{key}: expected no scaling, found {scaling:?}")),
                }
            }
            _ => Ok(theta),
        }
    }
}

/// Whether there are parameters for each kind of layer.
fn has_kinds(parameters: &Value) -> bool {
    KINDS.iter().any(|kind| parameters.get(kind).is_some())
}

fn check_partial(key: &str, factor: Option<f64>) -> Result<(), String> {
    match factor {
        Some(factor) if factor != 1.0 => Err(format!("{key}: expected 1, found {factor}")),
        _ => Ok(()),
    }
}

fn read(
    key: &str,
    value: &Value,
    default_theta: f64,
    max_positions: usize,
) -> Result<(f64, Option<RopeScaling>), String> {
    check_partial(&format!("{key}.partial_rotary_factor"), value["partial_rotary_factor"].as_f64())?;
    let theta = value["rope_theta"].as_f64().unwrap_or(default_theta);
    let kind = value.get("rope_type").or_else(|| value.get("type")).and_then(Value::as_str);
    let number = |name: &str| {
        value[name].as_f64().ok_or_else(|| format!("{key}.{name}: expected a number, found {}", value[name]))
    };
    let scaling = match kind {
        None | Some("default") => None,
        Some("linear") => Some(RopeScaling::Linear { factor: number("factor")? }),
        Some("llama3") => Some(RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_position_embeddings: match number("original_max_position_embeddings") {
                Ok(original) => original as usize,
                Err(_) => max_positions,
            },
        }),
        Some(other) => {
            return Err(format!(
                "{key}.rope_type: expected \"default\", \"linear\" or \"llama3\", found {other:?}"
            ));
        }
    };
    Ok((theta, scaling))
}
