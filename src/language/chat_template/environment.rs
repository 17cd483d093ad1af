use std::borrow::Cow;

use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::date::Date;

/// Instructions that one rendering may take; a conversation of a thousand messages takes a hundredth of it.
const FUEL: u64 = 20_000_000;

/// Jinja as `transformers` sets it up.
pub(super) fn like_transformers() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(|out, state, value| match python_name(value) {
        Some(name) => out.write_str(name).map_err(Error::from),
        None => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter("tojson", to_json);
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    // A model must see the same text in training, after a resumption and in use, on any day.
    environment.add_function("strftime_now", |format: &str| Date::FIXED.format(format));
    environment
}

/// What went wrong and where, on one line.
pub(super) fn describe(error: &Error) -> String {
    let what = match error.detail() {
        Some(detail) => detail.to_string(),
        None => error.kind().to_string(),
    };
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

/// `transformers` lets templates mark what the model generates. The marks write nothing, and Jinja without that
/// extension does not know them, so blocks that always hold take their place; they trim white space alike.
pub(super) fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        out.push_str(&rest[..start]);
        let tag = rest[start..].find("%}").map_or(&rest[start..], |end| &rest[start..start + end + 2]);
        out.push_str(&replaced(tag));
        rest = &rest[start + tag.len()..];
    }
    out + rest
}

fn replaced(tag: &str) -> Cow<'_, str> {
    let name = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
    match name {
        "generation" => tag.replacen(name, "if true", 1).into(),
        "endgeneration" => tag.replacen(name, "endif", 1).into(),
        _ => tag.into(),
    }
}

/// How Python writes the values that Jinja writes in lower case here.
fn python_name(value: &Value) -> Option<&'static str> {
    if value.is_none() {
        return Some("None");
    }
    match bool::try_from(value.clone()) {
        Ok(truth) if value.kind() == minijinja::value::ValueKind::Bool => {
            Some(if truth { "True" } else { "False" })
        }
        _ => None,
    }
}

/// Python's `json.dumps`, without the escapes for HTML that Jinja's own filter makes.
fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Accepted, as characters beyond ASCII are written as they are by default.
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ascii == Some(true) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson: ensure_ascii is not supported"));
    }
    let mut out = Vec::new();
    let written = match indent {
        Some(width) => {
            let indent = " ".repeat(width.min(16));
            let formatter = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)),
    };
    let fail = |detail: String| Error::new(ErrorKind::InvalidOperation, format!("tojson: {detail}"));
    written.map_err(|error| fail(error.to_string()))?;
    String::from_utf8(out).map(Value::from).map_err(|error| fail(error.to_string()))
}

/// A space behind commas and colons, as Python puts it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}
