use serde::{Deserialize, Serialize};

use crate::alignment::{C3Config, Method};
use crate::embedding::NonFinite;
use crate::{Error, Result};

/// What a report measures, and on how many rows: the `settings` of `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportConfig {
    /// The seed of the halves, of all samples and of noise. Default: 0.
    pub seed: u64,
    /// Whether rows of the two sets are pairs: an image belongs to the text of the same id, or to the one that
    /// `pair_by` names. Default: false.
    pub paired: bool,
    /// The field of an image's record that holds the id of its text. Default: `None`, which pairs equal ids.
    pub pair_by: Option<String>,
    /// A field and a value: rows whose record has this field take part only where it has this value, or holds it among
    /// several. Stored as `field=value`. Default: `None`, all rows.
    #[serde(default, with = "field_and_value")]
    pub only: Option<(String, String)>,
    /// The methods, stored by their names. Default: all of [`Method::NAMES`], [`Method::Identity`] first.
    #[serde(with = "method_names")]
    pub methods: Vec<Method>,
    /// The neighbours of a row. Default: 20, as in arXiv 2602.07026 and arXiv 2605.07825.
    pub k: usize,
    /// The share of the energy of `Sigma_text + Sigma_image` that the fixed frame holds. Default: 0.9; arXiv 2602.07026
    /// does not state its own.
    pub energy: f64,
    /// The rows of each set that may be read: an even sample of larger ones. Default: 40,000.
    pub rows: usize,
    /// The held-out rows of each set that neighbours and cosines are measured on. Default: 10,000.
    pub probe: usize,
    /// The ridge of covariances that are inverted, relative to their mean eigenvalue: by methods, and by the coupling.
    /// Default: 1e-3.
    pub ridge: f64,
    /// The standard deviation of the noise of C3, for each coordinate. Default: that of [`C3Config`].
    pub sigma: f64,
    /// Pairs of rows for each density of cosines. Default: 20,000.
    pub cosine_pairs: usize,
    /// Draws for each number of rows of the sample-efficiency curves. Default: 5, as in arXiv 2602.07026, App. E.1.
    pub draws: usize,
    /// The field of the records that names the domain, for the matrix of domains. Default: `None`, no matrix.
    pub domain: Option<String>,
    /// The field of a text's record that holds the caption. Default: `None`, which looks for `text` and `caption`.
    pub caption: Option<String>,
    /// What to do with rows with NaN or infinities, or without direction. Default: [`NonFinite::Error`].
    pub non_finite: NonFinite,
}

impl Default for ReportConfig {
    fn default() -> Self {
        let mut methods: Vec<Method> =
            Method::NAMES.iter().map(|name| name.parse().expect("every name is a method")).collect();
        methods.rotate_right(1);
        Self {
            seed: 0,
            paired: false,
            pair_by: None,
            only: None,
            methods,
            k: 20,
            energy: 0.9,
            rows: 40_000,
            probe: 10_000,
            ridge: 1e-3,
            sigma: C3Config::new().sigma,
            cosine_pairs: 20_000,
            draws: 5,
            domain: None,
            caption: None,
            non_finite: NonFinite::default(),
        }
    }
}

impl ReportConfig {
    /// Refuses settings that cannot be used.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |key: &str, detail: String| Err(Error::config(key, detail));
        for (at, method) in self.methods.iter().enumerate() {
            if self.methods[..at].iter().any(|other| other.to_string() == method.to_string()) {
                return wrong("methods", format!("{method} is named twice"));
            }
        }
        if self.pair_by.is_some() && !self.paired {
            return wrong("pair-by", "says how rows are paired, but they are not: see `paired`".to_string());
        }
        let counts = [("k", self.k), ("cosine-pairs", self.cosine_pairs), ("draws", self.draws)];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return wrong(key, "expected at least 1, found 0".to_string());
        }
        if !(self.energy > 0.0 && self.energy <= 1.0) {
            return wrong("energy", format!("expected a share above 0 and up to 1, found {}", self.energy));
        }
        if !(self.ridge.is_finite() && self.ridge >= 0.0) {
            return wrong("ridge", format!("expected at least 0, found {}", self.ridge));
        }
        Ok(())
    }
}

/// The name of a method in a report.
pub(super) fn method_name(method: &Method) -> String {
    method.to_string().replace('-', "_")
}

/// Methods as the list of their names.
mod method_names {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    use crate::alignment::Method;

    pub fn serialize<S: Serializer>(methods: &[Method], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(methods.iter().map(super::method_name))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Method>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
    }
}

/// A field and its value as `field=value`.
mod field_and_value {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    type Only = Option<(String, String)>;

    pub fn serialize<S: Serializer>(only: &Only, serializer: S) -> Result<S::Ok, S::Error> {
        only.as_ref().map(|(field, value)| format!("{field}={value}")).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Only, D::Error> {
        let split = |only: String| match only.split_once('=') {
            Some((field, value)) => Ok((field.to_string(), value.to_string())),
            None => Err(D::Error::custom(format!("only: expected field=value, found {only:?}"))),
        };
        Option::<String>::deserialize(deserializer)?.map(split).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_stored_by_the_names_that_a_reader_knows() {
        let config = ReportConfig {
            only: Some(("split".into(), "test".into())),
            seed: u64::MAX,
            ..Default::default()
        };
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(json["methods"][0], "identity");
        assert!(json["methods"].as_array().unwrap().iter().any(|name| name == "c3_zero_mean"));
        assert_eq!((&json["only"], &json["non_finite"]), (&"split=test".into(), &"error".into()));
        assert_eq!(serde_json::from_value::<ReportConfig>(json).unwrap(), config);
    }
}
