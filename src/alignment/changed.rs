//! In what the job that a file was written by differs from the one that would go on with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The first name whose value is another, with both; nothing where all are the same.
pub(super) fn changed(before: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Option<String> {
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let key = keys.into_iter().find(|key| before.get(*key) != now.get(*key))?;
    let show = |value: Option<&Value>| value.map_or("nothing".to_string(), Value::to_string);
    Some(format!("{key} was {}, and is {} now", show(before.get(key)), show(now.get(key))))
}
