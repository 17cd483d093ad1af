//! The ids in a file of records, read without the other fields.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::records::{Record, of_id, parse_with_id};
use crate::Result;
use crate::json::Mended;

/// The id of a line, which stands under `column`, as a record that need not hold anything else.
pub(super) fn parse(line: &str, column: &str, mended: &mut Mended) -> Result<Record, String> {
    match id_of(line, column) {
        Some(id) => Ok(of_id(id.into_owned())),
        // The parser of whole records has the error messages.
        None => parse_with_id(line, column, mended),
    }
}

/// The id of a line, where it is plainly an object with one; captions and all else are passed over.
fn id_of<'a>(line: &'a str, column: &str) -> Option<Cow<'a, str>> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let id = deserializer.deserialize_map(ObjectVisitor { column }).ok()?;
    deserializer.end().ok()?;
    id
}

/// Finds the value under a name in an object; it stands there once.
struct ObjectVisitor<'c> {
    column: &'c str,
}

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(Text(key)) = map.next_key()? {
            if key != self.column {
                map.next_value::<IgnoredAny>()?;
            } else if found.is_none() {
                found = Some(map.next_value::<Id>()?.0);
            } else {
                return Err(serde::de::Error::custom("twice"));
            }
        }
        Ok(found)
    }
}

/// The name of a field, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Id<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor).map(Self)
    }
}

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a whole number")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, id: &'de str) -> Result<Self::Value, E> {
        Ok(id.into())
    }

    fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<Self::Value, E> {
        Ok(id.to_string().into())
    }

    fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Self::Value, E> {
        Ok(id.to_string().into())
    }

    fn visit_i64<E: serde::de::Error>(self, id: i64) -> Result<Self::Value, E> {
        Ok(id.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::records;

    /// One line each, so that an error in one does not hide the next.
    const LINES: [&str; 17] = [
        r#"{"id": "a"}"#,
        r#" {"caption": "{\"id\": 1}", "id": "tab\t, \"quoted\" and ü", "more": [1, {"id": 2}]} "#,
        r#"{"id": 7, "score": 0.5}"#,
        r#"{"id": -7}"#,
        r#"{"id": 18446744073709551615}"#,
        r#"{"id": "first", "id": "last"}"#,
        r#"{"id": 1.0}"#,
        r#"{"id": -0}"#,
        r#"{"id": 1e3}"#,
        r#"{"id": 1.5}"#,
        r#"{"id": null}"#,
        r#"{"id": ["a"]}"#,
        r#"{"name": "a"}"#,
        r#"["a"]"#,
        r#"{"id": "a", "caption": }"#,
        r#"{"id": "a"} {"id": "b"}"#,
        r#"{"id": "\ud83d", "score": NaN}"#,
    ];

    #[test]
    fn lines_are_read_or_refused_as_whole_records_are() {
        for line in LINES {
            let told = |parse: fn(&str, &str, &mut Mended) -> Result<Record, String>| {
                let mut mended = Mended::default();
                parse(line, "id", &mut mended).map(|record| records::id(&record).unwrap())
            };
            assert_eq!(told(parse), told(parse_with_id), "{line}");
        }
    }
    #[test]
    fn ids_stand_under_the_name_that_is_asked_for() {
        let line = r#"{"id": "own", "image_id": 7.0, "im\u0061ge": "x"}"#;
        let id =
            |column: &str| parse(line, column, &mut Mended::default()).map(|record| records::id(&record));
        assert_eq!(id("id"), Ok(Some("own".to_string())));
        assert_eq!(id("image_id"), Ok(Some("7".to_string())));
        assert_eq!(id("image"), Ok(Some("x".to_string())));
        assert!(id("url").unwrap_err().contains("\"url\""));
    }
}
