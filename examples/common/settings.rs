//! Settings that are changed on the command line, by their names in a report.

use burn_revision::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Settings after changes of the form `NAME=JSON`.
pub fn change<T: Serialize + DeserializeOwned>(settings: &T, changes: &[String]) -> Result<T> {
    let mut json = serde_json::to_value(settings).expect("settings are plain data");
    for change in changes {
        let refused = |detail: String| Error::config("set", format!("{change}: {detail}"));
        let (name, value) = change.split_once('=').ok_or_else(|| refused("expected NAME=JSON".into()))?;
        let known = json.get_mut(name).ok_or_else(|| refused("no setting has this name".into()))?;
        *known = serde_json::from_str(value).map_err(|error| refused(error.to_string()))?;
    }
    serde_json::from_value(json).map_err(|error| Error::config("set", error.to_string()))
}
