//! The ids in a file of records, read without the other fields.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use super::records::{self, Records, of_id};
use crate::Result;

/// The ids in the file at `path`, if there is one, as records that need not hold anything else.
pub(super) fn read_sidecar_ids(path: &Path) -> Result<Option<Records<'static>>> {
    Ok(records::open_sidecar(path)?.map(|file| read_ids(path, file)))
}

fn read_ids(path: &Path, file: impl Read + Send + 'static) -> Records<'static> {
    let path = path.to_path_buf();
    let lines = BufReader::with_capacity(1 << 18, file).lines().enumerate();
    Box::new(lines.filter_map(move |(number, line)| match line.as_deref().ok().and_then(id_of) {
        Some(id) => Some(Ok(of_id(id.into_owned()))),
        // The parser of whole records has the error messages.
        None => records::parse(&path, number + 1, line).transpose(),
    }))
}

/// The id of a line, where it is plainly an object with one; captions and all else are passed over.
fn id_of(line: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        id: Id<'a>,
    }
    // The derived code takes arrays for objects.
    if !line.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str::<Line>(line).ok().map(|line| line.id.0)
}

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
    use std::io::Cursor;

    use super::*;

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
        r#"{"id": null}"#,
        r#"{"id": ["a"]}"#,
        r#"{"name": "a"}"#,
        r#"["a"]"#,
        r#"{"id": "a", "caption": }"#,
        r#"{"id": "a"} {"id": "b"}"#,
        "",
        "  \t ",
    ];

    #[test]
    fn lines_are_read_or_refused_as_whole_records_are() {
        for line in LINES {
            let file = || Cursor::new(format!("\n{line}\n").into_bytes());
            let told = |records: Records<'static>| -> Vec<_> {
                let id = |record: Result<_>| record.map(|record| records::id(&record).unwrap());
                records.map(|record| id(record).map_err(|error| error.to_string())).collect()
            };
            let path = Path::new("ids.jsonl");
            assert_eq!(told(read_ids(path, file())), told(records::read_lines(path, file())), "{line}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_with_their_line() {
        let found: Vec<_> = read_ids(Path::new("ids.jsonl"), &b"{\"id\": 1}\n\"\xFF\"\n"[..]).collect();
        assert!(found[0].is_ok());
        assert!(found[1].as_ref().unwrap_err().to_string().contains("ids.jsonl: line 2"));
    }
}
